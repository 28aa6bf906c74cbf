#include "data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace zeroth {

namespace {

/// The source pixels beneath one pixel of the result, along one axis, and their weights.
struct Beneath {
  std::size_t first = 0;
  std::vector<float> weights;
};

std::vector<Beneath> pixels_beneath(int extent, int side, int size) {
  const double scale = static_cast<double>(side) / size, begin = 0.5 * (extent - side);
  const double reach = std::max(scale, 1.0);
  std::vector<Beneath> all;
  for (int i = 0; i < size; ++i) {
    const double middle = begin + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(middle - reach + 0.5));
    const int last = std::min(extent, static_cast<int>(middle + reach + 0.5));
    std::vector<double> weights;
    double sum = 0.0;
    for (int at = first; at < last; ++at) {
      weights.push_back(std::max(0.0, 1.0 - std::abs(at + 0.5 - middle) / reach));
      sum += weights.back();
    }
    Beneath beneath{static_cast<std::size_t>(first), {}};
    for (const double weight : weights) beneath.weights.push_back(static_cast<float>(weight / sum));
    all.push_back(std::move(beneath));
  }
  return all;
}

}  // namespace

void resample_square(std::span<const std::uint8_t> source, int width, int height, int channels, int size,
                     std::span<std::uint8_t> result) {
  const int side = std::min(width, height);
  const std::vector<Beneath> columns = pixels_beneath(width, side, size),
                             rows = pixels_beneath(height, side, size);
  const auto c = static_cast<std::size_t>(channels), across = static_cast<std::size_t>(size) * c;
  // First along the rows of the source that count, then down the columns of what that gave.
  const std::size_t top = rows.front().first, bottom = rows.back().first + rows.back().weights.size();
  std::vector<float> narrow((bottom - top) * across, 0.0f);
  for (std::size_t y = top; y < bottom; ++y) {
    const std::uint8_t* const line = source.data() + y * static_cast<std::size_t>(width) * c;
    float* out = narrow.data() + (y - top) * across;
    for (const Beneath& column : columns) {
      for (std::size_t channel = 0; channel < c; ++channel) {
        float sum = 0.0f;
        for (std::size_t i = 0; i < column.weights.size(); ++i) {
          sum += column.weights[i] * static_cast<float>(line[(column.first + i) * c + channel]);
        }
        *out++ = sum;
      }
    }
  }
  std::vector<float> sums(across);
  for (std::size_t y = 0; y < rows.size(); ++y) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::size_t i = 0; i < rows[y].weights.size(); ++i) {
      const float* const line = narrow.data() + (rows[y].first - top + i) * across;
      for (std::size_t x = 0; x < across; ++x) sums[x] += rows[y].weights[i] * line[x];
    }
    std::uint8_t* const out = result.data() + y * across;
    for (std::size_t x = 0; x < across; ++x) {
      out[x] = static_cast<std::uint8_t>(std::clamp(std::lround(sums[x]), 0L, 255L));
    }
  }
}

void resample_square(Pictures& pictures, int size) {
  if (pictures.height == size && pictures.width == size) return;
  const auto before = static_cast<std::size_t>(pictures.bytes_each());
  const auto after = static_cast<std::size_t>(size) * static_cast<std::size_t>(size) *
                     static_cast<std::size_t>(pictures.channels);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(pictures.count) * after);
  for (std::size_t i = 0; i < static_cast<std::size_t>(pictures.count); ++i) {
    resample_square(std::span(pictures.pixels).subspan(i * before, before), pictures.width, pictures.height,
                    pictures.channels, size, std::span(pixels).subspan(i * after, after));
  }
  pictures.pixels = std::move(pixels);
  pictures.height = pictures.width = size;
}

}  // namespace zeroth
