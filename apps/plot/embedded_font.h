#pragma once

#include <cstddef>

namespace zeroth::plot {

/// DejaVu Sans, a TrueType file: the program reads none when it runs. Written by embed_font.cmake.
extern const char kEmbeddedFont[];
extern const std::size_t kEmbeddedFontBytes;

}  // namespace zeroth::plot
