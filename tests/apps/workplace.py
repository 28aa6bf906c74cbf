"""What tests of the program share: a scratch folder, a tiny data set, and ways to run zeroth there.

A test script's first argument is the program.
"""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ZEROTH = os.path.abspath(sys.argv.pop(1))

# 40 training pictures in batches of 10: 4 steps an epoch.
TINY = ["--model", "rezero-resnet8", "--batch-size", "10", "--threads", "1", "--lr", "0.05"]


class Workplace(unittest.TestCase):
    """A scratch folder with a tiny data set, and an environment without surprises."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="zeroth-test-")
        cls.environment = {key: value for key, value in os.environ.items() if not key.startswith("ZEROTH_")}
        cls.environment.update(HOME=cls.scratch, NO_COLOR="1")
        cls.environment.pop("XDG_CACHE_HOME", None)
        cls.data = os.path.join(cls.scratch, "tiny")
        made = subprocess.run(
            [ZEROTH, "data", "generate", "generated", "--out", cls.data, "--train", "40", "--test", "20"],
            env=cls.environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def run_program(self, *arguments, code=0, environment=None, **options):
        done = subprocess.run([ZEROTH, *arguments], env={**self.environment, **(environment or {})},
                              cwd=self.scratch, capture_output=True, text=True, timeout=500, **options)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        return done

    def train(self, out, *arguments, code=0, **options):
        return self.run_program("train", *TINY, "--data", self.data, "--out", self.path(out), *arguments, code=code,
                                **options)

    def refused(self, *arguments, code=2, words=(), **options):
        done = self.run_program(*arguments, code=code, **options)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("zeroth: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, f"one line: {done.stderr}")
        for word in words:
            self.assertIn(word, done.stderr)
        return done

    def digest(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def log(self, out):
        with open(self.path(out, "log.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def summary(self, out):
        with open(self.path(out, "summary.csv"), encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def main():
    """unittest.main(), which exits with 77 where every test of the group was skipped."""
    result = unittest.main(module="__main__", exit=False).result
    if result.wasSuccessful() and result.skipped and len(result.skipped) == result.testsRun:
        sys.exit(77)
    sys.exit(not result.wasSuccessful())
