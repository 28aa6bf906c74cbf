"""Reproduces rows of tables on a tiny data set, interrupts that, and looks at the reports; reads the recipes.

usage: reproduce_test.py ZEROTH [unittest arguments]
"""

import base64
import json
import os
import re
import signal
import subprocess
import time
import unittest

from workplace import Workplace, ZEROTH

# 40 pictures: 30 to train on in 3 batches, 10 for validation.
SCALED = ["--epochs-scale", "0.002", "--with", "batch_size=10", "--with", "val_split=10", "--threads", "1"]
PARAMETERS = {  # shortcut A plain, A ReZero, B plain, B ReZero
    20: (269722, 269731, 272474, 272483), 32: (464154, 464169, 466906, 466921), 44: (658586, 658607, 661338, 661359),
    56: (853018, 853045, 855770, 855797), 110: (1727962, 1728016, 1730714, 1730768)}


class Recipes(Workplace):
    def test_the_list_names_each_with_its_purpose(self):
        listed = json.loads(self.run_program("recipes", "--json").stdout)
        self.assertLessEqual({"quick", "resnet-short", "rezero-published", "rezero-default", "rezero-authors",
                              "resnet-paper", "colossalai-resnet18", "cifar-fast", "rezero-ablation"}, set(listed))
        shown = self.run_program("recipes").stdout
        for name, purpose in listed.items():
            self.assertTrue(purpose.endswith(".") and "#" not in purpose, purpose)
            self.assertRegex(shown, rf"(?m)^{re.escape(name)} +{re.escape(purpose.split()[0])}")
        self.refused("recipes", "rezero-publishd", words=["did you mean 'rezero-published'?"])

    def test_a_printed_recipe_is_a_configuration(self):
        for name in json.loads(self.run_program("recipes", "--json").stdout):
            path = self.path(name + ".toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.run_program("recipes", name).stdout)
            out = self.path("of-" + name)
            # One step of a small network is enough: every key was read, and the run keeps what it was told.
            self.run_program("train", "--config", path, "--model", "rezero-resnet8", "--data", self.data, "--batch-size",
                             "10", "--val-split", "0", "--max-steps", "1", "--threads", "1", "--out", out)
            with open(os.path.join(out, "config.toml"), encoding="utf-8") as file:
                kept = file.read()
            with open(path, encoding="utf-8") as file:
                for key, value in re.findall(r'(?m)^(lr|weight_decay|epochs|schedule|early_stop) = (\S+)', file.read()):
                    value = value if value.startswith('"') else float(value)
                    found = re.search(rf"(?m)^{key} = (\S+)", kept).group(1)
                    self.assertEqual(value, found if found.startswith('"') else float(found), f"{name}: {key}")

    def test_counts_of_parameters(self):
        def count(*model):
            return json.loads(self.run_program("info", "--json", "--model", *model).stdout)["parameters"]
        for depth, counts in PARAMETERS.items():
            found = tuple(count(prefix + f"resnet{depth}", "--shortcut", shortcut)
                          for shortcut in "AB" for prefix in ("", "rezero-"))
            self.assertEqual(found, counts, depth)
        self.assertEqual(count("resnet18"), 11181642)


class Reproduction(Workplace):
    def reproduce(self, table, out, *arguments, code=0):
        return self.run_program("reproduce", table, "--data", self.data, "--out", self.path(out), *SCALED, *arguments,
                                code=code)

    def read(self, *parts):
        with open(self.path(*parts), encoding="utf-8") as file:
            return file.read()

    def test_two_rows_and_their_report(self):
        rows = ["--rows", "resnet20,rezero-resnet20", "--seeds", "2"]
        done = self.reproduce("rezero-table", "two", *rows)
        report, page = self.read("two", "report.md"), self.read("two", "report.html")
        for text in (done.stdout, report, page):
            self.assertIn("scaled: 0.002 of the epochs; changed: batch_size = 10, val_split = 10", text.splitlines()[0] +
                          text[text.find("<h1>"):text.find("</h1>")])
            self.assertIn("not the official files of CIFAR-10", text)
            for cell in ("272,474", "272,483", "7.98", "7.94", "398", "8.75", "2 of 2"):
                self.assertIn(cell, text)
        results = [json.loads(self.read("two", f"rezero-resnet20-seed{seed}.json")) for seed in (0, 1)]
        mean = 50 * sum(result["test_error"] for result in results)
        self.assertIn(f"{mean:.2f} ± ", report)
        pictures = sorted(name for name in os.listdir(self.path("two")) if name.endswith(".png"))
        self.assertEqual(pictures, ["depth-20-error.png", "depth-20-loss.png"])
        inside = re.findall(r'alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page)
        self.assertEqual(len(inside), 2)
        for (title, encoded), name in zip(inside, pictures):
            self.assertIn("scaled", title)
            with open(self.path("two", name), "rb") as file:
                self.assertEqual(base64.b64decode(encoded, validate=True), file.read())
        # Again: nothing is trained, more seeds go on, other settings are refused.
        before = self.digest("two", "resnet20-seed0", "checkpoints", "last.safetensors")
        again = self.reproduce("rezero-table", "two", *rows)
        self.assertEqual(again.stderr.count("has ended"), 4)
        self.assertEqual(again.stdout, done.stdout)
        self.assertEqual(self.digest("two", "resnet20-seed0", "checkpoints", "last.safetensors"), before)
        refused = self.reproduce("rezero-table", "two", *rows, "--with", "lr=0.05", code=2)
        self.assertIn("lr = 0.1' there", refused.stderr)

    def interrupted(self, out, how):
        """Starts a reproduction, ends it once it trains, and lets the same command go on."""
        rows = ["--rows", "rezero-resnet20", "--seeds", "1", "--with", "epochs=10000", "--with", "early_stop=50000"]
        arguments = [ZEROTH, "reproduce", "rezero-table", "--data", self.data, "--out", self.path(out), *SCALED, *rows]
        log = self.path(out, "rezero-resnet20-seed0", "summary.csv")
        with subprocess.Popen(arguments, env=self.environment, cwd=self.scratch, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 200
            while time.monotonic() < deadline and not (os.path.exists(log) and len(self.read(log).splitlines()) > 1):
                time.sleep(0.005)
            process.send_signal(how)
            process.communicate(timeout=200)
        self.assertNotEqual(process.returncode, 0)
        self.assertFalse(os.path.exists(self.path(out, "rezero-resnet20-seed0.json")), "it ended before the signal")
        self.reproduce("rezero-table", out, *rows)
        return process.returncode

    def test_an_interrupted_run_goes_on(self):
        rows = ["--rows", "rezero-resnet20", "--seeds", "1", "--with", "epochs=10000", "--with",
                "early_stop=50000"]
        self.reproduce("rezero-table", "whole", *rows)
        self.assertEqual(self.interrupted("stopped", signal.SIGINT), 130)
        self.interrupted("killed", signal.SIGKILL)
        for out in ("stopped", "killed"):
            self.assertEqual(self.digest(out, "rezero-resnet20-seed0", "checkpoints", "last.safetensors"),
                             self.digest("whole", "rezero-resnet20-seed0", "checkpoints", "last.safetensors"), out)
            self.assertEqual(len(self.summary(os.path.join(out, "rezero-resnet20-seed0"))), 20)

    def test_what_cannot_be_trained_has_no_number(self):
        done = self.reproduce("colossalai-table", "gemini", "--rows", "gemini,torch_ddp")
        self.assertRegex(done.stdout, r"(?m)^\| gemini.*\| 15\.40 \| none: sharded parameters do not exist yet \| - \| - \|")
        self.assertRegex(done.stdout, r"(?m)^\| torch_ddp:.*\| 15\.09 \| none: data parallel .*\| - \| - \|")

    def test_slips_are_refused(self):
        self.refused("reproduce", words=["TABLE"])
        self.refused("reproduce", "rezero-tabel", words=["did you mean 'rezero-table'?"])
        self.refused("reproduce", "rezero-table", "--rows", "resnet21", words=["did you mean 'resnet20'?"])
        self.refused("reproduce", "rezero-table", "--epochs-scale", "2", words=["--epochs-scale", "at most 1"])
        self.refused("reproduce", "rezero-table", "--seeds", "0", words=["--seeds"])
        self.refused("reproduce", "rezero-table", "--with", "batchsize=3", words=["did you mean 'batch_size'?"])
        self.refused("reproduce", "rezero-table", "--with", "lr=x", words=["--with lr"])
        self.assertFalse(os.path.exists(self.path("runs")))


if __name__ == "__main__":
    unittest.main()
