"""What the proofs of reliability share: a scratch folder with a small set, ways to run zeroth there, a reader of
checkpoints that is not zeroth's, and what two equal runs have in common.

Every script here is run as SCRIPT.py ZEROTH [--quick] [--seed N], prints a table in Markdown, and fails where a claim
does not hold.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

# What depends on the clock, and nothing else: fields of log.jsonl and columns of summary.csv.
CLOCK = ("images_per_second", "fraction_of_ceiling", "seconds")
# No result of a run: the lock is an empty file.
NOT_COMPARED = (".lock",)


class Rig:
    def __init__(self, description, arguments=()):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("zeroth")
        parser.add_argument("--quick", action="store_true", help="the small form, as a test")
        parser.add_argument("--seed", type=int, default=0, help="of what is random here")
        parser.add_argument("--scratch", help="a folder to work in [a temporary one, removed at the end]")
        for name, options in arguments:
            parser.add_argument(name, **options)
        self.arguments = parser.parse_args()
        self.zeroth = os.path.abspath(self.arguments.zeroth)
        self.quick = self.arguments.quick
        self.random = random.Random(self.arguments.seed)
        self.kept = self.arguments.scratch is not None
        self.scratch = self.arguments.scratch or tempfile.mkdtemp(prefix="zeroth-reliability-")
        os.makedirs(self.scratch, exist_ok=True)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ZEROTH_")}
        self.environment.update(HOME=self.scratch, NO_COLOR="1", OMP_WAIT_POLICY="passive")
        self.environment.pop("XDG_CACHE_HOME", None)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if not self.kept:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def generate(self, name, train, test):
        self.run("data", "generate", "generated", "--out", self.path(name), "--train", str(train), "--test", str(test))
        return self.path(name)

    def run(self, *arguments, code=0, **options):
        done = subprocess.run([self.zeroth, *arguments], env=self.environment, cwd=self.scratch, capture_output=True,
                              text=True, check=False, **options)
        if code is not None:
            check(done.returncode == code, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self, *arguments, **options):
        # A shell's background jobs ignore SIGINT, and so would what they start.
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        return subprocess.Popen([self.zeroth, *arguments], env=self.environment, cwd=self.scratch, text=True,
                                **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **options})


def check(holds, message):
    if not holds:
        sys.exit(f"FAILED: {message}")


def read_checkpoint(path):
    """Header, tensors' bytes; ValueError where the file is not whole by its own checksums."""
    with open(path, "rb") as file:
        whole = file.read()
    (length,) = struct.unpack("<Q", whole[:8])
    header, data = json.loads(whole[8:8 + length]), whole[8 + length:]
    metadata = header["__metadata__"]
    crc = 0
    for key, value in sorted(metadata.items()):
        if key != "crc32":
            crc = zlib.crc32(f"{key}\0{value}\0".encode(), crc)
    dtypes = {"F32": "f32", "I32": "i32", "F64": "f64"}
    end = 0
    for name in sorted(set(header) - {"__metadata__"}):
        tensor = header[name]
        begin, stop = tensor["data_offsets"]
        end = max(end, stop)
        crc = zlib.crc32(f"{name}\0{dtypes[tensor['dtype']]}\0({', '.join(map(str, tensor['shape']))})\0".encode(), crc)
        if metadata[f"crc32:{name}"] != f"{zlib.crc32(data[begin:stop]):08x}":
            raise ValueError(f"{path}: {name}")
    if metadata["crc32"] != f"{crc:08x}" or end != len(data):
        raise ValueError(f"{path}: header")
    return header, data


def step_of(path):
    return int(read_checkpoint(path)[0]["__metadata__"]["step"])


def last_of(run):
    return os.path.join(run, "checkpoints", "last.safetensors")


def wait_for(path, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        check(process.poll() is None, f"ended before {path} was there: {process.returncode}")
        check(time.monotonic() < deadline, f"no {path}")
        time.sleep(0.005)


def records(run):
    """log.jsonl and summary.csv without what depends on the clock."""
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    with open(os.path.join(run, "summary.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [[{key: value for key, value in record.items() if key not in CLOCK} for record in part] for part in (lines, rows)]


def files_of(run):
    names = []
    for folder, _, files in os.walk(run):
        names += [os.path.relpath(os.path.join(folder, file), run) for file in files]
    return sorted(name for name in names if name not in NOT_COMPARED)


def differences(one, other):
    """What tells two run folders apart, besides the clock; empty: not a bit."""
    found = [f"only in one: {name}" for name in set(files_of(one)) ^ set(files_of(other))]
    for name in sorted(set(files_of(one)) & set(files_of(other))):
        if name in ("log.jsonl", "summary.csv"):
            continue
        with open(os.path.join(one, name), "rb") as a, open(os.path.join(other, name), "rb") as b:
            if a.read() != b.read():
                found.append(name)
    for name, a, b in zip(("log.jsonl", "summary.csv"), records(one), records(other)):
        if a != b:
            found.append(f"{name}: {next((pair for pair in zip(a, b) if pair[0] != pair[1]), (len(a), len(b)))}")
    return found
