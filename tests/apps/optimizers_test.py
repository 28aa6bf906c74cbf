"""Optimizers, rates of groups of parameters and averages of weights, from outside.

    optimizers_test.py path/to/zeroth
"""

import json
import struct

from workplace import Workplace, main

MUON = ["--optimizer", "muon", "--muon-lr", "0.05"]
AVERAGES = ["--ema", "0.7", "--lookahead", "3"]


class Checkpoints(Workplace):
    def tensors(self, out):
        """{name: bytes} of the last checkpoint."""
        with open(self.path(out, "checkpoints", "last.safetensors"), "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header, data = json.loads(file.read(length)), file.read()
        header.pop("__metadata__")
        return {name: data[slice(*tensor["data_offsets"])] for name, tensor in header.items()}

    def changed(self, out, *flags, than):
        """The names of the weights that these flags make another of, in a training of five steps."""
        self.train(out, *flags, "--max-steps", "5")
        ours, theirs = self.tensors(out), self.tensors(than)
        return {name for name in theirs if ours[name] != theirs[name] and not name.startswith(("optimizer.", "guard."))}


class Optimizers(Checkpoints):
    def test_each_one_is_resumed_with_the_same_bits(self):
        for number, flags in enumerate((
            ["--nesterov", "--clip-norm", "0.5", "--bias-lr", "0.01", "--bias-wd", "0"],
            ["--optimizer", "adam", "--lr", "0.003"],
            ["--optimizer", "adamw", "--lr", "0.003", "--alpha-lr", "0.1", "--alpha-wd", "0", "--alpha-init", "0.1"],
            [*MUON, *AVERAGES, "--nesterov", "--lookahead-power", "2", "--schedule", "cosine"],
            [*MUON, "--ema", "0.9", "--amp", "fp16", "--loss-scale-growth-interval", "1"],
        )):
            whole, half = f"whole{number}", f"half{number}"
            self.train(whole, *flags, "--epochs", "2")
            self.train(half, *flags, "--epochs", "2", "--max-steps", "5")
            self.run_program("train", "--resume", self.path(half), "--max-steps", "8", "--threads", "1")
            self.assertEqual(self.tensors(whole), self.tensors(half))
            rows = self.summary(whole)
            self.assertLess(float(rows[1]["train_loss"]), float(rows[0]["train_loss"]), flags)

    def test_each_setting_has_its_effect(self):
        self.train("sgd", "--max-steps", "5")
        for number, flags in enumerate((["--no-nesterov"], ["--momentum", "0.5"], ["--clip-norm", "0.1"],
                                        ["--weight-decay", "0.1"], ["--bias-lr", "0.2"], ["--bias-wd", "0.2"],
                                        ["--alpha-lr", "0.5"], ["--alpha-wd", "0.5"], ["--alpha-init", "0.2"])):
            changed = self.changed(f"sgd{number}", *flags, than="sgd")
            self.assertIn("conv1.weight", changed, flags)
        still = self.path("still")
        self.train("still", "--bias-lr", "0", "--alpha-lr", "0", "--alpha-init", "0.25", "--max-steps", "3")
        tensors = self.tensors("still")
        self.assertEqual(tensors["layer1.0.alpha"], struct.pack("<f", 0.25), still)
        self.assertEqual(tensors["bn1.bias"], bytes(len(tensors["bn1.bias"])))
        self.assertEqual(tensors["optimizer.momentum.bn1.bias"] != bytes(len(tensors["bn1.bias"])), True)
        self.train("adamw", "--optimizer", "adamw", "--max-steps", "5")
        for number, flags in enumerate((["--betas", "0.8,0.99"], ["--eps", "1e-3"], ["--optimizer", "adam"])):
            self.assertIn("conv1.weight", self.changed(f"adamw{number}", "--optimizer", "adamw", *flags, than="adamw"))

    def test_muon_has_the_hidden_filters(self):
        # In the first step another rate moves them alone. Their gradients are 0 while alpha is.
        self.train("muon", *MUON, "--alpha-init", "0.3", "--max-steps", "1")
        self.train("other", *MUON, "--alpha-init", "0.3", "--muon-lr", "0.01", "--max-steps", "1")
        first, second = self.tensors("muon"), self.tensors("other")
        weights = {name for name in first if name.startswith(("conv", "layer", "bn", "fc"))}
        hidden = {name for name in weights if first[name] != second[name]}
        self.assertEqual(hidden, {name for name in weights
                                  if name.startswith("layer") and name.endswith(("conv1.weight", "conv2.weight",
                                                                                 "downsample.0.weight"))})
        for number, flags in enumerate((["--muon-momentum", "0.5"], ["--muon-wd", "0.5"], ["--muon-iterations", "3"],
                                        ["--muon-normalize"], ["--no-nesterov"])):
            if number == 0:
                self.train("muon5", *MUON, "--max-steps", "5")
            self.assertIn("layer3.0.conv1.weight", self.changed(f"muon5{number}", *MUON, *flags, than="muon5"))

    def test_what_has_no_effect_is_refused(self):
        for flags, words in ((["--muon-lr", "0.1"], ["--optimizer muon"]),
                             (["--lookahead-alpha", "1"], ["--lookahead"]),
                             (["--weights", "raw"], ["--ema or --lookahead"]),
                             ([*MUON, "--betas", "0.9,0.9"], ["--optimizer adam or adamw"]),
                             ([*MUON, "--muon-iterations", "0"], ["from 1 to 32"]), (["--ema", "1"], ["below 1"]),
                             (["--lookahead", "0"], ["--lookahead"])):
            self.refused("train", "--data", self.data, "--out", self.path("refused"), *flags, words=words)

    def test_memory_counts_them(self):
        def parts(*flags):
            done = self.run_program("info", "--model", "rezero-resnet20", "--memory", "--json", *flags)
            return json.loads(done.stdout)["bytes"]

        plain, muon = parts(), parts(*MUON[:2])
        self.assertEqual(muon["moments"], muon["parameters"])
        self.assertGreaterEqual(muon["workspace"], plain["workspace"])
        self.assertEqual(plain["averages"], 0)
        self.assertGreater(parts("--ema", "0.9", "--lookahead", "5")["averages"], 2 * plain["parameters"])


class Averages(Checkpoints):
    def scores(self, run, *flags):
        return json.loads(self.run_program("eval", self.path(run), "--json", "--threads", "1", *flags).stdout)

    def test_they_are_evaluated_and_used(self):
        flags = ["--epochs", "2", "--ema", "0.97", "--lr", "0.2"]
        done = self.train("ema", *flags, "--json")
        averaged, raw = self.scores("ema"), self.scores("ema", "--weights", "raw")
        self.assertEqual(averaged["weights"], "averaged")
        self.assertEqual(raw["weights"], "raw")
        self.assertEqual(json.loads(done.stdout)["test_loss"], averaged["loss"])
        self.assertNotEqual(raw["loss"], averaged["loss"])
        self.assertEqual(float(self.summary("ema")[-1]["test_loss"]), averaged["loss"])
        self.assertIn("averaged weights", self.run_program("eval", self.path("ema")).stdout)
        done = self.train("raw", *flags, "--weights", "raw", "--json")
        self.assertEqual(json.loads(done.stdout)["test_loss"], raw["loss"])  # the training is the same
        self.assertEqual(self.scores("raw")["weights"], "raw")
        self.assertEqual(self.scores("raw", "--weights", "averaged")["loss"], averaged["loss"])
        for weights in ("averaged", "raw"):
            out = self.path(weights + ".safetensors")
            self.run_program("export", self.path("ema"), "--pytorch", out, "--weights", weights)
        self.assertNotEqual(self.digest("averaged.safetensors"), self.digest("raw.safetensors"))

    def test_the_best_checkpoint_is_the_best_average(self):
        done = self.train("split", "--epochs", "3", "--val-split", "10", *AVERAGES, "--json")
        self.assertEqual(json.loads(done.stdout)["test_loss"], self.scores("split")["loss"])
        self.assertEqual(self.scores("split")["weights"], "averaged")

    def test_initial_weights_begin_them(self):
        self.train("first", "--max-steps", "4")
        self.train("next", "--init", self.path("first", "checkpoints", "last.safetensors"), "--lr", "1e-30",
                   "--max-steps", "1", *AVERAGES)
        first, tensors = self.tensors("first"), self.tensors("next")
        for prefix in ("", "ema.", "lookahead."):
            self.assertEqual(tensors[prefix + "conv1.weight"], first["conv1.weight"])

    def test_a_checkpoint_without_them(self):
        self.train("plain", "--max-steps", "2")
        self.assertEqual(self.scores("plain")["weights"], "raw")
        self.refused("eval", self.path("plain"), "--quiet", "--weights", "averaged", code=3,
                     words=["no averaged weights", "--ema", "--lookahead"])


if __name__ == "__main__":
    main()
