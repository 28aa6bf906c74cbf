"""A training without memory says what it takes, what there is and which batch fits; and that batch fits.

usage: memory_test.py ZEROTH
"""

import json
import os
import re
import resource
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "apps"))
from workplace import Workplace  # noqa: E402  pylint: disable=wrong-import-position

LIMIT, TIGHT = 900 << 20, 450 << 20


def limit(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


class Memory(Workplace):
    def command(self, model):
        if not os.path.exists(self.path("set")):
            self.run_program("data", "generate", "generated", "--out", self.path("set"), "--train", "600", "--test", "20")
        return ["train", "--model", model, "--data", self.path("set"), "--threads", "1", "--max-steps", "3", "--quiet"]

    def test_the_batch_that_is_named_fits(self):
        train = self.command("resnet20")
        done = self.refused(*train, "--batch-size", "512", "--out", self.path("large"), code=1, preexec_fn=lambda: limit(LIMIT),
                            words=["out of memory on the host: ", "resnet20 in batches of 512 takes about ", " were free on the host; "])
        batch = int(re.search(r"--batch-size (\d+) fits$", done.stderr)[1])
        self.assertGreater(batch, 32)
        self.assertLess(batch, 512)
        self.run_program(*train, "--batch-size", str(batch), "--out", self.path("fits"), preexec_fn=lambda: limit(LIMIT))
        self.assertFalse(os.path.exists(self.path("large", "log.jsonl")) and os.path.getsize(self.path("large", "log.jsonl")))
        # The dry run of `zeroth info` says the same of both.
        peaks = [json.loads(self.run_program("info", "--memory", "--json", "--model", "resnet20", "--batch-size", str(n),
                                             preexec_fn=lambda: limit(LIMIT)).stdout)["peak_bytes"] for n in (batch, 512)]
        pictures = 2 * 60000 * 3076  # of CIFAR-10, with which it reckons
        self.assertLess(peaks[0] - pictures, LIMIT)
        self.assertGreater(peaks[1], LIMIT)

    def test_no_batch_fits(self):
        self.refused(*self.command("resnet1202"), "--batch-size", "8", "--out", self.path("none"), code=1,
                     preexec_fn=lambda: limit(TIGHT), words=["no batch fits: take a smaller --model"])


if __name__ == "__main__":
    unittest.main()
