#include "kernels/simt/shared_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/simt/access_check.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/scheduler.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace zeroth::simt {

namespace {

constexpr std::size_t kGuardBytes = 64;
constexpr unsigned char kGuardByte = 0xA5, kFillByte = 0xFF;
constexpr std::size_t kArenaBytes =
    1024 * 1024;  // the largest block's arrays, and guards for thousands of them

#ifdef __SANITIZE_ADDRESS__
// An array is aligned as its type asks and no better, so that undefined behaviour sanitizer sees a wide load
// from an array that only happens to be aligned on the device. Granules of the shadow are 8 bytes.
constexpr std::size_t kSkew = 8;
#else
constexpr std::size_t kSkew = 0;
#endif

std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

void poison([[maybe_unused]] void* from, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(from, bytes);
#endif
}
void unpoison([[maybe_unused]] void* from, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(from, bytes);
#endif
}

}  // namespace

SharedMemory::SharedMemory() {
  if constexpr (kFiberPerThread) return;
  void* memory = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  arena_ = static_cast<unsigned char*>(memory);
  poison(arena_, kArenaBytes);
  watch_arena(arena_, kArenaBytes);
}

SharedMemory::~SharedMemory() {
  clear();
  if (arena_ == nullptr) return;
  forget_arena();
  unpoison(arena_, kArenaBytes);
  munmap(arena_, kArenaBytes);
}

void SharedMemory::clear() {
  if constexpr (kFiberPerThread) {
    // Thread sanitizer would take the next block's accesses for races with this block's: fresh memory has no
    // past.
    const TsanIgnore ignore;
    for (const Array& array : arrays_) std::free(array.data);
  } else {
    poison(arena_, used_);
  }
  arrays_.clear();
  used_ = 0;
  static_bytes_ = 0;
}

void SharedMemory::begin_block(std::size_t dynamic_bytes, Site launch_site) {
  clear();
  dynamic_bytes_ = dynamic_bytes;
  dynamic_declaration_ = {"dynamic_shared", launch_site, dynamic_bytes, 16};
}

unsigned char* SharedMemory::place(const SharedDeclaration& declaration) {
  if constexpr (kFiberPerThread) {
    const TsanIgnore ignore;
    const std::size_t alignment = declaration.alignment < 16 ? 16 : declaration.alignment;
    void* data = std::aligned_alloc(alignment, round_up(declaration.bytes + kGuardBytes, alignment));
    if (data == nullptr) throw std::bad_alloc();
    std::memset(data, kFillByte, declaration.bytes);
    std::memset(static_cast<unsigned char*>(data) + declaration.bytes, kGuardByte, kGuardBytes);
    return static_cast<unsigned char*>(data);
  }
  const std::size_t alignment = declaration.alignment < 16 ? 16 : declaration.alignment;
  const std::size_t skew = declaration.alignment < 16 ? kSkew : 0;
  const std::size_t offset = round_up(used_ + kGuardBytes, alignment) + skew;
  const std::size_t end = offset + declaration.bytes;
  if (end + kGuardBytes > kArenaBytes) return nullptr;
  unsigned char* data = arena_ + offset;
  unpoison(arena_ + used_, end + kGuardBytes - used_);
  std::memset(arena_ + used_, kGuardByte, offset - used_);
  std::memset(data, kFillByte, declaration.bytes);
  std::memset(data + declaration.bytes, kGuardByte, kGuardBytes);
  forget_writes(data, declaration.bytes);
  poison(arena_ + used_, offset - used_);
  poison(data + declaration.bytes, kGuardBytes);
  used_ = end;
  return data;
}

void* SharedMemory::array(const SharedDeclaration& declaration, std::string& problem) {
  for (const Array& array : arrays_)
    if (array.declaration == &declaration) return array.data;
  const std::size_t total = static_bytes_ + declaration.bytes;
  unsigned char* data = nullptr;
  if (total > kStaticLimit)
    problem = "static shared memory of " + std::to_string(total) + " bytes, more than 48 KB, with array '";
  else if (total + dynamic_bytes_ > kBlockLimit)
    problem = "shared memory of " + std::to_string(total + dynamic_bytes_) +
              " bytes, static and dynamic, more than 227 KB, with array '";
  else if ((data = place(declaration)) == nullptr)
    problem = "too many shared arrays, with array '";
  if (data == nullptr) {
    problem += std::string(declaration.name) + "' declared at " + to_string(declaration.site);
    return nullptr;
  }
  static_bytes_ = total;
  const TsanIgnore ignore;
  arrays_.push_back({&declaration, data, declaration.bytes});
  return data;
}

void* SharedMemory::dynamic() {
  for (const Array& array : arrays_)
    if (array.declaration == &dynamic_declaration_) return array.data;
  unsigned char* data = place(dynamic_declaration_);
  const TsanIgnore ignore;
  arrays_.push_back({&dynamic_declaration_, data, dynamic_bytes_});
  return data;
}

std::string SharedMemory::end_block() {
  const TsanIgnore ignore;
  for (const Array& array : arrays_) {
    unpoison(array.data + array.bytes, kGuardBytes);
    std::size_t i = 0;
    while (i < kGuardBytes && array.data[array.bytes + i] == kGuardByte) ++i;
    poison(array.data + array.bytes, kGuardBytes);
    if (i < kGuardBytes)
      return std::string("a write past the end of shared array '") + array.declaration->name + "' (" +
             std::to_string(array.bytes) + " bytes) declared at " + to_string(array.declaration->site);
  }
  return {};
}

const SharedMemory::Array* SharedMemory::find(const void* address) const {
  const auto* byte = static_cast<const unsigned char*>(address);
  for (const Array& array : arrays_)
    if (byte + kGuardBytes >= array.data && byte < array.data + array.bytes + kGuardBytes) return &array;
  return nullptr;
}

}  // namespace zeroth::simt
