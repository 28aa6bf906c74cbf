#include "engine/step_inputs.h"

#include <algorithm>

#include "kernels/core/staging_ring.h"

namespace zeroth {

static_assert(StepInputs::kBytes <= StagingRing::kSlotBytes, "the upload is one copy");

StepInputs::StepInputs(Context& context)
    : context_(context),
      on_device_(Tensor::zeros(context, {static_cast<std::int64_t>(kBytes)}, DType::u8)),
      host_(kBytes) {}

TensorView StepInputs::add(const Shape& shape, DType dtype) {
  TensorView place(static_cast<std::byte*>(TensorView(on_device_).data) + used_, shape, dtype);
  used_ += (place.bytes() + kOperandAlignment - 1) / kOperandAlignment * kOperandAlignment;
  require(used_ <= kBytes, "the inputs of a step do not fit into StepInputs::kBytes");
  return place;
}

void StepInputs::set(const TensorView& place, std::span<const std::byte> bytes) {
  require(bytes.size() == place.bytes(), "an input of a step has the size of its place");
  std::byte* at = host_.data() + (static_cast<std::byte*>(place.data) -
                                  static_cast<std::byte*>(TensorView(on_device_).data));
  if (std::equal(bytes.begin(), bytes.end(), at)) return;
  std::copy(bytes.begin(), bytes.end(), at);
  changed_ = true;
}

ConstTensorView StepInputs::host(const TensorView& place) const {
  return {host_.data() + (static_cast<const std::byte*>(place.data) -
                          static_cast<const std::byte*>(ConstTensorView(on_device_).data)),
          place.shape, place.dtype};
}

void StepInputs::upload() {
  if (changed_) context_.upload(on_device_, host_);
  changed_ = false;
}

}  // namespace zeroth
