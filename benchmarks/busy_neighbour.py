#!/usr/bin/env python3
"""How much a busy process beside it stalls single training steps on the CPU.

    benchmarks/busy_neighbour.py ZEROTH [--steps 200] [--neighbours 1] [--threads N]

Times steps one by one, first alone and then beside processes that spin, and prints median and slowest of both.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
from pathlib import Path


def spin():
    while True:
        pass


def step_times(options):
    """Milliseconds of each step."""
    command = [options.zeroth, "bench", "train", "--json", "--device", "cpu", "--model", options.model]
    command += ["--threads", options.threads, "--steps", 1, "--windows", options.steps]
    command = [str(word) for word in command]
    done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return [1e3 * done["batch_size"] / rate for rate in done["windows"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zeroth", type=Path)
    parser.add_argument("--model", default="rezero-resnet20")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    print("| beside | median ms | slowest ms | slowest / median |\n|---|---|---|---|")
    for neighbours in (0, options.neighbours):
        processes = [multiprocessing.Process(target=spin, daemon=True) for _ in range(neighbours)]
        for process in processes:
            process.start()
        times = step_times(options)
        for process in processes:
            process.terminate()
        median, slowest = statistics.median(times), max(times)
        name = f"{neighbours} busy process{'es' if neighbours > 1 else ''}" if neighbours else "nothing"
        print(f"| {name} | {median:.1f} | {slowest:.1f} | {slowest / median:.2f} |", flush=True)


if __name__ == "__main__":
    main()
