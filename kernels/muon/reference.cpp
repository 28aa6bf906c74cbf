#include <algorithm>
#include <cmath>

#include "kernels/core/workspace_cutter.h"
#include "kernels/muon/muon.h"

namespace zeroth::reference {

namespace {

bool supports(const MuonParams& params) {
  return params.dtype == DType::f64 || params.dtype == DType::f32;
}

/// Matrices of the largest size: x and its successor, and two on the shorter side.
struct Sizes {
  std::size_t x = 0, square = 0;
  explicit Sizes(const MuonParams& params) {
    for (const MuonMatrix& matrix : params.matrices) {
      const std::int64_t side = std::min(matrix.rows, matrix.columns);
      x = std::max(x, static_cast<std::size_t>(matrix.rows * matrix.columns) * size_of(params.dtype));
      square = std::max(square, static_cast<std::size_t>(side * side) * size_of(params.dtype));
    }
  }
};

std::size_t workspace(Context&, const MuonParams& params) {
  const Sizes sizes(params);
  return 2 * WorkspaceCutter::padded(sizes.x) + 2 * WorkspaceCutter::padded(sizes.square);
}

template <class T>
T norm_of(const T* values, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i)
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  return static_cast<T>(std::sqrt(sum));
}

/// next = a x + (b g + c g g) x with g = x x^T. x: (m, n); g, poly: (m, m).
template <class T>
void iterate(const T* x, T* next, T* g, T* poly, std::int64_t m, std::int64_t n) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < m; ++j) {
      T sum{};
      for (std::int64_t k = 0; k < n; ++k) sum += x[i * n + k] * x[j * n + k];
      g[i * m + j] = sum;
    }
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < m; ++j) {
      T sum{};
      for (std::int64_t k = 0; k < m; ++k) sum += g[i * m + k] * g[k * m + j];
      poly[i * m + j] = static_cast<T>(kMuonB) * g[i * m + j] + static_cast<T>(kMuonC) * sum;
    }
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      T sum{};
      for (std::int64_t k = 0; k < m; ++k) sum += poly[i * m + k] * x[k * n + j];
      next[i * n + j] = static_cast<T>(kMuonA) * x[i * n + j] + sum;
    }
}

template <class T, class W>
void update(const MuonParams& params, const MuonMatrix& matrix, const FlatParameters& parameters, T* buffer,
            T* x, T* next, T* g, T* poly) {
  const std::int64_t rows = matrix.rows, columns = matrix.columns, count = rows * columns;
  const bool tall = rows > columns;  // then x is the transpose
  const std::int64_t m = std::min(rows, columns), n = std::max(rows, columns);
  const auto place = [&](std::int64_t i) { return tall ? i % columns * rows + i / columns : i; };
  const int byte = parameters.group_of_segment.as<std::uint8_t>()[matrix.offset / kParameterSegment];
  const T* rate = parameters.rates.as<T>() + 2 * (byte & ~kWorkingSegment);
  const T factor = parameters.gradient_factor ? *parameters.gradient_factor.as<T>() : T{1};
  const T momentum = static_cast<T>(params.momentum);
  const bool working = !std::is_void_v<W> && byte & kWorkingSegment;
  buffer += matrix.offset;
  T* w = parameters.weights.as<T>() + matrix.offset;
  for (std::int64_t i = 0; i < count; ++i) {
    T gradient = parameters.gradients.as<T>()[matrix.offset + i];
    if constexpr (!std::is_void_v<W>)
      if (working) gradient = to_compute(parameters.working_gradients.as<W>()[matrix.offset + i]);
    gradient *= factor;
    buffer[i] = momentum * buffer[i] + gradient;
    x[place(i)] = gradient + momentum * buffer[i];
  }
  const T norm = norm_of(x, count) + static_cast<T>(kMuonEps);
  for (std::int64_t i = 0; i < count; ++i) x[i] /= norm;
  for (std::int64_t iteration = 0; iteration < params.iterations; ++iteration) {
    iterate(x, next, g, poly, m, n);
    std::swap(x, next);
  }
  const T length = norm_of(w, count);
  const T keep = !params.normalise ? T{1} - rate[0] * rate[1]
                 : length > T{0}   ? std::sqrt(static_cast<T>(rows)) / length
                                   : T{1};
  const T stretch = std::sqrt(std::max(T{1}, static_cast<T>(rows) / static_cast<T>(columns)));
  for (std::int64_t i = 0; i < count; ++i) {
    w[i] = keep * w[i] - rate[0] * stretch * x[place(i)];
    if constexpr (!std::is_void_v<W>)
      if (working)
        parameters.working_weights.as<W>()[matrix.offset + i] = from_compute<W>(static_cast<float>(w[i]));
  }
}

void step(Context&, const MuonParams& params, const FlatParameters& parameters, TensorView momentum_buffer,
          Workspace workspace) {
  const Sizes sizes(params);
  dispatch_reference(params.dtype, [&]<class T>(TypeTag<T>) {
    if (parameters.gradient_factor && *parameters.gradient_factor.as<T>() < T{0}) return;
    WorkspaceCutter cutter(workspace);
    T *x = static_cast<T*>(cutter.take(sizes.x)), *next = static_cast<T*>(cutter.take(sizes.x));
    T *g = static_cast<T*>(cutter.take(sizes.square)), *poly = static_cast<T*>(cutter.take(sizes.square));
    dispatch_working(params, [&]<class W>(TypeTag<W>) {
      for (const MuonMatrix& matrix : params.matrices)
        update<T, W>(params, matrix, parameters, momentum_buffer.as<T>(), x, next, g, poly);
    });
  });
}

}  // namespace

const MuonRow muon_row{{"reference", DeviceKind::cpu, true}, supports, workspace, step};

}  // namespace zeroth::reference
