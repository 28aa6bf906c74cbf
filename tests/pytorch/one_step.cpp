// Runs training steps on one batch from given weights and writes all that came out, for a comparison with
// another implementation. The input file holds x (N, H, W, C) f32, labels (N) i32, and f32 values of every
// parameter and state tensor under their own names. The output file holds loss (1), predictions (N), and of
// the last step gradient.NAME, after it NAME (parameters and state) and momentum.NAME; 16-bit gradients are
// widened to f32.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>

#include "engine/optimizer.h"
#include "engine/safetensors.h"
#include "models/resnet.h"

using namespace zeroth;

namespace {

struct Options {
  std::string input, output, model, form, shortcut = "b", device = "cpu", dtype = "f32";
  std::vector<std::string> implementations;
  double learning_rate = 0.1, momentum = 0.9, weight_decay = 5e-4;
  bool nesterov = false, muon = false;
  double muon_rate = 0.02, muon_momentum = 0.95, muon_decay = 0.0;
  int steps = 1;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("input", options.input)->required();
  app.add_option("output", options.output)->required();
  app.add_option("--model", options.model)->required();
  app.add_option("--form", options.form, "instead of the model's own")
      ->check(CLI::IsMember({"plain", "post", "authors"}));
  app.add_option("--shortcut", options.shortcut)->check(CLI::IsMember({"a", "b"}));
  app.add_option("--device", options.device);
  app.add_option("--impl", options.implementations, "OPERATION=ROW");
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"f32", "f64", "bf16", "f16"}));
  app.add_option("--lr", options.learning_rate);
  app.add_option("--momentum", options.momentum);
  app.add_option("--weight-decay", options.weight_decay);
  app.add_flag("--nesterov", options.nesterov);
  app.add_flag("--muon", options.muon, "Muon for hidden filters");
  app.add_option("--muon-lr", options.muon_rate);
  app.add_option("--muon-momentum", options.muon_momentum);
  app.add_option("--muon-wd", options.muon_decay);
  app.add_option("--steps", options.steps)->check(CLI::PositiveNumber);
}

ResNetConfig model_config(const Options& options) {
  ResNetConfig config = resnet_config(options.model);
  config.shortcut = options.shortcut == "a" ? ShortcutKind::a : ShortcutKind::b;
  for (const ResidualForm form : {ResidualForm::plain, ResidualForm::post, ResidualForm::authors})
    if (options.form == name_of(form)) config.form = form;
  return config;
}

const SafetensorsEntry& entry_named(const SafetensorsFile& file, const std::string& name, DType dtype) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr || entry->dtype != dtype)
    fail(ErrorKind::data,
         file.path().string() + " has no tensor " + name + " of dtype " + std::string(name_of(dtype)));
  return *entry;
}

/// The f32 elements of an entry as a tensor of `dtype`: f64 holds each of them exactly, 16 bits round.
Tensor upload(Context& context, const SafetensorsEntry& entry, DType dtype) {
  if (dtype == DType::f32) return Tensor::from_host_bytes(context, entry.shape, dtype, entry.bytes);
  std::vector<float> values(static_cast<std::size_t>(entry.shape.elements()));
  std::copy(entry.bytes.begin(), entry.bytes.end(), std::as_writable_bytes(std::span(values)).begin());
  if (dtype == DType::f64)
    return Tensor::from_host<double>(context, entry.shape, std::vector<double>(values.begin(), values.end()));
  return dispatch_storage(dtype, [&]<class T>(TypeTag<T>) {
    std::vector<T> narrow(values.size());
    std::transform(values.begin(), values.end(), narrow.begin(), from_compute<T>);
    return Tensor::from_host<T>(context, entry.shape, narrow);
  });
}

void fill(Context& context, const SafetensorsFile& file, const std::string& name, const Tensor& to) {
  const SafetensorsEntry& entry = entry_named(file, name, DType::f32);
  if (entry.shape != to.shape())
    fail(ErrorKind::data, name + " has shape " + entry.shape.to_string() + " in the file and " +
                              to.shape().to_string() + " in the network");
  const Tensor from = upload(context, entry, to.dtype());
  context.memory().copy_on_device(TensorView(to).data, ConstTensorView(from).data, to.bytes(),
                                  context.stream());
  context.synchronize();
}

