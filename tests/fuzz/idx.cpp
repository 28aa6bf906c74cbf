// MNIST's layout, not packed: a part with the labels, then the pictures; both halves are alike.
#include "data/idx.h"

#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  if (input.size() >= 2 && input[0] == 0x1f) return;  // packed bytes are the target unpack's
  const Bytes labels = take_part(input);
  const std::filesystem::path& folder = scratch();
  for (const char* half : {"train", "t10k"}) {
    write_file(folder / (std::string(half) + "-labels-idx1-ubyte"), labels);
    write_file(folder / (std::string(half) + "-images-idx3-ubyte"), input);
  }
  expect_answer([&] {
    const Dataset set = read_idx(folder, "idx");
    const auto pictures = static_cast<std::size_t>(set.train.count);
    expect(set.train.labels.size() == pictures, "pictures and labels do not match");
    expect(set.train.pixels.size() == pictures * static_cast<std::size_t>(set.train.bytes_each()),
           "pixels are missing");
    for (const std::int32_t label : set.test.labels)
      expect(label >= 0 && label < set.classes(), "a label out of range");
  });
}

}  // namespace zeroth::fuzz
