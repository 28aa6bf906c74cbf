// Residual join on the CPU: one pass each way. The sum for dalpha is taken over pieces of fixed size and
// merged in double precision, so it does not depend on the number of threads.

#include <algorithm>

#include "kernels/core/parallel.h"
#include "kernels/residual/residual.h"

namespace zeroth::cpu {

namespace {

constexpr std::int64_t kPiece = 4096;
constexpr std::int64_t kLane = 16;  // running sums, one for each element of a vector register

std::int64_t pieces(const ResidualParams& params) {
  return (params.elements + kPiece - 1) / kPiece;
}

std::size_t workspace(Context&, const ResidualParams& params) {
  return static_cast<std::size_t>(pieces(params)) * sizeof(float);
}

bool supports(const ResidualParams& params) {
  return params.dtype == DType::f32 || params.dtype == DType::bf16 || params.dtype == DType::f16;
}

float rectified(float x) {
  return x < 0.0f ? 0.0f : x;
}

void forward(Context&, const ResidualParams& params, ConstTensorView f_view, ConstTensorView shortcut_view,
             ConstTensorView alpha_view, TensorView y_view) {
  const float alpha = params.form == ResidualForm::plain ? 1.0f : *alpha_view.as<float>();
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *f = f_view.as<T>(), *shortcut = shortcut_view.as<T>();
    T* y = y_view.as<T>();
    const bool authors = params.form == ResidualForm::authors;
    parallel_for(params.elements, 2, [=](std::int64_t begin, std::int64_t end) {
      if (authors) {
        for (std::int64_t i = begin; i < end; ++i)
          y[i] = from_compute<T>(alpha * rectified(to_compute(f[i])) + to_compute(shortcut[i]));
      } else {
        for (std::int64_t i = begin; i < end; ++i)
          y[i] = from_compute<T>(rectified(alpha * to_compute(f[i]) + to_compute(shortcut[i])));
      }
    });
  });
}

template <class T>
struct BackwardOperands {
  const T *dy, *f, *y;
  T *df, *dshortcut;
  float alpha;
  float* sums;  // one a piece
};

template <GradMode kMode, class T>
void write(T* to, std::int64_t i, float value) {
  if constexpr (kMode == GradMode::overwrite) to[i] = from_compute<T>(value);
  if constexpr (kMode == GradMode::accumulate) to[i] = from_compute<T>(to_compute(to[i]) + value);
}

/// Elements [begin, end): writes both gradients and returns the sum for dalpha.
template <ResidualForm kForm, GradMode kDf, GradMode kDshortcut, class T>
float backward_piece(const BackwardOperands<T>& o, std::int64_t begin, std::int64_t end) {
  float sums[kLane] = {};
  const auto element = [&](std::int64_t i, std::int64_t lane) {
    const float dy = to_compute(o.dy[i]);
    if constexpr (kForm == ResidualForm::authors) {
      const float f = to_compute(o.f[i]), branch = f > 0.0f ? dy : 0.0f;
      sums[lane] += branch * f;
      write<kDf>(o.df, i, o.alpha * branch);
      write<kDshortcut>(o.dshortcut, i, dy);
    } else {
      const float d = to_compute(o.y[i]) > 0.0f ? dy : 0.0f;
      if constexpr (kForm == ResidualForm::post) sums[lane] += d * to_compute(o.f[i]);
      write<kDf>(o.df, i, kForm == ResidualForm::post ? o.alpha * d : d);
      write<kDshortcut>(o.dshortcut, i, d);
    }
  };
  std::int64_t i = begin;
  for (; i + kLane <= end; i += kLane)
    for (std::int64_t lane = 0; lane < kLane; ++lane) element(i + lane, lane);
  for (; i < end; ++i) element(i, 0);
  float total = 0.0f;
  for (const float sum : sums) total += sum;
  return total;
}

template <class Fn>
void with_mode(GradMode mode, Fn&& fn) {
  switch (mode) {
    case GradMode::skip:
      return fn.template operator()<GradMode::skip>();
    case GradMode::overwrite:
      return fn.template operator()<GradMode::overwrite>();
    case GradMode::accumulate:
      return fn.template operator()<GradMode::accumulate>();
  }
}

template <class Fn>
void with_form(ResidualForm form, Fn&& fn) {
  switch (form) {
    case ResidualForm::plain:
      return fn.template operator()<ResidualForm::plain>();
    case ResidualForm::post:
      return fn.template operator()<ResidualForm::post>();
    case ResidualForm::authors:
      return fn.template operator()<ResidualForm::authors>();
  }
}

template <ResidualForm kForm, GradMode kDf, GradMode kDshortcut, class T>
void run_backward(const ResidualParams& params, const BackwardOperands<T>& operands) {
  parallel_for(pieces(params), 4 * kPiece, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t piece = first; piece < last; ++piece)
      operands.sums[piece] = backward_piece<kForm, kDf, kDshortcut>(
          operands, piece * kPiece, std::min((piece + 1) * kPiece, params.elements));
  });
}

void backward(Context&, const ResidualParams& params, ConstTensorView dy, ConstTensorView f,
              ConstTensorView y, ConstTensorView alpha, TensorView df, GradMode df_mode, TensorView dshortcut,
              GradMode dshortcut_mode, TensorView dalpha_view, GradMode dalpha_mode, Workspace workspace) {
  auto* sums = static_cast<float*>(workspace.data);
  dispatch_storage(params.dtype, [&]<class T>(TypeTag<T>) {
    const BackwardOperands<T> operands{
        dy.as<T>(), f.as<T>(),         y.as<T>(),
        df.as<T>(), dshortcut.as<T>(), params.form == ResidualForm::plain ? 1.0f : *alpha.as<float>(),
        sums};
    with_form(params.form, [&]<ResidualForm kForm>() {
      with_mode(df_mode, [&]<GradMode kDf>() {
        with_mode(dshortcut_mode,
                  [&]<GradMode kDshortcut>() { run_backward<kForm, kDf, kDshortcut>(params, operands); });
      });
    });
  });
  if (dalpha_mode == GradMode::skip) return;
  double total = 0.0;
  for (std::int64_t piece = 0; piece < pieces(params); ++piece) total += sums[piece];
  float& dalpha = *dalpha_view.as<float>();
  dalpha = static_cast<float>(dalpha_mode == GradMode::accumulate ? dalpha + total : total);
}

}  // namespace

const ResidualRow residual_row{{"cpu", DeviceKind::cpu, true}, supports, workspace, forward, backward};

}  // namespace zeroth::cpu
