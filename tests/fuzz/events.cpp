// Protobuf messages, and an event file of TensorBoard that a resumed run cuts; where the first byte is even,
// the rest becomes one whole record.
#include "engine/event_log.h"
#include "engine/protobuf.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  if (input.empty()) return;
  const std::string message = as_text(input.subspan(1));
  for (const int field : {1, 2, 5}) static_cast<void>(find_integer(message, field));
  const std::string record = input[0] % 2 == 0 ? tf_record(message) : message;
  for (const std::filesystem::path& old : event_files(scratch())) std::filesystem::remove(old);
  write_file(scratch() / "events.out.tfevents.0000000001.host.1",
             {reinterpret_cast<const std::uint8_t*>(record.data()), record.size()});
  expect_answer([&] { EventLog(scratch(), 3); });
}

}  // namespace zeroth::fuzz
