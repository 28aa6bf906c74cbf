#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "data/archive.h"

namespace zeroth {

/// Unpacks an archive in this process, piece by piece, as unpack_members() has a child do.
class ArchiveReader {
 public:
  /// The arguments and errors of unpack_members().
  ArchiveReader(std::filesystem::path archive, std::string prefix,
                std::map<std::string, ExpectedMember> members, std::filesystem::path folder);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  /// Goes on by one member or 256 kB; false where everything has been unpacked.
  bool step();
  /// Bytes written so far.
  std::uint64_t done() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace zeroth
