#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace zeroth {

/// Creates or replaces a file so that a reader, and a machine that loses power, sees either the old file or
/// the whole new one: a temporary file beside it is written, synced and renamed, and the folder synced.
/// `pieces` are written one after another. Throws Error(runtime), naming the file and the reason (a full
/// disk, a quota, a file size limit if the process ignores SIGXFSZ, no permission); the old file is then
/// intact and the temporary one removed.
void replace_file(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
void replace_file(const std::filesystem::path& path, std::string_view text);

/// Appends with one write(2), making the file where there is none; what a full disk took of it is taken back,
/// so that nothing half written stays. Throws Error(runtime), naming the file and the reason.
void append_file(const std::filesystem::path& path, std::string_view text);

}  // namespace zeroth
