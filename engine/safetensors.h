#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/core/shape.h"

namespace zeroth {

// Files of named tensors in the safetensors format (https://github.com/huggingface/safetensors#format): eight
// bytes with the header's length, little endian; the header, a JSON object that gives each tensor's dtype,
// shape and byte range, and text under "__metadata__"; the tensors' bytes without gaps.

using SafetensorsMetadata = std::map<std::string, std::string>;

/// A tensor in host memory that somebody else owns.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  ///< shape.elements() * size_of(dtype)
};

/// Writes the tensors, largest element type first and otherwise in the given order, so that each is aligned
/// to its elements. The same arguments give the same bytes. Replaces the file as replace_file() does. Throws
/// Error(usage) for a name given twice, "__metadata__" as a name, a name or text that is not UTF-8, or bytes
/// that do not fit the shape; Error(runtime) when the file cannot be written, the old file being intact.
void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsEntry> tensors,
                       const SafetensorsMetadata& metadata);

/// A whole file, read and checked: the entries point into it.
class SafetensorsFile {
 public:
  /// Throws Error(data), one line with the path and the reason, unless every byte of the file is accounted
  /// for: the header begins with '{', is UTF-8 JSON, shorter than 100 MB and than the file, without a key
  /// twice; each tensor has a dtype the format knows, at most four extents, and exactly the bytes its shape
  /// asks for; tensors neither overlap nor leave a hole nor end before or after the file.
  explicit SafetensorsFile(const std::filesystem::path& path);
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  /// In the order of their bytes. Those of dtypes that zeroth has not, as PyTorch's counters in I64, are left
  /// out.
  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }
  /// The tensor of that name, or nullptr.
  const SafetensorsEntry* find(const std::string& name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::vector<std::byte> bytes_;  // everything behind the header
  std::vector<SafetensorsEntry> tensors_;
  std::map<std::string, std::size_t> index_;
  SafetensorsMetadata metadata_;
};

}  // namespace zeroth
