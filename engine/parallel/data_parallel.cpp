#include "engine/parallel/data_parallel.h"

#include <algorithm>
#include <utility>

namespace zeroth {

DataParallel::DataParallel(Context& context, ParameterStore& store, Communicator& communicator)
    : context_(context), store_(store), communicator_(communicator), progress_(store.chunks().size()) {
  require(store.residency().rank == communicator.rank() && store.residency().ranks == communicator.size(),
          "parameters are materialised for the rank that trains them");
  for (Parameter& parameter : store.parameters()) parameter.home = this;
}

DataParallel::~DataParallel() {
  for (Parameter& parameter : store_.parameters()) parameter.home = nullptr;
}

// ---- values

/// This rank's part of a chunk in a buffer laid out as the flat ones of a rank that shares.
Tensor DataParallel::part_of(const Tensor& flat, const Chunk& chunk) const {
  const int ranks = store_.shares() ? store_.residency().ranks : 1;
  return flat.range(chunk.begin / ranks, {chunk.elements() / ranks});
}

/// This rank's part of a chunk's values, on the device: brought there where it is offloaded.
Tensor DataParallel::own_values(const Chunk& chunk) {
  if (chunk.own_values.defined()) return chunk.own_values;
  const Tensor own = part_of(chunk.working ? store_.flat_working_values() : store_.flat_values(), chunk);
  if (!own.is_pinned()) return own;
  const Tensor on_device = Tensor::empty(context_, own.shape(), own.dtype());
  upload(own, on_device);
  on_their_way_.push_back(on_device);
  return on_device;
}

void DataParallel::upload(const Tensor& from, const Tensor& to) {
  context_.memory().copy_to_device(TensorView(to).data, ConstTensorView(from).data, from.bytes(),
                                   context_.stream());
  bytes_to_device_ += static_cast<std::int64_t>(from.bytes());
}

std::string DataParallel::why_no_capture() const {
  if (store_.residency().offload == Offload::all)
    for (const Chunk& chunk : store_.chunks())
      if (chunk.shares_values) return "--offload all copies from the host while a step runs";
  return communicator_.why_no_capture();
}

Tensor DataParallel::value(Parameter& parameter) {
  Chunk& chunk = store_.chunks()[parameter.chunk];
  if (!chunk.shares_values) return parameter.working_value;
  if (!chunk.values.defined()) gather_values(parameter.chunk);
  if (progress_[parameter.chunk].gathering) wait_for_values();
  keep_around(parameter.chunk);
  return chunk.values.range(parameter.offset - chunk.begin, parameter.shape);
}

void DataParallel::gather_values(std::size_t index) {
  Chunk& chunk = store_.chunks()[index];
  const Tensor own = own_values(chunk);
  chunk.values = Tensor::empty(context_, {chunk.elements()}, own.dtype());
  communicator_.all_gather(context_, own, chunk.values);
  progress_[index].gathering = true;
}

void DataParallel::wait_for_values() {
  communicator_.join(context_);
  on_their_way_.clear();
  for (Progress& progress : progress_) progress.gathering = false;
}

/// Operations go through the chunks in their order, and back in backward: releases what is behind, one chunk
/// excepted, and sends for the next one, which comes while operations use this one.
void DataParallel::keep_around(std::size_t index) {
  std::vector<Chunk>& chunks = store_.chunks();
  for (std::size_t other = 0; other < chunks.size(); ++other) {
    const bool near = other + 1 >= index && other <= index + 1;
    if (chunks[other].shares_values && !near && !progress_[other].gathering) chunks[other].values = {};
  }
  const std::size_t next = backwards_ ? index - 1 : index + 1;  // wraps around, out of range
  if (next < chunks.size() && chunks[next].shares_values && !chunks[next].values.defined())
    gather_values(next);
}

void DataParallel::release_values() {
  wait_for_values();
  for (Chunk& chunk : store_.chunks())
    if (chunk.shares_values) chunk.values = {};
}

void DataParallel::share_values() {
  for (Chunk& chunk : store_.chunks()) {
    if (chunk.own_values.defined())  // all others are brought when they are needed
      upload(part_of(chunk.working ? store_.flat_working_values() : store_.flat_values(), chunk),
             chunk.own_values);
    if (chunk.shares_values) continue;
    if (store_.shares())
      communicator_.all_gather(context_, own_values(chunk), chunk.values);
    else if (store_.flat_values().is_pinned())
      upload(part_of(chunk.working ? store_.flat_working_values() : store_.flat_values(), chunk),
             chunk.values);
    if (!on_their_way_.empty()) wait_for_values();  // so that one is there at a time
  }
  wait_for_values();
}

// ---- gradients

void DataParallel::begin_step() {
  backwards_ = false;
  in_flight_.reset();
  for (std::size_t index = 0; index < progress_.size(); ++index) {
    Chunk& chunk = store_.chunks()[index];
    progress_[index].unfinished = chunk.parameters;
    progress_[index].reduced = false;
    if (releases_gradients()) chunk.gradients = {};
  }
}

void DataParallel::open(Chunk& chunk) {
  if (chunk.gradients.defined()) return;
  const bool working = chunk.working;
  chunk.gradients =
      Tensor::zeros(context_, {chunk.elements()},
                    working ? store_.flat_working_gradients().dtype() : store_.flat_gradients().dtype());
}

Tensor DataParallel::gradient_in(const Chunk& chunk, const Parameter& parameter) {
  return chunk.gradients.range(parameter.offset - chunk.begin, parameter.shape);
}

Tensor DataParallel::gradient(Parameter& parameter) {
  backwards_ = true;
  Chunk& chunk = store_.chunks()[parameter.chunk];
  open(chunk);
  return gradient_in(chunk, parameter);
}

void DataParallel::finished(Parameter& parameter) {
  std::vector<Parameter*>& unfinished = progress_[parameter.chunk].unfinished;
  unfinished.erase(std::remove(unfinished.begin(), unfinished.end(), &parameter), unfinished.end());
  if (unfinished.empty() && !progress_[parameter.chunk].reduced) reduce(parameter.chunk);
}

void DataParallel::reduce(std::size_t index) {
  Chunk& chunk = store_.chunks()[index];
  progress_[index].reduced = true;
  if (sharing() == Sharing::nothing) {
    communicator_.all_reduce(context_, chunk.gradients, RankReduction::sum);
    return;
  }
  release_reduced();
  const Tensor own =
      part_of(chunk.working ? store_.flat_working_gradients() : store_.flat_gradients(), chunk);
  communicator_.reduce_scatter(context_, chunk.gradients, own, RankReduction::sum);
  if (releases_gradients()) in_flight_ = index;
}

/// The chunk before, whose gradients were on their way while backward filled this one's.
void DataParallel::release_reduced() {
  if (!in_flight_) return;
  communicator_.join(context_);
  store_.chunks()[*in_flight_].gradients = {};
  in_flight_.reset();
}

void DataParallel::join_gradients() {
  for (std::size_t index = progress_.size(); index-- > 0;) {
    if (progress_[index].reduced) continue;
    // Parameters that took no part in this step have no gradient.
    Chunk& chunk = store_.chunks()[index];
    open(chunk);
    for (const Parameter* parameter : progress_[index].unfinished) {
      const TensorView view = gradient_in(chunk, *parameter);
      context_.memory().fill_zero(view.data, view.bytes(), context_.stream());
    }
    reduce(index);
  }
  communicator_.join(context_);
  release_reduced();
  release_values();
}

template <class T>
std::vector<T> DataParallel::gather(const Tensor& own) {
  if (!store_.shares()) return own.to_host<T>(context_);
  std::vector<T> all(static_cast<std::size_t>(store_.elements()));
  for (const Chunk& chunk : store_.chunks()) {
    const Tensor whole = Tensor::empty(context_, {chunk.elements()}, own.dtype());
    Tensor part = part_of(own, chunk);
    if (part.is_pinned()) {
      const Tensor on_device = Tensor::empty(context_, part.shape(), part.dtype());
      upload(part, on_device);
      part = on_device;
    }
    communicator_.all_gather(context_, part, whole);
    communicator_.join(context_);
    whole.copy_to(context_,
                  std::as_writable_bytes(std::span(all).subspan(static_cast<std::size_t>(chunk.begin),
                                                                static_cast<std::size_t>(chunk.elements()))));
  }
  return all;
}

template std::vector<float> DataParallel::gather(const Tensor&);
template std::vector<double> DataParallel::gather(const Tensor&);

}  // namespace zeroth
