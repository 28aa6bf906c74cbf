#include "engine/checkpoint.h"

#include <cmath>
#include <limits>

#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

NamedTensor named(Context& context, const std::string& name, const std::vector<float>& values) {
  return {name, Tensor::from_host<float>(context, {static_cast<std::int64_t>(values.size())}, values)};
}

}  // namespace

TEST_CASE("checkpoints: what is not finite is named and the old file stays", "[checkpoint]") {
  const ScratchFolder scratch;
  Context context(Device{DeviceKind::cpu, 0});
  const auto file = scratch / "x.safetensors";
  save_tensors(context, file, std::vector{named(context, "w", {1, -0.0f, 3e38f})}, {{"step", "1"}});
  const std::string before = read_text(file);
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {inf, -inf, std::nanf("")}) {
    const std::vector<NamedTensor> tensors{named(context, "w", {1}), named(context, "v", {0, 0, bad})};
    const std::string message = message_of(ErrorKind::diverged, [&] {
      save_tensors(context, file, tensors, {{"step", "2"}});
    });
    CHECK(contains(message, "'v' is no longer finite"));
    CHECK(read_text(file) == before);
  }
}

TEST_CASE("checkpoints: every flipped bit is found, and no order of the file's text is asked for",
          "[checkpoint]") {
  const ScratchFolder scratch;
  Context context(Device{DeviceKind::cpu, 0});
  const auto file = scratch / "x.safetensors";
  save_tensors(context, file, std::vector{named(context, "w", {1, 2}), named(context, "a", {3})},
               {{"step", "390"}, {"config", "lr = 0.1\n"}});
  check_contents(SafetensorsFile(file));
  const std::string whole = read_text(file);
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    write_text(scratch / "y.safetensors", damaged);
    CAPTURE(bit);
    bool found = false;
    try {
      check_contents(SafetensorsFile(scratch / "y.safetensors"));
    } catch (const Error& error) {
      found = error.kind() == ErrorKind::data;
    }
    CHECK(found);
  }

  const SafetensorsFile intact(file);
  SafetensorsMetadata metadata = intact.metadata();
  const std::vector<SafetensorsEntry> turned(intact.tensors().rbegin(), intact.tensors().rend());
  write_safetensors(file, turned, metadata);
  check_contents(SafetensorsFile(file));
  metadata.erase("crc32");
  write_safetensors(file, turned, metadata);
  CHECK(contains(message_of(ErrorKind::data, [&] { check_contents(SafetensorsFile(file)); }), "no 'crc32'"));
}
