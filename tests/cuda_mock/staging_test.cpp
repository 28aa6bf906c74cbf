#include "kernels/core/staging_ring.h"
#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

TEST_CASE("an uploaded value may change at once, and nobody waits", "[staging]") {
  cuda_mock::start();
  Context context(kCuda);
  std::vector<void*> targets;
  for (std::size_t i = 0; i < StagingRing::kSlots; ++i) targets.push_back(context.allocator().allocate(8));
  std::vector<std::int32_t> value(2);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    value = {static_cast<std::int32_t>(i), -static_cast<std::int32_t>(i)};
    upload(context, targets[i], value);
    value = {99, 99};
  }
  CHECK(cuda_mock::waits() == 0);
  for (std::size_t i = 0; i < targets.size(); ++i)
    CHECK(values_at(context, targets[i], 2) ==
          std::vector<std::int32_t>{static_cast<std::int32_t>(i), -static_cast<std::int32_t>(i)});
}

TEST_CASE("a full ring waits for its oldest slot alone", "[staging]") {
  cuda_mock::start();
  Context context(kCuda);
  void* target = context.allocator().allocate(4 * 100);
  for (std::int32_t i = 0; i < 100; ++i)  // three times round
    upload(context, static_cast<std::int32_t*>(target) + i, {i});
  CHECK(cuda_mock::waits() == 100 - StagingRing::kSlots);
  const std::vector<std::int32_t> values = values_at(context, target, 100);
  for (std::int32_t i = 0; i < 100; ++i) CHECK(values[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("values larger than a slot go in pieces", "[staging]") {
  cuda_mock::start();
  Context context(kCuda);
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, StagingRing::kSlotBytes / 4, StagingRing::kSlotBytes / 4 + 1,
        StagingRing::kSlots * StagingRing::kSlotBytes}) {
    std::vector<std::int32_t> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<std::int32_t>(i * 7);
    void* target = context.allocator().allocate(count * 4);
    upload(context, target, values);
    CHECK(values_at(context, target, count) == values);
    context.allocator().release(target);
  }
}

TEST_CASE("an upload past the end of a block is refused and leaves the ring usable", "[staging]") {
  cuda_mock::start();
  Context context(kCuda);
  void* target = context.allocator().allocate(256);
  CHECK_THAT(failure_of([&] { upload(context, static_cast<std::byte*>(target) + 253, {1}); }).second,
             ContainsSubstring("invalid argument (cuda_device.cpp:"));
  upload(context, target, {5});
  CHECK(values_at(context, target, 1) == std::vector<std::int32_t>{5});
}

TEST_CASE("the ring works on the host too", "[staging]") {
  Context context({DeviceKind::cpu, 0});
  void* target = context.allocator().allocate(8);
  CHECK(failure_of([&] {
          context.upload({target, {2}, DType::i32}, bytes_of({3}));
        }) == std::pair(ErrorKind::usage, std::string("an upload needs a value of the tensor's size")));
  upload(context, target, {3, 4});
  CHECK(values_at(context, target, 2) == std::vector<std::int32_t>{3, 4});
}
