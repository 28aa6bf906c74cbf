"""Runs the program where things go wrong: closed and full outputs, empty words, damaged checkpoints, two at once.

usage: robustness_test.py ZEROTH [unittest arguments]
"""

import fcntl
import glob
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest
import zlib

from workplace import TINY, Workplace, ZEROTH

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "apps")


def read_checkpoint(path):
    """Header as a dictionary, and the tensors' bytes."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), file.read()


def seal(header, data):
    """Puts the checksums into the header, as engine/checkpoint.h describes them, computed by zlib."""
    metadata = header["__metadata__"]
    dtypes = {"F32": "f32", "I32": "i32", "F64": "f64"}
    names = sorted(set(header) - {"__metadata__"})
    for name in names:
        begin, end = header[name]["data_offsets"]
        metadata[f"crc32:{name}"] = f"{zlib.crc32(data[begin:end]):08x}"
    crc = 0
    for key, value in sorted(metadata.items()):
        if key != "crc32":
            crc = zlib.crc32(f"{key}\0{value}\0".encode(), crc)
    for name in names:
        shape = ", ".join(map(str, header[name]["shape"]))
        crc = zlib.crc32(f"{name}\0{dtypes[header[name]['dtype']]}\0({shape})\0".encode(), crc)
    metadata["crc32"] = f"{crc:08x}"


def is_sealed(path):
    header, data = read_checkpoint(path)
    stored = dict(header["__metadata__"])
    seal(header, data)
    return header["__metadata__"] == stored


def edit_metadata(path, **changes):
    """Changes a checkpoint as a program would that knows the format, checksum included."""
    header, data = read_checkpoint(path)
    for key, value in changes.items():
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
    if "crc32" in header["__metadata__"]:
        seal(header, data)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class Outputs(Workplace):
    def shell(self, command, code):
        done = subprocess.run(["sh", "-c", f"'{ZEROTH}' {command.removeprefix('zeroth')}"], env=self.environment, cwd=self.scratch,
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, code, f"{command}: {done.stdout}{done.stderr}")
        return done

    def tiny(self, out):
        return f"zeroth train {' '.join(TINY)} --data {self.data} --max-steps 1 --out {out}"

    def test_messages_may_be_lost(self):
        self.shell("zeroth train --lr nan 2>&-", 2)
        self.shell("zeroth 2>&-", 2)
        if os.path.exists("/dev/full"):
            self.shell("zeroth train --lr nan 2>/dev/full", 2)
            self.assertIn("test error", self.shell(self.tiny("full") + " 2>/dev/full", 0).stdout)
        self.assertIn("test error", self.shell(self.tiny("closed") + " 2>&-", 0).stdout)
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([ZEROTH, "train", "--lr", "nan"], env=self.environment, stderr=writing, check=False)
        os.close(writing)
        self.assertEqual(done.returncode, 2)

    def test_no_file_takes_the_place_of_a_closed_descriptor(self):
        for out, closed in (("without2", "2>&-"), ("without12", ">&- 2>&-"), ("without", "<&- >&- 2>&-")):
            self.shell(self.tiny(out) + " " + closed, 1 if ">&- 2" in closed else 0)
            self.assertTrue(is_sealed(self.path(out, "checkpoints", "last.safetensors")))
            self.assertEqual(len(self.log(out)), 1)

    def test_results_that_are_lost_are_an_error(self):
        self.shell(self.tiny("run"), 0)
        for command in ("zeroth --help", "zeroth --version", "zeroth train --help", "zeroth info", "zeroth eval run"):
            for target in ("/dev/full", "&-"):
                if target == "&-" or os.path.exists(target):
                    errors = self.shell(f"{command} --quiet >{target}" if "eval" in command else f"{command} >{target}",
                                        1).stderr
                    self.assertEqual(errors.count("\n"), 1, errors)
                    self.assertIn("cannot write the results", errors)

    def test_info_fits_a_terminal_and_needs_no_model(self):
        text = self.run_program("info", environment={"ZEROTH_MODEL": "resnet20"}).stdout
        self.assertIn("devices", text)
        self.assertLessEqual(max(len(line) for line in text.splitlines() if self.scratch not in line), 80)

    def test_eval_is_quiet(self):
        self.shell(self.tiny("said"), 0)
        self.assertIn("evaluating", self.run_program("eval", self.path("said")).stderr)
        self.assertEqual(self.run_program("eval", self.path("said"), "--quiet").stderr, "")


class Words(Workplace):
    def test_an_empty_value_is_no_way_to_say_nothing(self):
        for flag in ("--resume", "--data", "--init", "--out", "--config", "--model", "--impl", "--milestones"):
            self.refused("train", flag, "", words=[flag, "expected a value"])
            self.refused("train", flag + "=", words=[flag])
        self.refused("eval", "", words=["RUN|CHECKPOINT"])
        self.refused("data", "fetch", "cifar10", "--from", "", words=["--from"])
        self.refused("data", "generate", "generated", "--out", "", words=["--out"])
        self.refused("train", "--json=3", words=["--json"])

    def test_a_missing_value_is_named(self):
        self.refused("train", "--lr", words=["--lr needs a value", "zeroth train --help"])
        self.refused("eval", words=["zeroth eval needs RUN|CHECKPOINT", "zeroth eval --help"])
        self.refused("data", "fetch", words=["zeroth data fetch needs NAME"])
        self.refused("data", "verify", words=["zeroth data verify needs NAME|DIR"])

    def test_paths_that_are_not_utf8_are_refused_at_the_start(self):
        name = os.fsencode(self.scratch) + b"/caf\xe9"
        shutil.copytree(os.fsencode(self.data), name)
        before = sorted(os.listdir(os.fsencode(self.scratch)))
        train = ["train", *TINY, "--max-steps", "1"]
        self.refused(*train, "--data", name, "--out", self.path("x"), words=["--data", "UTF-8"])
        self.refused(*train, "--data", self.data, "--out", os.fsencode(self.scratch) + b"/r\xe9", words=["--out", "UTF-8"])
        done = subprocess.run([ZEROTH, *train, "--data", ".", "--out", self.path("x")], env=self.environment, cwd=name,
                              capture_output=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(b"not UTF-8", done.stderr)
        self.assertEqual(sorted(os.listdir(os.fsencode(self.scratch))), before)

    def test_the_first_training_takes_paths_from_where_one_stands(self):
        clone = self.path("clone")
        os.makedirs(os.path.join(clone, "apps"))
        os.makedirs(os.path.join(clone, "build", "program", "apps"))
        shutil.copy(os.path.join(APPS, "first-training.sh"), os.path.join(clone, "apps"))
        os.symlink(ZEROTH, os.path.join(clone, "build", "program", "apps", "zeroth"))
        os.mkdir(self.path("bin"))
        for path in (os.path.join(clone, "apps", "install-packages.sh"), self.path("bin", "cmake")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"#!/bin/sh\npwd >> {self.path('where')}\n")
            os.chmod(path, 0o755)
        path = self.path("bin") + ":" + self.environment["PATH"]
        done = subprocess.run(["sh", "clone/apps/first-training.sh", *TINY, "--data", "tiny", "--max-steps", "1",
                               "--out", "here"], env={**self.environment, "PATH": path}, cwd=self.scratch,
                              capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(os.path.isfile(self.path("here", "checkpoints", "last.safetensors")))
        with open(self.path("where"), encoding="utf-8") as file:
            self.assertEqual(os.path.realpath(file.read().split("\n")[1]), os.path.realpath(clone))


class Resuming(Workplace):
    def threads(self, out):
        with open(self.path(out, "config.toml"), encoding="utf-8") as file:
            return re.search(r"^threads = (\d+)$", file.read(), re.MULTILINE)[1]

    def test_threads_are_kept(self):
        tiny = [*TINY, "--data", self.data, "--epochs", "3", "--threads", "2"]
        self.run_program("train", *tiny, "--out", self.path("straight"))
        self.run_program("train", *tiny, "--out", self.path("stopped"), "--max-steps", "5")
        core = min(os.sched_getaffinity(0))
        done = self.run_program("train", "--resume", self.path("stopped"),
                                preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.assertNotIn("last bits", done.stderr)
        self.assertEqual(self.threads("stopped"), "2")
        self.assertEqual(self.digest("straight", "checkpoints", "last.safetensors"),
                         self.digest("stopped", "checkpoints", "last.safetensors"))
        done = self.run_program("train", "--resume", self.path("stopped"), "--threads", "1", "--epochs", "4")
        self.assertIn("--threads 1 instead of 2: the last bits will differ", done.stderr)
        self.assertEqual(self.threads("stopped"), "1")

    def test_threads_that_nobody_named_are_kept(self):
        tiny = [word for word in TINY if word not in ("--threads", "1")]
        self.run_program("train", *tiny, "--data", self.data, "--max-steps", "1", "--out", self.path("all"))
        self.assertEqual(int(self.threads("all")), len(os.sched_getaffinity(0)))

    def test_implementations_may_change(self):
        self.train("impl", "--impl", "conv2d=reference", "--max-steps", "1")
        done = self.run_program("train", "--resume", self.path("impl"), "--max-steps", "2", "--impl", "default")
        self.assertIn("--impl default instead of conv2d=reference", done.stderr)
        self.train("simt", "--impl", "relu=cpu", "--max-steps", "1")
        self.run_program("eval", self.path("simt"), "--device", "simt")
        self.run_program("train", "--resume", self.path("simt"), "--device", "simt", "--impl", "default",
                         "--max-steps", "2")

    def test_a_fork_is_checked_first_and_whole_from_the_start(self):
        self.train("old", "--epochs", "2", "--save-every", "1")
        fork = self.path("fork")
        resume = ["train", "--resume", self.path("old"), "--out", fork]
        other = self.path("other")
        self.run_program("data", "generate", "generated", "--out", other, "--train", "40", "--test", "20", "--seed", "9")
        for flags, code in ((["--data", self.path("none")], 3), (["--data", other], 3), (["--device", "cuda:9"], 4),
                            (["--impl", "conv2d=none"], 2)):
            self.refused(*resume, *flags, code=code)
            self.assertFalse(os.path.exists(fork), flags)
        self.run_program(*resume)  # nothing is left to train
        for name in ("last", "best"):
            self.assertEqual(self.digest("old", "checkpoints", name + ".safetensors"),
                             self.digest("fork", "checkpoints", name + ".safetensors"))
        self.assertEqual(self.summary("fork"), self.summary("old"))
        self.run_program("train", "--resume", fork, "--epochs", "3")

    def test_an_abandoned_future_is_kept_apart(self):
        run = ["checkpoints", "last.safetensors"]
        self.train("long", "--epochs", "4", "--save-every", "1")
        end, weights = self.digest("long", *run), read_checkpoint(self.path("long", *run))[1]
        first = self.path("long", "checkpoints", "epoch-00001.safetensors")
        done = self.run_program("train", "--resume", first, "--keep", "2", "--max-steps", "12")
        self.assertIn(f"what the run wrote after step 4 is kept in {self.path('long', 'abandoned-1')}", done.stderr)
        names = [name for name in sorted(os.listdir(self.path("long", "checkpoints"))) if name.startswith("epoch")]
        self.assertEqual(names, ["epoch-00002.safetensors", "epoch-00003.safetensors"])
        names = [name for name in sorted(os.listdir(self.path("long", "abandoned-1", "checkpoints")))]
        self.assertEqual(names, ["best.safetensors", "epoch-00002.safetensors", "epoch-00003.safetensors",
                                 "epoch-00004.safetensors", "last.safetensors"])
        self.assertEqual(self.digest("long", "abandoned-1", *run), end)
        self.assertEqual(len(self.summary("long/abandoned-1")), 4)
        self.run_program("train", "--resume", self.path("long"))  # no other future: nothing to keep apart
        self.assertEqual(read_checkpoint(self.path("long", *run))[1], weights)  # its configuration has --keep 2
        self.assertFalse(os.path.exists(self.path("long", "abandoned-2")))
        self.run_program("train", "--resume", self.path("long", "abandoned-1"), "--epochs", "5")

    def test_a_run_that_dies_at_once_can_be_resumed(self):
        command = [ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path("dies"), "--epochs", "100000"]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while not os.path.exists(self.path("dies", "checkpoints", "last.safetensors")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.001)
            process.kill()
        self.assertEqual(read_checkpoint(self.path("dies", "checkpoints", "last.safetensors"))[0]["__metadata__"]["step"],
                         "0")
        self.run_program("train", "--resume", self.path("dies"), "--epochs", "1")
        self.refused("train", "--resume", self.path("dies"), "--epochs", "1", "--batch-size", "20", code=2)

    def test_what_ended_before_its_first_checkpoint_is_in_nobodys_way(self):
        self.train("early", "--max-steps", "1")
        shutil.rmtree(self.path("early", "checkpoints"))
        self.train("early", "--max-steps", "2")
        self.assertEqual([line["step"] for line in self.log("early")], [2])

    def test_a_run_cannot_end_before_it_stands(self):
        self.train("longer", "--epochs", "2")
        self.refused("train", "--resume", self.path("longer"), "--epochs", "1", code=2, words=["--epochs 1"])

    def test_epochs_are_ordered_as_numbers(self):
        self.train("many", "--epochs", "2", "--save-every", "1")
        folder = self.path("many", "checkpoints")
        os.rename(os.path.join(folder, "epoch-00001.safetensors"), os.path.join(folder, "epoch-100000.safetensors"))
        done = self.run_program("train", "--resume", self.path("many"), "--epochs", "3", "--keep", "1")
        self.assertIn("abandoned-1", done.stderr)
        self.assertEqual([name for name in os.listdir(folder) if name.startswith("epoch")], ["epoch-00003.safetensors"])


class RunFolders(Workplace):
    def test_two_cannot_write_one_run(self):
        out = self.path("busy")
        with subprocess.Popen([ZEROTH, "train", *TINY, "--data", self.data, "--out", out, "--epochs", "100000",
                               "--save-every", "0"], env=self.environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while not os.path.exists(os.path.join(out, "checkpoints", "last.safetensors")):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            self.refused("train", "--resume", out, code=1, words=["another process", out])
            self.run_program("eval", out)
            process.send_signal(signal.SIGTERM)
        self.assertEqual(process.returncode, 143)
        self.run_program("train", "--resume", out, "--epochs", "100000", "--max-steps", "1")

    def test_a_folder_that_is_being_made_is_locked(self):
        os.mkdir(self.path("made"))
        with open(self.path("made", ".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.train("made", "--max-steps", "1", "--quiet", code=1)
        self.train("made", "--max-steps", "1")

    def test_temporary_files_of_the_dead_are_removed(self):
        self.train("stale", "--max-steps", "1")
        stale = [self.path("stale", "log.jsonl.tmp-123"), self.path("stale", "checkpoints", "last.safetensors.tmp-4")]
        kept = self.path("stale", "notes.tmp-old")
        for path in [*stale, kept]:
            with open(path, "w", encoding="utf-8") as file:
                file.write("half")
        self.run_program("train", "--resume", self.path("stale"), "--max-steps", "2")
        self.assertEqual([path for path in stale if os.path.exists(path)], [])
        self.assertTrue(os.path.exists(kept))


class Checkpoints(Workplace):
    def test_a_loss_that_is_not_finite_is_never_saved(self):
        for flags in (["--max-steps", "1"], ["--epochs", "1", "--max-steps", "4", "--batch-size", "40"],
                      ["--max-steps", "1", "--val-split", "10"]):
            out = "diverged" + str(len(flags)) + flags[1]
            done = self.train(out, "--lr", "1e25", "--warmup", "0", *flags, code=6)
            self.assertEqual(done.stdout, "")
            self.assertIn("finite", done.stderr)
            last = self.path(out, "checkpoints", "last.safetensors")  # as it stood before the first step
            self.assertEqual(glob.glob(self.path(out, "checkpoints", "*")), [last])
            self.assertEqual(read_checkpoint(last)[0]["__metadata__"]["step"], "0")

    def test_the_last_good_checkpoint_stays(self):
        self.train("good", "--epochs", "1")
        path = self.path("good", "checkpoints", "last.safetensors")
        config = read_checkpoint(path)[0]["__metadata__"]["config"]
        edit_metadata(path, config=re.sub(r"(?m)^lr = .*$", "lr = 1e25", config))
        before = self.digest("good", "checkpoints", "last.safetensors")
        done = self.run_program("train", "--resume", self.path("good"), "--epochs", "2", "--max-steps", "5", code=6)
        self.assertIn(f"the checkpoint before it is {path}", done.stderr)
        self.assertEqual(self.digest("good", "checkpoints", "last.safetensors"), before)

    def test_one_flipped_bit_is_found(self):
        self.train("flipped", "--max-steps", "1")
        path = self.path("flipped", "checkpoints", "last.safetensors")
        with open(path, "rb") as file:
            whole = file.read()
        header = 8 + struct.unpack("<Q", whole[:8])[0]
        text = whole[:header]
        places = [header, header + 1234, len(whole) - 1]
        places += [text.index(word) + len(word) // 2 for word in (b"lr = 0.05", b"zeroth checkpoint 3")
                   if word in text]
        self.assertGreater(len(places), 4)
        places += [text.index(b'"crc32"') + 3, text.index(b'"crc32":"') + 12, text.index(b'"step"') + 8]
        for place in places:
            damaged = bytearray(whole)
            damaged[place] ^= 1
            with open(path, "wb") as file:
                file.write(damaged)
            self.refused("eval", path, code=3, words=["last.safetensors"])
            self.refused("train", "--resume", path, code=3, words=["last.safetensors"])

    def test_the_checksum_is_the_described_one(self):
        self.train("described", "--max-steps", "1")
        self.assertTrue(is_sealed(self.path("described", "checkpoints", "last.safetensors")))

    def test_damaged_metadata_are_named(self):
        self.train("named", "--max-steps", "1")
        path = self.path("named", "checkpoints", "last.safetensors")
        metadata = read_checkpoint(path)[0]["__metadata__"]
        shutil.copy(path, self.path("intact"))
        for key, values in {"step": ["-1", "x", "99999999999"], "classes": ["0", "1e9"], "channels": ["7"],
                            "height": ["100000000000"], "epoch_loss": ["nan"], "epoch_correct": ["999"],
                            "best_accuracy": ["1.5"], "data_hash": ["-3"], "epoch_rows": [None],
                            "config": [metadata["config"].replace("lr = 0.05", "lr = -0.05"),
                                       metadata["config"].replace("lr = 0.05", "lr = "),
                                       metadata["config"].replace("lr = 0.05", "rate = 0.05")]}.items():
            for value in values:
                shutil.copy(self.path("intact"), path)
                edit_metadata(path, **{key: value})
                word = "its configuration:" if key == "config" else f"'{key}'"
                for command in (["eval", path], ["train", "--resume", path]):
                    self.refused(*command, code=3, words=["last.safetensors", word])

    def test_weights_of_another_architecture_are_refused(self):
        self.train("shape-b", "--max-steps", "1", "--shortcut", "B")
        weights = self.path("shape-b", "checkpoints", "last.safetensors")
        begin = ["train", "--data", self.data, "--batch-size", "10", "--max-steps", "1", "--init", weights]
        for flags, words in ((["--model", "rezero-resnet8", "--shortcut", "A"], ["shortcut B", "shortcut A"]),
                             (["--model", "rezero-resnet8", "--residual", "authors"], ["residual post", "residual authors"]),
                             (["--model", "resnet8"], ["residual post", "residual plain"])):
            self.refused(*begin, *flags, code=3, words=[weights, *words])
        self.run_program(*begin, "--model", "resnet8", "--residual", "post", "--out", self.path("same"))
        edit_metadata(weights, format="pt", crc32=None)  # another program's file: names and shapes decide
        self.run_program(*begin, "--model", "rezero-resnet8", "--out", self.path("foreign"))


if __name__ == "__main__":
    unittest.main()
