"""Checkpoints from outside: every version of their format, what stands in for a damaged one, signals, full disks.

usage: checkpoint_test.py ZEROTH [unittest arguments]
"""

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import time
import unittest

from workplace import TINY, Workplace, ZEROTH

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def damage(path):
    with open(path, "r+b") as file:
        file.seek(-5, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-5, os.SEEK_END)
        file.write(bytes([byte ^ 16]))


def tensors(path):
    """The bytes behind the header."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read()[length:]


class Versions(Workplace):
    def unpacked(self, version):
        path = self.path(f"checkpoint-{version}.safetensors")
        with gzip.open(os.path.join(FIXTURES, f"checkpoint-{version}.safetensors.gz")) as packed, open(path, "wb") as file:
            file.write(packed.read())
        return path

    def test_each_is_read_and_goes_on(self):
        for version, step, loss, error in ((1, 6, 2.320675, 0.9), (2, 8, 2.294882, 0.85), (3, 7, 2.306208, 0.85)):
            path = self.unpacked(version)
            result = json.loads(self.run_program("eval", path, "--data", self.data, "--json", "--threads", "1").stdout)
            self.assertEqual((result["step"], result["error"]), (step, error))
            self.assertAlmostEqual(result["loss"], loss, places=4)
            run = self.path(f"from{version}")
            self.run_program("train", "--resume", path, "--data", self.data, "--out", run, "--threads", "1")
            self.assertEqual(len(self.summary(run)), 3 - step // (3 if version == 2 else 4))
            with open(os.path.join(run, "checkpoints", "last.safetensors"), "rb") as file:
                self.assertIn(b'"format":"zeroth checkpoint 3"', file.read(200_000))

    def test_what_comes_later_is_refused(self):
        path = self.unpacked(3)
        with open(path, "rb") as file:
            whole = file.read()
        for said, word in ((b"zeroth checkpoint 4", "reads up to 'zeroth checkpoint 3'"),
                           (b"zeroth checkpoint 0", "reads up to"), (b"zeroth checkpoint 1", "before there were checksums"),
                           (b"zeroth checkpoint 2", "is damaged"), (b"zeroth chickpoint 3", "its format is")):
            with open(path, "wb") as file:
                file.write(whole.replace(b"zeroth checkpoint 3", said))
            self.refused("eval", path, code=3, words=[path, word])

    def test_the_older_seal_holds(self):
        path = self.unpacked(2)
        with open(path, "rb") as file:
            whole = file.read()
        header = 8 + int.from_bytes(whole[:8], "little")
        for place in (20, header // 2, header - 9, header, len(whole) // 2, len(whole) - 1):
            with open(path, "wb") as file:
                file.write(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1:])
            self.refused("eval", path, code=3, words=[path])

    def test_the_damaged_tensor_is_named(self):
        path = self.unpacked(3)
        damage(path)
        self.assertRegex(self.refused("eval", path, code=3).stderr, r"tensor '[\w.]+' has the checksum")


class StandIns(Workplace):
    def run_with_epochs(self, out, *flags):
        self.train(out, "--epochs", "3", "--save-every", "1", *flags)
        return self.path(out, "checkpoints", "last.safetensors")

    def test_the_newest_whole_one_is_resumed(self):
        self.run_with_epochs("straight")
        for resume in (["--resume", self.path("auto")], ["--resume", "auto", "--out", self.path("auto")]):
            shutil.rmtree(self.path("auto"), ignore_errors=True)
            damage(self.run_with_epochs("auto"))
            damage(self.path("auto", "checkpoints", "epoch-00003.safetensors"))
            if os.path.exists(self.path("auto", "checkpoints", "best.safetensors")):
                os.remove(self.path("auto", "checkpoints", "best.safetensors"))
            done = self.run_program("train", *resume, "--threads", "1")
            told = [line for line in done.stderr.splitlines() if "is taken instead" in line]
            self.assertEqual(len(told), 1, done.stderr)
            self.assertIn("last.safetensors is damaged", told[0])
            self.assertIn("epoch-00002.safetensors", told[0])
            self.assertIn("resumed after step 8", done.stderr)
            # With best.safetensors the accuracy that it had is lost, which stands in the header.
            self.assertEqual(*[tensors(self.path(run, "checkpoints", "epoch-00003.safetensors")) for run in ("auto", "straight")])
            self.assertTrue(os.path.exists(self.path("auto", "abandoned-1", "checkpoints", "last.safetensors")))

    def test_the_newest_run_is_the_one_meant(self):
        self.run_program("train", *TINY, "--data", self.data, "--epochs", "2", "--save-every", "1")
        (name,) = os.listdir(self.path("runs"))
        damage(self.path("runs", name, "checkpoints", "last.safetensors"))
        done = self.run_program("train", "--resume", "auto", "--epochs", "3", "--threads", "1")
        self.assertIn("epoch-00002.safetensors is taken instead, the newest intact one, of step 8", done.stderr)

    def test_a_damaged_file_that_was_named_is_refused(self):
        last = self.run_with_epochs("named")
        damage(last)
        for command in (["eval", last], ["train", "--resume", last]):
            self.refused(*command, code=3, words=["last.safetensors is damaged"])
        for name in os.listdir(os.path.dirname(last)):
            if name != "last.safetensors":
                os.remove(os.path.join(os.path.dirname(last), name))
        for command in (["eval", self.path("named")], ["train", "--resume", self.path("named")],
                        ["train", "--resume", "auto", "--out", self.path("named")]):
            self.refused(*command, code=3, words=["last.safetensors is damaged"])

    def test_eval_says_what_it_took(self):
        damage(self.run_with_epochs("plain"))
        done = self.run_program("eval", self.path("plain"), "--quiet")
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("epoch-00003.safetensors is taken instead", done.stderr)
        self.assertIn("(step 12)", done.stdout)
        self.run_with_epochs("validated", "--val-split", "10")
        damage(self.path("validated", "checkpoints", "best.safetensors"))
        done = self.run_program("eval", self.path("validated"), "--quiet")
        self.assertIn("best.safetensors is damaged", done.stderr)
        self.assertIn("last.safetensors is taken instead, of step 9", done.stderr)

    def test_a_run_that_died_between_two_saves(self):
        # As it stands when the process was killed after saving last: best and the epoch's own copy are behind.
        last = self.run_with_epochs("died")
        whole = {name: self.digest("died", "checkpoints", name) for name in os.listdir(os.path.dirname(last))}
        metadata = self.metadata(last)
        os.remove(self.path("died", "checkpoints", "epoch-00003.safetensors"))
        if metadata["best_step"] == "12":
            shutil.copy(self.path("died", "checkpoints", "epoch-00001.safetensors"),
                        self.path("died", "checkpoints", "best.safetensors"))
        self.run_program("train", "--resume", self.path("died"), "--threads", "1")
        self.assertEqual({name: self.digest("died", "checkpoints", name) for name in os.listdir(os.path.dirname(last))}, whole)

    def metadata(self, path):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return json.loads(file.read(length))["__metadata__"]


class Limits(Workplace):
    def test_a_step_limit_outlives_an_interruption(self):
        self.train("limited", "--epochs", "4", "--save-every", "1", "--max-steps", "11")
        # As it stood after the first epoch, with the configuration that says --max-steps 11.
        shutil.copy(self.path("limited", "checkpoints", "epoch-00001.safetensors"),
                    self.path("limited", "checkpoints", "last.safetensors"))
        for epoch in ("00002",):
            os.remove(self.path("limited", "checkpoints", f"epoch-{epoch}.safetensors"))
        done = self.run_program("train", "--resume", self.path("limited"), "--threads", "1")
        self.assertIn("after 11 steps", done.stdout)
        done = self.run_program("train", "--resume", self.path("limited"), "--threads", "1")
        self.assertIn("the run reached its --max-steps 11: it goes on to the end of its epochs", done.stderr)
        self.assertIn("after 16 steps", done.stdout)

    def test_one_is_one(self):
        self.assertIn("1 epoch of 1 step, into", self.train("one", "--epochs", "1", "--batch-size", "40", "--warmup", "0").stderr)


class Signals(Workplace):
    def begin(self, out, *flags):
        process = subprocess.Popen([ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path(out), "--epochs", "100000",
                                    "--save-every", "0", *flags], env=self.environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not os.path.exists(self.path(out, "log.jsonl")) or not os.path.getsize(self.path(out, "log.jsonl")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return process

    def test_each_says_so_at_once_and_saves(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)):
            name = signal.Signals(number).name
            process = self.begin(name)
            process.send_signal(number)
            errors = process.communicate(timeout=120)[1]
            self.assertEqual(process.returncode, code, errors)
            lines = errors.splitlines()
            first = next(index for index, line in enumerate(lines) if line.startswith(f"{name}: finishing the step, then saving"))
            self.assertRegex(lines[-1], rf"stopped by {name} after step \d+ and saved; go on with: zeroth train --resume ")
            self.assertLess(first, len(lines) - 1)

    def test_a_stubborn_manager_loses_nothing(self):
        process = self.begin("stubborn")
        for _ in range(5):
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        self.assertEqual(process.returncode, 143)
        self.run_program("eval", self.path("stubborn"))

    def test_a_second_sigint_leaves_at_once(self):
        # A step that takes a while: the CUDA kernels on the CPU.
        process = self.begin_slow("twice")
        process.send_signal(signal.SIGINT)
        self.assertIn("SIGINT: finishing the step, then saving; SIGINT again leaves at once", self.line_with(process, "SIGINT"))
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=120)[1]
        self.assertEqual(process.returncode, 130)
        self.assertIn("SIGINT again: leaving at once", errors)
        self.assertNotIn("saved", errors)
        self.assertLess(time.monotonic() - sent, 10)
        self.run_program("eval", self.path("twice"))  # as of the beginning

    def begin_slow(self, out):
        process = subprocess.Popen([ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path(out), "--device", "simt",
                                    "--batch-size", "40", "--warmup", "0"],
                                   env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not os.path.exists(self.path(out, "checkpoints", "last.safetensors")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return process

    def line_with(self, process, word):
        shown = b""
        while word not in shown.decode() or not shown.endswith(b"\n"):  # unbuffered: communicate() reads on behind it
            byte = os.read(process.stderr.fileno(), 1)
            if not byte:
                break
            shown += byte
        return shown.decode().splitlines()[-1]

    def test_an_evaluation_does_not_hold_a_signal_up(self):
        # An epoch of one step, and many pictures to test on: the signal comes while they are evaluated.
        data = self.path("wide")
        self.run_program("data", "generate", "generated", "--out", data, "--train", "10", "--test", "3000")
        train = ["train", *TINY, "--data", data, "--epochs", "2", "--warmup", "0"]
        process = subprocess.Popen([ZEROTH, *train, "--out", self.path("held")], env=self.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.line_with(process, "epoch 1/2  step 1/1")
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=120)[1]
        self.assertEqual(process.returncode, 143)
        self.assertIn("after step 1 and saved", errors)
        self.assertEqual(self.summary("held"), [])
        self.run_program("train", "--resume", self.path("held"), "--threads", "1")
        self.run_program(*train, "--out", self.path("straight"))
        for name in ("last", "best"):
            self.assertEqual(self.digest("held", "checkpoints", name + ".safetensors"),
                             self.digest("straight", "checkpoints", name + ".safetensors"))
        numbers = [[{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")}
                    for row in self.summary(out)] for out in ("held", "straight")]
        self.assertEqual(*numbers)


class Disks(Workplace):
    def one_line_and_whole(self, done, before, *words):
        self.assertEqual(done.returncode, 1, done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("zeroth: cannot "), done.stderr)
        for word in words:
            self.assertIn(word, last)
        if before:
            self.assertEqual(self.digest("run", "checkpoints", "last.safetensors"), before)
        self.assertEqual([name for name in os.listdir(self.path("run", "checkpoints")) if ".tmp-" in name], [])

    def begin(self):
        shutil.rmtree(self.path("run"), ignore_errors=True)
        self.train("run", "--max-steps", "1")
        return self.digest("run", "checkpoints", "last.safetensors")

    def go_on(self, **options):
        return self.run_program("train", "--resume", self.path("run"), "--max-steps", "3", code=1, **options)

    def test_a_file_size_limit(self):
        before = self.begin()
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        self.one_line_and_whole(self.go_on(preexec_fn=limit), before, "last.safetensors", "File too large")
        self.run_program("train", "--resume", self.path("run"), "--max-steps", "3")

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "root may write everywhere")
    def test_a_read_only_folder(self):
        before = self.begin()
        program = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
        if program:
            os.chmod(self.scratch, 0o755)
        os.chmod(self.path("run", "checkpoints"), 0o555)
        os.chmod(self.path("run"), 0o555)
        done = subprocess.run([*program, ZEROTH, "train", "--resume", self.path("run"), "--max-steps", "3"],
                              env=self.environment, cwd="/", capture_output=True, text=True, timeout=300, check=False)
        os.chmod(self.path("run"), 0o755)
        os.chmod(self.path("run", "checkpoints"), 0o755)
        self.one_line_and_whole(done, before, "ermission denied")

    def test_a_full_disk(self):
        # A file system of its own, in a name space of its own, with room for one checkpoint.
        before = self.begin()
        script = (f"mount -t tmpfs -o size=1200k none {self.path('disk')} && cp -r {self.path('run')} {self.path('disk')}/ && "
                  f"{ZEROTH} train --resume {self.path('disk')}/run --max-steps 3; code=$?; "
                  f"sha256sum {self.path('disk')}/run/checkpoints/last.safetensors; "
                  f"ls {self.path('disk')}/run/checkpoints; exit $code")
        os.makedirs(self.path("disk"), exist_ok=True)
        try:
            done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script], env=self.environment,
                                  cwd=self.scratch, capture_output=True, text=True, timeout=300, check=False)
        except OSError as error:
            self.skipTest(str(error))
        if "unshare" in done.stderr or "mount:" in done.stderr:
            self.skipTest(done.stderr)
        self.one_line_and_whole(done, None, "No space left on device")
        self.assertIn(before, done.stdout)
        self.assertNotIn(".tmp-", done.stdout)

    def test_readers_that_went_away(self):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path("piped"), "--epochs", "2"],
                              env=self.environment, stdout=writing, stderr=writing, timeout=300, check=False)
        os.close(writing)
        self.assertEqual(done.returncode, 0)
        self.run_program("eval", self.path("piped"))


class Forks(Workplace):
    def test_plans_go_along(self):
        self.train("planned", "--max-steps", "1")
        with open(self.path("planned", "plans.json"), "w", encoding="utf-8") as file:
            file.write("{}")
        self.run_program("train", "--resume", self.path("planned"), "--out", self.path("forked"), "--max-steps", "2")
        with open(self.path("forked", "plans.json"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "{}")

    def test_a_table_of_before_some_columns_goes_on(self):
        self.train("young", "--epochs", "2")
        with open(self.path("young", "summary.csv"), encoding="utf-8") as file:
            rows = [line.split(",") for line in file.read().splitlines()]
        with open(self.path("young", "summary.csv"), "w", encoding="utf-8") as file:
            file.writelines(",".join(row[:11] + row[14:]) + "\n" for row in rows)
        self.run_program("train", "--resume", self.path("young"), "--epochs", "3")
        summary = self.summary("young")
        self.assertEqual([row["epoch"] for row in summary], ["1", "2", "3"])
        self.assertEqual([bool(row["gradient_norm"]) for row in summary], [False, False, True])
        self.assertEqual({row["data"] for row in summary}, {"generated"})


if __name__ == "__main__":
    unittest.main()
