// Muon on the CPU, matrix by matrix: elementwise passes of our own, the iteration's products by oneDNN's
// sgemm, whose C = alpha A B + beta C is what each of them needs.

#include "kernels/core/onednn.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/core/parallel.h"
#include "kernels/muon/muon.h"

namespace zeroth::cpu {

namespace {

bool supports(const MuonParams& params) {
  return params.dtype == DType::f32;
}

/// Sums are cut into pieces of this many elements, so that they do not depend on the number of threads.
constexpr std::int64_t kPiece = 16384;
constexpr std::int64_t kLanes = 16;

std::int64_t pieces(std::int64_t count) {
  return (count + kPiece - 1) / kPiece;
}

/// Bytes for the largest matrix: x and its successor, two squares of the shorter side, partial sums.
struct Sizes {
  std::size_t x = 0, square = 0, sums = 0;
  explicit Sizes(const MuonParams& params) {
    for (const MuonMatrix& matrix : params.matrices) {
      const std::int64_t side = std::min(matrix.rows, matrix.columns), count = matrix.rows * matrix.columns;
      x = std::max(x, static_cast<std::size_t>(count) * sizeof(float));
      square = std::max(square, static_cast<std::size_t>(side * side) * sizeof(float));
      sums = std::max(sums, static_cast<std::size_t>(pieces(count)) * sizeof(double));
    }
  }
};

std::size_t workspace(Context&, const MuonParams& params) {
  const Sizes sizes(params);
  return 2 * WorkspaceCutter::padded(sizes.x) + 2 * WorkspaceCutter::padded(sizes.square) +
         WorkspaceCutter::padded(sizes.sums);
}

struct Room {
  float *x, *next, *g, *poly;
  double* sums;

  Room(const MuonParams& params, Workspace workspace) {
    const Sizes sizes(params);
    WorkspaceCutter cutter(workspace);
    x = static_cast<float*>(cutter.take(sizes.x));
    next = static_cast<float*>(cutter.take(sizes.x));
    g = static_cast<float*>(cutter.take(sizes.square));
    poly = static_cast<float*>(cutter.take(sizes.square));
    sums = static_cast<double*>(cutter.take(sizes.sums));
  }
};

/// Calls body(begin, end) over elements, in parallel; the ranges are whole pieces.
template <class Body>
void for_each_piece(std::int64_t count, Body&& body) {
  parallel_for(pieces(count), kPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece)
      body(piece, piece * kPiece, std::min((piece + 1) * kPiece, count));
  });
}

double norm_of(const float* values, std::int64_t count, double* sums) {
  for_each_piece(count, [&](std::int64_t piece, std::int64_t begin, std::int64_t end) {
    double lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        const double value = values[i + lane];
        lanes[lane] += value * value;
      }
    for (; i < end; ++i) lanes[0] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    sums[piece] = 0.0;
    for (const double lane : lanes) sums[piece] += lane;
  });
  double sum = 0.0;
  for (std::int64_t piece = 0; piece < pieces(count); ++piece) sum += sums[piece];
  return std::sqrt(sum);
}

/// c = alpha op(a) op(b) + beta c, all of them row by row: c (m, n), op(a) (m, k), op(b) (k, n).
void multiply(char op_a, char op_b, std::int64_t m, std::int64_t n, std::int64_t k, double alpha,
              const float* a, const float* b, double beta, float* c) {
  const dnnl::status status =
      dnnl::sgemm(op_a, op_b, m, n, k, static_cast<float>(alpha), a, op_a == 'N' ? k : m, b,
                  op_b == 'N' ? n : k, static_cast<float>(beta), c, n);
  if (status != dnnl::status::success) fail(ErrorKind::runtime, "muon: oneDNN: sgemm failed");
}

