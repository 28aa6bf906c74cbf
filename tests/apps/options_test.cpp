#include "apps/options.h"

#include <set>

#include "apps/parse_value.h"
#include "apps/recipes.h"
#include "apps/resolve.h"
#include "tests/data/scratch.h"

using namespace zeroth;
using namespace zeroth::app;
using namespace zeroth::test;

namespace {

Assignment flag(const std::string& key, const std::string& text) {
  const Setting* setting = find_setting(key);
  REQUIRE(setting != nullptr);
  return {setting, text, setting->flag()};
}

std::string refusal(const std::string& key, const std::string& text) {
  TrainOptions options;
  const std::string message = message_of(ErrorKind::usage, [&] { assign(options, flag(key, text)); });
  CHECK(contains(message, find_setting(key)->flag() + ": expected "));
  CHECK(contains(message, "'" + text + "'"));
  return message;
}

std::string file_refusal(const std::string& text) {
  return message_of(ErrorKind::usage, [&] { read_config_text(text, "my.toml"); });
}

Said said_flags(std::vector<Assignment> flags) {
  return {{}, {}, std::move(flags)};
}

}  // namespace

TEST_CASE("settings: names are unique and every value survives printing", "[options]") {
  std::set<std::string> keys;
  for (const Setting& setting : settings()) {
    CAPTURE(setting.key);
    CHECK(keys.insert(setting.key).second);
    CHECK(setting.key.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos);
    CHECK_FALSE(setting.help.empty());
    CHECK((setting.type == ValueType::boolean) == setting.placeholder.empty());
    const std::string value = setting.print(TrainOptions{});
    CHECK((!value.empty() || !setting.unset.empty()));
    if (value.empty()) continue;
    TrainOptions options;
    setting.parse(options, value);
    CHECK(setting.print(options) == value);
  }
  CHECK(find_setting("batch_size")->flag() == "--batch-size");
  CHECK(find_setting("batch_size")->variable() == "ZEROTH_BATCH_SIZE");
  CHECK(find_setting("batch-size") == nullptr);
}

TEST_CASE("settings: numbers are refused unless they are whole, finite and in range", "[options]") {
  for (const Setting& setting : settings()) {
    if (setting.type != ValueType::integer && setting.type != ValueType::real) continue;
    for (const char* bad : {"", " ", "x", "nan", "-nan", "inf", "-inf", "1e999", "1x", "0x10", " 1", "1 ",
                            "+1", "1,5", "--lr", "1e-9999"})
      refusal(setting.key, bad);
    if (setting.type == ValueType::integer) {
      refusal(setting.key, "1.5");
      refusal(setting.key, "99999999999999999999");
    }
    if (setting.key != "alpha_init") refusal(setting.key, "-1");
  }
  for (const char* key : {"epochs", "max_steps", "batch_size", "lr", "eps", "gamma", "threads", "target_acc"})
    refusal(key, "0");
  for (const char* key : {"momentum", "label_smoothing"}) refusal(key, "1");
  refusal("target_acc", "85");
  refusal("gamma", "1.01");
  CHECK(contains(refusal("lr", "0"), "a number above 0, not '0'"));
}

TEST_CASE("settings: words and lists are refused unless they are known", "[options]") {
  refusal("optimizer", "SGD");
  CHECK(contains(refusal("schedule", "linear"), "one of constant, step, exponential, cosine"));
  refusal("residual", "");
  refusal("augment", "flip,cut");
  refusal("augment", "flip,");
  for (const char* bad : {"flip,alternate-flip", "crop,translate", "flip=2", "alternate-flip=1", "crop=0",
                          "crop=", "translate=x", "cutout=-1", "cutout,cutout", "none,flip", "crop=1025"})
    refusal("augment", bad);
  CHECK(contains(refusal("augment", "crop=0"), "a whole number from 1 to 1024, not '0'"));
  refusal("sampling", "random");
  refusal("milestones", "3,2");
  refusal("milestones", "2,2");
  refusal("milestones", "nan");
  refusal("betas", "0.9");
  refusal("betas", "0.9,0.9,0.9");
  refusal("impl", "conv2d");
  refusal("impl", "=x");
  refusal("nesterov", "yes");
  TrainOptions options;
  const auto message = [&](const char* key, const char* text) {
    return message_of(ErrorKind::usage, [&] { assign(options, flag(key, text)); });
  };
  CHECK(contains(message("model", "resnet21"), "no model named 'resnet21'"));
  CHECK(contains(message("normalize", "imagenet"), "--normalize"));
  CHECK(contains(message("betas", "0.9,1"), "--betas: expected a number from 0 to below 1, not '1'"));
  CHECK(contains(message("device", "gpu"), "cuda:N"));
  CHECK(contains(message("device", "cuda:-1"), "cuda:N"));
}

