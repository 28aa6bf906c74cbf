#!/usr/bin/env python3
"""Everything that wants a GPU, in one run, with one table at the end.

    python3 tests/gpu/run.py [--build FOLDER] [--data FOLDER] [--out FOLDER] [--only STAGE ...] [--dry-run]

Without --build it configures and builds the preset `cuda` first. Stages, in order:

  machine     the GPU, its driver, what `zeroth info` finds
  kernels     every row of every operation against its f64 reference, over small and odd shapes; gradients
  models      the same over every shape of every model; single steps from the same state as on the CPU and in f64;
              the first losses; two runs with the same bits
  pytorch     one training step beside PyTorch's, in f32 and bf16
  memcheck, racecheck, initcheck, synccheck
              compute-sanitizer, which must first find a planted fault, over the kernels' small shapes
  training    `quick` on the GPU from the command line, killed and resumed: the same bits as uninterrupted
  accuracy    ReZero-20 and ResNet-20, ten epochs, f32 and bf16, two seeds each, beside PyTorch's figures
  resnet18    ResNet-18 with ImageNet's stem, ten epochs, two seeds, beside PyTorch in the same run
              (both need CIFAR-10 in --data or ZEROTH_DATA, and --only or --all)

Logs go to OUT/<stage>.log, the table to OUT/table.md and OUT/table.json. The exit code is 0 when nothing failed, 1
when something did, 77 when there is no GPU.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ON_REQUEST = ("accuracy", "resnet18")
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
STAGES = ("machine", "kernels", "models", "pytorch", *SANITIZERS, "training", "accuracy", "resnet18")
CHECKPOINT = Path("checkpoints", "last.safetensors")
NO_DEVICE = 4  # zeroth's exit code
FOUND = 86  # compute-sanitizer's exit code for an error it found, chosen so that nothing else gives it
PYTORCH_ERROR = 17.99  # % after ten epochs, the mean of PyTorch's two seeds; the same for both networks
TOLERANCE = 1.5  # points


class Failure(Exception):
    pass


class Skip(Exception):
    pass


class Runner:
    def __init__(self, options):
        self.options = options
        self.build = (options.build or ROOT / "build" / "cuda").resolve()
        self.out = options.out.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = None

    def program(self, path):
        """A program of the build, which must be there."""
        full = self.build / path
        if not full.is_file():
            raise Failure(f"{full} is missing: build everything, tests included, with CUDA")
        return str(full)

    def run(self, command, check=True, environment=None, timeout=1800):
        """Runs a command into the stage's log; its exit code and output."""
        command = [str(word) for word in command]
        self.log.write(f"$ {' '.join(command)}\n")
        self.log.flush()
        if self.options.dry_run:
            self.check_flags(command)
            return 0, ""
        begin = self.log.tell()
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            cwd=self.out,
            env={**os.environ, **(environment or {})},
            timeout=timeout,
        ).returncode
        output = Path(self.log.name).read_bytes()[begin:].decode(errors="replace")
        self.log.seek(0, os.SEEK_END)
        if check and status != 0:
            last = [line for line in output.splitlines() if line.strip()]
            raise Failure(f"exit status {status}: {last[-1] if last else 'no output'}")
        return status, output

    @staticmethod
    def check_flags(command):
        """Where there is no GPU, a training with good flags gets as far as asking for one."""
        if command[1] != "train" or "--resume" in command or has_gpu():
            return
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode != NO_DEVICE:
            raise Failure(f"exit status {said.returncode}: {said.stderr.strip()}")

    def ctest(self, *arguments):
        _, output = self.run(["ctest", "--test-dir", self.build, "--output-on-failure", *arguments], check=False)
        if self.options.dry_run:
            _, output = "", subprocess.run(
                ["ctest", "--test-dir", self.build, "-N", *map(str, arguments)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            if "Total Tests: 0" in output:
                raise Failure(f"no test answers to {' '.join(map(str, arguments))}")
            return output.strip().splitlines()[-1].strip()
        verdict = [line for line in output.splitlines() if "tests passed" in line]
        if not verdict:
            raise Failure("no test ran")
        skipped = output.count("***Skipped")
        text = verdict[-1].strip() + (f", {skipped} skipped" if skipped else "")
        if ", 0 tests failed" not in verdict[-1]:
            raise Failure(text)
        return text

    # Stages: each returns a note for the table, or raises.

    def machine(self):
        self.run([self.program("apps/zeroth"), "info"])
        _, output = self.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        )
        return output.strip().splitlines()[0] if output.strip() else ""

    def kernels(self):
        return self.ctest("-L", "kernels")

    def models(self):
        return self.ctest("-L", "gpu")

    def pytorch(self):
        return self.ctest("-R", "^pytorch.cuda")

    def sanitizer(self, tool):
        program = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
        if not self.options.dry_run and not Path(program).is_file():
            raise Skip("no compute-sanitizer here")
        sanitize = [program, "--tool", tool, "--error-exitcode", FOUND]
        faults = self.program("tests/gpu/zeroth_planted_faults")
        status, output = self.run([*sanitize, faults, tool], check=False, timeout=300)
        if not self.options.dry_run and status != FOUND:
            if "not supported" in output.lower():
                raise Skip("compute-sanitizer does not support this machine")
            raise Failure(f"the planted fault was not found (exit status {status})")
        # In initcheck, memory that a kernel leaves unwritten on purpose counts only when it is read.
        status, output = self.run(
            [*sanitize, self.program("tests/kernels/zeroth_kernel_tests"), "every * row agrees with the reference"],
            check=False,
            environment={"ZEROTH_TEST_DEVICE": "cuda"},
            timeout=3000,
        )
        if status != 0:
            summary = [line for line in output.splitlines() if "ERROR SUMMARY" in line or "test cases" in line]
            raise Failure(f"exit status {status}: {summary[-1] if summary else 'see the log'}")
        return "planted fault found, kernels clean"

    def training(self):
        zeroth = self.program("apps/zeroth")
        notes = []
        for amp in ("off", "bf16", "fp16"):
            common = ["--device", "cuda", "--amp", amp, "--epochs", "3", "--batch-size", "128", "--data", "generated"]
            whole, broken = self.out / f"whole-{amp}", self.out / f"broken-{amp}"
            for folder in (whole, broken):
                shutil.rmtree(folder, ignore_errors=True)
            begin = time.monotonic()
            self.run([zeroth, "train", *common, "--out", whole])
            seconds = time.monotonic() - begin
            self.run([zeroth, "train", *common, "--out", broken, "--max-steps", "100"])
            self.run([zeroth, "train", "--resume", broken])
            _, text = self.run([zeroth, "eval", whole, "--device", "cuda", "--json"])
            if self.options.dry_run:
                continue
            same = (whole / CHECKPOINT).read_bytes() == (broken / CHECKPOINT).read_bytes()
            if not same:
                raise Failure(f"amp {amp}: a resumed training differs from the uninterrupted one")
            error = json.loads(text[text.index("{"):])["error"]
            if not error < 0.15:
                raise Failure(f"amp {amp}: error {error:.1%} on the generated set after 3 epochs")
            notes.append(f"amp {amp}: error {error:.1%} in {seconds:.0f} s, resumed bits equal")
        return "; ".join(notes)

    def accuracy(self):
        zeroth = self.program("apps/zeroth")
        data = self.options.data or os.environ.get("ZEROTH_DATA")
        if not data:
            raise Skip("no CIFAR-10: give --data or ZEROTH_DATA")
        notes, failures = [], []
        for model in ("rezero-resnet20", "resnet20"):
            for amp in ("off", "bf16"):
                errors = []
                for seed in (0, 1):
                    folder = self.out / f"{model}-{amp}-seed{seed}"
                    shutil.rmtree(folder, ignore_errors=True)
                    self.run(
                        [zeroth, "train", "--recipe", "resnet-short", "--model", model, "--amp", amp, "--seed", seed]
                        + ["--device", "cuda", "--data", data, "--out", folder]
                    )
                    _, text = self.run([zeroth, "eval", folder, "--device", "cuda", "--data", data, "--json"])
                    if not self.options.dry_run:
                        errors.append(100.0 * json.loads(text[text.index("{"):])["error"])
                if self.options.dry_run:
                    continue
                mean = sum(errors) / len(errors)
                notes.append(f"{model} amp {amp}: {mean:.2f} %")
                if abs(mean - PYTORCH_ERROR) > TOLERANCE:
                    failures.append(notes[-1])
        if failures:
            raise Failure(f"not within {TOLERANCE} points of {PYTORCH_ERROR} %: {'; '.join(failures)}")
        return "; ".join(notes)

    def resnet18(self):
        zeroth = self.program("apps/zeroth")
        data = self.options.data or os.environ.get("ZEROTH_DATA")
        if not data:
            raise Skip("no CIFAR-10: give --data or ZEROTH_DATA")
        python = shutil.which("python3")
        if not self.options.dry_run and subprocess.run([python, "-c", "import torch"], check=False).returncode != 0:
            raise Skip("no PyTorch in python3")
        ours, theirs = [], []
        for seed in (0, 1):
            folder = self.out / f"resnet18-seed{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            self.run(
                [zeroth, "train", "--recipe", "resnet-short", "--model", "resnet18", "--seed", seed]
                + ["--device", "cuda", "--data", data, "--out", folder]
            )
            _, text = self.run([zeroth, "eval", folder, "--device", "cuda", "--data", data, "--json"])
            script = ROOT / "benchmarks" / "pytorch" / "short_training.py"
            _, peer = self.run([python, script, "--data", data, "--model", "resnet18", "--seed", seed])
            if not self.options.dry_run:
                ours.append(100.0 * json.loads(text[text.index("{"):])["error"])
                theirs.append(100.0 * json.loads(peer[peer.index("{"):])["error"])
        if self.options.dry_run:
            return ""
        mean, peer_mean = sum(ours) / 2, sum(theirs) / 2
        note = f"error {mean:.2f} %, PyTorch {peer_mean:.2f} %"
        if abs(mean - peer_mean) > TOLERANCE:
            raise Failure(note)
        return note

    def stage(self, name):
        with open(self.out / f"{name}.log", "w", encoding="utf-8") as self.log:
            if name in SANITIZERS:
                return self.sanitizer(name)
            return getattr(self, name)()


