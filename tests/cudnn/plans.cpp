// Asks cuDNN for plans of every convolution or batch norm of the models, and of the kernel tests, for a GPU
// that is only described: what the rows would ask on that GPU. Fails where a problem that a row takes has
// none, or where a record of chosen plans could not tell one from another.
//
//   zeroth_cudnn_plans conv2d|batch_norm DEVICE.json

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "kernels/batch_norm/cudnn.h"
#include "kernels/check/cases.h"
#include "kernels/conv2d/cudnn.h"
#include "models/problems.h"

using namespace zeroth;

namespace {

constexpr const char* kModels[] = {"resnet20",  "resnet32",   "resnet44", "resnet56",
                                   "resnet110", "resnet1202", "resnet18", "resnet18-cifar"};
/// CIFAR-10's training set in batches of 128 and 1024, and the last of the former.
constexpr std::int64_t kBatches[] = {128, 1024, 50000 % 128};
constexpr DType kDTypes[] = {DType::f32, DType::bf16, DType::f16};

/// The models' problems of one operation, each once; their storage dtype is f32.
template <class Params>
std::vector<Params> model_problems() {
  std::map<std::string, Params> problems;
  for (const char* name : kModels)
    for (const ShortcutKind shortcut : {ShortcutKind::a, ShortcutKind::b})
      for (const std::int64_t batch : kBatches) {
        ResNetConfig config = resnet_config(name);
        config.shortcut = shortcut;
        for (const ProblemCount& counted : problems_of(config, batch))
          if (const auto* params = std::get_if<Params>(&counted.problem))
            problems.emplace(params->to_string(), *params);
      }
  std::vector<Params> result;
  for (const auto& [name, params] : problems) result.push_back(params);
  return result;
}

/// Every batch norm of the models, those that are part of a fused operation as well.
std::map<std::string, BatchNormParams> norm_problems() {
  std::map<std::string, BatchNormParams> problems;
  const auto add = [&](const BatchNormParams& params) { problems.emplace(params.to_string(), params); };
  for (const BatchNormParams& params : model_problems<BatchNormParams>()) add(params);
  for (const BatchNormActParams& params : model_problems<BatchNormActParams>()) add(params);
  return problems;
}

/// What was found of the problems of one line of the table.
struct Line {
  int problems = 0, without = 0;
  std::size_t fewest = SIZE_MAX, most = 0, built = 0;
};

class Table {
 public:
  /// Counts a problem's candidates, and builds the first plan when `build`.
  void add(const std::string& line_name, const std::string& problem, const cudnn::Target& target,
           std::vector<cudnn::Candidate> candidates, bool build) {
    Line& line = lines_[line_name];
    ++line.problems;
    line.fewest = std::min(line.fewest, candidates.size());
    line.most = std::max(line.most, candidates.size());
    try {
      if (build) {
        cudnn::first_plan(target, std::move(candidates), problem);
        ++line.built;
      } else if (candidates.empty()) {
        fail(ErrorKind::runtime, problem + ": no candidates");
      }
    } catch (const Error& error) {
      fmt::print("{}\n", error.what());
      ++line.without;
    }
  }

  /// Prints the lines; whether every problem has a plan.
  bool print() const {
    fmt::print("{:45} {:>8} {:>16} {:>11} {:>8}\n", "", "problems", "candidates each", "plans built",
               "without");
    bool complete = !lines_.empty();
    for (const auto& [name, line] : lines_) {
      fmt::print("{:45} {:8} {:>16} {:11} {:8}\n", name, line.problems,
                 fmt::format("{}-{}", line.fewest, line.most), line.built, line.without);
      complete = complete && line.without == 0;
    }
    return complete;
  }

 private:
  std::map<std::string, Line> lines_;
};

std::vector<std::string> descriptions(const std::vector<cudnn::Candidate>& candidates) {
  std::vector<std::string> texts;
  for (const cudnn::Candidate& candidate : candidates) texts.push_back(describe(candidate.engine_config));
  return texts;
}

/// Whether a record of chosen plans would find each of a problem's candidates again: no two are described
/// alike, and asked again, cuDNN offers the same. Prints the problem otherwise. `by_settings` becomes true
/// where two candidates differ by their settings alone.
bool check_descriptions(const cudnn::Target& target, const cudnn::ConvolutionProblem& problem,
                        const std::vector<cudnn::Candidate>& candidates, bool& by_settings) {
  const std::vector<std::string> texts = descriptions(candidates);
  const bool different = std::set(texts.begin(), texts.end()).size() == texts.size(),
             again = descriptions(convolution_candidates(target, problem)) == texts;
  std::set<std::string> engines;
  for (const std::string& text : texts) engines.insert(text.substr(0, text.find(' ')));
  by_settings = by_settings || engines.size() < texts.size();
  if (!different || !again)
    fmt::print("{}: {}: {}\n", problem.to_string(), different ? "other candidates when asked again" : "alike",
               fmt::join(texts, "; "));
  return different && again;
}

bool check_convolutions(const cudnn::Target& target) {
  std::vector<Conv2dParams> problems = model_problems<Conv2dParams>();
  problems.insert(problems.end(), check::conv2d_problems().begin(), check::conv2d_problems().end());

  Table table;
  bool recorded = true, by_settings = false;
  for (Conv2dParams params : problems)
    for (const DType dtype : kDTypes)
      for (const bool tf32 : {false, true})
        for (const Conv2dPass pass :
             {Conv2dPass::forward, Conv2dPass::backward_data, Conv2dPass::backward_weight})
          for (const GradMode mode : {GradMode::overwrite, GradMode::accumulate}) {
            if (tf32 && dtype != DType::f32) continue;
            // An accumulating plan differs by one number: of a model's shapes, one batch size says enough.
            if (mode == GradMode::accumulate &&
                (pass == Conv2dPass::forward || params.n == kBatches[1] || params.n == kBatches[2]))
              continue;
            params.dtype = dtype;
            if (!cudnn::conv2d_row.supports(params, pass)) continue;
            const cudnn::ConvolutionProblem problem{params, pass, mode, tf32};
            const char* names[] = {"forward", "backward data", "backward weight"};
            std::vector<cudnn::Candidate> candidates = convolution_candidates(target, problem);
            recorded = check_descriptions(target, problem, candidates, by_settings) && recorded;
            table.add(fmt::format("{}{}, {}", names[static_cast<int>(pass)],
                                  mode == GradMode::accumulate ? ", accumulated" : "",
                                  tf32 ? "f32 with TF32" : name_of(dtype)),
                      problem.to_string(), target, std::move(candidates), true);
          }
  return table.print() && recorded && by_settings;
}

/// Each plan is a kernel to compile: one is built for each number of channels, candidates are asked for all
/// rows.
bool check_norms(const cudnn::Target& target) {
  Table table;
  std::set<std::tuple<std::int64_t, DType, cudnn::NormPass>> built;
  for (auto& [name, params] : norm_problems())
    for (const DType dtype : kDTypes)
      for (const cudnn::NormPass pass :
           {cudnn::NormPass::training, cudnn::NormPass::inference, cudnn::NormPass::backward}) {
        params.dtype = dtype;
        const cudnn::NormProblem problem(params, pass);
        const char* names[] = {"training", "inference", "backward"};
        if (!cudnn::batch_norm_row.supports(params))
          fail(ErrorKind::runtime, "the row does not take " + problem.to_string());
        table.add(fmt::format("{}, {}", names[static_cast<int>(pass)], name_of(dtype)), problem.to_string(),
                  target, norm_candidates(target, problem),
                  built.emplace(params.channels, dtype, pass).second);
      }
  return table.print();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return static_cast<int>(ErrorKind::usage);
  try {
    std::ifstream file(argv[2]);
    const std::string device{std::istreambuf_iterator<char>(file), {}};
    const cudnn::Target target(device);
    return (argv[1] == std::string("conv2d") ? check_convolutions(target) : check_norms(target)) ? 0 : 1;
  } catch (const Error& error) {
    fmt::print("{}\n", error.what());
    return error.kind() == ErrorKind::device ? 77 : 1;
  }
}