TEST_CASE("settings: an augmentation is printed as it is read", "[options]") {
  for (const char* text :
       {"none", "flip,crop", "alternate-flip,translate=2,cutout=12", "translate,cutout", "crop=1"}) {
    TrainOptions o;
    assign(o, flag("augment", text));
    CHECK(find_setting("augment")->print(o) == text);
  }
  TrainOptions o;
  assign(o, flag("augment", "cutout=12,translate=2,alternate-flip"));
  CHECK(o.augment == Augmentation{Flip::alternating, 2, true, 12});
  assign(o, flag("augment", "crop=4"));
  CHECK(o.augment == Augmentation{Flip::none, 4, false, 0});
}

TEST_CASE("settings: what is given is what is kept", "[options]") {
  TrainOptions o;
  for (const auto& [key, text] :
       std::vector<std::pair<const char*, const char*>>{{"milestones", "20,40.5"},
                                                        {"betas", "0.8,0.95"},
                                                        {"augment", "crop"},
                                                        {"impl", "conv2d=reference,relu=cpu"},
                                                        {"residual", "authors"},
                                                        {"shortcut", "A"},
                                                        {"alpha_lr", "0"},
                                                        {"seed", "9223372036854775807"},
                                                        {"lr", "1e-3"},
                                                        {"alpha_init", "-0.5"},
                                                        {"target_acc", "1"},
                                                        {"nesterov", "true"}})
    assign(o, flag(key, text));
  CHECK(o.milestones == std::vector<double>{20, 40.5});
  CHECK(o.betas[0] == 0.8);
  CHECK(o.betas[1] == 0.95);
  CHECK(o.augment->flip == Flip::none);
  CHECK(o.augment->crop_padding == 4);
  CHECK(o.impl == std::vector<std::string>{"conv2d=reference", "relu=cpu"});
  CHECK(o.residual == ResidualForm::authors);
  CHECK(o.shortcut == ShortcutKind::a);
  CHECK(o.alpha_lr == 0.0);
  CHECK(o.seed == 9223372036854775807);
  CHECK(o.lr == 1e-3);
  CHECK(o.alpha_init == -0.5);
  CHECK(o.nesterov);
}

TEST_CASE("configuration files: values of every type", "[config]") {
  TrainOptions o;
  for (const Assignment& a :
       read_config_text("# a comment\nmodel = 'resnet32'\nepochs = 3\nlr = 1\nmomentum = 0.5\n"
                        "nesterov = true\nmilestones = [1, 2.5]\nbetas = \"0.5,0.6\"\n"
                        "augment = [\"flip\"]\n",
                        "my.toml"))
    assign(o, a);
  CHECK(o.model == "resnet32");
  CHECK(o.epochs == 3);
  CHECK(o.lr == 1.0);
  CHECK(o.milestones == std::vector<double>{1, 2.5});
  CHECK(o.betas[1] == 0.6);
  CHECK(o.augment->crop_padding == 0);
}

