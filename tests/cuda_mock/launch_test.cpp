#include "kernels/core/cuda_launch.h"
#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

namespace {

void add_one_kernel(std::int32_t*, std::int32_t) {}
void faulty_kernel() {}
void unknown_kernel() {}

const void* const kAddOne = reinterpret_cast<const void*>(&add_one_kernel);
const void* const kFaulty = reinterpret_cast<const void*>(&faulty_kernel);

void start(std::size_t gpus) {
  cuda_mock::start({.gpus = std::vector<cuda_mock::Gpu>(gpus)});
  cuda_mock::add_kernel(kAddOne, "add_one_kernel", [](void** arguments) {
    std::int32_t* data = *static_cast<std::int32_t**>(arguments[0]);
    const std::int32_t value = *static_cast<std::int32_t*>(arguments[1]);
    return [=] {
      *data += value;
      return cudaSuccess;
    };
  });
  cuda_mock::add_kernel(kFaulty, "faulty_kernel",
                        [](void**) { return [] { return cudaErrorIllegalAddress; }; });
}

void add_to(Context& context, void* data, std::int32_t value) {
  void* arguments[] = {&data, &value};
  cuda_native::queue_kernel(kAddOne, dim3(1), dim3(32), arguments, 0, context.stream());
}

void queue_faulty(const Context& context) {
  cuda_native::queue_kernel(kFaulty, dim3(1), dim3(32), nullptr, 0, context.stream());
}

}  // namespace

TEST_CASE("kernels run in their stream's order, on its device", "[launch]") {
  start(2);
  Context one({DeviceKind::cuda, 0}), two({DeviceKind::cuda, 1});
  void* a = one.allocator().allocate(4);
  void* b = two.allocator().allocate(4);
  one.memory().fill_zero(a, 4, one.stream());
  two.memory().fill_zero(b, 4, two.stream());
  for (int i = 0; i < 3; ++i) {
    add_to(one, a, 1);
    add_to(two, b, 10);
  }
  CHECK(cuda_mock::waits() == 0);
  CHECK(values_at(one, a, 1)[0] == 3);
  CHECK(values_at(two, b, 1)[0] == 30);
}

TEST_CASE("a refused launch names the kernel", "[launch]") {
  start(1);
  Context context(kCuda);
  const auto launch = [&](const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes) {
    return failure_of([&] {
             cuda_native::queue_kernel(kernel, grid, block, nullptr, shared_bytes, context.stream());
           })
        .second;
  };
  CHECK(launch(kFaulty, dim3(0), dim3(32), 0) ==
        "launch of kernel faulty_kernel, or work before it: invalid configuration argument");
  CHECK_THAT(launch(kFaulty, dim3(1), dim3(1025), 0), ContainsSubstring("invalid configuration argument"));
  CHECK_THAT(launch(kFaulty, dim3(1), dim3(32), 300 << 10), ContainsSubstring("invalid argument"));
  CHECK_THAT(launch(reinterpret_cast<const void*>(&unknown_kernel), dim3(1), dim3(32), 0),
             ContainsSubstring("launch of kernel ?"));
  CHECK_NOTHROW(context.synchronize());
}

TEST_CASE("large shared memory is asked for", "[launch]") {
  start(1);
  Context context(kCuda);
  void* data = context.allocator().allocate(4);
  std::int32_t value = 1;
  void* arguments[] = {&data, &value};
  context.memory().fill_zero(data, 4, context.stream());
  CHECK_NOTHROW(
      cuda_native::queue_kernel(kAddOne, dim3(1), dim3(32), arguments, 200 << 10, context.stream()));
  CHECK(values_at(context, data, 1)[0] == 1);
}

TEST_CASE("a fault appears at the next wait, and at once with sync-launches", "[launch]") {
  start(1);
  {
    Context context(kCuda);
    CHECK_NOTHROW(queue_faulty(context));
    CHECK_THAT(failure_of([&] { context.synchronize(); }).second,
               ContainsSubstring("--sync-launches names it"));
  }
  start(1);
  Context context(kCuda);
  context.set_sync_launches(true);
  void* data = context.allocator().allocate(4);
  context.memory().fill_zero(data, 4, context.stream());
  add_to(context, data, 5);
  CHECK(*static_cast<std::int32_t*>(data) == 5);  // the mock's device memory is the host's
  CHECK(failure_of([&] { queue_faulty(context); }) ==
        std::pair(ErrorKind::runtime,
                  std::string("kernel faulty_kernel failed: an illegal memory access was encountered")));
  CHECK_THAT(failure_of([&] { add_to(context, data, 5); }).second,  // the device is lost
             ContainsSubstring("an illegal memory access was encountered"));
}
