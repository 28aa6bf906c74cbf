#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/simt/runtime.h"

namespace zeroth::simt {

/// The shared memory of the running block: an arena in which arrays lie apart, with guard bytes between them,
/// and are filled with 0xFF bytes for every block.
class SharedMemory {
 public:
  static constexpr std::size_t kStaticLimit = 48 * 1024;
  static constexpr std::size_t kBlockLimit = 227 * 1024;

  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Forgets the arrays of the block before.
  void begin_block(std::size_t dynamic_bytes, Site launch_site);
  /// What the block wrote next to its arrays, or an empty string.
  std::string end_block();
  /// Memory for an array; null, with `problem` set, when it exceeds a limit.
  void* array(const SharedDeclaration& declaration, std::string& problem);
  void* dynamic();

  struct Array {
    const SharedDeclaration* declaration;
    unsigned char* data;
    std::size_t bytes;
  };
  const std::vector<Array>& arrays() const { return arrays_; }
  /// The array that holds `address` or whose guard bytes do; null when there is none.
  const Array* find(const void* address) const;

 private:
  unsigned char* place(const SharedDeclaration& declaration);
  void clear();

  unsigned char* arena_ = nullptr;
  std::size_t used_ = 0, static_bytes_ = 0, dynamic_bytes_ = 0;
  SharedDeclaration dynamic_declaration_;
  std::vector<Array> arrays_;
};

}  // namespace zeroth::simt
