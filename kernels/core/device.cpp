#include "kernels/core/device.h"

#include <charconv>

#include "kernels/core/error.h"

namespace zeroth {

const char* name_of(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::cpu:
      return "cpu";
    case DeviceKind::simt:
      return "simt";
    case DeviceKind::cuda:
      return "cuda";
  }
  return "?";
}

Device parse_device(const std::string& text) {
  if (text == "cpu") return {DeviceKind::cpu, 0};
  if (text == "simt") return {DeviceKind::simt, 0};
  if (text == "cuda") return {DeviceKind::cuda, 0};
  if (text.starts_with("cuda:")) {
    int index = 0;
    const char* end = text.data() + text.size();
    const auto [rest, status] = std::from_chars(text.data() + 5, end, index);
    if (status == std::errc() && rest == end && index >= 0) return {DeviceKind::cuda, index};
  }
  fail(ErrorKind::usage, "no such device '" + text + "': expected cpu, simt, cuda or cuda:N");
}

}  // namespace zeroth