def has_gpu():
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU" in listing.stdout


def make_build():
    print("building the preset cuda", flush=True)
    subprocess.run(["cmake", "--preset", "cuda"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", "--preset", "cuda"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def write_table(out, rows):
    (out / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    lines = ["| stage | result | s | |", "|---|---|---|---|"]
    lines += [f"| {row['stage']} | {row['result']} | {row['seconds']:.0f} | {row['note']} |" for row in rows]
    table = "\n".join(lines) + "\n"
    (out / "table.md").write_text(table, encoding="utf-8")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, help="an existing build folder")
    parser.add_argument("--data", help="CIFAR-10 for the stages accuracy and resnet18")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="for logs and the table")
    parser.add_argument("--only", nargs="+", choices=STAGES, help="these stages")
    parser.add_argument("--all", action="store_true", help="those two stages, too")
    parser.add_argument("--dry-run", action="store_true", help="run nothing: check that programs, tests and flags are there")
    options = parser.parse_args()
    if not options.dry_run and not has_gpu():
        print("skipped: no GPU here (nvidia-smi finds none)")
        return 77
    if options.build is None and not options.dry_run:
        make_build()
    runner = Runner(options)
    stages = options.only or [stage for stage in STAGES if stage not in ON_REQUEST or options.all]
    rows = []
    for name in stages:
        begin = time.monotonic()
        try:
            note, result = runner.stage(name), "ok"
        except Skip as reason:
            note, result = str(reason), "skipped"
        except (Failure, subprocess.SubprocessError, OSError, ValueError, KeyError) as reason:
            note, result = str(reason), "FAILED"
        if options.dry_run and result == "ok":
            result = "dry run"
        rows.append({"stage": name, "result": result, "seconds": time.monotonic() - begin, "note": note})
        print(f"{name}: {result}, {rows[-1]['seconds']:.0f} s", flush=True)
        write_table(runner.out, rows)
    print()
    print(write_table(runner.out, rows), end="")
    return int(any(row["result"] == "FAILED" for row in rows))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
