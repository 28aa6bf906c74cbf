#include "kernels/core/profile_range.h"

#include "kernels/core/error.h"
#include "kernels/core/profiler.h"

namespace zeroth {

namespace {

thread_local RangeObserver* observer = nullptr;

}  // namespace

RangeObserver::RangeObserver() {
  require(observer == nullptr, "one observer of ranges at a time");
  observer = this;
}

RangeObserver::~RangeObserver() {
  observer = nullptr;
}

ProfileRange::ProfileRange(const char* name, const char* row) : depth_(row == nullptr ? 1 : 2) {
  if (observer != nullptr) observer->begin(name, row);
  push_profiler_range(name);
  if (row != nullptr) push_profiler_range(row);
}

ProfileRange::~ProfileRange() {
  for (; depth_ > 0; --depth_) pop_profiler_range();
  if (observer != nullptr) observer->end();
}

}  // namespace zeroth
