#include "kernels/residual/residual.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

const char* name_of(ResidualForm form) {
  switch (form) {
    case ResidualForm::plain:
      return "plain";
    case ResidualForm::post:
      return "post";
    case ResidualForm::authors:
      return "authors";
  }
  return "?";
}

std::string ResidualParams::to_string() const {
  return fmt::format("{} {} {}", name_of(form), elements, name_of(dtype));
}

std::span<const ResidualRow> residual_rows() {
  static const ResidualRow rows[] = {cuda_native::residual_row, simt_native::residual_row, cpu::residual_row,
                                     reference::residual_row};
  return rows;
}

namespace {

const ResidualRow& select(const Context& context, const ResidualParams& params) {
  return select_row(
      context, "residual", residual_rows(), [&](const ResidualRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

/// Operands of one shape, whichever it is, with the elements that params names.
void check_elements(const char* operation, const char* operand, ConstTensorView view,
                    const ResidualParams& params) {
  if (!view && params.elements > 0)
    fail(ErrorKind::usage, fmt::format("{}: {} is missing", operation, operand));
  if (view && view.elements() != params.elements)
    fail(ErrorKind::usage, fmt::format("{}: {} has shape {}, expected {} elements", operation, operand,
                                       view.shape.to_string(), params.elements));
  check_operand(operation, operand, view, view.shape, params.dtype);
}

void check_alpha(const char* operation, const char* operand, ConstTensorView view,
                 const ResidualParams& params) {
  check_operand(operation, operand, view, {1}, statistics_dtype(params.dtype));
}

}  // namespace

std::size_t residual_workspace(Context& context, const ResidualParams& params) {
  return select(context, params).workspace(context, params);
}

void residual_forward(Context& context, const ResidualParams& params, ConstTensorView f,
                      ConstTensorView shortcut, ConstTensorView alpha, TensorView y) {
  constexpr const char* kName = "residual";
  const ResidualRow& row = select(context, params);
  const ProfileRange range("residual_forward", row.name);
  check_elements(kName, "f", f, params);
  check_elements(kName, "shortcut", shortcut, params);
  check_elements(kName, "y", y, params);
  if (params.form != ResidualForm::plain) check_alpha(kName, "alpha", alpha, params);
  row.forward(context, params, f, shortcut, alpha, y);
}

void residual_backward(Context& context, const ResidualParams& params, ConstTensorView dy, ConstTensorView f,
                       ConstTensorView y, ConstTensorView alpha, TensorView df, GradMode df_mode,
                       TensorView dshortcut, GradMode dshortcut_mode, TensorView dalpha, GradMode dalpha_mode,
                       Workspace workspace) {
  constexpr const char* kName = "residual backward";
  const ResidualRow& row = select(context, params);
  const ProfileRange range("residual_backward", row.name);
  if (params.form == ResidualForm::plain) dalpha_mode = GradMode::skip;
  check_elements(kName, "dy", dy, params);
  if (params.form != ResidualForm::plain) {
    check_elements(kName, "f", f, params);
    check_alpha(kName, "alpha", alpha, params);
  }
  if (params.form != ResidualForm::authors) check_elements(kName, "y", y, params);
  if (df_mode != GradMode::skip) check_elements(kName, "df", df, params);
  if (dshortcut_mode != GradMode::skip) check_elements(kName, "dshortcut", dshortcut, params);
  if (dalpha_mode != GradMode::skip) check_alpha(kName, "dalpha", dalpha, params);
  check_workspace(kName, workspace, row.workspace(context, params));
  row.backward(context, params, dy, f, y, alpha, df, df_mode, dshortcut, dshortcut_mode, dalpha, dalpha_mode,
               workspace);
}

}  // namespace zeroth
