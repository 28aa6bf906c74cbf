#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/context.h"

namespace zeroth {

/// What every row of an operation's table says of itself; an operation's row type derives from it and adds
/// its function pointers. Rows are ordered by preference.
struct Row {
  const char* name;  // "reference", "onednn", "cpu", "native", "cudnn"
  DeviceKind device;
  bool deterministic;  // same inputs, same device: same bits, with any number of threads
};

/// One row, described for `zeroth info`, --impl and messages.
struct RowInfo {
  std::string operation;
  Row row;
};

namespace detail {
[[noreturn]] void fail_no_row(const Context& context, std::string_view operation, const std::string& rows,
                              const std::string& problem);
[[noreturn]] void fail_row_in_capture(std::string_view operation, const char* row);
}  // namespace detail

/// The first row for the context's device that supports the problem, in the order of the table or, where rows
/// were chosen with --impl, the first of these that does; the device is made current, as rows that call
/// libraries expect. A row of the host also serves simt, whose memory is the host's, when it is chosen by
/// name; as it computes at once, Error(runtime) is thrown where work is captured. Throws Error(usage) listing
/// the rows there are when none fits. `supports(row)` says whether a row takes this problem; `describe()`
/// names it.
template <class RowType, class Supports, class Describe>
const RowType& select_row(const Context& context, std::string_view operation, std::span<const RowType> rows,
                          Supports&& supports, Describe&& describe) {
  const Context::RowNames* chosen = context.chosen_implementation(operation);
  const DeviceKind device = context.device().kind;
  context.activate();
  const auto first = [&](const std::string* name) -> const RowType* {
    for (const RowType& row : rows) {
      const bool here = row.device == device ||
                        (name != nullptr && device == DeviceKind::simt && row.device == DeviceKind::cpu);
      if (!here || (name != nullptr && *name != row.name) || !supports(row)) continue;
      if (device == DeviceKind::simt && row.device == DeviceKind::cpu && context.capturing())
        detail::fail_row_in_capture(operation, row.name);
      return &row;
    }
    return nullptr;
  };
  if (chosen == nullptr) {
    if (const RowType* row = first(nullptr)) return *row;
  } else {
    for (const std::string& name : *chosen)
      if (const RowType* row = first(&name)) return *row;
  }
  std::string names;
  for (const RowType& row : rows)
    names += std::string(names.empty() ? "" : ", ") + row.name + "@" + name_of(row.device);
  detail::fail_no_row(context, operation, names, describe());
}

}  // namespace zeroth
