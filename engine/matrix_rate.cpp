#include "engine/matrix_rate.h"

#include <algorithm>
#include <chrono>

#include "engine/tensor.h"
#include "kernels/linear/linear.h"

namespace zeroth {

double measure_matrix_rate(Context& context, DType dtype) {
  if (context.device().kind == DeviceKind::simt) return 0.0;
  constexpr std::int64_t kSide = 1024;
  constexpr int kRuns = 5;
  const LinearParams params{kSide, kSide, kSide, dtype};
  // Zeros would let some hardware clock higher than real data does; the contents of fresh memory would be
  // worse still.
  const auto matrix = [&] {
    return dispatch_storage(dtype, [&]<class T>(TypeTag<T>) {
      const std::vector<T> values(static_cast<std::size_t>(kSide * kSide), from_compute<T>(0.5f));
      return Tensor::from_host<T>(context, {kSide, kSide}, values);
    });
  };
  const Tensor x = matrix(), w = matrix(), y = Tensor::empty(context, {kSide, kSide}, dtype);
  const Tensor bias = Tensor::zeros(context, {kSide}, DType::f32);
  const Workspace workspace = context.scratch(linear_workspace(context, params));
  double best = 1e30;
  for (int run = 0; run < kRuns + 1; ++run) {
    const auto start = std::chrono::steady_clock::now();
    linear_forward(context, params, x, w, bias, y, workspace);
    context.synchronize();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run > 0) best = std::min(best, seconds);  // the first run prepares
  }
  return 2.0 * static_cast<double>(kSide) * kSide * kSide / best;
}

}  // namespace zeroth
