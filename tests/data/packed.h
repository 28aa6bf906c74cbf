#pragma once

#include <string>

#include "data/unpack.h"

namespace zeroth::test {

/// Packed with zlib, as a gzip file or as an array in a MATLAB file.
std::string packed_as(Packing packing, const std::string& text);

}  // namespace zeroth::test
