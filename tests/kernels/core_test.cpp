#include <numeric>
#include <vector>

#include "kernels/core/context.h"
#include "kernels/core/operation_table.h"
#include "kernels/core/parallel.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

/// What `call` throws: kind and message. Fails the test when it throws nothing.
template <class Call>
std::pair<ErrorKind, std::string> failure_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  FAIL("nothing was thrown");
  return {};
}

template <class Call>
void check_usage_error(Call&& call, const std::string& message) {
  const auto [kind, text] = failure_of(call);
  CHECK(kind == ErrorKind::usage);
  CHECK(text == message);
}

/// A table of rows that differ in name and device; a problem is a number, taken up to `limit`.
struct ToyRow : Row {
  int limit;
};
constexpr ToyRow kToyRows[] = {{{"fast", DeviceKind::cuda, true}, 10},
                               {{"fast", DeviceKind::simt, true}, 10},
                               {{"quick", DeviceKind::cpu, true}, 10},
                               {{"reference", DeviceKind::cpu, true}, 100}};

const ToyRow& select_toy(const Context& context, int problem) {
  return select_row(
      context, "toy", std::span<const ToyRow>(kToyRows),
      [=](const ToyRow& row) { return problem <= row.limit; },
      [=] { return "size " + std::to_string(problem); });
}

}  // namespace

TEST_CASE("a shape keeps its extents", "[core][shape]") {
  const Shape shape{128, 32, 31, 16};
  CHECK(shape.rank() == 4);
  CHECK(shape[2] == 31);
  CHECK(shape.elements() == 128 * 32 * 31 * 16);
  CHECK(shape.to_string() == "(128, 32, 31, 16)");
  CHECK(shape.with_first(2) == Shape{2, 32, 31, 16});
  CHECK(Shape{}.elements() == 1);
  CHECK(Shape{}.to_string() == "()");
  CHECK(Shape{3, 0}.elements() == 0);
  CHECK(Shape{2} != Shape{2, 1});
  CHECK(Shape{100000, 100000}.elements() == 10000000000);
}

TEST_CASE("impossible shapes are refused", "[core][shape]") {
  check_usage_error([] { Shape{1, 2, 3, 4, 5}; }, "a shape has at most four extents");
  check_usage_error([] { Shape{2, -1}; }, "a shape has no negative extents");
  check_usage_error([] { Shape{}.with_first(2); }, "a scalar has no first extent");
}

TEST_CASE("a view reads its elements as their dtype only", "[core][tensor_view]") {
  alignas(16) float values[6] = {1, 2, 3, 4, 5, 6};
  const TensorView view(values, {2, 3}, DType::f32);
  CHECK(view.elements() == 6);
  CHECK(view.bytes() == 24);
  CHECK(view.as<float>()[5] == 6.0f);
  const ConstTensorView read_only = view;
  CHECK(read_only.as<float>() == values);
  check_usage_error([&] { view.as<std::int32_t>(); }, "a f32 tensor was read as i32");
  CHECK_FALSE(static_cast<bool>(TensorView()));
  CHECK(TensorView().as<std::int32_t>() == nullptr);  // an absent operand has no dtype
}

TEST_CASE("check_operand names operation, operand and both sides", "[core][tensor_view]") {
  alignas(16) float values[8] = {};
  const TensorView good(values, {2, 3}, DType::f32);
  CHECK_NOTHROW(check_operand("toy", "x", good, {2, 3}, DType::f32));
  CHECK_NOTHROW(check_operand("toy", "x", TensorView(nullptr, {0, 3}, DType::f32), {0, 3}, DType::f32));
  check_usage_error(
      [&] {
        check_operand("toy", "x", TensorView(), {2, 3}, DType::f32);
      },
      "toy: x is missing");
  check_usage_error(
      [&] {
        check_operand("toy", "x", good, {3, 2}, DType::f32);
      },
      "toy: x has shape (2, 3), expected (3, 2)");
  check_usage_error(
      [&] {
        check_operand("toy", "x", good, {2, 3}, DType::bf16);
      },
      "toy: x has dtype f32, expected bf16");
  check_usage_error(
      [&] {
        check_operand("toy", "x", TensorView(values + 1, {2, 3}, DType::f32), {2, 3}, DType::f32);
      },
      "toy: x does not start on a 16-byte boundary");
}

