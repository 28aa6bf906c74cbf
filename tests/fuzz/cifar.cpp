// CIFAR's layout: a part with the class names, then the records of every file. The first byte chooses the
// set.
#include "data/cifar.h"

#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  if (input.empty()) return;
  const char* const sets[] = {"generated", "cifar10", "cifar100"};
  const char* const set = sets[input[0] % 3];
  input = input.subspan(1);
  const Bytes names = take_part(input);
  const std::filesystem::path& folder = scratch();
  for (const char* file : {"batches.meta.txt", "fine_label_names.txt"}) write_file(folder / file, names);
  for (const char* file : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                           "data_batch_5.bin", "test_batch.bin", "train.bin", "test.bin"}) {
    write_file(folder / file, input);
  }
  expect_answer([&] { cifar_set_in(folder); });
  expect_answer([&] {
    const Dataset read = read_cifar(folder, set);
    expect(read.train.pixels.size() == read.train.labels.size() * 3072, "pictures and labels do not match");
  });
}

}  // namespace zeroth::fuzz
