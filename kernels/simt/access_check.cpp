// Kernels are compiled so that address sanitizer checks each access in a function call. The functions here
// have the names of the sanitizer's own; they keep a byte of state for each byte of shared memory, and pass
// the call on, by a tail call, so that the sanitizer's reports still begin at the kernel's line. This file is
// built without sanitizers.

#include "kernels/simt/access_check.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "kernels/simt/scheduler.h"

extern "C" {
void __sanitizer_symbolize_pc(void* pc, const char* format, char* text, std::size_t bytes);
void __asan_set_error_report_callback(void (*callback)(const char* report));
void* __asan_get_report_address();
void* __real_memcpy(void* to, const void* from, std::size_t bytes);
void* __real_memmove(void* to, const void* from, std::size_t bytes);
void* __real_memset(void* to, int value, std::size_t bytes);
}

namespace zeroth::simt {

namespace {

struct Watch {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  unsigned char* written = nullptr;  // a byte for each byte of the arena
};
constinit thread_local Watch watch;

/// Source lines of a return address, innermost inlined function first: "a.cuh:12, inlined at b.cu:40".
std::string lines_of(void* return_address) {
  char text[2048] = {};
  __sanitizer_symbolize_pc(static_cast<char*>(return_address) - 1, "%s:%l", text, sizeof(text) - 1);
  std::string lines;
  for (const char* line = text; *line != '\0' && line < text + sizeof(text) - 1;
       line += std::strlen(line) + 1)
    lines += (lines.empty() ? "" : ", inlined at ") + std::string(line);
  return lines;
}

/// Structures are copied with their padding, which nobody writes: a word counts as unwritten when all of it
/// is, and an access of no machine size when all its bytes are.
bool is_unwritten(const unsigned char* written, std::size_t bytes, bool any_size) {
  const auto none = [&](std::size_t from, std::size_t count) {
    return std::all_of(written + from, written + from + count, [](unsigned char byte) { return byte == 0; });
  };
  if (any_size || bytes < 4) return none(0, bytes);
  for (std::size_t word = 0; word < bytes; word += 4)
    if (none(word, 4)) return true;
  return false;
}

[[gnu::noinline]] void report_unwritten(std::uintptr_t address, std::size_t bytes, void* return_address) {
  Scheduler& scheduler = Scheduler::of_this_thread();
  if (!scheduler.active()) return;
  const SharedMemory::Array* array = scheduler.shared().find(reinterpret_cast<void*>(address));
  if (array == nullptr) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(array->data);
  if (address < begin || address + bytes > begin + array->bytes)
    return;  // the sanitizer says more about that
  scheduler.note_failure("read of uninitialised shared memory at " + lines_of(return_address) + ": thread " +
                         to_string(now.thread_index) + " reads " + std::to_string(bytes) +
                         " bytes at offset " + std::to_string(address - begin) + " of array '" +
                         array->declaration->name + "', declared at " + to_string(array->declaration->site));
}

inline void on_read(std::uintptr_t address, std::size_t bytes, bool any_size, void* return_address) {
  const std::uintptr_t offset = address - watch.begin;
  if (offset < watch.bytes && offset + bytes <= watch.bytes &&
      is_unwritten(watch.written + offset, bytes, any_size)) [[unlikely]]
    report_unwritten(address, bytes, return_address);
}

inline void on_write(std::uintptr_t address, std::size_t bytes) {
  const std::uintptr_t offset = address - watch.begin;
  if (offset < watch.bytes && offset + bytes <= watch.bytes)
    std::fill_n(watch.written + offset, bytes, static_cast<unsigned char>(1));
}

/// What address sanitizer does not know of the address it reports.
void explain_report(const char*) {
  const Scheduler& scheduler = Scheduler::of_this_thread();
  if (!scheduler.active()) return;
  const SharedMemory::Array* array = Scheduler::of_this_thread().shared().find(__asan_get_report_address());
  std::string text = "simt: thread " + to_string(now.thread_index);
  if (array != nullptr)
    text += " reached past shared array '" + std::string(array->declaration->name) + "' (" +
            std::to_string(array->bytes) + " bytes), declared at " + to_string(array->declaration->site);
  std::fprintf(stderr, "%s [%s]\n", text.c_str(), scheduler.where().c_str());
}

template <class Function>
Function* next_function(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

void watch_arena(void* arena, std::size_t bytes) {
  watch = {reinterpret_cast<std::uintptr_t>(arena), bytes, new unsigned char[bytes]()};
  __asan_set_error_report_callback(explain_report);
}

void forget_arena() {
  delete[] watch.written;
  watch = {};
}

void forget_writes(void* from, std::size_t bytes) {
  const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(from) - watch.begin;
  std::fill_n(watch.written + offset, bytes, static_cast<unsigned char>(0));
}

}  // namespace zeroth::simt

#define ZEROTH_ACCESS(size)                                                                            \
  extern "C" void __asan_load##size(std::uintptr_t address) {                                          \
    static auto* const next = zeroth::simt::next_function<void(std::uintptr_t)>("__asan_load" #size);  \
    zeroth::simt::on_read(address, size, false, __builtin_return_address(0));                          \
    next(address);                                                                                     \
  }                                                                                                    \
  extern "C" void __asan_store##size(std::uintptr_t address) {                                         \
    static auto* const next = zeroth::simt::next_function<void(std::uintptr_t)>("__asan_store" #size); \
    zeroth::simt::on_write(address, size);                                                             \
    next(address);                                                                                     \
  }
ZEROTH_ACCESS(1)
ZEROTH_ACCESS(2)
ZEROTH_ACCESS(4)
ZEROTH_ACCESS(8)
ZEROTH_ACCESS(16)

extern "C" {

void __asan_loadN(std::uintptr_t address, std::size_t bytes) {
  static auto* const next = zeroth::simt::next_function<void(std::uintptr_t, std::size_t)>("__asan_loadN");
  zeroth::simt::on_read(address, bytes, true, __builtin_return_address(0));
  next(address, bytes);
}

void __asan_storeN(std::uintptr_t address, std::size_t bytes) {
  static auto* const next = zeroth::simt::next_function<void(std::uintptr_t, std::size_t)>("__asan_storeN");
  zeroth::simt::on_write(address, bytes);
  next(address, bytes);
}

void* __wrap_memcpy(void* to, const void* from, std::size_t bytes) {
  zeroth::simt::on_read(reinterpret_cast<std::uintptr_t>(from), bytes, true, __builtin_return_address(0));
  zeroth::simt::on_write(reinterpret_cast<std::uintptr_t>(to), bytes);
  return __real_memcpy(to, from, bytes);
}

void* __wrap_memmove(void* to, const void* from, std::size_t bytes) {
  zeroth::simt::on_read(reinterpret_cast<std::uintptr_t>(from), bytes, true, __builtin_return_address(0));
  zeroth::simt::on_write(reinterpret_cast<std::uintptr_t>(to), bytes);
  return __real_memmove(to, from, bytes);
}

void* __wrap_memset(void* to, int value, std::size_t bytes) {
  zeroth::simt::on_write(reinterpret_cast<std::uintptr_t>(to), bytes);
  return __real_memset(to, value, bytes);
}

}  // extern "C"
