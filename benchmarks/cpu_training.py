#!/usr/bin/python3
"""Training speed on the CPU, zeroth beside PyTorch, in turns, so that both meet the same machine.

    benchmarks/cpu_training.py BUILD_FOLDER [--models rezero-resnet20 ...] [--rounds 5]

Each round runs every contender once, in an order that turns from round to round; each run is a process of its
own. Both get the same number of threads, passive waiting (OMP_WAIT_POLICY=passive: spinning threads stall
each other where anything else runs) and the same tuned malloc, without which PyTorch gives its memory back to
the system and faults it in again in every step. Prints a Markdown table.
"""

import argparse
import ctypes.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def tuned_malloc():
    """Environment of a malloc that keeps freed memory, and its description."""
    for library in ("jemalloc", "tcmalloc"):
        if found := ctypes.util.find_library(library):
            return {"LD_PRELOAD": found}, library
    settings = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(256 << 20)}
    return settings, "glibc, " + " ".join(f"{name}={value}" for name, value in settings.items())


def contenders(options):
    """Name -> command."""
    pytorch = [options.python, HERE / "pytorch" / "train_speed.py", "--input"]
    return {
        "zeroth": [options.build / "benchmarks" / "zeroth_train_speed", "--input", "full"],
        "PyTorch": [*pytorch, "full"],
        "PyTorch, batch ready": [*pytorch, "ready"],
    }


def run(command, model, options, environment):
    numbers = {"--batch-size": options.batch_size, "--threads": options.threads}
    numbers.update({"--steps": options.steps, "--windows": options.windows})
    command = [*command, "--model", model]
    for flag, value in numbers.items():
        command += [flag, value]
    result = subprocess.run([*map(str, command)], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path, help="build folder, configured with ZEROTH_BUILD_BENCHMARKS=ON")
    parser.add_argument("--models", nargs="+", default=["rezero-resnet20"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--python", default="/usr/bin/python3", help="an interpreter that has PyTorch")
    options = parser.parse_args()
    malloc, malloc_name = tuned_malloc()
    environment = {**os.environ, **malloc}
    environment.update({"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(options.threads)})
    commands = contenders(options)
    print(f"{processor()}, {options.threads} threads, batch {options.batch_size}, f32, load before the first "
          f"run {os.getloadavg()[0]:.1f}. OMP_WAIT_POLICY=passive; malloc of both: {malloc_name}.")
    print(f"Training images/s: median over {options.rounds} rounds of {options.windows} windows of "
          f"{options.steps} steps. zeroth and PyTorch gather, flip, crop and normalise inside the step; "
          f"'batch ready' does not.\n")
    print("| model | " + " | ".join(commands) + " | zeroth / PyTorch (range over rounds) | / batch ready |")
    print("|---" * (len(commands) + 3) + "|")
    for model in options.models:
        rates = {name: [] for name in commands}
        for turn in range(options.rounds):
            names = list(commands)
            names = names[turn % len(names):] + names[:turn % len(names)]
            for name in names:
                rates[name].append(run(commands[name], model, options, environment)["windows"])
                print(f"round {turn + 1}, {model}, {name}: {rates[name][-1]}", file=sys.stderr)
        medians = {name: statistics.median(sum(runs, [])) for name, runs in rates.items()}
        pairs = zip(rates["zeroth"], rates["PyTorch"])
        each = [statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs]
        print(f"| {model} | " + " | ".join(f"{medians[name]:.0f}" for name in commands) +
              f" | {medians['zeroth'] / medians['PyTorch']:.2f} ({min(each):.2f} to {max(each):.2f})"
              f" | {medians['zeroth'] / medians['PyTorch, batch ready']:.2f} |")


if __name__ == "__main__":
    main()