TEST_CASE("configuration files: errors name file, line and column", "[config]") {
  CHECK(contains(file_refusal("lr = 0.1\nbatchsize = 3\n"),
                 "my.toml:2:1: no setting 'batchsize'; did you mean 'batch_size'?"));
  CHECK(contains(file_refusal("batch-size = 3\n"), "did you mean 'batch_size'?"));
  CHECK(contains(file_refusal("xyzzy = 3\n"), "no setting 'xyzzy'"));
  CHECK_FALSE(contains(file_refusal("xyzzyxyzzy = 3\n"), "did you mean"));
  CHECK(contains(file_refusal("config = 'x'\n"), "no setting 'config'"));
  CHECK(contains(file_refusal("[train]\nlr = 0.1\n"), "my.toml:1:2: no setting 'train'"));
  CHECK(contains(file_refusal("lr = 0.1\nlr = 0.2\n"), "my.toml:2:"));
  CHECK(contains(file_refusal("\nlr = \n"), "my.toml:2:"));
  CHECK(contains(file_refusal("epochs = 1.5\n"), "my.toml:1:1: epochs takes a whole number"));
  CHECK(contains(file_refusal("epochs = \"3\"\n"), "takes a whole number"));
  CHECK(contains(file_refusal("lr = true\n"), "takes a number"));
  CHECK(contains(file_refusal("nesterov = 1\n"), "takes true or false"));
  CHECK(contains(file_refusal("model = 20\n"), "takes a text"));
  CHECK(contains(file_refusal("milestones = [[1]]\n"), "takes a list"));
  TrainOptions o;
  const std::vector<Assignment> nan = read_config_text("lr = nan\n", "my.toml");
  CHECK(contains(message_of(ErrorKind::usage, [&] { assign(o, nan[0]); }),
                 "my.toml:1:1: lr: expected a number above 0, not 'nan'"));
  const ScratchFolder scratch;
  CHECK(contains(message_of(ErrorKind::usage, [&] { read_config_file(scratch / "no.toml"); }), "no.toml"));
  CHECK(contains(message_of(ErrorKind::usage, [&] { read_config_file(scratch.path()); }), "cannot read"));
  CHECK(contains(message_of(ErrorKind::usage, [&] { read_config_file("/dev/zero"); }),
                 "more than 1048576 bytes"));
}

TEST_CASE("configuration files: what is written is read back", "[config]") {
  TrainOptions o;
  o.model = "resnet56";
  o.milestones = {3, 4.5};
  o.alpha_lr = 1e-30;
  o.data = "/a \"quoted\"\\path\twith tab";
  o.impl = {"conv2d=reference", "relu=cpu"};
  o.lr = 0.1 + 0.2;
  const std::string text = folder_config(o);
  TrainOptions read;
  for (const Assignment& a : read_config_text(text, "config.toml")) assign(read, a);
  for (const Setting& setting : settings()) {
    CAPTURE(setting.key);
    if (setting.recorded) CHECK(setting.print(read) == setting.print(o));
  }
  CHECK(contains(text, "# alpha_wd: as weight_decay\n"));
  CHECK_FALSE(contains(checkpoint_config(o) + "threads", "device ="));
}

TEST_CASE("precedence: default, recipe, file, environment, command line", "[config]") {
  const ScratchFolder scratch;
  write_text(scratch / "a.toml", "epochs = 21\nlr = 0.02\nbatch_size = 22\n");
  Said said = said_flags({flag("config", (scratch / "a.toml").string()), flag("batch_size", "42")});
  said.environment = {{find_setting("lr"), "0.03", "ZEROTH_LR"},
                      {find_setting("batch_size"), "32", "ZEROTH_BATCH_SIZE"}};
  read_said_file(said);
  const TrainOptions o = resolve(said);
  CHECK(o.schedule == ScheduleKind::cosine);  // the recipe quick
  CHECK(o.epochs == 21);
  CHECK(o.lr == 0.03);
  CHECK(o.batch_size == 42);
  CHECK(o.gamma == TrainOptions{}.gamma);
  CHECK(resolve(said_flags({flag("recipe", "resnet-short")})).milestones == std::vector<double>{7});
  CHECK(contains(message_of(ErrorKind::usage, [] { resolve(said_flags({flag("recipe", "quik")})); }),
                 "did you mean 'quick'?"));
}

