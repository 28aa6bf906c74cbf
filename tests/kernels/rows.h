#pragma once

// What tests of single operations need besides operands and roundings (kernels/check/operand.h): every row of
// a table on every device there is, and checks with a name for the worst element.

#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernels/check/operand.h"
#include "kernels/core/operation_table.h"
#include "kernels/simt/runtime.h"
#include "tests/catch.h"

namespace zeroth::testing {

using namespace zeroth::check;

/// Whether this build and machine can run rows of a kind. ZEROTH_TEST_DEVICE=cpu|simt|cuda in the environment
/// leaves the others out: under compute-sanitizer only the GPU's matter.
inline bool has_device(DeviceKind kind) {
  if (const char* only = std::getenv("ZEROTH_TEST_DEVICE");
      only != nullptr && only != std::string(name_of(kind)))
    return false;
  try {
    backend(kind);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Calls test(context, row) for every row whose device is here.
template <class RowType, class Test>
void for_each_row(std::span<const RowType> rows, Test&& test) {
  for (const RowType& row : rows) {
    if (!has_device(row.device)) continue;
    Context context({row.device, 0});
    INFO("row " << row.name << " on " << name_of(row.device));
    test(context, row);
  }
}

#ifdef __SANITIZE_THREAD__
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

/// Calls run(), which returns bytes, again and, on simt, in every thread order: the bytes must stay the same.
template <class Run>
void check_same_bits(const Row& row, Run&& run) {
  const std::vector<std::byte> first = run();
  CHECK((run() == first));
  if (row.device == DeviceKind::simt)
    simt::run_in_every_order([&](const simt::OrderSetting&) { CHECK((run() == first)); });
}

/// Checks |actual[i] - expected[i]| <= bound(i), NaN where and only where NaN is expected, and names the
/// worst.
template <class Bound>
void check_close(const std::vector<double>& actual, const std::vector<double>& expected, Bound&& bound) {
  REQUIRE(actual.size() == expected.size());
  const std::string mismatch = mismatch_of(actual, expected, bound);
  if (!mismatch.empty()) UNSCOPED_INFO(mismatch);
  CHECK(mismatch.empty());
}

/// Checks that `call` throws Error(usage) with exactly this message.
template <class Call>
void check_usage_error(Call&& call, const std::string& message) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    CHECK(error.what() == message);
    return;
  }
  FAIL_CHECK("nothing was thrown; expected: " << message);
}

}  // namespace zeroth::testing
