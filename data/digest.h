#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace zeroth {

/// SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::uint8_t> bytes);
  /// 64 lower-case hexadecimal digits. Ends the digest: call it once.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_of(std::span<const std::uint8_t> bytes);

}  // namespace zeroth
