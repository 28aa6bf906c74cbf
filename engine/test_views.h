#pragma once

#include <vector>

#include "engine/tensor.h"
#include "kernels/augment/augment.h"

namespace zeroth {

/// Test-time augmentation: which views of a picture evaluation takes the mean of the logits of. flip: as it
/// is and mirrored. translate: these two, and with half of the weight both moved by a pixel, up and to the
/// left, down and to the right, what comes in being reflected (K. Jordan, "94 % on CIFAR-10 in 3.29 seconds
/// on a single GPU", 2024).
enum class TestViews : std::uint8_t { one, flip, translate };

/// One way to look at a picture.
struct TestView {
  double weight = 1.0;
  bool mirrored = false;
  std::int64_t down = 0, right = 0;  ///< pixel (y, z) is (y + down, z + right) of the mirrored picture

  /// How augment shows pictures that way.
  AugmentParams of(AugmentParams params) const;
};

/// The weights add up to 1.
std::vector<TestView> views_of(TestViews views);

/// The weighted mean of the logits of some views: f32, or f64 where they are. Added on the host: they are
/// few.
class MeanLogits {
 public:
  /// Waits for the stream.
  void add(const Context& context, const Tensor& logits, double weight);
  Tensor mean(Context& context) const;

 private:
  Shape shape_;
  DType dtype_ = DType::f32;
  std::vector<double> sum_;
};

/// A tensor's elements on the host, whatever their dtype. Waits for the stream.
std::vector<double> numbers_of(const Context& context, const Tensor& tensor);

}  // namespace zeroth
