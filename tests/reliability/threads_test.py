"""With --deterministic a training's checkpoints do not depend on the number of threads, nor on the run.

usage: threads_test.py ZEROTH
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps"))
from workplace import Workplace  # noqa: E402  pylint: disable=wrong-import-position


class Threads(Workplace):
    def weights(self, out):
        """The checkpoint's tensors: its configuration names the threads."""
        with open(self.path(out, "checkpoints", "last.safetensors"), "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            file.seek(8 + length)
            return file.read()

    def trained(self, name, threads, *flags):
        out = f"{name}-{threads}"
        self.run_program("train", "--data", self.data, "--batch-size", "20", "--max-steps", "3", "--deterministic",
                         "--device", "cpu", "--threads", str(threads), "--quiet", "--out", self.path(out), *flags)
        return self.weights(out)

    def test_bits_are_those_of_one_thread(self):
        for name, flags in (("rezero", ["--model", "rezero-resnet14"]),
                            ("half", ["--model", "rezero-resnet14", "--amp", "bf16"]),
                            ("plain", ["--model", "resnet8", "--shortcut", "A", "--optimizer", "adamw", "--lr", "0.01"]),
                            ("wide", ["--model", "resnet18", "--amp", "bf16"])):
            one = self.trained(name, 1, *flags)
            for threads in (2, 3):
                self.assertEqual(one, self.trained(name, threads, *flags), f"{name}, {threads} threads")

    def test_a_resumed_run_may_change_its_threads(self):
        one = self.trained("whole", 1, "--model", "rezero-resnet8", "--epochs", "3")
        self.run_program("train", "--model", "rezero-resnet8", "--data", self.data, "--batch-size", "20", "--max-steps", "2",
                         "--epochs", "3", "--deterministic", "--device", "cpu", "--threads", "3", "--out", self.path("half"))
        done = self.run_program("train", "--resume", self.path("half"), "--threads", "2", "--max-steps", "3")
        self.assertNotIn("last bits", done.stderr)
        self.assertEqual(one, self.weights("half"))

    def test_what_is_not_deterministic_is_refused(self):
        train = ["train", "--data", self.data, "--batch-size", "20", "--deterministic", "--device", "cpu"]
        self.refused(*train, "--impl", "conv2d=onednn", words=["--deterministic", "conv2d=onednn", "winograd+split"])
        self.refused(*train, "--cudnn-plans", "timed", words=["--cudnn-plans", "--no-deterministic"])
        self.run_program(*train, "--impl", "conv2d=split", "--max-steps", "1", "--model", "resnet8", "--out", self.path("split"))


if __name__ == "__main__":
    unittest.main()