TEST_CASE("the environment gives settings, and a slip in it is noticed", "[config]") {
  std::vector<const Setting*> all;
  for (const Setting& setting : settings()) all.push_back(&setting);
  const EnvironmentGuard lr("ZEROTH_LR", "0.5"), empty("ZEROTH_EPOCHS", ""), data("ZEROTH_DATA", "/x");
  {
    const EnvironmentGuard other("ZEROTH_SOMETHING_ELSE_ENTIRELY", "1");
    const std::vector<Assignment> found = read_environment(all);
    REQUIRE(found.size() == 1);
    CHECK(found[0].source == "ZEROTH_LR");
  }
  const EnvironmentGuard slip("ZEROTH_BATCHSIZE", "64");
  CHECK(contains(message_of(ErrorKind::usage, [&] { read_environment(all); }),
                 "did you mean 'ZEROTH_BATCH_SIZE'?"));
}

TEST_CASE("flags without effect and combinations that cannot be are refused", "[config]") {
  const auto reason = [](std::vector<Assignment> flags) {
    return message_of(ErrorKind::usage, [&] { resolve(said_flags(std::move(flags))); });
  };
  CHECK(contains(reason({flag("milestones", "2")}),
                 "--milestones has no effect: it goes with --schedule step"));
  CHECK(contains(reason({flag("betas", "0.9,0.9")}), "--optimizer adam"));
  CHECK(contains(reason({flag("optimizer", "adam"), flag("momentum", "0.9")}), "--momentum has no effect"));
  CHECK(contains(reason({flag("model", "resnet20"), flag("alpha_lr", "0.1")}), "ReZero"));
  CHECK(contains(reason({flag("schedule", "step")}), "needs --milestones"));
  CHECK(contains(reason({flag("warmup", "5")}), "does not end within --epochs 5"));
  // Values of a recipe that an overriding flag makes idle are no slip.
  CHECK(resolve(said_flags({flag("optimizer", "adamw"), flag("lr", "0.001")})).nesterov);
  CHECK(resolve(said_flags({flag("recipe", "resnet-short"), flag("schedule", "cosine")})).epochs == 10);
  resolve(said_flags({flag("model", "resnet20"), flag("residual", "post"), flag("alpha_lr", "0.1")}));
}

TEST_CASE("a resumed run keeps its settings but for those that may change", "[config]") {
  TrainOptions began =
      resolve(said_flags({flag("lr", "0.05"), flag("epochs", "3"), flag("max_steps", "10")}));
  began.data = "/there/cifar10";
  const std::string stored = checkpoint_config(began);
  const auto resumed = [&](const Said& said) {
    return resolve_resumed(said, trained_options(stored, "x.safetensors"));
  };
  const TrainOptions same = resumed({});
  CHECK(same.lr == 0.05);
  CHECK(same.epochs == 3);
  CHECK_FALSE(same.max_steps.has_value());  // where to stop is said anew
  CHECK(same.data == "/there/cifar10");
  CHECK(resumed(said_flags({flag("lr", "5e-2")})).lr == 0.05);
  for (const auto& [key, text] : std::vector<std::pair<const char*, const char*>>{{"epochs", "9"},
                                                                                  {"max_steps", "99"},
                                                                                  {"out", "x"},
                                                                                  {"device", "simt"},
                                                                                  {"threads", "1"},
                                                                                  {"quiet", "true"},
                                                                                  {"save_every", "1"},
                                                                                  {"keep", "1"},
                                                                                  {"data", "cifar10"},
                                                                                  {"impl", "relu=cpu"},
                                                                                  {"target_acc", "0.5"}}) {
    CAPTURE(key);
    const TrainOptions changed = resumed(said_flags({flag(key, text)}));
    CHECK(find_setting(key)->print(changed) == text);
  }
  for (const auto& [key, text] : std::vector<std::pair<const char*, const char*>>{{"lr", "0.1"},
                                                                                  {"batch_size", "64"},
                                                                                  {"model", "resnet20"},
                                                                                  {"seed", "1"},
                                                                                  {"alpha_lr", "0.1"},
                                                                                  {"val_split", "100"},
                                                                                  {"recipe", "resnet-short"},
                                                                                  {"residual", "authors"},
                                                                                  {"augment", "none"},
                                                                                  {"momentum", "0.5"},
                                                                                  {"schedule", "constant"},
                                                                                  {"normalize", "none"}}) {
    CAPTURE(key);
    const std::string message = message_of(ErrorKind::usage, [&] { resumed(said_flags({flag(key, text)})); });
    CHECK(contains(message, find_setting(key)->flag() + " " + text + " differs from the "));
  }
}

