"""Training aids as a person uses them: mixup, label smoothing, augmentations, test-time augmentation, alphas in the
log, and the network of the 94 % speed runs.

usage: training_aids_test.py ZEROTH [unittest arguments]
"""

import json
import os
import re

from workplace import Workplace, main

AIRBENCH = ["--recipe", "cifar-fast", "--model", "airbench", "--batch-size", "8", "--epochs", "2", "--max-steps", "3"]


class Aids(Workplace):
    def trained(self, name, *arguments):
        """The digest of the weights after two steps."""
        self.train(name, "--max-steps", "2", *arguments)
        return self.digest(name, "checkpoints", "last.safetensors")

    def test_each_aid_trains_and_matters(self):
        digests = {"plain": self.trained("plain")}
        for number, aid in enumerate((["--mixup", "0.4"], ["--label-smoothing", "0.2"], ["--augment", "flip,crop,cutout=8"],
                                      ["--augment", "alternate-flip,translate=2"], ["--sampling", "replacement"],
                                      ["--val-split", "10"], ["--bias-lr", "0.5"], ["--alpha-lr", "0.01"])):
            digests[" ".join(aid)] = self.trained(f"aid{number}", *aid)
        self.assertEqual(len(set(digests.values())), len(digests), digests)

    def test_mixup_is_resumed_with_the_same_bits(self):
        aid = ["--mixup", "0.4", "--label-smoothing", "0.1", "--epochs", "2"]
        self.train("whole", *aid)
        self.train("parts", *aid, "--max-steps", "3")
        self.run_program("train", "--resume", self.path("parts"), "--max-steps", "8", "--data", self.data)
        self.assertEqual(self.digest("whole", "checkpoints", "last.safetensors"),
                         self.digest("parts", "checkpoints", "last.safetensors"))

    def test_bad_values(self):
        for flag, value in (("--mixup", "-1"), ("--mixup", "x"), ("--tta", "six"), ("--bias-lr", "-1")):
            self.refused("train", *["--data", self.data], flag, value, words=[flag, value])

    def test_views_of_test_pictures(self):
        self.train("run", "--epochs", "2")
        run, flags = self.path("run"), ["--data", self.data, "--threads", "1", "--quiet", "--json"]
        losses = {views: json.loads(self.run_program("eval", run, *flags, "--tta", views).stdout)["loss"]
                  for views in ("none", "flip", "translate")}
        self.assertEqual(len(set(losses.values())), 3, losses)
        self.assertEqual(json.loads(self.run_program("eval", run, *flags).stdout)["loss"], losses["none"])
        # A run that was told so tests with views at its end, and so does zeroth eval of it.
        done = self.train("views", "--epochs", "2", "--tta", "translate", "--json")
        loss = json.loads(self.run_program("eval", self.path("views"), *flags).stdout)["loss"]
        self.assertEqual(json.loads(done.stdout)["test_loss"], loss)
        self.assertEqual(loss, losses["translate"])  # the same training


class Alphas(Workplace):
    def test_they_are_logged_and_drawn(self):
        self.train("run", "--epochs", "3", "--tensorboard")
        records = [record for record in self.log("run") if "alphas" in record]
        self.assertEqual([record["step"] for record in records], [4, 8, 12])
        self.assertEqual(list(records[0]["alphas"]), [f"layer{stage}.0.alpha" for stage in (1, 2, 3)])
        self.assertTrue(all(value != 0 for value in records[0]["alphas"].values()))
        events = [name for name in os.listdir(self.path("run")) if name.startswith("events.")]
        with open(self.path("run", events[0]), "rb") as file:
            self.assertIn(b"alpha/layer1.0.alpha", file.read())

        out = self.path("alphas.svg")
        words = lambda *runs: re.findall(r"<text[^>]*>([^<]*)</text>", self.drawn(out, *runs))
        single = words(self.path("run"))
        for word in ("Alphas by epoch", "alpha", "layer1.0", "layer2.0", "layer3.0"):
            self.assertIn(word, single)
        self.train("other", "--epochs", "2")
        both = words(self.path("run"), self.path("other"))
        for word in ("mean of |alpha|", "run (generated)", "other (generated)"):
            self.assertIn(word, both)
        self.train("plain", "--epochs", "1", "--residual", "plain")
        self.refused("plot", self.path("plain"), "--what", "alpha", "--out", out, words=["plain", "ReZero"])

    def drawn(self, out, *runs):
        self.run_program("plot", *runs, "--what", "alpha", "--out", out)
        with open(out, encoding="utf-8") as file:
            return file.read()


class Airbench(Workplace):
    def test_it_trains_resumes_and_is_used(self):
        flags = ["--data", self.data, "--threads", "1"]
        self.run_program("train", *AIRBENCH, *flags, "--out", self.path("fast"))
        self.assertGreater(self.log("fast")[-1]["gradient_norm"], 0)
        self.run_program("train", "--resume", self.path("fast"), "--max-steps", "5", *flags)
        evaluated = json.loads(self.run_program("eval", self.path("fast"), *flags, "--json").stdout)
        self.assertEqual((evaluated["pictures"], evaluated["step"]), (20, 5))
        self.run_program("export", self.path("fast"), "--pytorch", self.path("fast.safetensors"))
        self.assertTrue(os.path.exists(self.path("fast.safetensors")))
        self.refused("export", self.path("fast"), "--onnx", self.path("fast.onnx"), words=["--onnx", "airbench"])
        self.run_program("compare", self.path("fast"))

    def test_it_is_described(self):
        described = json.loads(self.run_program("info", "--model", "airbench", "--json").stdout)
        self.assertEqual(described["layers"][0]["kind"], "conv2d, frozen")
        self.assertEqual(described["parameters"], sum(layer["parameters"] for layer in described["layers"]))
        self.refused("train", "--model", "airbench", "--residual", "post", words=["--residual", "ResNet"])
        self.refused("bench", "train", "--model", "airbench", words=["ResNet", "airbench"])


if __name__ == "__main__":
    main()
