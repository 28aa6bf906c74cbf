#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zeroth {

/// A message in protobuf's wire format (https://protobuf.dev/programming-guides/encoding): fields by number,
/// in the order in which they are added. What a number means is the schema's, which the writer knows.
class ProtoMessage {
 public:
  ProtoMessage& integer(int field, std::int64_t value);          ///< int64, int32, enum
  ProtoMessage& real(int field, double value);                   ///< double
  ProtoMessage& real32(int field, float value);                  ///< float
  ProtoMessage& text(int field, std::string_view bytes);         ///< string, bytes
  ProtoMessage& message(int field, const ProtoMessage& nested);  ///< a message

  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value);
  void tag(int field, int wire_type);
  std::string bytes_;
};

/// The last value of an integer field of a message, or nothing where it has none or is no message.
std::optional<std::int64_t> find_integer(std::string_view message, int field);

}  // namespace zeroth
