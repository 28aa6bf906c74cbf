#include "kernels/augment/augment.h"

#include <cmath>
#include <set>

#include "tests/kernels/rows.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

struct Case {
  std::int64_t pictures, n, h, w, c;
  Augmentation how;
  std::int64_t shift_y = 0, shift_x = 0;
};

const Case kCases[] = {
    {10, 16, 32, 32, 3, {Flip::random, 4}},
    {10, 3, 32, 32, 3, {Flip::none, 0}},
    {10, 5, 32, 32, 3, {Flip::random, 0}},
    {10, 5, 32, 32, 3, {Flip::none, 4}},
    {7, 33, 5, 7, 1, {Flip::random, 2}},
    {7, 9, 4, 6, 2, {Flip::random, 3}},
    {7, 9, 5, 3, 3, {Flip::random, 1}},
    {7, 40, 3, 2, 4, {Flip::random, 5}},
    {1, 20, 1, 1, 1, {Flip::random, 1}},
    {3, 12, 1, 9, 3, {Flip::random, 20}},
    {5, 0, 8, 8, 3, {Flip::random, 4}},
    {4, 70, 16, 17, 1, {Flip::random, 4}},
    {10, 9, 32, 32, 3, {Flip::alternating, 2, true, 12}},
    {10, 7, 32, 32, 3, {Flip::none, 0, false, 8}},
    {7, 33, 5, 7, 1, {Flip::random, 4, true, 3}},
    {7, 9, 4, 6, 2, {Flip::always, 3, true, 0}},
    {5, 30, 3, 2, 4, {Flip::alternating, 1, true, 2}},
    {3, 40, 4, 5, 3, {Flip::alternating, 9, false, 20}},
    {3, 4, 6, 5, 3, {Flip::always, 0, true, 0}, 1, -1},
    {3, 4, 6, 5, 3, {Flip::none, 0, false, 0}, -7, 2},
};

constexpr std::uint64_t kSeed = 0xfedcba9800000123ULL;
constexpr std::uint32_t kEpoch = 0x80000007u;
constexpr std::int64_t kFirst = 3;  // entry of the order at which a batch starts

AugmentParams params_of(const Case& test, DType dtype) {
  return {test.pictures,
          test.n + kFirst + 2,
          test.n,
          test.h,
          test.w,
          test.c,
          test.how,
          {0.49f, 0.48f, 0.45f, 0.5f},
          {4.1f, 4.2f, 3.8f, 2.0f},
          dtype,
          test.shift_y,
          test.shift_x};
}

double as_i32(std::uint32_t word) {
  return static_cast<double>(static_cast<std::int32_t>(word));
}

std::vector<double> batch_words(std::uint64_t seed, std::uint32_t epoch, std::int64_t first) {
  return {as_i32(static_cast<std::uint32_t>(seed)), as_i32(static_cast<std::uint32_t>(seed >> 32)),
          as_i32(epoch), static_cast<double>(first)};
}

/// The operands of one batch.
struct Batch {
  AugmentParams params;
  Operand pictures, all_labels, order, place, x, labels;

  Batch(Context& context, const AugmentParams& problem, std::uint32_t epoch = kEpoch)
      : params(problem),
        pictures(context, DType::u8, {params.pictures, params.h, params.w, params.c},
                 random_bytes(params.pictures * params.h * params.w * params.c)),
        all_labels(context, DType::i32, {params.pictures}, label_values(params.pictures)),
        order(context, DType::i32, {params.order}, order_values()),
        place(context, DType::i32, {4}, batch_words(kSeed, epoch, kFirst)),
        x(Operand::unset(context, params.dtype, {params.n, params.h, params.w, params.c})),
        labels(Operand::unset(context, DType::i32, {params.n})) {}

