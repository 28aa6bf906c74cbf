// A safetensors file, and a checkpoint's claim about its contents.
#include "engine/safetensors.h"

#include "engine/checkpoint.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  const std::filesystem::path path = scratch() / "model.safetensors";
  write_file(path, input);
  expect_answer([&] {
    const SafetensorsFile file(path);
    for (const SafetensorsEntry& tensor : file.tensors()) {
      const auto elements = static_cast<std::size_t>(tensor.shape.elements());
      expect(tensor.bytes.size() == elements * size_of(tensor.dtype),
             "a tensor has other bytes than its shape");
      unsigned sum = 0;
      for (const std::byte byte : tensor.bytes) sum += std::to_integer<unsigned>(byte);
      expect(sum <= 255 * tensor.bytes.size(), "bytes that cannot be read");
    }
    check_contents(file);
  });
}

}  // namespace zeroth::fuzz
