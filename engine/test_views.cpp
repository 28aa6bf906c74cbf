#include "engine/test_views.h"

namespace zeroth {

AugmentParams TestView::of(AugmentParams params) const {
  params.augmentation.flip = mirrored ? Flip::always : Flip::none;
  params.augmentation.reflect = true;
  params.shift_y = down;
  params.shift_x = right;
  return params;
}

std::vector<TestView> views_of(TestViews views) {
  if (views == TestViews::one) return {{}};
  if (views == TestViews::flip) return {{0.5}, {0.5, true}};
  // A moved picture is mirrored after it was moved, so that to its mirror image it moves the other way.
  return {{0.25},
          {0.25, true},
          {0.125, false, -1, -1},
          {0.125, true, -1, 1},
          {0.125, false, 1, 1},
          {0.125, true, 1, -1}};
}

std::vector<double> numbers_of(const Context& context, const Tensor& tensor) {
  if (tensor.dtype() == DType::f64) return tensor.to_host<double>(context);
  std::vector<double> numbers;
  dispatch_storage(tensor.dtype(), [&]<class T>(TypeTag<T>) {
    for (const T element : tensor.to_host<T>(context))
      numbers.push_back(static_cast<double>(to_compute(element)));
  });
  return numbers;
}

void MeanLogits::add(const Context& context, const Tensor& logits, double weight) {
  shape_ = logits.shape();
  if (logits.dtype() == DType::f64) dtype_ = DType::f64;
  const std::vector<double> numbers = numbers_of(context, logits);
  sum_.resize(numbers.size());
  for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += weight * numbers[i];
}

Tensor MeanLogits::mean(Context& context) const {
  if (dtype_ == DType::f64) return Tensor::from_host<double>(context, shape_, sum_);
  return Tensor::from_host<float>(context, shape_, std::vector<float>(sum_.begin(), sum_.end()));
}

}  // namespace zeroth
