#pragma once

#include <span>
#include <vector>

#include "kernels/core/flat_parameters.h"

namespace zeroth {

/// A parameter as a matrix: `rows` x `columns` elements of the flat buffers, row by row from `offset` on, a
/// multiple of kParameterSegment. Filters (K, R, S, C) are K rows of R S C columns.
struct MuonMatrix {
  std::int64_t offset, rows, columns;
};

/// Muon (Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024) on the
/// matrices that `matrices` lists; everything else in the flat buffers is left alone. For each of them, with
/// K rows:
///   buffer = momentum * buffer + factor * gradient;   u = factor * gradient + momentum * buffer   (Nesterov)
///   x = u / (|u| + 1e-7), |u| the Frobenius norm;   `iterations` times, on the shorter side:
///     x = a x + (b g + c g g) x,   g = x x^T          (a, b, c) = (3.4445, -4.7750, 2.0315)
///   normalise:   w *= sqrt(K) / |w|                   (as in airbench94_muon; a matrix of zeros stays zero)
///   otherwise:   w -= lr * decay * w
///   w -= lr * sqrt(max(1, rows / columns)) * x
/// The iteration (Newton and Schulz's, of fifth order) moves every singular value of u towards 1, into about
/// 0.7 to 1.2, and keeps the singular vectors. The momentum is SGD's; the published form, a mean of
/// gradients, differs from it by a factor that the norm takes out. Products and norms in f32, norms of the
/// native row in f64; the published code rounds x to bf16. momentum_buffer: (elements) as the weights; the
/// other operands are described in kernels/core/flat_parameters.h; a matrix has the rates of the group of its
/// first segment. Gaps of zeros stay zero.
struct MuonParams : FlatParams {
  double momentum = 0.95;
  std::int64_t iterations = 5;
  bool normalise = false;
  std::vector<MuonMatrix> matrices;
  std::string to_string() const;
};

inline constexpr double kMuonA = 3.4445, kMuonB = -4.7750, kMuonC = 2.0315, kMuonEps = 1e-7;

struct MuonRow : Row {
  bool (*supports)(const MuonParams&);
  std::size_t (*workspace)(Context&, const MuonParams&);
  void (*step)(Context&, const MuonParams&, const FlatParameters&, TensorView momentum_buffer, Workspace);
};

/// Every implementation, in order of preference.
std::span<const MuonRow> muon_rows();

namespace reference {
extern const MuonRow muon_row;
}
namespace cpu {
extern const MuonRow muon_row;
}
namespace simt_native {
extern const MuonRow muon_row;
}
namespace cuda_native {
extern const MuonRow muon_row;
}

std::size_t muon_workspace(Context& context, const MuonParams& params);

void muon_step(Context& context, const MuonParams& params, const FlatParameters& parameters,
               TensorView momentum_buffer, Workspace workspace);

}  // namespace zeroth
