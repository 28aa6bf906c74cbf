#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace zeroth {

/// A cyclic redundancy check of 32 bits, reflected, beginning and ending inverted; `kPolynomial` is given
/// with its lowest power in the highest bit. A byte at a time.
template <std::uint32_t kPolynomial>
class ReflectedCrc {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
      state_ = kTable[(state_ ^ static_cast<std::uint32_t>(byte)) & 0xff] ^ (state_ >> 8);
  }
  std::uint32_t value() const { return ~state_; }

 private:
  static constexpr std::array<std::uint32_t, 256> kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) table[i] = (table[i] >> 1) ^ (table[i] % 2 == 1 ? kPolynomial : 0u);
    }
    return table;
  }();
  std::uint32_t state_ = 0xffffffffu;
};

using Crc32 = ReflectedCrc<0xedb88320u>;   ///< of zlib (ISO 3309)
using Crc32c = ReflectedCrc<0x82f63b78u>;  ///< of Castagnoli (RFC 3720)

}  // namespace zeroth
