#include "kernels/check/kernel_case.h"

namespace zeroth::check {

DType OperandSpec::dtype(DType storage) const {
  switch (kind) {
    case ElementKind::storage:
      return storage;
    case ElementKind::statistics:
      return statistics_dtype(storage);
    case ElementKind::i32:
      return DType::i32;
    case ElementKind::u8:
      break;
  }
  return DType::u8;
}

Role role_of(GradMode mode) {
  switch (mode) {
    case GradMode::skip:
      return Role::untouched;
    case GradMode::overwrite:
      return Role::output;
    case GradMode::accumulate:
      break;
  }
  return Role::inout;
}

const char* name_of(GradMode mode) {
  switch (mode) {
    case GradMode::skip:
      return "skip";
    case GradMode::overwrite:
      return "overwrite";
    case GradMode::accumulate:
      break;
  }
  return "accumulate";
}

const char* name_of(Pass pass) {
  static constexpr const char* names[] = {"forward", "inference", "backward", "backward data",
                                          "backward weight"};
  return names[static_cast<std::size_t>(pass)];
}

double bytes_of(const KernelCase& call, DType storage) {
  double bytes = 0.0;
  for (const OperandSpec& spec : call.operands) {
    if (spec.role == Role::untouched) continue;
    const auto once =
        static_cast<double>(spec.shape.elements()) * static_cast<double>(size_of(spec.dtype(storage)));
    bytes += spec.role == Role::inout ? 2.0 * once : once;
  }
  return bytes;
}

}  // namespace zeroth::check
