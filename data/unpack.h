#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace zeroth {

enum class Packing : std::uint8_t { none, gzip, zlib };

/// gzip where bytes begin as such a file does, else none.
Packing packing_of(std::span<const std::uint8_t> bytes);

/// Reads bytes in memory, unpacking them where they are packed. Its errors (data) name `path`, which they
/// came from: "PATH is truncated or damaged: reason".
class Unpacker {
 public:
  /// `bytes` must outlive the reader. Errors: data, for more than 4 GB of packed bytes.
  Unpacker(std::filesystem::path path, std::span<const std::uint8_t> bytes, Packing packing);
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  /// How many bytes can come out at most: deflate packs no better than 1032 to 1.
  std::uint64_t most_bytes() const;
  /// Reads until `bytes` is full or the end is reached; returns how many came. Packed bytes carry a checksum,
  /// which is compared when their end is read.
  std::size_t read(std::span<std::uint8_t> bytes);
  /// Whether nothing is left.
  bool at_end();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeroth
