#pragma once

#include <string_view>

namespace zeroth {

/// Writes all bytes to a file descriptor, across interruptions by signals. False where that fails, with errno
/// set; some bytes may have been written. Never throws: also for text whose reader may be gone.
bool write_all(int descriptor, std::string_view bytes) noexcept;

}  // namespace zeroth
