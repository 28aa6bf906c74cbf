#include "data/digest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>

#include <vector>

#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {

const char* name_of(DigestKind kind) {
  return kind == DigestKind::md5 ? "MD5" : "SHA-256";
}

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  DigestKind kind = DigestKind::sha256;
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest(DigestKind kind) : state_(std::make_unique<State>()) {
  state_->kind = kind;
  const EVP_MD* const algorithm = kind == DigestKind::md5 ? EVP_md5() : EVP_sha256();
  if (state_->context == nullptr || EVP_DigestInit_ex(state_->context, algorithm, nullptr) != 1) {
    fail(ErrorKind::runtime, fmt::format("OpenSSL offers no {} on this machine", name_of(kind)));
  }
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::span<const std::uint8_t> bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1) {
    fail(ErrorKind::runtime, fmt::format("OpenSSL failed in the middle of an {}", name_of(state_->kind)));
  }
}

std::string Digest::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(state_->context, digest, &size) != 1) {
    fail(ErrorKind::runtime, fmt::format("OpenSSL failed at the end of an {}", name_of(state_->kind)));
  }
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string digest_of(DigestKind kind, std::span<const std::uint8_t> bytes) {
  Digest digest(kind);
  digest.update(bytes);
  return digest.hex();
}

std::string sha256_of(std::span<const std::uint8_t> bytes) {
  return digest_of(DigestKind::sha256, bytes);
}

std::string digest_of_file(DigestKind kind, const std::filesystem::path& path,
                           const std::function<bool(std::uint64_t done)>& progress) {
  OpenFile file(path, O_RDONLY);
  Digest digest(kind);
  std::vector<std::uint8_t> piece(1 << 20);
  std::uint64_t done = 0;
  while (const std::size_t count = file.read(piece)) {
    digest.update({piece.data(), count});
    done += count;
    if (progress && !progress(done)) {
      fail(ErrorKind::runtime, "the check was stopped; run the same command again");
    }
  }
  return digest.hex();
}

}  // namespace zeroth