  static std::vector<double> random_bytes(std::int64_t count) {
    std::vector<double> bytes(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = philox(1, 0, i, RandomUse::test).word[0] % 256;
    return bytes;
  }
  static std::vector<double> label_values(std::int64_t count) {
    std::vector<double> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<double>(1000 + 3 * i);
    return labels;
  }
  std::vector<double> order_values() const {
    std::vector<double> chosen(static_cast<std::size_t>(params.order));
    for (std::size_t i = 0; i < chosen.size(); ++i)
      chosen[i] = static_cast<double>((5 * i + 2) % static_cast<std::size_t>(params.pictures));
    return chosen;
  }
  /// The pictures that the batch is made of.
  std::vector<double> indices() const {
    const std::vector<double> all = order.values();
    return {all.begin() + kFirst, all.begin() + kFirst + params.n};
  }
  void run(Context& context, const AugmentRow& row) const {
    row.forward(context, params, pictures, all_labels, order, place, x, labels);
  }
  bool intact() const {
    return pictures.intact() && all_labels.intact() && order.intact() && place.intact() && x.intact() &&
           labels.intact();
  }
};

/// Whether a picture is mirrored, in a batch of kEpoch.
bool is_mirrored(Flip flip, std::uint64_t picture) {
  const auto bit = [&](std::uint32_t epoch) {
    return philox(kSeed, epoch, picture, RandomUse::augment).word[0] % 2;
  };
  if (flip == Flip::random) return bit(kEpoch) == 1;
  if (flip == Flip::alternating) return bit(0) != kEpoch % 2;
  return flip == Flip::always;
}

/// Place `i` of a line of `size`, of which there are mirror images on both sides, which share its ends.
std::int64_t in_mirrors(std::int64_t i, std::int64_t size) {
  const std::int64_t period = 2 * size - 2;
  const std::int64_t place = period == 0 ? 0 : (i % period + period) % period;
  return std::min(place, period - place);
}

/// A batch by the contract's words: each picture is mirrored, then laid into a frame, then cut out of that,
/// then blanked in its square.
std::vector<double> expected_batch(const Batch& batch) {
  const AugmentParams& params = batch.params;
  const Augmentation& how = params.augmentation;
  const std::int64_t h = params.h, w = params.w, c = params.c, margin = how.crop_padding + 10;
  const std::vector<double> bytes = batch.pictures.values();
  std::vector<double> result;
  for (const double index : batch.indices()) {
    const auto picture = static_cast<std::uint64_t>(index);
    const PhiloxWords u = philox(kSeed, kEpoch, picture, RandomUse::augment);
    const bool mirrored = is_mirrored(how.flip, picture);
    const auto range = static_cast<std::uint32_t>(2 * how.crop_padding + 1);
    const std::int64_t top = uniform_below(u.word[1], range) - how.crop_padding + params.shift_y + margin,
                       left = uniform_below(u.word[2], range) - how.crop_padding + params.shift_x + margin;
    const std::int64_t wide = w + 2 * margin;
    std::vector<double> frame(static_cast<std::size_t>(wide * (h + 2 * margin) * c), 0.0);
    for (std::int64_t y = -margin; y < h + margin; ++y)
      for (std::int64_t z = -margin; z < w + margin; ++z) {
        if (!how.reflect && (y < 0 || y >= h || z < 0 || z >= w)) continue;
        const std::int64_t from_y = in_mirrors(y, h), from_z = in_mirrors(z, w);
        for (std::int64_t k = 0; k < c; ++k)
          frame[static_cast<std::size_t>(((y + margin) * wide + z + margin) * c + k)] =
              bytes[(picture * static_cast<std::size_t>(h) + static_cast<std::size_t>(from_y)) *
                        static_cast<std::size_t>(w * c) +
                    static_cast<std::size_t>((mirrored ? w - 1 - from_z : from_z) * c + k)];
      }
    const double cut_top = std::floor(u.word[3] % 65536 / 65536.0 * static_cast<double>(h)) -
                           static_cast<double>(how.cutout / 2),
                 cut_left = std::floor(u.word[3] / 65536 / 65536.0 * static_cast<double>(w)) -
                            static_cast<double>(how.cutout / 2);
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t z = 0; z < w; ++z)
        for (std::int64_t k = 0; k < c; ++k) {
          const double down = static_cast<double>(y) - cut_top, right = static_cast<double>(z) - cut_left;
          const auto side = static_cast<double>(how.cutout);
          const bool cut = down >= 0 && down < side && right >= 0 && right < side;
          const double byte = frame[static_cast<std::size_t>(((y + top) * wide + z + left) * c + k)];
          result.push_back(cut ? 0.0
                               : (byte / 255.0 - static_cast<double>(params.mean[k])) *
                                     static_cast<double>(params.inverse_std[k]));
        }
  }
  return result;
}

}  // namespace

