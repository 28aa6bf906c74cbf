#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engine/functional.h"
#include "models/model.h"

namespace zeroth {

struct AirbenchConfig {
  std::vector<int> widths{64, 256, 256};  ///< of each group
  std::int64_t classes = 10, height = 32, width = 32, picture_channels = 3;
};

inline constexpr const char* kAirbench = "airbench";

/// The network of airbench94 (K. Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU",
/// arXiv:2404.00498): a frozen 2x2 convolution that whitens patches of the training pictures, and three
/// groups of
///   3x3 convolution, 2x2 max pooling, batch norm, GELU, 3x3 convolution, batch norm, GELU;
/// then 3x3 max pooling, a linear layer without bias and logits times 1/9. Batch norm has no gamma (a frozen
/// 1), momentum 0.4 and eps 1e-12. Convolutions begin as the identity on as many channels as they have, the
/// rest of them uniform, as PyTorch's do. The published network has a bias behind the whitening layer, which
/// is trained in the first three epochs; here there is none.
class Airbench final : public Model {
 public:
  /// Declares the parameters; store().materialise() makes them. Throws Error(usage) for pictures that the
  /// poolings leave nothing of.
  explicit Airbench(AirbenchConfig config);

  Variable forward(Tape& tape, const Variable& x) override;

  const std::string& name() const override;
  std::vector<LayerInfo> layers() const override;
  /// The whitening layer, from the first 5000 pictures.
  void initialise_from(Context& context, const PictureSet& train, const TrainerConfig& config) override;

 private:
  struct ConvNorm {
    std::string conv, norm;  // names
    Parameter *weight, *gamma, *beta;
    StateTensor *running_mean, *running_var;
  };
  struct Group {
    ConvNorm first, second;
  };

  ConvNorm add_conv_norm(const std::string& group, int index, std::int64_t out, std::int64_t in);
  static Variable conv(Tape& tape, const ConvNorm& layer, const Variable& x);
  static Variable norm_gelu(Tape& tape, const ConvNorm& layer, const Variable& x);

  AirbenchConfig config_;
  Parameter *whiten_, *head_weight_ = nullptr, *head_bias_ = nullptr;
  std::deque<Group> groups_;
};

}  // namespace zeroth