/// The iteration on room.x, (rows, columns); a tall matrix is multiplied from the right.
void iterate(Room& room, std::int64_t rows, std::int64_t columns) {
  const bool tall = rows > columns;
  const std::int64_t side = std::min(rows, columns), longer = std::max(rows, columns);
  multiply(tall ? 'T' : 'N', tall ? 'N' : 'T', side, side, longer, 1.0, room.x, room.x, 0.0, room.g);
  std::memcpy(room.poly, room.g, static_cast<std::size_t>(side * side) * sizeof(float));
  multiply('N', 'N', side, side, side, kMuonC, room.g, room.g, kMuonB, room.poly);
  std::memcpy(room.next, room.x, static_cast<std::size_t>(rows * columns) * sizeof(float));
  if (tall)
    multiply('N', 'N', rows, columns, columns, 1.0, room.x, room.poly, kMuonA, room.next);
  else
    multiply('N', 'N', rows, columns, rows, 1.0, room.poly, room.x, kMuonA, room.next);
  std::swap(room.x, room.next);
}

template <class G>
void push(const MuonParams& params, const G* gradients, float factor, float* buffer, float* x,
          std::int64_t count) {
  const auto momentum = static_cast<float>(params.momentum);
  for_each_piece(count, [=](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float gradient = factor * to_compute(gradients[i]);
      buffer[i] = momentum * buffer[i] + gradient;
      x[i] = gradient + momentum * buffer[i];
    }
  });
}

template <class W>
void update(const MuonParams& params, const MuonMatrix& matrix, const FlatParameters& parameters,
            TensorView momentum_buffer, Room room) {
  const std::int64_t count = matrix.rows * matrix.columns;
  const int byte = parameters.group_of_segment.as<std::uint8_t>()[matrix.offset / kParameterSegment];
  const float* rate = parameters.rates.as<float>() + 2 * (byte & ~kWorkingSegment);
  const float factor = parameters.gradient_factor ? *parameters.gradient_factor.as<float>() : 1.0f;
  float* buffer = momentum_buffer.as<float>() + matrix.offset;
  float* w = parameters.weights.as<float>() + matrix.offset;
  bool working = false;
  if constexpr (!std::is_void_v<W>) {
    working = byte & kWorkingSegment;
    if (working)
      push(params, parameters.working_gradients.as<W>() + matrix.offset, factor, buffer, room.x, count);
  }
  if (!working) push(params, parameters.gradients.as<float>() + matrix.offset, factor, buffer, room.x, count);
  const auto scale = static_cast<float>(1.0 / (norm_of(room.x, count, room.sums) + kMuonEps));
  for_each_piece(count, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) room.x[i] *= scale;
  });
  for (std::int64_t i = 0; i < params.iterations; ++i) iterate(room, matrix.rows, matrix.columns);
  float keep = 1.0f - rate[0] * rate[1];
  if (params.normalise) {
    const double length = norm_of(w, count, room.sums);
    keep = length > 0.0 ? static_cast<float>(std::sqrt(static_cast<double>(matrix.rows)) / length) : 1.0f;
  }
  const auto stretch = static_cast<float>(
      std::sqrt(std::max(1.0, static_cast<double>(matrix.rows) / static_cast<double>(matrix.columns))));
  const float size = rate[0] * stretch;
  for_each_piece(count, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) w[i] = keep * w[i] - size * room.x[i];
    if constexpr (!std::is_void_v<W>) {
      W* narrow = parameters.working_weights.as<W>() + matrix.offset;
      if (working)
        for (std::int64_t i = begin; i < end; ++i) narrow[i] = from_compute<W>(w[i]);
    }
  });
}

void step(Context& context, const MuonParams& params, const FlatParameters& parameters,
          TensorView momentum_buffer, Workspace workspace) {
  if (parameters.gradient_factor && *parameters.gradient_factor.as<float>() < 0.0f) return;
  static_cast<void>(context.state<OneDnn>());  // settles the number of threads
  const Room room(params, workspace);
  dispatch_working(params, [&]<class W>(TypeTag<W>) {
    for (const MuonMatrix& matrix : params.matrices)
      update<W>(params, matrix, parameters, momentum_buffer, room);
  });
}

}  // namespace

const MuonRow muon_row{{"onednn", DeviceKind::cpu, true}, supports, workspace, step};

}  // namespace zeroth::cpu
