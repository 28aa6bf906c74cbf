#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace zeroth {

/// MD5 only tells damaged or mistaken files from those that were published, where nothing better is.
enum class DigestKind : std::uint8_t { md5, sha256 };
const char* name_of(DigestKind kind);  // "MD5", "SHA-256"

/// The digest of bytes that arrive in pieces.
class Digest {
 public:
  explicit Digest(DigestKind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::span<const std::uint8_t> bytes);
  /// Lower-case hexadecimal digits: 32 of MD5, 64 of SHA-256. Ends the digest: call it once.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string digest_of(DigestKind kind, std::span<const std::uint8_t> bytes);
std::string sha256_of(std::span<const std::uint8_t> bytes);

/// The digest of a file. progress(bytes read) may be empty; returning false stops. Errors: data, for a file
/// that cannot be read; runtime, for a stop.
std::string digest_of_file(DigestKind kind, const std::filesystem::path& path,
                           const std::function<bool(std::uint64_t done)>& progress = {});

}  // namespace zeroth