TEST_CASE("a resumed run keeps its threads, and says what changes its bits", "[config]") {
  const TrainOptions began = trained_options(
      checkpoint_config(resolve(said_flags({flag("threads", "3"), flag("impl", "relu=cpu")}))),
      "x.safetensors");
  CHECK(began.threads == 3);
  CHECK(changes_of_bits(began, resolve_resumed({}, began)).empty());
  CHECK(changes_of_bits(began, resolve_resumed(said_flags({flag("threads", "3")}), began)).empty());
  const TrainOptions changed =
      resolve_resumed(said_flags({flag("threads", "2"), flag("impl", "default")}), began);
  CHECK(changed.impl.empty());
  const std::vector<std::string> lines = changes_of_bits(began, changed);
  REQUIRE(lines.size() == 2);
  CHECK(contains(lines[0], "--threads 2 instead of 3"));
  CHECK(contains(lines[1], "--impl default instead of relu=cpu"));
}

TEST_CASE("a checkpoint whose configuration cannot be is damaged, by name and key", "[config]") {
  const auto reason = [](const std::string& config) {
    const std::string message =
        message_of(ErrorKind::data, [&] { trained_options(config, "x.safetensors"); });
    CHECK(contains(message, "x.safetensors is damaged"));
    return message;
  };
  CHECK(contains(reason("lr = -1\n"), "its configuration:1:1: lr: expected a number above 0, not '-1'"));
  CHECK(contains(reason("\nlearning = 1\n"), "its configuration:2:1: no setting 'learning'"));
  CHECK(contains(reason("epochs = 3\nwarmup = 5\n"), "--warmup 5"));
  CHECK(contains(reason("model = \"vgg\"\n"), "vgg"));
  CHECK(contains(reason("lr = "), "its configuration:1:"));
}

TEST_CASE("settings: text is not empty and is UTF-8, and no message says expected twice", "[options]") {
  for (const char* key : {"data", "init", "out", "resume", "config"}) {
    CHECK(contains(refusal(key, ""), "expected a value"));
    TrainOptions options;
    CHECK(contains(message_of(ErrorKind::usage, [&] { assign(options, flag(key, "caf\xe9")); }), "UTF-8"));
    assign(options, flag(key, "caf\xc3\xa9"));
  }
  for (const Setting& setting : settings()) {
    if (setting.key == "recipe" || setting.type == ValueType::boolean) continue;
    for (const char* bad : {"", "\xff", "-3.5x"}) {
      TrainOptions options;
      try {
        assign(options, flag(setting.key, bad));
      } catch (const Error& error) {
        const std::string message = error.what();
        CAPTURE(message);
        CHECK(message.find("expected") == message.rfind("expected"));
        CHECK(message.find("expected no ") == std::string::npos);
      }
    }
  }
}

TEST_CASE("recipes: every one resolves and says what it is for", "[config]") {
  CHECK(recipes().size() >= 2);
  for (const Recipe& recipe : recipes()) {
    CAPTURE(recipe.name);
    CHECK(recipe.text.starts_with("# "));
    resolve(said_flags({flag("recipe", recipe.name)}));
  }
  const TrainOptions quick = resolve({});
  CHECK(quick.model == "rezero-resnet20");
  CHECK(quick.recipe == "quick");
}