TEST_CASE("every augment row makes the batch the contract describes", "[kernels][augment]") {
  for (const Case& test : kCases)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16})
      for_each_row(augment_rows(), [&](Context& context, const AugmentRow& row) {
        const AugmentParams params = params_of(test, dtype);
        if (!row.supports(params)) return;
        INFO(params.to_string());
        const Batch batch(context, params);
        batch.run(context, row);
        CHECK(batch.intact());
        const std::vector<double> expected = expected_batch(batch);
        // A division, a difference and a product in the compute type, one rounding to storage.
        const double u = unit_roundoff(statistics_dtype(dtype));
        const auto bound = [&](std::size_t i) {
          const std::size_t channel = i % static_cast<std::size_t>(params.c);
          const double size = (1.0 + static_cast<double>(params.mean[channel])) *
                              static_cast<double>(params.inverse_std[channel]);
          return 4 * u * size + rounding(dtype, expected[i]);
        };
        check_close(batch.x.values(), expected, bound);
        std::vector<double> labels;
        for (const double index : batch.indices()) labels.push_back(1000 + 3 * index);
        CHECK(batch.labels.values() == labels);
      });
}

TEST_CASE("all augment rows of one dtype give the same bits", "[kernels][augment]") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const Case& test : {kCases[0], kCases[4], kCases[12], kCases[14], kCases[16], kCases[17]}) {
      std::vector<std::byte> first;
      for_each_row(augment_rows(), [&](Context& context, const AugmentRow& row) {
        if (!row.supports(params_of(test, dtype))) return;
        check_same_bits(row, [&] {
          const Batch batch(context, params_of(test, dtype));
          batch.run(context, row);
          if (first.empty()) first = batch.x.bytes();
          CHECK((batch.x.bytes() == first));
          return batch.x.bytes();
        });
      });
    }
}

TEST_CASE("each epoch draws anew, and every draw occurs", "[kernels][augment]") {
  // A picture whose only bright pixel is off centre shows where it went and whether it was mirrored.
  constexpr std::int64_t kSize = 9;
  std::vector<double> bytes(kSize * kSize, 0.0);
  bytes[4 * kSize + 3] = 255.0;
  for_each_row(augment_rows(), [&](Context& context, const AugmentRow& row) {
    AugmentParams params{1, 1, 1, kSize, kSize, 1, {Flip::random, 1, false, 0}};
    if (!row.supports(params)) return;
    const Operand pictures(context, DType::u8, {1, kSize, kSize, 1}, bytes);
    const Operand label(context, DType::i32, {1}, {0.0}), labels = Operand::unset(context, DType::i32, {1});
    std::set<std::size_t> places;
    for (std::uint32_t epoch = 0; epoch < 200; ++epoch) {
      const Operand place(context, DType::i32, {4}, batch_words(kSeed, epoch, 0));
      const Operand x = Operand::unset(context, DType::f32, {1, kSize, kSize, 1});
      row.forward(context, params, pictures, label, label, place, x, labels);
      const std::vector<double> values = x.values();
      places.insert(static_cast<std::size_t>(std::find(values.begin(), values.end(), 1.0) - values.begin()));
    }
    // Rows 3 to 5; columns 2 to 4 as it is, 4 to 6 mirrored.
    std::set<std::size_t> expected;
    for (std::size_t y = 3; y <= 5; ++y)
      for (std::size_t z = 2; z <= 6; ++z) expected.insert(y * kSize + z);
    CHECK((places == expected));
  });
}

