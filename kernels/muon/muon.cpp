#include "kernels/muon/muon.h"

#include <fmt/format.h>

#include "kernels/core/profile_range.h"

namespace zeroth {

std::string MuonParams::to_string() const {
  return fmt::format("{}, {} matri{}, momentum {}, {} iteration{}{}", FlatParams::to_string(),
                     matrices.size(), matrices.size() == 1 ? "x" : "ces", momentum, iterations,
                     iterations == 1 ? "" : "s", normalise ? ", normalised weights" : "");
}

std::span<const MuonRow> muon_rows() {
  static const MuonRow rows[] = {cuda_native::muon_row, simt_native::muon_row, cpu::muon_row,
                                 reference::muon_row};
  return rows;
}

namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 30;  // of a matrix: rows index in 32 bits
constexpr std::int64_t kMostIterations = 32;

void check(const MuonParams& params) {
  if (!(params.momentum >= 0.0 && params.momentum < 1.0))
    fail(ErrorKind::usage, fmt::format("muon: momentum is {}, expected 0 <= momentum < 1", params.momentum));
  if (params.iterations < 1 || params.iterations > kMostIterations)
    fail(ErrorKind::usage,
         fmt::format("muon: {} iterations, expected 1 to {}", params.iterations, kMostIterations));
  for (const MuonMatrix& matrix : params.matrices) {
    const bool sized = matrix.rows > 0 && matrix.columns > 0 && matrix.rows <= kMostElements / matrix.columns;
    if (!sized || matrix.offset < 0 || matrix.offset % kParameterSegment != 0 ||
        matrix.offset + matrix.rows * matrix.columns > params.elements)
      fail(ErrorKind::usage, fmt::format("muon: no {} x {} matrix starts at element {} of {}", matrix.rows,
                                         matrix.columns, matrix.offset, params.elements));
  }
}

const MuonRow& select(const Context& context, const MuonParams& params) {
  return select_row(
      context, "muon", muon_rows(), [&](const MuonRow& row) { return row.supports(params); },
      [&] { return params.to_string(); });
}

}  // namespace

std::size_t muon_workspace(Context& context, const MuonParams& params) {
  check(params);
  return select(context, params).workspace(context, params);
}

void muon_step(Context& context, const MuonParams& params, const FlatParameters& parameters,
               TensorView momentum_buffer, Workspace workspace) {
  check_flat_parameters("muon", params, parameters);
  check(params);
  check_operand("muon", "momentum_buffer", momentum_buffer, {params.elements}, params.dtype);
  const MuonRow& row = select(context, params);
  check_workspace("muon", workspace, row.workspace(context, params));
  if (params.matrices.empty()) return;
  const ProfileRange range("muon_step", row.name);
  row.step(context, params, parameters, momentum_buffer, workspace);
}

}  // namespace zeroth
