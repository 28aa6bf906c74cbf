#pragma once

#include <cstdint>

namespace zeroth {

/// Parameters lie in flat buffers; each starts on a multiple of this many elements (256 bytes of f32), and
/// what lies between two parameters is zero. An optimizer looks up a parameter's group by element /
/// kParameterSegment.
inline constexpr std::int64_t kParameterSegment = 64;

}  // namespace zeroth
