#pragma once

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Stands in for a CUDA row that this build was made without: it takes no problem, and its functions are null and
/// never reached.
template <class RowType>
constexpr RowType absent_row(const char* name = "native") {
  RowType row{};
  row.name = name;
  row.device = DeviceKind::cuda;
  row.supports = [](auto...) { return false; };
  return row;
}

}  // namespace zeroth
