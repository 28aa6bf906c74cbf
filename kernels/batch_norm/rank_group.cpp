#include "kernels/batch_norm/rank_group.h"

#include <algorithm>

namespace zeroth {

std::vector<double> gather_on_host(Context& context, const RankGroup* group, std::vector<double> own) {
  if (group == nullptr) return own;
  const auto values = static_cast<std::int64_t>(own.size());
  std::vector<double> all(own.size() * static_cast<std::size_t>(group->size()));
  double* mine = all.data() + group->rank() * values;
  std::copy(own.begin(), own.end(), mine);
  const Shape one{2, values / 2};
  group->gather(context, ConstTensorView(mine, one, DType::f64),
                TensorView(all.data(), {group->size(), 2, values / 2}, DType::f64));
  return all;
}

}  // namespace zeroth
