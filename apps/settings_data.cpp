#include <algorithm>

#include "apps/setting_table.h"
#include "data/dataset.h"
#include "data/lookup.h"
#include "data/picture_folder.h"

namespace zeroth::app {

namespace {

const Choices<Sampling> kSamplings{{"shuffle", Sampling::shuffle}, {"replacement", Sampling::replacement}};

constexpr std::int64_t kMove = 4, kCutout = 8;  // of crop and translate, and of cutout, without a number

/// Each kind of change once, in any order.
Augmentation parse_augmentation(const std::string& value) {
  Augmentation result = Augmentation::none();
  if (value == "none") return result;
  const auto once = [&](bool first) {
    if (!first)
      fail(ErrorKind::usage,
           fmt::format(
               "expected one of flip and alternate-flip, one of crop and translate, and cutout, not '{}'",
               value));
  };
  for (const std::string& part : parse_list(value)) {
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string name = part.substr(0, equals);
    const bool move = name == "crop" || name == "translate",
               flip = part == "flip" || part == "alternate-flip";
    if (!flip && !move && name != "cutout")
      fail(ErrorKind::usage,
           fmt::format("expected flip, alternate-flip, crop, translate, cutout or none, not '{}'", value));
    const auto pixels = [&](std::int64_t usual) {
      if (equals == part.size()) return usual;
      try {
        return parse_integer(part.substr(equals + 1), 1, kLargestPicture);
      } catch (const Error& error) {
        fail(error.kind(), fmt::format("{} in '{}'", error.what(), part));
      }
    };
    if (flip) {
      once(result.flip == Flip::none);
      result.flip = part == "flip" ? Flip::random : Flip::alternating;
    } else if (move) {
      once(result.crop_padding == 0);
      result.crop_padding = pixels(kMove);
      result.reflect = name == "translate";
    } else {
      once(result.cutout == 0);
      result.cutout = pixels(kCutout);
    }
  }
  return result;
}

std::string print_augmentation(const Augmentation& how) {
  std::vector<std::string> parts;
  if (how.flip != Flip::none) parts.emplace_back(how.flip == Flip::random ? "flip" : "alternate-flip");
  const auto add = [&](const char* name, std::int64_t pixels, std::int64_t usual) {
    if (pixels != 0) parts.push_back(pixels == usual ? name : fmt::format("{}={}", name, pixels));
  };
  add(how.reflect ? "translate" : "crop", how.crop_padding, kMove);
  add("cutout", how.cutout, kCutout);
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ","));
}

}  // namespace

void add_data_settings(SettingTable& table) {
  table.group("Data");
  Setting& data =
      table.text("data", &TrainOptions::data, "DIR|NAME", "cifar10 where it is found, else generated",
                 fmt::format("folder of a data set or of class folders of pictures, or {}",
                             fmt::join(dataset_names(), ", ")));
  data.from_environment = false;  // ZEROTH_DATA is the folder in which names are looked up
  data.may_change = true;         // the pictures must be the same, the folder need not
  table
      .text("normalize", &TrainOptions::normalize, "NAME", "the data set's own",
            "what normalises the pictures: a data set's published mean and deviation by its name, those of "
            "each channel as M,M,M/D,D,D, or none")
      .parse = [](TrainOptions& o, const std::string& value) {
    if (value != "none" && published_normalisation(value) == nullptr)
      static_cast<void>(parse_normalisation(value));
    o.normalize = value;
  };
  table.integer("picture_size", &TrainOptions::picture_size, kSmallestPicture, kLargestPicture,
                fmt::format("the set's own, {} of a folder of pictures", kPictureSize),
                "pictures are cropped to the largest square in their middle and resampled to N x N");
  table.real("test_share", &TrainOptions::test_share, kBelowOne, fmt::format("{}", kTestShare),
             "of a folder of pictures without test/: share of each class that becomes the test set");
  table.integer("val_split", &TrainOptions::val_split, 0, kMany,
                "training pictures held out for validation, as many of each class");
  table.choice("sampling", &TrainOptions::sampling, kSamplings,
               "pictures of an epoch: each once, or at random");
  Setting& augmentation = table.add(
      "augment", "LIST", ValueType::list,
      "of flip or alternate-flip (mirrored in every second epoch), crop (of a black frame) or translate "
      "(what "
      "comes in is a mirror image), cutout; crop=2, translate=2, cutout=12 say how many pixels; none",
      [](TrainOptions& o, const std::string& value) { o.augment = parse_augmentation(value); },
      [](const TrainOptions& o) { return o.augment ? print_augmentation(*o.augment) : ""; });
  augmentation.unset = "flip,crop, but of digits crop";
}

}  // namespace zeroth::app
