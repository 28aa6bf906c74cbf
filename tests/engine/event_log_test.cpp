#include "engine/event_log.h"

#include <cmath>
#include <fstream>
#include <limits>

#include "engine/crc.h"
#include "engine/protobuf.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

template <class Crc>
std::uint32_t crc_of(const std::string& text) {
  Crc crc;
  crc.add(std::as_bytes(std::span(text)));
  return crc.value();
}

StepRecord step_record(std::int64_t step) {
  StepRecord record;
  record.step = step;
  record.loss = 0.5;
  record.error = std::numeric_limits<double>::quiet_NaN();
  return record;
}

/// How often a text occurs.
int count(const std::string& text, const std::string& wanted) {
  int found = 0;
  for (std::size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("checksums have their published check values", "[crc]") {
  // Of "123456789": the "check" of CRC-32/ISO-HDLC and CRC-32/ISCSI in the catalogue of parametrised CRCs.
  CHECK(crc_of<Crc32>("123456789") == 0xcbf43926u);
  CHECK(crc_of<Crc32c>("123456789") == 0xe3069283u);
  CHECK(crc_of<Crc32c>(std::string(32, '\0')) == 0x8a9136aau);  // RFC 3720, B.4
  CHECK(crc_of<Crc32c>(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("protobuf: the encodings that its documentation gives", "[protobuf]") {
  // https://protobuf.dev/programming-guides/encoding: Test1 {a: 150}, Test2 {b: "testing"}, Test3 {c: Test1}
  CHECK(ProtoMessage().integer(1, 150).bytes() == "\x08\x96\x01");
  CHECK(ProtoMessage().text(2, "testing").bytes() == "\x12\x07testing");
  CHECK(ProtoMessage().message(3, ProtoMessage().integer(1, 150)).bytes() == "\x1a\x03\x08\x96\x01");
  CHECK(ProtoMessage().integer(1, -2).bytes() == "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  CHECK(ProtoMessage().integer(16, 0).bytes() == std::string("\x80\x01\x00", 3));
  CHECK(ProtoMessage().real(1, 1.0).bytes() == std::string("\x09\0\0\0\0\0\0\xf0\x3f", 9));
  CHECK(ProtoMessage().real32(1, 1.0f).bytes() == std::string("\x0d\0\0\x80\x3f", 5));
}

TEST_CASE("protobuf: an integer is found among other fields, and not in what is no message", "[protobuf]") {
  ProtoMessage message;
  message.real(1, 2.0)
      .text(3, "text")
      .real32(4, 1.0f)
      .integer(2, 1'000'000)
      .message(5, ProtoMessage().integer(2, 7));
  CHECK(find_integer(message.bytes(), 2) == 1'000'000);
  CHECK(find_integer(message.bytes(), 6) == std::nullopt);
  CHECK(find_integer("", 2) == std::nullopt);
  for (std::size_t length = 1; length < message.bytes().size(); ++length)  // cut short: never a read past it
    static_cast<void>(find_integer(message.bytes().substr(0, length), 2));
  CHECK(find_integer("\x12\x7f", 2) == std::nullopt);
  CHECK(find_integer("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 2) == std::nullopt);
}

TEST_CASE("event log: a record has the framing of TFRecord", "[event_log]") {
  // The masked CRC-32C of eight bytes 03 00 .. and of "abc", by TensorFlow's masking rule.
  const std::string record = tf_record("abc");
  REQUIRE(record.size() == 8 + 4 + 3 + 4);
  CHECK(record.substr(0, 8) == std::string("\3\0\0\0\0\0\0\0", 8));
  CHECK(record.substr(12, 3) == "abc");
  const std::uint32_t crc = crc_of<Crc32c>("abc");
  CHECK(crc == 0x364b3fb7u);
  const std::uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  for (int i = 0; i < 4; ++i)
    CHECK(static_cast<unsigned char>(record[static_cast<std::size_t>(15 + i)]) == (masked >> (8 * i) & 0xff));
}

TEST_CASE("event log: a process adds a file and cuts what comes after its first step", "[event_log]") {
  const ScratchFolder scratch;
  {
    EventLog log(scratch.path(), 0);
    for (const std::int64_t step : {10, 20, 30}) log.write(step_record(step));
  }
  REQUIRE(event_files(scratch.path()).size() == 1);
  const auto first = event_files(scratch.path())[0];
  const std::string whole = read_text(first);
  CHECK(count(whole, "train/loss") == 3);
  CHECK(count(whole, "train/error") == 0);  // not finite
  write_text(first, whole + "half a rec");
  { const EventLog resumed(scratch.path(), 20); }
  REQUIRE(event_files(scratch.path()).size() == 2);
  CHECK(event_files(scratch.path())[0] == first);
  CHECK(count(read_text(first), "train/loss") == 2);
  CHECK(whole.starts_with(read_text(first)));
  { const EventLog anew(scratch.path(), 0); }
  REQUIRE(event_files(scratch.path()).size() == 1);
  CHECK(event_files(scratch.path())[0] != first);
  CHECK_THROWS_AS(EventLog(scratch / "absent", 0), Error);
}

TEST_CASE("event log: a flipped bit ends what is read of a file", "[event_log]") {
  const ScratchFolder scratch;
  {
    EventLog log(scratch.path(), 0);
    for (const std::int64_t step : {10, 20}) log.write(step_record(step));
  }
  const auto file = event_files(scratch.path())[0];
  std::string damaged = read_text(file);
  damaged[damaged.size() - 8] ^= 1;
  write_text(file, damaged);
  { const EventLog resumed(scratch.path(), 20); }
  CHECK(count(read_text(file), "train/loss") == 1);
}
