#include "engine/protobuf.h"

#include <bit>

namespace zeroth {

namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kLengthPrefixed = 2, kFixed32 = 5 };

void append_little_endian(std::string& bytes, std::uint64_t value, int count) {
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(value >> (8 * i));
}

/// Takes a varint off the front.
std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

}  // namespace

void ProtoMessage::varint(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtoMessage::tag(int field, int wire_type) {
  varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
}

ProtoMessage& ProtoMessage::integer(int field, std::int64_t value) {
  tag(field, kVarint);
  varint(static_cast<std::uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::real(int field, double value) {
  tag(field, kFixed64);
  append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value), 8);
  return *this;
}

ProtoMessage& ProtoMessage::real32(int field, float value) {
  tag(field, kFixed32);
  append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value), 4);
  return *this;
}

ProtoMessage& ProtoMessage::text(int field, std::string_view bytes) {
  tag(field, kLengthPrefixed);
  varint(bytes.size());
  bytes_ += bytes;
  return *this;
}

ProtoMessage& ProtoMessage::message(int field, const ProtoMessage& nested) {
  return text(field, nested.bytes());
}

std::optional<std::int64_t> find_integer(std::string_view message, int field) {
  std::optional<std::int64_t> found;
  while (!message.empty()) {
    const auto tag = take_varint(message);
    if (!tag) return std::nullopt;
    std::uint64_t skipped = 0;
    switch (*tag & 7) {
      case kVarint: {
        const auto value = take_varint(message);
        if (!value) return std::nullopt;
        if (*tag >> 3 == static_cast<std::uint64_t>(field)) found = static_cast<std::int64_t>(*value);
        break;
      }
      case kFixed64:
        skipped = 8;
        break;
      case kFixed32:
        skipped = 4;
        break;
      case kLengthPrefixed: {
        const auto length = take_varint(message);
        if (!length) return std::nullopt;
        skipped = *length;
        break;
      }
      default:
        return std::nullopt;
    }
    if (skipped > message.size()) return std::nullopt;
    message.remove_prefix(skipped);
  }
  return found;
}

}  // namespace zeroth
