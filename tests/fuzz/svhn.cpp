// MATLAB files as SVHN has them; the test file is the training file.
#include "data/svhn.h"

#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  const std::filesystem::path& folder = scratch();
  for (const char* file : {"train_32x32.mat", "test_32x32.mat"}) write_file(folder / file, input);
  expect_answer([&] {
    const Dataset set = read_svhn(folder, "svhn");
    expect(set.train.pixels.size() == set.train.labels.size() * 3072, "pictures and labels do not match");
  });
}

}  // namespace zeroth::fuzz
