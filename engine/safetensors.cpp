#include "engine/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "engine/atomic_file.h"

namespace zeroth {
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr const char* kMetadataKey = "__metadata__";

constexpr std::array<std::pair<const char*, DType>, 6> kDTypes{{{"F64", DType::f64},
                                                                {"F32", DType::f32},
                                                                {"F16", DType::f16},
                                                                {"BF16", DType::bf16},
                                                                {"I32", DType::i32},
                                                                {"U8", DType::u8}}};

/// Those that the format has besides: such tensors are passed over.
constexpr std::array<std::pair<const char*, std::size_t>, 10> kOtherDTypes{{{"I64", 8},
                                                                            {"U64", 8},
                                                                            {"U32", 4},
                                                                            {"I16", 2},
                                                                            {"U16", 2},
                                                                            {"I8", 1},
                                                                            {"BOOL", 1},
                                                                            {"F8_E4M3", 1},
                                                                            {"F8_E5M2", 1},
                                                                            {"F8_E8M0", 1}}};

const char* format_name(DType dtype) {
  for (const auto& [name, type] : kDTypes)
    if (type == dtype) return name;
  return "?";
}

std::array<std::byte, 8> little_endian(std::uint64_t value) {
  std::array<std::byte, 8> bytes;
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
  return bytes;
}

/// Shape extents and byte offsets, of which JSON knows only numbers.
using ByteRange = std::pair<std::uint64_t, std::uint64_t>;

/// One file being read; every complaint names it.
class HeaderReader {
 public:
  explicit HeaderReader(const fs::path& path) : path_(path) {}

  [[noreturn]] void refuse(const std::string& reason) const {
    fail(ErrorKind::data, fmt::format("{} is no intact safetensors file: {}", path_.string(), reason));
  }

  /// Refuses keys that occur twice in an object, which a JSON library would silently merge, and nesting
  /// deeper than the format's.
  Json parse(const std::string& text) const {
    std::vector<std::set<std::string>> keys;
    const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
      if (depth > 3) refuse("its header is nested deeper than the format allows");
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
        refuse(fmt::format("its header has the key '{}' twice", value.get<std::string>()));
      return true;
    };
    // The JSON library takes a zero byte for the end of the text, and would not look at what follows.
    if (const std::size_t zero = text.find('\0'); zero != std::string::npos)
      refuse(fmt::format("its header is not JSON (byte {} of the header)", zero + 1));
    try {
      return Json::parse(text, check);
    } catch (const Json::parse_error& error) {
      const bool encoding = std::string_view(error.what()).find("UTF-8") != std::string_view::npos;
      refuse(fmt::format("its header is not {} (byte {} of the header)", encoding ? "UTF-8" : "JSON",
                         error.byte));
    } catch (const Json::out_of_range&) {
      refuse("its header has a number that is out of range");
    }
  }

  SafetensorsMetadata metadata(const Json& object) const {
    if (!object.is_object()) refuse("its metadata are not an object");
    SafetensorsMetadata metadata;
    for (const auto& [key, value] : object.items()) {
      if (!value.is_string()) refuse(fmt::format("its metadata value '{}' is not text", key));
      metadata[key] = value.get<std::string>();
    }
    return metadata;
  }

  struct Described {
    SafetensorsEntry entry;  ///< its `bytes` are still empty
    ByteRange range;
    bool passed_over;  ///< for its dtype, which the entry then does not say
  };

  Described tensor(const std::string& name, const Json& object) const {
    for (const char* key : {"dtype", "shape", "data_offsets"})
      if (!object.is_object() || !object.contains(key))
        refuse(fmt::format("tensor '{}' has no {}", name, key));
    if (object.size() != 3) refuse(fmt::format("tensor '{}' has keys the format does not know", name));
    SafetensorsEntry entry;
    entry.name = name;
    const auto [dtype, width] = dtype_and_width(name, object["dtype"]);
    entry.dtype = dtype.value_or(DType::u8);
    const std::vector<std::uint64_t> extents = unsigned_numbers(name, "shape", object["shape"]);
    const std::uint64_t bytes = bytes_of(name, extents, width);
    entry.shape = shape(name, extents);
    const std::vector<std::uint64_t> offsets = unsigned_numbers(name, "data_offsets", object["data_offsets"]);
    if (offsets.size() != 2 || offsets[1] < offsets[0])
      refuse(fmt::format("tensor '{}' has no valid data_offsets", name));
    if (offsets[1] - offsets[0] != bytes)
      refuse(fmt::format("tensor '{}' of shape {} {} needs {} bytes and has {}", name,
                         entry.shape.to_string(), object["dtype"].get<std::string>(), bytes,
                         offsets[1] - offsets[0]));
    return {std::move(entry), {offsets[0], offsets[1]}, !dtype};
  }

