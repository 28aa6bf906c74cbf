#pragma once

#include <span>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// How a residual block joins its branch F with its shortcut.
enum class ResidualForm : std::uint8_t {
  plain,    ///< y = relu(F + shortcut)                 (He et al., 2015)
  post,     ///< y = relu(alpha * F + shortcut)         (ReZero-ResNet)
  authors,  ///< y = alpha * relu(F) + shortcut         (Bachlechner et al., "ReZero is all you need", their
            ///< notebook)
};

const char* name_of(ResidualForm form);

/// f, shortcut, y and their gradients: any one shape, storage dtype. alpha, dalpha: (1) in the statistics
/// dtype; absent (null) for plain. y may alias f or shortcut in forward; in backward df may alias dy when
/// overwritten, and so may dshortcut, not both.
struct ResidualParams {
  ResidualForm form;
  std::int64_t elements;
  DType dtype = DType::f32;
  std::string to_string() const;
};

struct ResidualRow : Row {
  bool (*supports)(const ResidualParams&);
  std::size_t (*workspace)(Context&, const ResidualParams&);
  void (*forward)(Context&, const ResidualParams&, ConstTensorView f, ConstTensorView shortcut,
                  ConstTensorView alpha, TensorView y);
  void (*backward)(Context&, const ResidualParams&, ConstTensorView dy, ConstTensorView f, ConstTensorView y,
                   ConstTensorView alpha, TensorView df, GradMode df_mode, TensorView dshortcut,
                   GradMode dshortcut_mode, TensorView dalpha, GradMode dalpha_mode, Workspace);
};

/// Every implementation, in order of preference.
std::span<const ResidualRow> residual_rows();

namespace reference {
extern const ResidualRow residual_row;
}
namespace cpu {
extern const ResidualRow residual_row;
}
namespace simt_native {
extern const ResidualRow residual_row;
}
namespace cuda_native {
extern const ResidualRow residual_row;
}

std::size_t residual_workspace(Context& context, const ResidualParams& params);

void residual_forward(Context& context, const ResidualParams& params, ConstTensorView f,
                      ConstTensorView shortcut, ConstTensorView alpha, TensorView y);

/// With d = dy where y > 0 else 0 (plain, post) or d = dy (authors), each result in its own mode:
///   dshortcut = d;  df = d (plain), alpha * d (post), alpha * dy where f > 0 (authors);
///   dalpha = sum of d * f (post), of dy * relu(f) (authors), in a fixed order.
/// `f` may be null for plain, `y` for authors.
void residual_backward(Context& context, const ResidualParams& params, ConstTensorView dy, ConstTensorView f,
                       ConstTensorView y, ConstTensorView alpha, TensorView df, GradMode df_mode,
                       TensorView dshortcut, GradMode dshortcut_mode, TensorView dalpha, GradMode dalpha_mode,
                       Workspace workspace);

}  // namespace zeroth
