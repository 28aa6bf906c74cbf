#include "kernels/rank_sum/rank_sum.h"

#include <cmath>
#include <limits>
#include <vector>

#include "engine/tensor.h"
#include "kernels/core/philox.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

/// Three ranks' numbers of very different sizes, some of them NaN.
template <class T>
std::vector<T> numbers_of(int rank, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t word = philox(7, static_cast<std::uint32_t>(rank), i, RandomUse::test).word[0];
    if constexpr (std::is_integral_v<T>) {
      values[i] = static_cast<T>(word >> 4);
    } else {
      const double value = std::ldexp(static_cast<double>(word), -36 + 6 * static_cast<int>(i % 5)) *
                           (rank % 2 == 0 ? 1.0 : -1.0);
      values[i] = from_compute<T>(static_cast<compute_t<T>>(i % 13 == 5 && rank == 1 ? NAN : value));
    }
  }
  return values;
}

template <class T>
std::vector<std::byte> combined(DeviceKind device, const RankSumParams& params) {
  Context context({device, 0});
  std::vector<Tensor> tensors;
  std::vector<ConstTensorView> sources;
  std::vector<TensorView> results;
  for (int rank = 0; rank < 3; ++rank) {
    tensors.push_back(Tensor::from_host<T>(context, {700}, numbers_of<T>(rank, 700)));
    sources.push_back(tensors.back());
    results.push_back(tensors.back());
  }
  rank_sum_forward(context, params, sources, results);
  std::vector<std::byte> bytes;
  for (const Tensor& tensor : tensors) {
    std::vector<std::byte> one(tensor.bytes());
    tensor.copy_to(context, one);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

/// By hand, in the order of ranks.
template <class T, class Wide>
std::vector<std::byte> expected(const RankSumParams& params) {
  std::vector<T> ranks[3];
  for (int rank = 0; rank < 3; ++rank) ranks[rank] = numbers_of<T>(rank, 700);
  const auto widen = [](T x) {
    if constexpr (std::is_integral_v<T>)
      return x;
    else
      return to_compute(x);
  };
  for (std::int64_t at = 0; at < params.elements; ++at) {
    const auto i = static_cast<std::size_t>(params.source_first + at);
    const Wide a = widen(ranks[0][i]), b = widen(ranks[1][i]), c = widen(ranks[2][i]);
    Wide value = params.sum ? (a + b) + c : std::max(std::max(a, b), c);
    if (!params.sum)
      for (const Wide x : {a, b, c})
        if (x != x) value = x;
    for (std::vector<T>& rank : ranks) {
      if constexpr (std::is_integral_v<T>)
        rank[i] = value;
      else
        rank[i] = from_compute<T>(value);
    }
  }
  std::vector<std::byte> bytes;
  for (const std::vector<T>& rank : ranks) {
    const auto one = std::as_bytes(std::span(rank));
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

template <class T, class Wide>
void check(DType dtype) {
  for (const bool sum : {true, false})
    for (const auto& [first, count] :
         {std::pair<std::int64_t, std::int64_t>{0, 700}, {3, 611}, {699, 1}, {5, 0}}) {
      const RankSumParams params{count, first, first, dtype, sum};
      INFO(params.to_string());
      CHECK((combined<T>(DeviceKind::cpu, params) == expected<T, Wide>(params)));
      CHECK((combined<T>(DeviceKind::simt, params) == expected<T, Wide>(params)));
    }
}

}  // namespace

TEST_CASE("ranks are combined in their order, and rounded once", "[kernels][rank_sum]") {
  check<double, double>(DType::f64);
  check<float, float>(DType::f32);
  check<bf16, float>(DType::bf16);
  check<f16, float>(DType::f16);
  check<std::int32_t, std::int32_t>(DType::i32);
}

TEST_CASE("rank_sum refuses ranges and numbers of ranks that do not fit", "[kernels][rank_sum]") {
  Context context({DeviceKind::cpu, 0});
  const Tensor tensor = Tensor::zeros(context, {8}, DType::f32);
  const std::vector<ConstTensorView> source{tensor}, none;
  const std::vector<TensorView> result{tensor}, two{tensor, tensor};
  CHECK_THROWS_WITH(rank_sum_forward(context, {4, 5, 0}, source, result),
                    "rank_sum: elements 5 to 9 do not lie in a source of 8");
  CHECK_THROWS_WITH(rank_sum_forward(context, {4, 0, 5}, source, result),
                    "rank_sum: elements 5 to 9 do not lie in a result of 8");
  CHECK_THROWS_WITH(
      rank_sum_forward(context, {4}, none, result),
      "rank_sum: 0 sources and 1 results, expected 1 to 16 sources and at most as many results");
  CHECK_THROWS(rank_sum_forward(context, {4}, source, two));
}
