#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/shortcut_a/shortcut_a.h"

namespace zeroth::cpu {

namespace {

bool supports(const ShortcutAParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

void forward(Context&, const ShortcutAParams& a, ConstTensorView x_view, TensorView y_view) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* x = x_view.as<T>();
    T* y = y_view.as<T>();
    const std::int64_t before = (a.k - a.c) / 2, after = a.k - a.c - before;
    parallel_for(a.n * a.p(), a.q() * a.k, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line) {
        const T* from = x + (line / a.p() * a.h + line % a.p() * 2) * a.w * a.c;
        T* to = y + line * a.q() * a.k;
        for (std::int64_t q = 0; q < a.q(); ++q, from += 2 * a.c, to += a.k) {
          std::fill_n(to, before, T{});
          std::copy_n(from, a.c, to + before);
          std::fill_n(to + before + a.c, after, T{});
        }
      }
    });
  });
}

void backward(Context&, const ShortcutAParams& a, ConstTensorView dy_view, TensorView dx_view,
              GradMode mode) {
  dispatch_storage(a.dtype, [&]<class T>(TypeTag<T>) {
    const T* dy = dy_view.as<T>();
    T* dx = dx_view.as<T>();
    const std::int64_t before = (a.k - a.c) / 2;
    parallel_for(a.n * a.h, a.w * a.c, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line) {
        const std::int64_t n = line / a.h, i = line % a.h;
        T* to = dx + line * a.w * a.c;
        if (mode == GradMode::overwrite) std::fill_n(to, a.w * a.c, T{});
        if (i % 2 != 0) continue;
        const T* from = dy + (n * a.p() + i / 2) * a.q() * a.k + before;
        for (std::int64_t q = 0; q < a.q(); ++q, from += a.k, to += 2 * a.c)
          for (std::int64_t c = 0; c < a.c; ++c)
            to[c] = from_compute<T>(to_compute(to[c]) + to_compute(from[c]));
      }
    });
  });
}

}  // namespace

const ShortcutARow shortcut_a_row{{"cpu", DeviceKind::cpu, true}, supports, forward, backward};

}  // namespace zeroth::cpu
