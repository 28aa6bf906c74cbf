#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "data/child_process.h"
#include "data/picture_file.h"

namespace zeroth {

/// Reads pictures in a child process of limited memory, which decodes one after the other. A reader serves
/// one thread at a time.
class PictureReader {
 public:
  using Decode = std::function<RgbPicture(const std::filesystem::path&)>;

  /// `decode` is what the child runs.
  explicit PictureReader(Decode decode = read_picture, ChildLimits limits = {});

  /// The largest square in the middle of a picture as resample_square() makes it: `square` has size * size *
  /// 3 bytes. Errors: data, as read_picture(); also where the decoder crashes or takes more memory or time
  /// than it may: "PATH cannot be decoded: the decoder ended with signal 11 (Segmentation fault); repair it
  /// or remove it". The reader goes on with other pictures.
  void read_square(const std::filesystem::path& path, int size, std::span<std::uint8_t> square);

 private:
  ChildProcess child_;
};

}  // namespace zeroth
