#include "engine/event_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <string_view>

#include "engine/atomic_file.h"
#include "engine/crc.h"
#include "engine/protobuf.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix = "events.out.tfevents.";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();  // left out

// Fields of event.proto and summary.proto.
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr int kValue = 1, kTag = 1, kSimpleValue = 2;
constexpr int kStatus = 1, kStart = 1;

std::uint32_t masked_crc(std::string_view bytes) {
  Crc32c crc;
  crc.add(std::as_bytes(std::span(bytes)));
  const std::uint32_t value = crc.value();
  return ((value >> 15) | (value << 17)) + 0xa282ead8u;
}

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

/// Takes the bytes of a record off the front; nothing where it is damaged or not all there.
std::optional<std::string_view> take_record(std::string_view& file) {
  const auto number = [&](std::size_t at, int bytes) {
    std::uint64_t value = 0;
    for (int i = bytes; i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(file[at + static_cast<std::size_t>(i)]);
    return value;
  };
  if (file.size() < 16 || number(8, 4) != masked_crc(file.substr(0, 8))) return std::nullopt;
  const std::uint64_t length = number(0, 8);
  if (length > file.size() - 16) return std::nullopt;
  const std::string_view bytes = file.substr(12, length);
  if (number(12 + length, 4) != masked_crc(bytes)) return std::nullopt;
  file.remove_prefix(length + 16);
  return bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

ProtoMessage event(std::int64_t step) {
  ProtoMessage message;
  message.real(kWallTime, now()).integer(kStep, step);
  return message;
}

void cut(const fs::path& path, std::int64_t steps_taken) {
  std::ifstream file(path, std::ios::binary);
  const std::string old(std::istreambuf_iterator<char>(file), {});
  std::string kept;
  bool has_scalars = false;
  std::string_view rest = old;
  while (const auto record = take_record(rest)) {
    const std::int64_t step = find_integer(*record, kStep).value_or(0);
    if (step > steps_taken) continue;
    has_scalars = has_scalars || step > 0;
    kept += tf_record(std::string(*record));
  }
  std::error_code error;
  if (!has_scalars) {
    fs::remove(path, error);
    if (error) fail(ErrorKind::runtime, fmt::format("cannot remove {}: {}", path.string(), error.message()));
  } else if (kept != old) {
    replace_file(path, kept);
  }
}

/// The seconds in a file's name, by which TensorBoard orders files.
std::int64_t seconds_of(const fs::path& path) {
  const std::string name = path.filename().string();
  std::int64_t seconds = 0;
  std::from_chars(name.data() + std::strlen(kPrefix), name.data() + name.size(), seconds);
  return seconds;
}

}  // namespace

std::string tf_record(const std::string& bytes) {
  const std::string length = little_endian(bytes.size(), 8);
  return length + little_endian(masked_crc(length), 4) + bytes + little_endian(masked_crc(bytes), 4);
}

bool is_event_file(const fs::path& name) {
  return name.filename().string().starts_with(kPrefix);
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (is_event_file(entry->path())) files.push_back(entry->path());
  std::sort(files.begin(), files.end());
  return files;
}

EventLog::EventLog(const fs::path& folder, std::int64_t steps_taken) {
  std::int64_t seconds = static_cast<std::int64_t>(now());
  for (const fs::path& file : event_files(folder)) {
    seconds = std::max(seconds, seconds_of(file) + 1);
    cut(file, steps_taken);
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  path_ = folder / fmt::format("{}{:010}.{}.{}", kPrefix, seconds, host.data(), ::getpid());
  ProtoMessage version, start = event(steps_taken + 1);
  version.real(kWallTime, now()).text(kFileVersion, "brain.Event:2");
  // A TensorBoard that is running forgets what it has read of these steps.
  start.message(kSessionLog, ProtoMessage().integer(kStatus, kStart));
  replace_file(path_, tf_record(version.bytes()) + (steps_taken > 0 ? tf_record(start.bytes()) : ""));
}

void EventLog::write_scalars(std::int64_t step, const Scalars& scalars) {
  ProtoMessage summary;
  for (const auto& [tag, value] : scalars)
    if (std::isfinite(value))
      summary.message(kValue, ProtoMessage().text(kTag, tag).real32(kSimpleValue, static_cast<float>(value)));
  append_file(path_, tf_record(event(step).message(kSummary, summary).bytes()));
}

void EventLog::write(const StepRecord& record) {
  Scalars scalars{{"train/loss", record.loss},
                  {"train/error", record.error},
                  {"train/lr", record.learning_rate},
                  {"train/images_per_second", record.images_per_second},
                  {"train/gradient_norm", record.gradient_norm.value_or(kNone)},
                  {"train/loss_scale", record.loss_scale.value_or(kNone)}};
  for (const auto& [name, value] : record.alphas) scalars.emplace_back("alpha/" + name, value);
  write_scalars(record.step, scalars);
}

void EventLog::write(const EpochRecord& record) {
  if (record.validation)
    write_scalars(record.step, {{"validation/loss", record.validation->loss},
                                {"validation/error", record.validation->error}});
  if (record.test)
    write_scalars(record.step, {{"test/loss", record.test->loss}, {"test/error", record.test->error}});
}

}  // namespace zeroth
