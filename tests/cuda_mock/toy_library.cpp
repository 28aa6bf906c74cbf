// A library as NVIDIA ships them, for shared_library_test.cpp: found in a folder, asked for its version.
// Built twice; one build lacks a function.
#include <cstddef>

extern "C" {
std::size_t cudnnGetVersion() {
  return 91203;
}
#ifdef TOY_COMPLETE
int toyDouble(int x) {
  return 2 * x;
}
#endif
}
