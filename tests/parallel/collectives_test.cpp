#include <array>
#include <cstring>
#include <random>

#include "engine/parallel/gloo_communicator.h"
#include "engine/parallel/rank_order.h"
#include "kernels/core/context.h"
#include "tests/catch.h"
#include "tests/parallel/ranks.h"

using namespace zeroth;
using test::Meeting;
using test::run_ranks;

namespace {

constexpr std::array kDTypes{DType::f64, DType::f32, DType::bf16, DType::f16, DType::i32};

using Bytes = std::vector<std::byte>;

TensorView view(Bytes& bytes, DType dtype) {
  return {bytes.data(), {static_cast<std::int64_t>(bytes.size() / size_of(dtype))}, dtype};
}

/// What a rank brings: numbers whose sum depends on its order.
Bytes values_of(int rank, std::int64_t n, DType dtype, unsigned seed) {
  std::mt19937 random(seed * 101 + static_cast<unsigned>(rank));
  std::uniform_real_distribution<double> values(-4.0, 4.0);
  Bytes bytes(static_cast<std::size_t>(n) * size_of(dtype));
  for (std::int64_t i = 0; i < n; ++i) {
    const double x = values(random);
    std::byte* const to = bytes.data() + static_cast<std::size_t>(i) * size_of(dtype);
    const auto put = [&](auto value) { std::memcpy(to, &value, sizeof value); };
    if (dtype == DType::f64) put(x);
    if (dtype == DType::f32) put(static_cast<float>(x));
    if (dtype == DType::bf16) put(to_bf16(static_cast<float>(x)));
    if (dtype == DType::f16) put(to_f16(static_cast<float>(x)));
    if (dtype == DType::i32) put(static_cast<std::int32_t>(x * 1000));
  }
  return bytes;
}

template <class T>
T element(const Bytes& bytes, std::int64_t i) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

/// The sum or maximum by the plainest loop: one element at a time, ranks in order.
template <class T, class Sum, class Widen, class Narrow>
Bytes plainly(const std::vector<Bytes>& of_ranks, RankReduction reduction, Widen widen, Narrow narrow) {
  Bytes result = of_ranks[0];
  for (std::size_t i = 0; i < result.size() / sizeof(T); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    Sum sum = widen(element<T>(of_ranks[0], at));
    for (std::size_t r = 1; r < of_ranks.size(); ++r) {
      const Sum x = widen(element<T>(of_ranks[r], at));
      sum = reduction == RankReduction::sum ? static_cast<Sum>(sum + x) : std::max(sum, x);
    }
    const T rounded = narrow(sum);
    std::memcpy(result.data() + i * sizeof(T), &rounded, sizeof(T));
  }
  return result;
}

Bytes expected(const std::vector<Bytes>& of_ranks, DType dtype, RankReduction reduction) {
  const auto same = [](auto x) { return x; };
  if (dtype == DType::f64) return plainly<double, double>(of_ranks, reduction, same, same);
  if (dtype == DType::f32) return plainly<float, float>(of_ranks, reduction, same, same);
  if (dtype == DType::i32) return plainly<std::int32_t, std::int32_t>(of_ranks, reduction, same, same);
  const auto widen = [](auto x) { return to_float(x); };
  if (dtype == DType::bf16) return plainly<bf16, float>(of_ranks, reduction, widen, to_bf16);
  return plainly<f16, float>(of_ranks, reduction, widen, to_f16);
}

/// Calls body(rank, communicator, context) on every rank.
void with_ranks(int size, const std::function<void(Communicator&, Context&)>& body) {
  Meeting meeting;
  std::vector<RendezvousConfig> configs;
  for (int rank = 0; rank < size; ++rank) configs.push_back(meeting.config(rank, size));
  const std::vector<std::string> thrown = run_ranks(size, [&](int rank) {
    Rendezvous rendezvous(configs[static_cast<std::size_t>(rank)]);
    Context context(Device{});
    {
      const auto communicator = make_gloo_communicator(rendezvous);
      body(*communicator, context);
      communicator->join(context);
      rendezvous.barrier("end");
    }
    rendezvous.leave();
  });
  for (const std::string& line : thrown) CHECK(line == "");
}

}  // namespace

TEST_CASE("collectives of 1 to 4 ranks give plain sums in rank order, the same bits on all") {
  if (!why_no_gloo().empty()) {
    WARN("not tested: " << why_no_gloo());
    return;
  }
  for (int size = 1; size <= 4; ++size) {
    const auto k = static_cast<std::size_t>(size);
    struct Case {
      DType dtype;
      std::int64_t n;
      RankReduction reduction;
      std::vector<Bytes> in, all, scattered, gathered, sent;
    };
    std::vector<Case> cases;
    for (const DType dtype : kDTypes)
      for (const std::int64_t n : {1, 3, 1000, 4099})
        for (const RankReduction reduction : {RankReduction::sum, RankReduction::max}) {
          Case c{dtype, n, reduction, {}, {}, {}, {}, {}};
          for (int rank = 0; rank < size; ++rank)
            c.in.push_back(values_of(rank, n * size, dtype, static_cast<unsigned>(cases.size())));
          c.all = c.in;
          c.scattered.resize(k, Bytes(c.in[0].size() / k));
          c.gathered.resize(k, Bytes(c.in[0].size()));
          c.sent = c.in;
          cases.push_back(c);
        }
    with_ranks(size, [&](Communicator& ranks, Context& context) {
      const auto r = static_cast<std::size_t>(ranks.rank());
      for (Case& c : cases) {
        ranks.all_reduce(context, view(c.all[r], c.dtype), c.reduction);
        ranks.reduce_scatter(context, view(c.in[r], c.dtype), view(c.scattered[r], c.dtype), c.reduction);
        ranks.all_gather(context, view(c.scattered[r], c.dtype), view(c.gathered[r], c.dtype));
        ranks.broadcast(context, view(c.sent[r], c.dtype), size - 1);
      }
    });
    for (const Case& c : cases) {
      INFO(size << " ranks, " << name_of(c.dtype) << ", " << c.n << " elements a rank");
      const Bytes right = expected(c.in, c.dtype, c.reduction);
      for (std::size_t r = 0; r < k; ++r) {
        CHECK(c.all[r] == right);
        CHECK(std::memcmp(c.scattered[r].data(), right.data() + r * c.scattered[r].size(),
                          c.scattered[r].size()) == 0);
        CHECK(c.gathered[r] == right);
        CHECK(c.sent[r] == c.in[k - 1]);
      }
    }
  }
}

