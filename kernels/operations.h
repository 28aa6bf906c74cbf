#pragma once

#include <vector>

#include "kernels/core/operation_table.h"

namespace zeroth {

/// Every row of every operation's table, operation by operation, in order of preference.
std::vector<RowInfo> all_rows();

/// The operations, in the order of all_rows().
std::vector<std::string> all_operations();

/// Whether a context of this kind could take the row: its own rows and, chosen by name, the CPU's rows on
/// simt. Rows of a device that this build was made without are in the tables, too; they take nothing.
bool row_serves(const Row& row, DeviceKind kind, bool chosen_by_name);

/// Throws Error(usage), listing what there is, unless every implementation that was chosen for this context
/// is a row of an operation on its device.
void check_implementations(const Context& context);

/// Chooses, for each operation whose table has a row for this device that is not deterministic, those that
/// are. Throws Error(usage) where there is none.
void choose_deterministic_rows(Context& context);

/// Throws Error(usage), naming it, where a row was chosen that is not deterministic.
void refuse_other_bits(const Context& context);

}  // namespace zeroth
