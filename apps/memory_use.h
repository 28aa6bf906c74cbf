#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "apps/options.h"
#include "kernels/core/context.h"

namespace zeroth::app {

/// Bytes of device memory that a training takes.
struct MemoryUse {
  std::int64_t train_pictures = 0, test_pictures = 0;
  std::size_t parameters = 0, gradients = 0, moments = 0;
  std::size_t averages = 0;  ///< of weights and running statistics
  std::size_t working = 0;   ///< 16-bit weights and their gradients, of mixed precision
  std::size_t pictures = 0;  ///< both sets, resident with their labels
  std::size_t step = 0;      ///< activations and their gradients, packed into one block: the plan of a step
  std::size_t workspace = 0;
  std::size_t other =
      0;  ///< running statistics, the state of the guard, small tables, and what the allocator rounds up
  std::size_t between = 0;     ///< cached blocks: what an evaluation takes, which lies beside the plan
  std::size_t first_step = 0;  ///< all there was before the plan
  /// The most there is at one time.
  std::size_t peak() const;
};

/// Takes two steps and evaluates a batch on this context, with sets of this many pictures of the model's
/// size, and says what the allocator gave out.
MemoryUse measure_memory_use(Context& context, const TrainOptions& options, std::int64_t train_pictures,
                             std::int64_t test_pictures);

/// The same for sets of CIFAR-10's size on a GPU, by a dry run of the hand-written kernels: nothing is
/// computed and no memory is taken. What CUDA and its libraries take for themselves is not in it.
MemoryUse predict_memory_use(const TrainOptions& options);

/// For people, and as JSON.
std::string memory_text(const TrainOptions& options, const MemoryUse& memory);
std::string memory_json(const TrainOptions& options, const MemoryUse& memory);

}  // namespace zeroth::app