TEST_CASE("a part reduced in its place, or a range cut elsewhere, has the bits of the whole") {
  if (!why_no_gloo().empty()) return;
  constexpr int kRanks = 3;
  constexpr std::int64_t kCount = 3 * 701;
  std::vector<Bytes> whole, cut, parts;
  for (int rank = 0; rank < kRanks; ++rank) whole.push_back(values_of(rank, kCount, DType::bf16, 5));
  cut = parts = whole;
  with_ranks(kRanks, [&](Communicator& ranks, Context& context) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    ranks.all_reduce(context, view(whole[r], DType::bf16), RankReduction::sum);
    auto* const start = reinterpret_cast<std::uint16_t*>(cut[r].data());
    for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{900, kCount}, {7, 900}, {0, 7}})
      ranks.all_reduce(context, TensorView{start + begin, {end - begin}, DType::bf16}, RankReduction::sum);
    auto* const place = reinterpret_cast<std::uint16_t*>(parts[r].data()) + r * 701;
    const TensorView own{place, {701}, DType::bf16};
    ranks.reduce_scatter(context, view(parts[r], DType::bf16), own, RankReduction::sum);
    ranks.all_gather(context, own, view(parts[r], DType::bf16));
  });
  for (std::size_t r = 0; r < kRanks; ++r) {
    CHECK(whole[r] == whole[0]);
    CHECK(cut[r] == whole[0]);
    CHECK(parts[r] == whole[0]);
  }
}

TEST_CASE("a rank sends the bytes that a ring needs") {
  if (!why_no_gloo().empty()) return;
  for (int size = 1; size <= 4; ++size) {
    std::vector<Traffic> reduced(static_cast<std::size_t>(size)), scattered(reduced), gathered(reduced),
        sent(reduced);
    constexpr std::int64_t kEach = 600;
    with_ranks(size, [&](Communicator& ranks, Context& context) {
      const auto r = static_cast<std::size_t>(ranks.rank());
      Bytes all(static_cast<std::size_t>(kEach * size) * 4), own(kEach * 4);
      Traffic before = ranks.traffic();
      const auto note = [&](Traffic& traffic) {
        ranks.join(context);
        traffic = {ranks.traffic().collectives - before.collectives, ranks.traffic().bytes - before.bytes};
        before = ranks.traffic();
      };
      ranks.all_reduce(context, view(all, DType::f32), RankReduction::sum);
      note(reduced[r]);
      ranks.reduce_scatter(context, view(all, DType::f32), view(own, DType::f32), RankReduction::sum);
      note(scattered[r]);
      ranks.all_gather(context, view(own, DType::f32), view(all, DType::f32));
      note(gathered[r]);
      ranks.broadcast(context, view(all, DType::f32), 0);
      note(sent[r]);
    });
    std::int64_t broadcast = 0;
    for (std::size_t r = 0; r < static_cast<std::size_t>(size); ++r) {
      CHECK(reduced[r].bytes == 2 * (size - 1) * kEach * 4);
      CHECK(scattered[r].bytes == (size - 1) * kEach * 4);
      CHECK(gathered[r].bytes == (size - 1) * kEach * 4);
      broadcast += sent[r].bytes;
    }
    CHECK(broadcast == (size - 1) * kEach * size * 4);
  }
}

TEST_CASE("operands that do not fit are refused") {
  if (!why_no_gloo().empty()) return;
  with_ranks(1, [&](Communicator& ranks, Context& context) {
    Bytes bytes(64), more(128);
    const auto refused = [&](const std::string& words, const std::function<void()>& call) {
      try {
        call();
      } catch (const Error& error) {
        return test::expect(error.kind() == ErrorKind::usage && std::string(error.what()) == words,
                            error.what());
      }
      test::expect(false, words);
    };
    refused("all_reduce: ranks do not exchange u8 tensors",
            [&] { ranks.all_reduce(context, view(bytes, DType::u8), RankReduction::sum); });
    refused("all_gather: parts of 32 f32 elements do not fit 1 ranks' 16 f32",
            [&] { ranks.all_gather(context, view(bytes, DType::f32), view(more, DType::f32)); });
    refused("broadcast: root is a rank", [&] { ranks.broadcast(context, view(bytes, DType::f32), 1); });
  });
}
