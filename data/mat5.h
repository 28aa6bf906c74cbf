#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

/// How the numbers of an array lie in a file: MATLAB stores whole doubles as bytes where they fit.
enum class MatType : std::uint8_t { i8 = 1, u8, i16, u16, i32, u32, f32, f64 = 9 };

/// A real numeric array of a MATLAB file, the first extent running fastest.
struct MatArray {
  std::string name;
  std::vector<std::uint64_t> extents;
  MatType type = MatType::u8;
  std::vector<std::uint8_t> bytes;

  /// Every number. Errors: none; all types fit into a double.
  std::vector<double> numbers() const;
};

/// Reads a MATLAB file of version 5 or 7 ("MAT-File Format", Level 5; little endian) that holds real numeric
/// arrays only, packed or not. What a header promises is held against what the file can hold before memory is
/// taken, the checksums of packed arrays are compared. Errors: data, one line: the file, what is wrong
/// (another format, truncated, damaged, an array of another kind) and `advice`, how to mend it.
std::vector<MatArray> read_mat5(const std::filesystem::path& path, const std::string& advice);

}  // namespace zeroth
