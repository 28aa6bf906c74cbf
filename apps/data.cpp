#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command_line.h"
#include "apps/parse_value.h"
#include "data/cifar.h"
#include "data/fetch.h"
#include "data/generated.h"
#include "data/lookup.h"
#include "data/verify.h"
#include "engine/write_all.h"
#include "kernels/core/error.h"

namespace zeroth::app {
namespace fs = std::filesystem;

namespace {

/// Where sets go without --out: where names are looked up first.
fs::path default_destination() {
  const char* folder = std::getenv("ZEROTH_DATA");
  const fs::path path = folder != nullptr && *folder != '\0' ? fs::path(folder) : cache_folder();
  if (path.empty())
    fail(ErrorKind::usage, "neither ZEROTH_DATA nor HOME is set; say with --out where the data go");
  return path;
}

/// Redraws a line on a terminal; in a pipe it says only which phase began.
class FetchLine {
 public:
  bool operator()(const FetchProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    const bool new_phase = !phase_ || *phase_ != progress.phase;
    if (!terminal_) {
      if (new_phase) say(fmt::format("{} ({:.0f} MB)", name_of(progress.phase), megabytes(progress.total)));
    } else if (new_phase || now - drawn_ > std::chrono::milliseconds(200)) {
      draw(fmt::format("{}  {:.1f} of {:.1f} MB", name_of(progress.phase), megabytes(progress.done),
                       megabytes(progress.total)));
      drawn_ = now;
    }
    phase_ = progress.phase;
    return true;
  }
  void end() const {
    if (terminal_ && phase_) draw("");
  }

 private:
  static void draw(const std::string& text) {
    static_cast<void>(write_all(STDERR_FILENO, "\r\x1b[K" + text));
  }
  static double megabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  std::optional<FetchPhase> phase_;
  std::chrono::steady_clock::time_point drawn_;
};

struct FetchFlags {
  std::string name, out, from, url;
  bool quiet = false;
};

int fetch_data(const FetchFlags& flags) {
  FetchOptions options;
  options.base_url = flags.url;
  options.from = flags.from;
  FetchLine line;
  if (!flags.quiet) options.progress = [&](const FetchProgress& progress) { return line(progress); };
  const fs::path destination = flags.out.empty() ? default_destination() : fs::path(flags.out);
  FetchResult result;
  try {
    result = fetch(flags.name, destination, options);
  } catch (...) {
    line.end();
    throw;
  }
  line.end();
  if (!flags.quiet && result.was_there) say(flags.name + " is there already");
  print_result(result.folder.string() + "\n");
  return 0;
}

int verify_data(const std::string& name, bool json) {
  const VerifyReport report = verify_dataset(name);
  for (const std::string& notice : report.notices) say(notice);
  if (!json) {
    print_result(report.summary() + "\n");
    return 0;
  }
  nlohmann::ordered_json result;
  result["name"] = report.name;
  result["folder"] = report.folder.string();
  result["origin"] = name_of(report.origin);
  result["balanced"] = report.balanced();
  result["unchanged"] = report.listed;
  for (const VerifiedFile& file : report.files)
    result["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}, {"official", file.official}});
  for (std::size_t c = 0; c < report.class_names.size(); ++c)
    result["classes"].push_back({{"name", report.class_names[c]},
                                 {"train", report.train_per_class[c]},
                                 {"test", report.test_per_class[c]}});
  print_result(json_line(result));
  return 0;
}

struct GenerateFlags {
  std::string name = "generated", out;
  std::string seed = std::to_string(kGeneratedSeed), train = std::to_string(kGeneratedTrainCount),
              test = std::to_string(kGeneratedTestCount);
};

/// A flag that is no training setting, parsed as strictly.
std::int64_t flag_value(const char* flag, const std::string& text, std::int64_t least, std::int64_t most) {
  try {
    return parse_integer(text, least, most);
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("{}: {}", flag, error.what()));
  }
}

int generate_data(const GenerateFlags& flags) {
  if (flags.name != "generated")
    fail(ErrorKind::usage, fmt::format("no set '{}' can be generated; there is 'generated'", flags.name));
  const auto seed = static_cast<std::uint64_t>(
      flag_value("--seed", flags.seed, 0, std::numeric_limits<std::int64_t>::max()));
  const std::int64_t train = flag_value("--train", flags.train, 1, 10'000'000);
  const std::int64_t test = flag_value("--test", flags.test, 1, 10'000'000);
  const fs::path folder = flags.out.empty() ? default_destination() / "generated" : fs::path(flags.out);
  write_cifar10_layout(generate_dataset(seed, train, test), folder);
  print_result(folder.string() + "\n");
  return 0;
}

}  // namespace

void add_data_command(CLI::App& program, Action& action) {
  CLI::App* data = program.add_subcommand("data", "Get, check or make data sets.");
  data->allow_extras();
  data->footer("Example:\n  zeroth data fetch cifar10");
  data->callback([data, &action] {
    refuse_leftovers(*data);
    if (!action)
      fail(ErrorKind::usage, "zeroth data takes one of fetch, verify, generate; see zeroth data --help");
  });

  auto fetched = std::make_shared<FetchFlags>();
  CLI::App& fetch = add_command(
      *data, "fetch", "Download a set, or go on with an interrupted download; check and unpack it.",
      "zeroth data fetch cifar10\n  zeroth data fetch cifar10 --from cifar-10-binary.tar.gz", action,
      [fetched] { return fetch_data(*fetched); });
  fetch.add_option("name", fetched->name, fmt::format("one of {}", fmt::join(fetchable_names(), ", ")))
      ->required()
      ->type_name("NAME");
  fetch.add_option("--out", fetched->out, "where to [ZEROTH_DATA, else the cache]")->type_name("DIR");
  fetch
      .add_option("--from", fetched->from, "an archive that is here already, or a folder of the set's files")
      ->type_name("PATH");
  fetch.add_option("--url", fetched->url, "where the files lie [the official place]")->type_name("URL");
  fetch.add_flag("--quiet", fetched->quiet, "no progress");

  auto verified = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App& verify =
      add_command(*data, "verify", "Read a whole set and say what it holds.", "zeroth data verify cifar10",
                  action, [verified, json] { return verify_data(*verified, *json); });
  verify.add_option("data", *verified, "a name or a folder")->required()->type_name("NAME|DIR");
  verify.add_flag("--json", *json, "print the report as JSON");

  auto generated = std::make_shared<GenerateFlags>();
  CLI::App& generate =
      add_command(*data, "generate", "Write generated pictures in CIFAR-10's binary layout.",
                  "zeroth data generate generated --out /tmp/pictures --train 1000 --test 200", action,
                  [generated] { return generate_data(*generated); });
  generate.add_option("name", generated->name, "generated")->type_name("NAME");
  generate
      .add_option("--out", generated->out, "folder to make [generated/ in ZEROTH_DATA, else in the cache]")
      ->type_name("DIR");
  generate.add_option("--seed", generated->seed, "[" + generated->seed + "]")->type_name("N");
  generate.add_option("--train", generated->train, "training pictures [" + generated->train + "]")
      ->type_name("N");
  generate.add_option("--test", generated->test, "test pictures [" + generated->test + "]")->type_name("N");
}

}  // namespace zeroth::app
