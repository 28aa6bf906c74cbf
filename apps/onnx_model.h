#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/pytorch_weights.h"
#include "data/dataset.h"
#include "models/resnet.h"

namespace zeroth::app {

/// A trained network as an ONNX model (opset 13), bytes of a .onnx file. Input "pictures": (N, C, H, W) f32
/// in [0, 1], colour order R, G, B, any N; the graph normalises them. Output "logits": (N, classes) f32.
/// `weights` as pytorch_weights() gives them; `properties` become metadata of the model. Throws
/// Error(runtime) for a model of 2 GB or more, which protobuf cannot hold.
std::string onnx_model(const ResNetConfig& config, const std::vector<NamedArray>& weights,
                       const Normalisation& normalisation,
                       const std::map<std::string, std::string>& properties);

}  // namespace zeroth::app