TEST_CASE("an alternating flip shows both sides in any two epochs", "[kernels][augment]") {
  for_each_row(augment_rows(), [&](Context& context, const AugmentRow& row) {
    AugmentParams params{64, 64 + kFirst, 64, 1, 2, 1, {Flip::alternating, 0, false, 0}};
    if (!row.supports(params)) return;
    std::vector<std::vector<double>> seen;
    for (std::uint32_t epoch = 0; epoch < 3; ++epoch) {
      const Batch batch(context, params, epoch);
      batch.run(context, row);
      seen.push_back(batch.x.values());
    }
    CHECK((seen[0] == seen[2]));
    bool all_mirrored = true;
    for (std::size_t i = 0; i < seen[0].size(); i += 2)
      all_mirrored &= seen[0][i] == seen[1][i + 1] && seen[0][i + 1] == seen[1][i];
    CHECK(all_mirrored);
    params.augmentation.flip = Flip::none;
    const Batch plain(context, params);
    plain.run(context, row);
    std::size_t mirrored = 0;
    const std::vector<double> as_is = plain.x.values();
    for (std::size_t i = 0; i < as_is.size(); i += 2) mirrored += as_is[i] != seen[0][i];
    CHECK(mirrored > 16);  // 32 of 64 are expected, with a deviation of 4
    CHECK(mirrored < 48);
  });
}

TEST_CASE("augment refuses bad arguments", "[kernels][augment]") {
  Context context({DeviceKind::cpu, 0});
  const AugmentParams good = params_of({10, 4, 8, 8, 3, {}}, DType::f32);
  const Batch batch(context, good);
  const auto call = [&](const AugmentParams& params, ConstTensorView place) {
    return [&context, &batch, params, place] {
      augment_forward(context, params, batch.pictures, batch.all_labels, batch.order, place, batch.x,
                      batch.labels);
    };
  };
  CHECK_NOTHROW(call(good, batch.place)());
  AugmentParams bad = good;
  bad.c = 5;
  check_usage_error(call(bad, batch.place), "augment: pictures have 5 channels, expected 1 to 4");
  bad = good;
  bad.h = 0;
  check_usage_error(call(bad, batch.place), "augment: a picture of 0 x 8 x 3 is empty or too large");
  bad = good;
  bad.h = bad.w = 1 << 20;
  check_usage_error(call(bad, batch.place),
                    "augment: a picture of 1048576 x 1048576 x 3 is empty or too large");
  bad = good;
  bad.augmentation.crop_padding = -1;
  check_usage_error(call(bad, batch.place), "augment: crop_padding is -1, expected 0 to 32767");
  bad = good;
  bad.augmentation.cutout = -2;
  check_usage_error(call(bad, batch.place), "augment: cutout is -2, expected 0 to 32767");
  bad = good;
  bad.augmentation.reflect = true;
  bad.shift_x = -4;
  check_usage_error(call(bad, batch.place),
                    "augment: 8 x 8 pictures cannot be moved by 8: they are reflected once");
  bad.shift_x = -3;
  CHECK_NOTHROW(call(bad, batch.place)());
  bad = good;
  bad.pictures = 0;
  check_usage_error(call(bad, batch.place), "augment: the data set has no pictures");
  bad = good;
  bad.order = 10;
  check_usage_error(call(bad, batch.place), "augment: order has shape (9), expected (10)");
  bad = good;
  bad.n = 10;
  check_usage_error(call(bad, batch.place), "augment: a batch of 10 pictures from an order of 9");
  check_usage_error(call(good, TensorView()), "augment: batch is missing");
  bad = good;
  bad.dtype = DType::f64;
  check_usage_error(call(bad, batch.place), "augment: x has dtype f32, expected f64");
}