TEST_CASE("devices are parsed and printed", "[core][device]") {
  CHECK(parse_device("cpu") == Device{DeviceKind::cpu, 0});
  CHECK(parse_device("simt") == Device{DeviceKind::simt, 0});
  CHECK(parse_device("cuda") == Device{DeviceKind::cuda, 0});
  CHECK(parse_device("cuda:7") == Device{DeviceKind::cuda, 7});
  for (const char* text : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cpu:0", "CPU"})
    check_usage_error([=] { parse_device(text); },
                      std::string("no such device '") + text + "': expected cpu, simt, cuda or cuda:N");
}

TEST_CASE("the allocator hands a released block out again", "[core][allocator]") {
  Allocator allocator({DeviceKind::cpu, 0});
  void* first = allocator.allocate(1000);
  CHECK(reinterpret_cast<std::uintptr_t>(first) % 256 == 0);
  CHECK(allocator.bytes_in_use() >= 1000);
  const std::size_t reserved = allocator.bytes_reserved();
  allocator.release(first);
  CHECK(allocator.bytes_in_use() == 0);
  CHECK(allocator.bytes_reserved() == reserved);

  void* second = allocator.allocate(990);  // nearly equal sizes share blocks
  CHECK(second == first);
  CHECK(allocator.bytes_reserved() == reserved);
  void* third = allocator.allocate(990);  // the block is taken
  CHECK(third != second);
  CHECK(allocator.bytes_reserved() == 2 * reserved);
  allocator.release(second);
  allocator.release(third);
  allocator.release(nullptr);
  CHECK(allocator.bytes_in_use() == 0);
}

TEST_CASE("the allocator wastes at most an eighth", "[core][allocator]") {
  Allocator allocator({DeviceKind::cpu, 0});
  for (std::size_t bytes = 4096; bytes < 5'000'000; bytes += bytes / 7 + 13) {
    void* data = allocator.allocate(bytes);
    const std::size_t used = allocator.bytes_in_use();
    CHECK(used >= bytes);
    CHECK(used <= bytes + bytes / 8 + 1);
    allocator.release(data);
  }
}

TEST_CASE("the allocator records its peak", "[core][allocator]") {
  Allocator allocator({DeviceKind::cpu, 0});
  void* a = allocator.allocate(1024);
  void* b = allocator.allocate(2048);
  allocator.release(a);
  void* c = allocator.allocate(256);
  CHECK(allocator.peak_bytes() == 3072);
  CHECK(allocator.bytes_in_use() == 2304);
  allocator.reset_peak();
  CHECK(allocator.peak_bytes() == 2304);
  allocator.release(b);
  allocator.release(c);
  CHECK(allocator.peak_bytes() == 2304);
}

TEST_CASE("scratch memory grows and stays", "[core][context]") {
  Context context({DeviceKind::cpu, 0});
  CHECK(context.scratch(0).data == nullptr);
  const Workspace small = context.scratch(100);
  CHECK(small.bytes >= 100);
  CHECK(reinterpret_cast<std::uintptr_t>(small.data) % 256 == 0);
  CHECK(context.scratch(50).data == small.data);
  const Workspace large = context.scratch(100000);
  CHECK(large.bytes >= 100000);
  static_cast<char*>(large.data)[99999] = 1;  // address sanitizer would object
  CHECK(context.scratch(100).data == large.data);
  const std::size_t reserved = context.allocator().bytes_reserved();
  context.scratch(100000);
  CHECK(context.allocator().bytes_reserved() == reserved);
}

TEST_CASE("a context keeps one state of each type", "[core][context]") {
  struct Counter {
    int value = 3;
  };
  struct Other {
    int value = 5;
  };
  Context context({DeviceKind::cpu, 0});
  CHECK(context.state<Counter>().value == 3);
  context.state<Counter>().value = 4;
  CHECK(context.state<Counter>().value == 4);
  CHECK(context.state<Other>().value == 5);
  Context another({DeviceKind::cpu, 0});
  CHECK(another.state<Counter>().value == 3);
}

TEST_CASE("an implementation is chosen as OPERATION=ROW", "[core][context]") {
  Context context({DeviceKind::cpu, 0});
  CHECK(context.chosen_implementation("toy") == nullptr);
  context.choose_implementation("toy=reference");
  REQUIRE(context.chosen_implementation("toy") != nullptr);
  CHECK(*context.chosen_implementation("toy") == Context::RowNames{"reference"});
  CHECK(context.chosen_implementation("to") == nullptr);
  context.choose_implementation("toy=quick");
  CHECK(*context.chosen_implementation("toy") == Context::RowNames{"quick"});
  context.choose_implementation("toy=quick+reference");
  CHECK(*context.chosen_implementation("toy") == Context::RowNames{"quick", "reference"});
  CHECK(context.chosen_implementations().size() == 1);
  for (const char* text : {"toy", "=quick", "toy=", "", "=", "toy=+quick", "toy=quick+"})
    check_usage_error([&] { context.choose_implementation(text); },
                      std::string("--impl takes OPERATION=ROW or OPERATION=ROW+ROW, not '") + text + "'");
}

TEST_CASE("select_row takes the first row that fits", "[core][operation_table]") {
  Context cpu({DeviceKind::cpu, 0});
  CHECK(&select_toy(cpu, 5) == &kToyRows[2]);
  CHECK(&select_toy(cpu, 50) == &kToyRows[3]);
  cpu.choose_implementation("toy=reference");
  CHECK(&select_toy(cpu, 5) == &kToyRows[3]);
  cpu.choose_implementation("toy=quick+reference");  // in this order, whichever takes the problem
  CHECK(&select_toy(cpu, 5) == &kToyRows[2]);
  CHECK(&select_toy(cpu, 50) == &kToyRows[3]);
  cpu.choose_implementation("toy=reference+quick");
  CHECK(&select_toy(cpu, 5) == &kToyRows[3]);
  cpu.choose_implementation("other=nothing");
  CHECK(&select_toy(cpu, 5) == &kToyRows[3]);

  Context simt({DeviceKind::simt, 0});
  CHECK(&select_toy(simt, 5) == &kToyRows[1]);
  simt.choose_implementation("toy=reference");  // by name, simt also reaches the rows of the host
  CHECK(&select_toy(simt, 5) == &kToyRows[3]);
}

TEST_CASE("select_row says which rows there are when none fits", "[core][operation_table]") {
  const std::string rows = "there are: fast@cuda, fast@simt, quick@cpu, reference@cpu";
  Context cpu({DeviceKind::cpu, 0});
  check_usage_error([&] { select_toy(cpu, 500); }, "toy: no row takes size 500 on cpu; " + rows);
  cpu.choose_implementation("toy=fast");
  check_usage_error([&] { select_toy(cpu, 5); }, "toy: no row named 'fast' takes size 5 on cpu; " + rows);
  cpu.choose_implementation("toy=fast+quick");
  check_usage_error([&] { select_toy(cpu, 50); },
                    "toy: no row named 'fast' or 'quick' takes size 50 on cpu; " + rows);
  Context simt({DeviceKind::simt, 0});
  check_usage_error([&] { select_toy(simt, 50); }, "toy: no row takes size 50 on simt; " + rows);
}

TEST_CASE("parallel_for covers every index once", "[core][parallel]") {
  for (const std::int64_t count : {0, 1, 2, 3, 17, 1000, 100003}) {
    std::vector<int> visits(static_cast<std::size_t>(count), 0);
    parallel_for(count, kParallelGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
    });
    CHECK(std::count(visits.begin(), visits.end(), 1) == count);
  }
}
