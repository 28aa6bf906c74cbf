#include "apps/bench/kernels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "apps/bench/rotation.h"
#include "apps/options.h"
#include "kernels/check/call.h"
#include "kernels/check/cases.h"

namespace zeroth::app {

namespace {

using check::KernelCase;

std::vector<KernelCase> cases_of_problem(const Problem& problem) {
  return std::visit([](const auto& params) { return check::cases_of(params); }, problem);
}

/// How often a training step makes a call, of a problem that it meets so often.
int count_in_step(const KernelCase& call, const ProblemCount& counted) {
  switch (call.pass) {
    case check::Pass::inference:
      return 0;
    case check::Pass::forward:
    case check::Pass::backward_weight:
      return counted.count;
    case check::Pass::backward:
    case check::Pass::backward_data:
      break;
  }
  return call.accumulates ? counted.accumulating : counted.count - counted.accumulating - counted.first;
}

/// What the reference has to do for a check, in operations and elements, roughly.
double cost_of(const std::vector<KernelCase>& calls) {
  double cost = 0.0;
  for (const KernelCase& call : calls)
    cost = std::max(cost, call.flops + 8.0 * check::bytes_of(call, DType::f32));
  return cost;
}

bool wanted(const KernelBenchOptions& options, const std::string& row) {
  if (options.rows.empty()) return row != "reference";
  return std::find(options.rows.begin(), options.rows.end(), row) != options.rows.end();
}

/// The rows of a call that the device has and that were asked for.
std::vector<Row> rows_here(const Context& context, const KernelBenchOptions& options,
                           const KernelCase& call) {
  std::vector<Row> rows = call.rows(options.dtype);
  std::erase_if(rows, [&](const Row& row) {
    return row.device != context.device().kind || !wanted(options, row.name);
  });
  return rows;
}

/// Times the rows of one call, in turns, so that all meet the same machine.
class Timing {
 public:
  Timing(Context& context, const KernelBenchOptions& options, const KernelCase& call, Rotation& operands)
      : context_(context),
        options_(options),
        call_(call),
        operands_(operands),
        begin_(context.memory(), context.device().index),
        end_(context.memory(), context.device().index) {}

  void run(std::vector<RowResult*>& rows) {
    std::size_t workspace = 0;
    for (const RowResult* row : rows) {
      choose(*row);
      if (call_.workspace) workspace = std::max(workspace, call_.workspace(context_, options_.dtype));
    }
    const DeviceMemory scratch(context_.memory(), context_.device().index,
                               std::max<std::size_t>(workspace, 256));
    workspace_ = {scratch.data(), workspace};
    for (RowResult* row : rows) {
      static_cast<void>(milliseconds(*row, 1));  // makes plans, loads libraries, wakes threads
      const double once = std::max(milliseconds(*row, 1), 1e-4);
      row->calls =
          static_cast<int>(std::clamp(std::ceil(options_.min_time / options_.rounds / once), 1.0, 1e5));
    }
    std::vector<std::vector<double>> times(rows.size());
    for (int round = 0; round < options_.rounds; ++round)
      for (std::size_t turn = 0; turn < rows.size(); ++turn) {
        const std::size_t i = (turn + static_cast<std::size_t>(round)) % rows.size();
        operands_.refresh();
        times[i].push_back(milliseconds(*rows[i], rows[i]->calls));
      }
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i]->ms = spread_of(times[i]);
  }

 private:
  void choose(const RowResult& row) { context_.choose_implementation(call_.operation + "=" + row.row); }
  /// Of one of so many calls that follow one another, each on other operands.
  double milliseconds(const RowResult& row, int calls) {
    choose(row);
    context_.synchronize();
    begin_.record(context_.stream());
    for (int i = 0; i < calls; ++i)
      call_.run(context_, options_.dtype, operands_.operands(next_++), workspace_);
    end_.record(context_.stream());
    end_.wait();
    return end_.milliseconds_since(begin_) / calls;
  }

  Context& context_;
  const KernelBenchOptions& options_;
  const KernelCase& call_;
  Rotation& operands_;
  Event begin_, end_;
  Workspace workspace_;
  std::size_t next_ = 0;
};

}  // namespace

const RowResult* CallResult::find(const std::string& row) const {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const RowResult& r) { return r.row == row; });
  return found == rows.end() ? nullptr : &*found;
}

const RowResult* CallResult::library() const {
  for (const char* name : {"cudnn", "cublaslt", "onednn"})
    if (const RowResult* row = find(name); row != nullptr && row->timed()) return row;
  return nullptr;
}

double CallResult::floor_seconds(const Ceilings& ceilings) const {
  return std::max(ceilings.copy > 0.0 ? bytes / ceilings.copy : 0.0,
                  ceilings.matrix > 0.0 ? flops / ceilings.matrix : 0.0);
}

