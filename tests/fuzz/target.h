#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

// A fuzz target is one file with fuzz(), linked with libFuzzer's main (clang) or with replay_main.cpp, which
// runs files that are named. A target's answer to any bytes is a result or one Error that a person can act
// on; all else (a crash, a sanitizer's report, another exception, 256 MB taken at once) is a finding.

namespace zeroth::fuzz {

using Bytes = std::span<const std::uint8_t>;

/// What a target does with an input.
void fuzz(Bytes input);

/// Runs a parser. Aborts, with the reason on stderr, unless it returns or throws Error of kind usage or data
/// whose message is one line without control characters.
void expect_answer(const std::function<void()>& parser);

/// Aborts, with the reason on stderr, unless the condition holds.
void expect(bool condition, const std::string& otherwise);

/// A folder of this process, removed at its end.
const std::filesystem::path& scratch();

/// Creates or replaces a file.
void write_file(const std::filesystem::path& path, Bytes bytes);

/// The first part of an input that stands for several files: a length in two bytes, little endian, and as
/// many bytes (or what is there). They are removed from `input`.
Bytes take_part(Bytes& input);

std::string as_text(Bytes bytes);

}  // namespace zeroth::fuzz