/// Tensors on their way into a file.
class Results {
 public:
  void add(const Context& context, std::string name, const Tensor& tensor) {
    std::vector<std::byte> bytes(tensor.bytes());
    tensor.copy_to(context, bytes);
    if (tensor.dtype() == DType::bf16) return add_widened<bf16>(std::move(name), tensor.shape(), bytes);
    if (tensor.dtype() == DType::f16) return add_widened<f16>(std::move(name), tensor.shape(), bytes);
    add(std::move(name), tensor.dtype(), tensor.shape(), std::move(bytes));
  }
  void write(const std::string& path) const { write_safetensors(path, entries_, {}); }

 private:
  void add(std::string name, DType dtype, const Shape& shape, std::vector<std::byte> bytes) {
    entries_.push_back({std::move(name), dtype, shape, bytes_.emplace_back(std::move(bytes))});
  }
  template <class T>
  void add_widened(std::string name, const Shape& shape, std::span<const std::byte> bytes) {
    std::vector<std::byte> wide(bytes.size() / sizeof(T) * sizeof(float));
    for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
      T narrow;
      std::memcpy(&narrow, bytes.data() + i * sizeof(T), sizeof(T));
      const float value = to_compute(narrow);
      std::memcpy(wide.data() + i * sizeof(float), &value, sizeof(float));
    }
    add(std::move(name), DType::f32, shape, std::move(wide));
  }

  std::deque<std::vector<std::byte>> bytes_;
  std::vector<SafetensorsEntry> entries_;
};

void run(const Options& options) {
  DType dtype = DType::f32;
  for (const DType known : {DType::f64, DType::bf16, DType::f16})
    if (options.dtype == name_of(known)) dtype = known;
  Context context(parse_device(options.device));
  for (const std::string& assignment : options.implementations) context.choose_implementation(assignment);

  const SafetensorsFile file(options.input);
  ResNet network(model_config(options));
  ParameterStore& store = network.store();
  store.materialise(context, 0, dtype);
  for (const Parameter& parameter : store.parameters()) fill(context, file, parameter.name, parameter.value);
  for (const StateTensor& state : store.state()) fill(context, file, state.name, state.value);
  store.refresh_working_values(context);
  const Tensor x = upload(context, entry_named(file, "x", DType::f32), dtype);
  const SafetensorsEntry& label_entry = entry_named(file, "labels", DType::i32);
  const Tensor labels = Tensor::from_host_bytes(context, label_entry.shape, DType::i32, label_entry.bytes);

  OptimizerConfig config;
  config.momentum = options.momentum;
  config.nesterov = options.nesterov;
  config.muon_momentum = options.muon_momentum;
  if (options.muon) config.kind = OptimizerKind::muon;
  Optimizer optimizer(context, store, config);
  std::array<GroupRates, kParameterGroups> rates;
  rates.fill({options.learning_rate, options.weight_decay});
  if (options.muon)
    rates[static_cast<std::size_t>(ParameterGroup::hidden)] = {options.muon_rate, options.muon_decay};
  optimizer.set_rates(rates);

  std::optional<Loss> loss;
  for (int step = 0; step < options.steps; ++step) {
    optimizer.guard().begin_step();
    Tape tape(context, Tape::Mode::training);
    const Variable logits = network.forward(tape, tape.constant(x));
    loss = softmax_cross_entropy(tape, logits, labels, 0.0, {});
    tape.backward(loss->loss, optimizer.guard().loss_scale());
    optimizer.step();
  }

  Results results;
  results.add(context, "loss", loss->loss.value);
  results.add(context, "predictions", loss->predictions);
  for (const Parameter& parameter : store.parameters()) {
    results.add(context, parameter.name, parameter.value);
    results.add(context, "gradient." + parameter.name, parameter.working_gradient);
    for (const Optimizer::Moment& moment : optimizer.moments())
      results.add(context, moment.name + "." + parameter.name,
                  moment.value.range(parameter.offset, parameter.shape));
  }
  for (const StateTensor& state : store.state()) results.add(context, state.name, state.value);
  results.write(options.output);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Training steps on one batch, from file to file");
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "one_step: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
  return 0;
}
