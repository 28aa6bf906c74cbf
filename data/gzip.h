#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace zeroth {

/// Reads a file, unpacking it where it begins as a gzip file does. Errors of all members: data, "PATH is
/// truncated or damaged: reason".
class GzipReader {
 public:
  /// The file is read into memory. Errors: data, for one that cannot be read or is larger than `most_bytes`.
  GzipReader(const std::filesystem::path& path, std::uint64_t most_bytes);
  ~GzipReader();
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;

  std::uint64_t file_bytes() const;
  /// How many bytes can come out of the file at most: deflate packs no better than 1032 to 1.
  std::uint64_t most_bytes() const;
  /// Reads until `bytes` is full or the file ends; returns how many came. The check sum of a packed file is
  /// compared when its end is read.
  std::size_t read(std::span<std::uint8_t> bytes);
  /// Whether nothing is left.
  bool at_end();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeroth
