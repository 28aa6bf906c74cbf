#include "apps/setting_table.h"
#include "data/dataset.h"
#include "data/lookup.h"
#include "data/picture_folder.h"

namespace zeroth::app {

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
  Setting& augmentation = table.add(
      "augment", "LIST", ValueType::list, "flip, crop (padding 4), both as flip,crop, or none",
      [](TrainOptions& o, const std::string& value) {
        TrainOptions::Augment augment{false, false};
        for (const std::string& part : parse_list(value == "none" ? "" : value)) {
          bool* known = part == "flip" ? &augment.flip : part == "crop" ? &augment.crop : nullptr;
          if (known == nullptr)
            fail(ErrorKind::usage, fmt::format("expected flip, crop, flip,crop or none, not '{}'", value));
          *known = true;
        }
        o.augment = augment;
      },
      [](const TrainOptions& o) {
        if (!o.augment) return "";
        if (o.augment->flip) return o.augment->crop ? "flip,crop" : "flip";
        return o.augment->crop ? "crop" : "none";
      });
  augmentation.unset = "flip,crop, but of digits crop";
}

}  // namespace zeroth::app
