#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/command_line.h"
#include "apps/parse_value.h"
#include "apps/run_folder.h"
#include "apps/session.h"
#include "apps/trained_network.h"
#include "data/picture_file.h"
#include "data/resize.h"
#include "kernels/core/error.h"

namespace zeroth::app {

namespace {

struct PredictFlags {
  std::string checkpoint, top = "5";
  std::vector<std::string> pictures;
  bool json = false;
};

/// Softmax of a row of logits.
std::vector<double> probabilities(std::span<const double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> shares;
  for (const double logit : logits) shares.push_back(std::exp(logit - largest));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

/// Appends a picture file as the network takes pictures: the square in its middle, resampled; grey where the
/// network knows one channel.
void append_picture(Pictures& pictures, const std::string& path) {
  const RgbPicture picture = read_picture(path);
  std::vector<std::uint8_t> square(static_cast<std::size_t>(pictures.height * pictures.width * 3));
  resample_square(picture.pixels, picture.width, picture.height, 3, pictures.width, square);
  if (pictures.channels == 3) {
    pictures.pixels.insert(pictures.pixels.end(), square.begin(), square.end());
  } else {  // luma of ITU-R BT.601, as Pillow and OpenCV make grey of colours
    for (std::size_t i = 0; i < square.size(); i += 3)
      pictures.pixels.push_back(static_cast<std::uint8_t>(
          std::lround(0.299 * square[i] + 0.587 * square[i + 1] + 0.114 * square[i + 2])));
  }
  pictures.labels.push_back(0);
  ++pictures.count;
}

struct Guess {
  std::size_t label;
  double probability;
};

/// The likeliest classes, the first one first.
std::vector<Guess> best_guesses(std::span<const double> logits, std::size_t count) {
  const std::vector<double> shares = probabilities(logits);
  std::vector<Guess> guesses;
  for (std::size_t label = 0; label < shares.size(); ++label) guesses.push_back({label, shares[label]});
  std::stable_sort(guesses.begin(), guesses.end(),
                   [](const Guess& a, const Guess& b) { return a.probability > b.probability; });
  guesses.resize(std::min(count, guesses.size()));
  return guesses;
}

std::string name_of_class(const CheckpointInfo& info, std::size_t label) {
  return info.class_names.empty() ? fmt::format("class {}", label) : info.class_names[label];
}

int predict_pictures(const Said& said, const PredictFlags& flags) {
  std::size_t top = 0;
  try {
    top = static_cast<std::size_t>(parse_integer(flags.top, 1, 1'000'000));
  } catch (const Error& error) {
    fail(error.kind(), fmt::format("--top: {}", error.what()));
  }
  const std::string path = find_checkpoint(flags.checkpoint).string();
  TrainedNetwork trained(SafetensorsFile(path), said);
  const CheckpointInfo& info = trained.info();
  if (info.height != info.width || (info.channels != 1 && info.channels != 3))
    fail(ErrorKind::data, fmt::format("{} is of pictures of {} x {} x {}, which no picture file becomes",
                                      path, info.height, info.width, info.channels));
  Pictures pictures;
  pictures.height = static_cast<int>(info.height);
  pictures.width = static_cast<int>(info.width);
  pictures.channels = static_cast<int>(info.channels);
  std::vector<std::string> names;
  int code = 0;
  for (const std::string& name : flags.pictures) {
    try {
      append_picture(pictures, name);
      names.push_back(name);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::data) throw;
      say(fmt::format("zeroth: {}", error.what()));
      code = static_cast<int>(ErrorKind::data);
    }
  }
  if (names.empty()) return code;
  const std::vector<double> logits =
      predict(trained.context(), trained.network(), upload(trained.context(), pictures, info.classes),
              trainer_config(trained.options(), trained.normalisation()), trained.options().tta);
  nlohmann::ordered_json result;
  result["checkpoint"] = path;
  result["data"] = info.data;
  std::string text = fmt::format("{}, trained on {}\n", path, info.data);
  const auto classes = static_cast<std::size_t>(info.classes);
  for (std::size_t i = 0; i < names.size(); ++i) {
    nlohmann::ordered_json entry{{"picture", names[i]}};
    text += fmt::format("{}\n", names[i]);
    for (const Guess& guess : best_guesses(std::span(logits).subspan(i * classes, classes), top)) {
      const std::string name = name_of_class(info, guess.label);
      entry["top"].push_back({{"class", name}, {"label", guess.label}, {"probability", guess.probability}});
      text += fmt::format("{:>10}  {}\n", percent(guess.probability), name);
    }
    result["pictures"].push_back(std::move(entry));
  }
  print_result(flags.json ? json_line(result) : text);
  return code;
}

}  // namespace

void add_predict_command(CLI::App& program, Action& action) {
  auto settings = std::make_shared<std::unique_ptr<SettingFlags>>();
  auto flags = std::make_shared<PredictFlags>();
  CLI::App& command =
      add_command(program, "predict", "What a trained network sees in pictures, PNG or JPEG.",
                  "zeroth predict runs/first cat.jpg dog.png\n"
                  "Of each picture the largest square in its middle is resampled to what the network\n"
                  "was trained on. A picture that cannot be read is named and passed over; the exit\n"
                  "code is 3 then.",
                  action, [settings, flags] { return predict_pictures((*settings)->said(), *flags); });
  command
      .add_option("run", flags->checkpoint,
                  "a run folder (its best checkpoint by validation, else its last) or a checkpoint")
      ->type_name("RUN|CHECKPOINT")
      ->required();
  command.add_option("pictures", flags->pictures, "picture files")->type_name("PICTURE...")->required();
  *settings = std::make_unique<SettingFlags>(command, TrainedNetwork::settings(false));
  command.add_option("--top", flags->top, "how many classes of each picture are shown [5]")->type_name("N");
  command.add_flag("--json", flags->json, "print the result as JSON");
}

}  // namespace zeroth::app
