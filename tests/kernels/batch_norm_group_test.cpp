// Synchronised batch norm: ranks that hold parts of a batch compute what one rank computes of the whole
// batch.

#include <barrier>
#include <exception>
#include <thread>

#include "kernels/batch_norm_act/batch_norm_act.h"
#include "kernels/check/cases.h"
#include "tests/kernels/harness.h"

using namespace zeroth;
using namespace zeroth::testing;

namespace {

/// Ranks as threads of one process, each with a context of its own on the same device.
class Threads {
 public:
  Threads(int ranks, std::int64_t channels)
      : exchanged_(static_cast<std::size_t>(ranks * 2 * channels)), everybody_(ranks) {
    for (int rank = 0; rank < ranks; ++rank) groups_.emplace_back(*this, rank, ranks);
  }

  /// Calls work(context, group) for every rank at once, with the rows chosen in `like`.
  template <class Work>
  void run(const Context& like, Work&& work) {
    std::vector<std::exception_ptr> failures(groups_.size());
    std::vector<std::thread> threads;
    for (const Group& group : groups_)
      threads.emplace_back([&] {
        try {
          Context context(like.device());
          for (const auto& [operation, rows] : like.chosen_implementations())
            context.choose_implementation(operation + "=" + rows.front());
          work(context, group);
          context.synchronize();
        } catch (...) {
          failures[static_cast<std::size_t>(group.rank())] = std::current_exception();
          everybody_.arrive_and_drop();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::exception_ptr& failure : failures)
      if (failure) std::rethrow_exception(failure);
  }

 private:
  class Group final : public RankGroup {
   public:
    Group(Threads& threads, int rank, int size) : threads_(threads), rank_(rank), size_(size) {}
    int rank() const override { return rank_; }
    int size() const override { return size_; }
    void gather(Context& context, ConstTensorView own, TensorView all) const override {
      const DeviceBackend& memory = context.memory();
      double* exchanged = threads_.exchanged_.data();
      memory.copy_to_host(exchanged + rank_ * own.elements(), own.data, own.bytes(), context.stream());
      context.synchronize();
      threads_.everybody_.arrive_and_wait();
      memory.copy_to_device(all.data, exchanged, all.bytes(), context.stream());
      context.synchronize();
      threads_.everybody_.arrive_and_wait();
    }

   private:
    Threads& threads_;
    int rank_, size_;
  };

  std::vector<double> exchanged_;
  std::barrier<> everybody_;
  std::vector<Group> groups_;
};

/// The rows of a rank's part of a (rows, C) tensor.
TensorView part(TensorView all, int rank, int ranks) {
  if (!all) return {};
  const std::int64_t rows = all.shape[0] / ranks;
  const std::size_t bytes = all.bytes() / static_cast<std::size_t>(ranks);
  return {static_cast<std::byte*>(all.data) + static_cast<std::size_t>(rank) * bytes,
          {rows, all.shape[1]},
          all.dtype};
}

/// Memory of rank 0 is the call's; others have their own copy, as they would on other devices.
class PerRank {
 public:
  PerRank(Context& context, int ranks, TensorView whole) : whole_(whole) {
    for (int rank = 1; rank < ranks; ++rank) {
      copies_.emplace_back(new Operand(Operand::unset(context, whole.dtype, whole.shape)));
      const TensorView copy = *copies_.back();
      context.memory().copy_on_device(copy.data, whole.data, whole.bytes(), context.stream());
    }
    context.synchronize();
  }
  TensorView of(int rank) const {
    return rank == 0 ? whole_ : TensorView(*copies_[static_cast<std::size_t>(rank - 1)]);
  }
  /// Writes the sum over ranks where rank 0's is.
  void add_up(Context& context) const {
    std::vector<float> sum(static_cast<std::size_t>(whole_.elements())), one(sum.size());
    for (int rank = 0; rank <= static_cast<int>(copies_.size()); ++rank) {
      context.memory().copy_to_host(one.data(), of(rank).data, whole_.bytes(), context.stream());
      context.synchronize();
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one[i];
    }
    context.memory().copy_to_device(whole_.data, sum.data(), whole_.bytes(), context.stream());
    context.synchronize();
  }
  /// Whether every rank has the same bits.
  bool agree(Context& context) const {
    std::vector<std::byte> first(whole_.bytes()), other(first.size());
    context.memory().copy_to_host(first.data(), whole_.data, first.size(), context.stream());
    for (const auto& copy : copies_) {
      context.memory().copy_to_host(other.data(), TensorView(*copy).data, other.size(), context.stream());
      context.synchronize();
      if (other != first) return false;
    }
    return true;
  }

 private:
  TensorView whole_;
  std::vector<std::unique_ptr<Operand>> copies_;
};

BatchNormActParams of_rank(BatchNormActParams params, DType dtype, const RankGroup& group) {
  params.rows /= group.size();
  params.dtype = dtype;
  params.group = &group;
  return params;
}

/// Rows that take groups.
std::vector<Row> group_rows(const BatchNormActParams& whole, int ranks, DType dtype) {
  Threads threads(ranks, whole.channels);
  std::vector<Row> rows;
  for (const BatchNormActRow& row : batch_norm_act_rows()) {
    BatchNormActParams params = whole;
    params.dtype = dtype;
    if (row.supports(params)) rows.push_back(row);
  }
  return rows;
}

/// The training call of a whole batch, made by ranks; the f64 reference stays the whole batch's.
KernelCase split_training(KernelCase call, const BatchNormActParams& params, int ranks) {
  const auto whole = call.run;
  call.name += " by " + std::to_string(ranks) + " ranks";
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    if (dtype == DType::f64) return whole(context, dtype, v, workspace);
    const PerRank running_mean(context, ranks, v[5]), running_var(context, ranks, v[6]),
        mean(context, ranks, v[8]), inverse_std(context, ranks, v[9]);
    Threads threads(ranks, params.channels);
    threads.run(context, [&](Context& own, const RankGroup& group) {
      const BatchNormActParams mine = of_rank(params, dtype, group);
      const int rank = group.rank();
      batch_norm_act_forward_training(
          own, mine,
          {.x = part(v[0], rank, ranks),
           .gamma = v[1],
           .beta = v[2],
           .shortcut = has_shortcut(params.epilogue) ? part(v[3], rank, ranks) : TensorView(),
           .alpha = has_alpha(params.epilogue) ? v[4] : TensorView(),
           .running_mean = running_mean.of(rank),
           .running_var = running_var.of(rank),
           .y = part(v[7], rank, ranks),
           .mean = mean.of(rank),
           .inverse_std = inverse_std.of(rank)},
          own.scratch(batch_norm_act_workspace(own, mine)));
    });
    CHECK(running_mean.agree(context));
    CHECK(running_var.agree(context));
    CHECK(mean.agree(context));
    CHECK(inverse_std.agree(context));
  };
  return call;
}

KernelCase split_backward(KernelCase call, const BatchNormActParams& params, int ranks) {
  const auto whole = call.run;
  call.name += " by " + std::to_string(ranks) + " ranks";
  call.run = [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
    if (dtype == DType::f64) return whole(context, dtype, v, workspace);
    const PerRank dgamma(context, ranks, v[10]), dbeta(context, ranks, v[11]), dalpha(context, ranks, v[12]);
    const bool scaled = has_alpha(params.epilogue), joins = has_shortcut(params.epilogue);
    Threads threads(ranks, params.channels);
    threads.run(context, [&](Context& own, const RankGroup& group) {
      const BatchNormActParams mine = of_rank(params, dtype, group);
      const int rank = group.rank();
      batch_norm_act_backward(own, mine,
                              {.dy = part(v[0], rank, ranks),
                               .x = part(v[1], rank, ranks),
                               .y = part(v[2], rank, ranks),
                               .gamma = v[3],
                               .beta = v[4],
                               .mean = v[5],
                               .inverse_std = v[6],
                               .alpha = scaled ? v[7] : TensorView(),
                               .dx = part(v[8], rank, ranks),
                               .dshortcut = joins ? part(v[9], rank, ranks) : TensorView(),
                               .dgamma = dgamma.of(rank),
                               .dbeta = dbeta.of(rank),
                               .dalpha = scaled ? dalpha.of(rank) : TensorView()},
                              own.scratch(batch_norm_act_workspace(own, mine)));
    });
    dgamma.add_up(context);
    dbeta.add_up(context);
    if (scaled) dalpha.add_up(context);
  };
  return call;
}

}  // namespace

TEST_CASE("ranks that normalise together compute what one rank does", "[kernels][batch_norm]") {
  for (const Epilogue epilogue : {Epilogue::relu, Epilogue::plain, Epilogue::post, Epilogue::authors})
    for (const int ranks : {1, 2, 3}) {
      const BatchNormActParams params{{.rows = 48, .channels = ranks == 3 ? 5 : 16}, epilogue};
      std::vector<KernelCase> calls = cases_of(params);
      for (KernelCase& call : calls)
        call.rows = [=](DType dtype) { return group_rows(params, ranks, dtype); };
      check_cases({split_training(calls[0], params, ranks), split_backward(calls[2], params, ranks)});
    }
}
