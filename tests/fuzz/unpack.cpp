// Packed bytes: gzip where they begin as it does, else zlib; unpacked in this process in pieces of changing
// size.
#include "data/inflater.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  expect_answer([&] {
    const Packing packing = packing_of(input) == Packing::gzip ? Packing::gzip : Packing::zlib;
    Inflater inflater("fuzzed.gz", input, packing);
    std::uint64_t total = 0;
    for (std::size_t piece = 1;; piece = piece % 5000 + 997) {
      std::vector<std::uint8_t> bytes(piece);
      const std::size_t count = inflater.read(bytes);
      total += count;
      if (count < piece) break;
    }
    expect(total <= kMostExpansion * input.size(), "more came out than deflate can pack");
  });
}

}  // namespace zeroth::fuzz
