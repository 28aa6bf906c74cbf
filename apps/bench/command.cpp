#include "apps/bench/command.h"

#include "apps/processor.h"

namespace zeroth::app {

std::string processor_name(const Context& context) {
  const Device device = context.device();
  if (device.kind != DeviceKind::cuda) return read_processor().name;
  const CudaReport report = report_cuda();
  const auto index = static_cast<std::size_t>(device.index);
  return index < report.gpus.size() ? report.gpus[index].name : "unknown";
}

void add_bench_command(CLI::App& program, Action& action) {
  CLI::App* bench = program.add_subcommand("bench", "Check and time kernels, or time whole training steps.");
  bench->allow_extras();
  bench->footer("Example:\n  zeroth bench kernels --op conv2d\n  zeroth bench train --model rezero-resnet20");
  bench->callback([bench, &action] {
    refuse_leftovers(*bench);
    if (!action) fail(ErrorKind::usage, "zeroth bench takes one of kernels, train; see zeroth bench --help");
  });
  add_bench_kernels_command(*bench, action);
  add_bench_train_command(*bench, action);
}

}  // namespace zeroth::app