 private:
  /// No dtype where zeroth has none of that name; bytes of an element.
  std::pair<std::optional<DType>, std::size_t> dtype_and_width(const std::string& name,
                                                               const Json& value) const {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    for (const auto& [known, type] : kDTypes)
      if (text == known) return {type, size_of(type)};
    for (const auto& [known, width] : kOtherDTypes)
      if (text == known) return {std::nullopt, width};
    refuse(fmt::format("tensor '{}' has the dtype {}, which the format does not know", name, text));
  }

  std::vector<std::uint64_t> unsigned_numbers(const std::string& name, const char* what,
                                              const Json& value) const {
    std::vector<std::uint64_t> numbers;
    bool valid = value.is_array();
    if (valid) {
      for (const Json& number : value) {
        valid = valid && number.is_number_unsigned();
        if (valid) numbers.push_back(number.get<std::uint64_t>());
      }
    }
    if (!valid) refuse(fmt::format("the {} of tensor '{}' is no list of whole numbers", what, name));
    return numbers;
  }

  Shape shape(const std::string& name, const std::vector<std::uint64_t>& e) const {
    const auto extent = [&](std::size_t axis) { return static_cast<std::int64_t>(e[axis]); };
    switch (e.size()) {
      case 0:
        return {};
      case 1:
        return {extent(0)};
      case 2:
        return {extent(0), extent(1)};
      case 3:
        return {extent(0), extent(1), extent(2)};
      case 4:
        return {extent(0), extent(1), extent(2), extent(3)};
      default:
        refuse(fmt::format("tensor '{}' has {} extents; zeroth reads at most four", name, e.size()));
    }
  }

  /// Any extents whose product overflows are refused, even where a later one is zero.
  std::uint64_t bytes_of(const std::string& name, const std::vector<std::uint64_t>& extents,
                         std::size_t width) const {
    std::uint64_t bytes = width;
    bool fits = true;
    for (const std::uint64_t extent : extents)
      fits = fits && extent <= std::numeric_limits<std::int64_t>::max() &&
             !__builtin_mul_overflow(bytes, extent, &bytes);
    if (!fits) refuse(fmt::format("the size of tensor '{}' overflows", name));
    return bytes;
  }

  const fs::path& path_;
};

void read_exactly(std::ifstream& file, char* to, std::uint64_t bytes, const HeaderReader& reader) {
  if (!file.read(to, static_cast<std::streamsize>(bytes)))
    reader.refuse(fmt::format("reading stopped early: {}", std::strerror(errno)));
}

/// The header's text; the file is then at the first tensor's bytes, of which `data_bytes` follow.
std::string read_header(std::ifstream& file, const fs::path& path, const HeaderReader& reader,
                        std::uint64_t& data_bytes) {
  std::error_code error;
  const std::uint64_t size = fs::file_size(path, error);
  if (error) reader.refuse(error.message());
  if (size < 8) reader.refuse(fmt::format("it has {} bytes and ends within the header's length", size));
  std::array<unsigned char, 8> prefix;
  read_exactly(file, reinterpret_cast<char*>(prefix.data()), 8, reader);
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | prefix[i];
  if (length > kMaxHeaderBytes)
    reader.refuse(fmt::format("its header would have {} bytes, more than 100 MB", length));
  if (length > size - 8)
    reader.refuse(fmt::format("its header of {} bytes reaches past its end ({} bytes)", length, size));
  std::string header(length, '\0');
  read_exactly(file, header.data(), length, reader);
  if (header.empty() || header.front() != '{') reader.refuse("its header does not start with '{'");
  data_bytes = size - 8 - length;
  return header;
}

