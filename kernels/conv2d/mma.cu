// Convolution by tensor cores, for the windows that ResNets are made of: 3 x 3, stride 1, padding 1, 16, 32
// or 64 channels in and as many out, NHWC, bf16 or f16 storage, f32 sums. Forward, and backward to the
// picture: dx is the convolution of dy with the filters turned by 180 degrees, input and output channels
// exchanged. From DRAM a pass reads its picture and writes its result once; the filters stay in shared
// memory. The trick is that a picture is loaded once for all nine taps, and a fragment of it once for three.
// mma.cuh says how. Backward to the filters, other windows and other channels are other rows' work:
// --impl conv2d=mma+native takes this one where it can.

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/mma.cuh"

namespace zeroth::ZEROTH_NATIVE {

namespace {

bool supports(const Conv2dParams& a, Conv2dPass pass) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;  // indices are 32-bit
  if (pass == Conv2dPass::backward_weight || (a.dtype != DType::bf16 && a.dtype != DType::f16)) return false;
  if (a.r != 3 || a.s != 3 || a.stride != 1 || a.padding != 1 || a.c != a.k) return false;
  bool fits = false;
  with_picture_tile(a.c, [&]<class Tile>(Tile) { fits = fits_tile<Tile>(a.w); });
  return fits && a.n > 0 && a.x_shape().elements() <= kMost;
}

std::size_t workspace(Context&, const Conv2dParams&, Conv2dPass, GradMode) {
  return 0;
}

template <class T, bool kTurned>
void convolve(Context& context, const Conv2dParams& a, const void* from, const void* w, void* to,
              bool accumulate) {
  with_picture_tile(a.c, [&]<class Tile>(Tile) {
    const PictureTiling tiling = tile_pictures<Tile>(a.n, a.h, a.w);
    launch(picture_product_kernel<Tile, T, kTurned, NoStatistics>, dim3(blocks_of<Tile>(tiling)),
           dim3(Tile::kThreads), shared_bytes<Tile>(tiling), context.stream(), static_cast<const T*>(from),
           static_cast<const T*>(w), static_cast<T*>(to), tiling, accumulate, NoStatistics{});
  });
}

void forward(Context& context, const Conv2dParams& a, ConstTensorView x, ConstTensorView w, TensorView y,
             Workspace) {
  if (a.dtype == DType::bf16)
    convolve<bf16, false>(context, a, x.data, w.data, y.data, false);
  else
    convolve<f16, false>(context, a, x.data, w.data, y.data, false);
}

void backward_data(Context& context, const Conv2dParams& a, ConstTensorView dy, ConstTensorView w,
                   TensorView dx, GradMode mode, Workspace) {
  const bool accumulate = mode == GradMode::accumulate;
  if (a.dtype == DType::bf16)
    convolve<bf16, true>(context, a, dy.data, w.data, dx.data, accumulate);
  else
    convolve<f16, true>(context, a, dy.data, w.data, dx.data, accumulate);
}

}  // namespace

const Conv2dRow conv2d_mma_row{
    {"mma", kNativeDevice, true}, supports, workspace, forward, backward_data, nullptr};

}  // namespace zeroth::ZEROTH_NATIVE
