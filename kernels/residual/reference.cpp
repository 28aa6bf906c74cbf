#include "kernels/residual/residual.h"

namespace zeroth::reference {

namespace {

bool supports(const ResidualParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

std::size_t workspace(Context&, const ResidualParams&) {
  return 0;
}

template <class T>
T rectified(T x) {
  return x < T{0} ? T{0} : x;
}

template <class T>
void write(T& to, T value, GradMode mode) {
  if (mode == GradMode::overwrite) to = value;
  if (mode == GradMode::accumulate) to += value;
}

void forward(Context&, const ResidualParams& params, ConstTensorView f_view, ConstTensorView shortcut_view,
             ConstTensorView alpha_view, TensorView y_view) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *f = f_view.as<T>(), *shortcut = shortcut_view.as<T>();
    T* y = y_view.as<T>();
    const T alpha = params.form == ResidualForm::plain ? T{1} : *alpha_view.as<T>();
    for (std::int64_t i = 0; i < params.elements; ++i)
      y[i] = params.form == ResidualForm::authors ? alpha * rectified(f[i]) + shortcut[i]
                                                  : rectified(alpha * f[i] + shortcut[i]);
  });
}

void backward(Context&, const ResidualParams& params, ConstTensorView dy_view, ConstTensorView f_view,
              ConstTensorView y_view, ConstTensorView alpha_view, TensorView df_view, GradMode df_mode,
              TensorView dshortcut_view, GradMode dshortcut_mode, TensorView dalpha_view,
              GradMode dalpha_mode, Workspace) {
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    const T *dy = dy_view.as<T>(), *f = f_view.as<T>(), *y = y_view.as<T>();
    T *df = df_view.as<T>(), *dshortcut = dshortcut_view.as<T>();
    const T alpha = params.form == ResidualForm::plain ? T{1} : *alpha_view.as<T>();
    T dalpha{};
    for (std::int64_t i = 0; i < params.elements; ++i) {
      const bool authors = params.form == ResidualForm::authors;
      const T d = authors || y[i] > T{0} ? dy[i] : T{0};
      const T branch = authors && !(f[i] > T{0}) ? T{0} : d;
      if (params.form != ResidualForm::plain) dalpha += branch * f[i];
      if (df_mode != GradMode::skip) write(df[i], alpha * branch, df_mode);
      if (dshortcut_mode != GradMode::skip) write(dshortcut[i], d, dshortcut_mode);
    }
    if (dalpha_mode != GradMode::skip) write(*dalpha_view.as<T>(), dalpha, dalpha_mode);
  });
}

}  // namespace

const ResidualRow residual_row{{"reference", DeviceKind::cpu, true}, supports, workspace, forward, backward};

}  // namespace zeroth::reference