/// The order in which tensors are written: wider elements first, so that every offset is a multiple of the
/// element size without padding, which the format forbids.
std::vector<const SafetensorsEntry*> file_order(std::span<const SafetensorsEntry> tensors) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) {
    return size_of(a->dtype) > size_of(b->dtype);
  });
  return order;
}

std::string header_of(const std::vector<const SafetensorsEntry*>& order,
                      const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::set<std::string> names{kMetadataKey};
  std::uint64_t offset = 0;
  for (const SafetensorsEntry* tensor : order) {
    if (!names.insert(tensor->name).second)
      fail(ErrorKind::usage, fmt::format("a safetensors file cannot hold a second '{}'", tensor->name));
    const std::uint64_t bytes = tensor->bytes.size();
    if (bytes != static_cast<std::uint64_t>(tensor->shape.elements()) * size_of(tensor->dtype))
      fail(ErrorKind::usage, fmt::format("tensor '{}' of shape {} {} has {} bytes", tensor->name,
                                         tensor->shape.to_string(), name_of(tensor->dtype), bytes));
    std::vector<std::int64_t> extents;
    for (int axis = 0; axis < tensor->shape.rank(); ++axis) extents.push_back(tensor->shape[axis]);
    nlohmann::ordered_json& described = header[tensor->name];
    described["dtype"] = format_name(tensor->dtype);
    described["shape"] = extents;
    described["data_offsets"] = {offset, offset + bytes};
    offset += bytes;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // the tensors begin on a multiple of eight bytes
    return text;
  } catch (const Json::type_error&) {
    fail(ErrorKind::usage, "names and metadata of a safetensors file are UTF-8");
  }
}

}  // namespace

void write_safetensors(const fs::path& path, std::span<const SafetensorsEntry> tensors,
                       const SafetensorsMetadata& metadata) {
  const std::vector<const SafetensorsEntry*> order = file_order(tensors);
  const std::string header = header_of(order, metadata);
  const std::array<std::byte, 8> length = little_endian(header.size());
  std::vector<std::span<const std::byte>> pieces{length, std::as_bytes(std::span(header))};
  for (const SafetensorsEntry* tensor : order) pieces.push_back(tensor->bytes);
  replace_file(path, pieces);
}

SafetensorsFile::SafetensorsFile(const fs::path& path) : path_(path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    fail(ErrorKind::data,
         fmt::format("cannot read {}: {}", path.string(),
                     error ? error.message()
                           : (fs::exists(path, error) ? "it is no file" : "there is no such file")));
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorKind::data, fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));

  const HeaderReader reader(path_);
  std::uint64_t data_bytes = 0;
  const Json header = reader.parse(read_header(file, path, reader, data_bytes));
  std::vector<HeaderReader::Described> described;
  for (const auto& [key, value] : header.items()) {
    if (key == kMetadataKey) {
      metadata_ = reader.metadata(value);
    } else {
      described.push_back(reader.tensor(key, value));
    }
  }
  std::stable_sort(described.begin(), described.end(),
                   [](const auto& a, const auto& b) { return a.range < b.range; });
  std::uint64_t end = 0;
  for (const auto& [tensor, range, passed_over] : described) {
    if (range.first != end)
      reader.refuse(fmt::format("there is {} before tensor '{}'", range.first < end ? "an overlap" : "a hole",
                                tensor.name));
    end = range.second;
  }
  if (end != data_bytes)
    reader.refuse(fmt::format("its tensors take {} bytes, but {} follow the header", end, data_bytes));

  bytes_.resize(data_bytes);
  read_exactly(file, reinterpret_cast<char*>(bytes_.data()), data_bytes, reader);
  for (auto& [tensor, range, passed_over] : described) {
    if (passed_over) continue;
    tensor.bytes = std::span<const std::byte>(bytes_).subspan(range.first, range.second - range.first);
    index_[tensor.name] = tensors_.size();
    tensors_.push_back(std::move(tensor));
  }
}

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace zeroth