std::vector<StepCall> step_calls(const ResNetConfig& config, std::int64_t batch, DType dtype) {
  std::vector<StepCall> calls;
  for (const ProblemCount& counted : problems_of(config, batch, dtype))
    for (const KernelCase& call : cases_of_problem(counted.problem))
      calls.push_back({to_string(counted.problem), call, count_in_step(call, counted)});
  return calls;
}

std::vector<BenchCall> bench_calls(const std::vector<BenchShape>& shapes, DType dtype,
                                   const std::vector<std::string>& operations, double check_cost) {
  std::vector<BenchCall> calls;
  std::map<std::string, std::size_t> first_of;  // by problem: where its calls begin
  for (std::size_t shape = 0; shape < shapes.size(); ++shape) {
    const std::int64_t batch = shapes[shape].batch;
    for (const ProblemCount& counted : problems_of(resnet_config(shapes[shape].model), batch, dtype)) {
      const std::string operation = operation_of(counted.problem), name = to_string(counted.problem);
      if (!operations.empty() &&
          std::find(operations.begin(), operations.end(), operation) == operations.end())
        continue;
      const std::vector<KernelCase> cases = cases_of_problem(counted.problem);
      const auto [known, is_new] = first_of.emplace(name, calls.size());
      if (is_new) {
        const auto pictures = static_cast<double>(batch) * std::min(1.0, check_cost / cost_of(cases));
        const std::int64_t checked =
            std::clamp(static_cast<std::int64_t>(pictures), std::min<std::int64_t>(batch, 2), batch);
        const std::vector<KernelCase> smaller = cases_of_problem(with_batch(counted.problem, batch, checked));
        for (std::size_t i = 0; i < cases.size(); ++i)
          calls.push_back({name, cases[i], smaller[i], checked, std::vector<int>(shapes.size())});
      }
      for (std::size_t i = 0; i < cases.size(); ++i)
        calls[known->second + i].counts[shape] += count_in_step(cases[i], counted);
    }
  }
  // What no step makes (inference, a gradient that no layer adds to) is not asked for.
  std::erase_if(calls, [](const BenchCall& call) {
    return std::all_of(call.counts.begin(), call.counts.end(), [](int count) { return count == 0; });
  });
  if (calls.empty())
    fail(ErrorKind::usage,
         fmt::format("a training step of these shapes makes no call of {}", fmt::join(operations, ", ")));
  return calls;
}

void run_kernel_bench(Context& context, const KernelBenchOptions& options,
                      const std::vector<BenchCall>& calls,
                      const std::function<void(const CallResult&)>& done) {
  const auto cache = static_cast<double>(context.memory().cache_bytes(context.device().index));
  const auto rotate = static_cast<std::size_t>(options.rotate >= 0.0 ? options.rotate : 2.0 * cache);
  ReusedMemory memory(context);
  for (const BenchCall& bench : calls) {
    CallResult result{
        .operation = bench.call.operation,
        .problem = bench.problem,
        .pass = std::string(name_of(bench.call.pass)) + (bench.call.accumulates ? ", added to" : ""),
        .checked = bench.checked,
        .bytes = check::bytes_of(bench.call, options.dtype),
        .flops = bench.call.flops,
        .rotated = 0,
        .counts = bench.counts,
        .rows = {}};
    const std::vector<Row> rows = rows_here(context, options, bench.call);
    if (!rows.empty()) {
      const check::Expectation expected = check::expect(bench.smaller, options.dtype);
      const std::vector<Row> checkable = rows_here(context, options, bench.smaller);
      for (const Row& row : rows) {
        if (std::none_of(checkable.begin(), checkable.end(),
                         [&](const Row& r) { return r.name == std::string(row.name); })) {
          result.rows.push_back(
              {row.name, fmt::format("does not take the {} pictures of its check", bench.checked), {}, 0});
          continue;
        }
        context.choose_implementation(bench.call.operation + "=" + row.name);
        const check::Call made(bench.smaller, context, options.dtype, expected.before);
        const std::vector<std::string> faults =
            check::faults_of(bench.smaller, options.dtype, row, made, expected);
        result.rows.push_back({row.name, fmt::format("{}", fmt::join(faults, "; ")), {}, 0});
      }
      std::vector<RowResult*> right;
      for (RowResult& row : result.rows)
        if (row.fault.empty()) right.push_back(&row);
      if (context.device().kind != DeviceKind::simt && !right.empty()) {
        Rotation operands(context, memory, bench.call, options.dtype, expected.before, rotate);
        result.rotated = operands.bytes();
        Timing(context, options, bench.call, operands).run(right);
      }
    }
    done(result);
  }
}

}  // namespace zeroth::app
