#include "kernels/simt/warp_mma.h"

namespace zeroth::simt {

namespace {

constexpr int kLanes = 32;

struct MmaLane {
  float* c;
  const std::uint32_t* a;
  const std::uint32_t* b;
  ToFloat to_float;
};

std::uint16_t half_of(std::uint32_t reg, int half) {
  return static_cast<std::uint16_t>(reg >> (16 * half));
}

/// Gathers the matrices from the lanes' registers, multiplies, and hands the result back.
void complete_mma(void* const* lanes, std::uint32_t, const char*, Site) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const MmaLane& part = *static_cast<const MmaLane*>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 8; ++i) {
      const int row = group + (i / 2 % 2) * 8, column = pair + i % 2 + (i / 4) * 8;
      a[row][column] = part.to_float(half_of(part.a[i / 2], i % 2));
    }
    for (int i = 0; i < 4; ++i)
      b[pair + i % 2 + (i / 2) * 8][group] = part.to_float(half_of(part.b[i / 2], i % 2));
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const MmaLane& part = *static_cast<const MmaLane*>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      const int row = group + (i / 2) * 8, column = pair + i % 2;
      float sum = part.c[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      part.c[i] = sum;
    }
  }
}

struct LoadLane {
  MatrixRow row;
  std::uint32_t* reg;
  bool transposed;
};

void complete_load(void* const* lanes, std::uint32_t, const char*, Site) {
  const auto element = [&](int matrix, int row, int column) -> std::uint32_t {
    return static_cast<const LoadLane*>(lanes[matrix * 8 + row])->row.element[column];
  };
  for (int lane = 0; lane < kLanes; ++lane) {
    const LoadLane& part = *static_cast<const LoadLane*>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int m = 0; m < 4; ++m) {
      const std::uint32_t low = part.transposed ? element(m, pair, group) : element(m, group, pair);
      const std::uint32_t high = part.transposed ? element(m, pair + 1, group) : element(m, group, pair + 1);
      part.reg[m] = low | high << 16;
    }
  }
}

}  // namespace

void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], ToFloat to_float,
                  Site site) {
  MmaLane lane{c, a, b, to_float};
  warp_collective({"mma_m16n8k16", complete_mma, false, false, false}, 0xffffffffu, &lane, site);
}

void load_matrices_x4(std::uint32_t (&reg)[4], MatrixRow row, bool transposed, Site site) {
  LoadLane lane{row, reg, transposed};
  warp_collective({"load_matrices_x4", complete_load, false, false, false}, 0xffffffffu, &lane, site);
}

}  // namespace zeroth::simt
