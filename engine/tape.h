#pragma once

#include <concepts>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/parameters.h"
#include "engine/tensor.h"
#include "kernels/batch_norm/rank_group.h"

namespace zeroth {

/// A tensor that took part in a computation. `slot` is where its gradient gathers on the tape; -1 means that
/// no gradient is wanted.
struct Variable {
  Tensor value;
  int slot = -1;
  Parameter* parameter = nullptr;  ///< the one that it is
};

/// Reverse-mode differentiation, defined by running: each operation appends a node, and backward() walks the
/// nodes from last to first. Nodes are stored in execution order, which is a topological order, so there is
/// no sort and no recursion. A node is a struct with what its backward needs and a member `void
/// backward(Tape&)`; it is destroyed, with the activations it holds, as soon as it has run. One tape serves
/// one forward and at most one backward.
class Tape {
 public:
  enum class Mode { training, inference };

  Tape(Context& context, Mode mode) : context_(context), mode_(mode) {}
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape();

  Context& context() { return context_; }
  /// Training mode normalises by the batch's statistics and records; inference mode does neither.
  bool training() const { return mode_ == Mode::training; }
  /// Ranks over whose parts of the batch batch norm takes its statistics; nullptr, as at first: this one
  /// alone. The group outlives the tape.
  void set_batch_norm_group(const RankGroup* group) { batch_norm_group_ = group; }
  const RankGroup* batch_norm_group() const { return batch_norm_group_; }

  /// A leaf without gradient, such as a batch of pictures.
  Variable constant(Tensor value) { return {std::move(value), -1}; }
  /// A leaf whose gradient is read with gradient() after backward().
  Variable input(Tensor value);
  /// A parameter, in its working dtype: its gradient goes straight into its slice of the flat buffer.
  Variable parameter(Parameter& parameter);
  /// What an operation's backward reads again of an operand: a parameter is asked for then, as it may lie
  /// elsewhere (ParameterHome); anything else is kept.
  class Saved {
   public:
    Saved() = default;
    Saved(const Variable& operand)  // NOLINT: an operand is saved by initialising a node with it
        : parameter_(operand.parameter != nullptr && operand.parameter->home != nullptr ? operand.parameter
                                                                                        : nullptr),
          value_(parameter_ != nullptr ? Tensor() : operand.value) {}
    Tensor get() const { return parameter_ != nullptr ? parameter_->home->value(*parameter_) : value_; }

   private:
    Parameter* parameter_ = nullptr;
    Tensor value_;
  };

  /// An operation's result. It gets a slot when training and one of the operands `wants` a gradient.
  Variable result(Tensor value, bool wants);
  template <class Node>
  void record(Node node) {
    static_assert(requires(Node & n, Tape & tape) { n.backward(tape); });
    nodes_.push_back(std::make_unique<NodeOf<Node>>(std::move(node)));
  }

  /// Runs every node backwards, starting from the gradient `seed` of `output`, whose storage may be written
  /// to. Parameters that took part and that no gradient reached end with zeros. A parameter's home is told as
  /// soon as all nodes that may use it have run.
  void backward(const Variable& output, Tensor seed);

  // For nodes, while backward() runs:

  /// Moves the gradient of a result out of its slot; undefined when none has reached it, and the node has
  /// nothing to do.
  Tensor take_gradient(int slot);
  /// Where a node writes its contribution to an operand's gradient, and how: the first one overwrites, later
  /// ones add.
  struct Target {
    TensorView view;
    GradMode mode = GradMode::skip;
  };
  Target target(int slot);
  /// Whether the next target() of this slot would overwrite a buffer of its own: then adopt() may give it a
  /// finished one.
  bool can_adopt(int slot) const;
  void adopt(int slot, Tensor gradient);

  /// Calls `queue`, which writes the target of `slot` and reads `reads`, so that its work runs beside what
  /// follows (Context::fork). The tape keeps what it reads until that work is waited for: before the slot is
  /// touched again, before the next such work, and at the end of backward().
  template <class Queue>
  void beside(int slot, std::vector<Tensor> reads, Queue&& queue) {
    join();
    if (context_.forks()) beside_ = {slot, std::move(reads)};
    context_.fork(queue);
  }

  /// The gradient gathered for a leaf made by input(); undefined when none reached it.
  const Tensor& gradient(const Variable& leaf) const;

 private:
  struct Node {
    virtual ~Node() = default;
    virtual void backward(Tape& tape) = 0;
  };
  template <class Saved>
  struct NodeOf final : Node {
    explicit NodeOf(Saved s) : saved(std::move(s)) {}
    void backward(Tape& tape) override { saved.backward(tape); }
    Saved saved;
  };
  struct Slot {
    Shape shape;
    DType dtype = DType::f32;
    Tensor gradient;
    bool written = false;
    Parameter* parameter = nullptr;
    std::size_t first_node = 0;  ///< of a parameter: no earlier node uses it
  };

  /// Work that runs beside the stream: the slot it writes, and the tensors it reads.
  struct Beside {
    int slot = -1;
    std::vector<Tensor> reads;
  };

  int add_slot(Slot slot);
  Tensor& gradient_of(Slot& slot);
  void finish_parameters();
  void join();
  Slot& slot(int index) { return slots_[static_cast<std::size_t>(index)]; }
  const Slot& slot(int index) const { return slots_[static_cast<std::size_t>(index)]; }

  Context& context_;
  Mode mode_;
  const RankGroup* batch_norm_group_ = nullptr;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Slot> slots_;
  std::unordered_map<const Parameter*, int> parameter_slots_;
  std::vector<int> unfinished_;  // slots of parameters, in the order of their first nodes
  Beside beside_;
};

}  // namespace zeroth
