#include "apps/out_of_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

/// For what the dry run does not know: thread stacks, libraries' own memory, fragments.
constexpr double kMargin = 1.1;

std::string size_text(double bytes) {
  return bytes >= 1e9 ? fmt::format("{:.1f} GB", bytes / 1e9) : fmt::format("{:.0f} MB", bytes / 1e6);
}

/// Bytes that the training takes of the device's memory. The host's holds the pictures once more.
double bytes_needed(const MemoryUse& use, Device device) {
  const std::size_t host = device.kind == DeviceKind::cuda ? 0 : use.pictures;
  return kMargin * static_cast<double>(use.peak() + host);
}

/// The largest batch up to the one wanted that fits; 0 where none does. What a training takes is a line over
/// the size of the batch, nearly: two points of it give a first guess.
std::int64_t batch_that_fits(TrainOptions options, const MemorySets& sets, Device device, double free_bytes) {
  const auto needed = [&](std::int64_t batch) {
    options.batch_size = batch;
    return bytes_needed(predict_memory_use(options, sets), device);
  };
  const std::int64_t wanted = options.batch_size;
  const double all = needed(wanted), one = needed(1);
  if (one > free_bytes) return 0;
  if (all <= free_bytes) return wanted;
  const double each = std::max(1.0, (all - one) / static_cast<double>(wanted - 1));
  std::int64_t batch =
      std::clamp(static_cast<std::int64_t>((free_bytes - one) / each), std::int64_t{1}, wanted - 1);
  while (batch > 1 && needed(batch) > free_bytes) batch = std::max<std::int64_t>(1, batch * 9 / 10);
  return batch;
}

}  // namespace

std::string out_of_memory_text(const TrainOptions& options, const MemorySets& sets, Device device,
                               std::size_t free_bytes, const std::string& what) {
  const MemoryUse use = predict_memory_use(options, sets);
  const auto free = static_cast<double>(free_bytes);
  std::string text = fmt::format(
      "{}; {} in batches of {} takes about {} ({} of them for activations), {} were free on the {}; ", what,
      options.model, options.batch_size, size_text(bytes_needed(use, device)),
      size_text(static_cast<double>(use.step)), size_text(free),
      device.kind == DeviceKind::cuda ? "GPU" : "host");
  const std::int64_t batch = batch_that_fits(options, sets, device, free);
  if (batch == options.batch_size) return text + "that should fit: is another program taking memory?";
  if (batch > 0) return text + fmt::format("--batch-size {} fits", batch);
  return text + "no batch fits: take a smaller --model, fewer pictures or --amp bf16";
}

}  // namespace zeroth::app
