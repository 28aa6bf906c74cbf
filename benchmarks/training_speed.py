#!/usr/bin/env python3
"""Training speed of zeroth beside PyTorch, in turns, so that both meet the same machine.

    benchmarks/training_speed.py ZEROTH [--device cpu|cuda] [--models rezero-resnet20 ...] [--batch-sizes 128 ...]
                                 [--dtypes f32 bf16] [--rounds 5] [--python PYTHON_WITH_PYTORCH] [--out FOLDER]

ZEROTH is the program. Each round runs every contender once, in an order that turns from round to round; each run is a
process of its own. On the CPU both get the same number of threads, passive waiting (OMP_WAIT_POLICY=passive: spinning
threads stall each other where anything else runs) and the same tuned malloc, without which PyTorch gives its memory
back to the system and faults it in again in every step. On a GPU PyTorch runs eagerly, as one CUDA graph, and as
torch.compile in one CUDA graph (max-autotune for networks of up to twenty layers, whose compilation ends in reasonable
time). Prints a Markdown table; --out also keeps each run's numbers as JSON.
"""

import argparse
import ctypes.util
import json
import os
import platform
import re
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


def contenders(options, model):
    """Name -> command."""
    pytorch = [options.python, HERE / "pytorch" / "train_speed.py"]
    amp = {"f32": "off", "bf16": "bf16", "f16": "fp16"}
    commands = {"zeroth": lambda dtype: [options.zeroth, "bench", "train", "--json", "--amp", amp[dtype]]}
    if options.device == "cpu":
        commands["PyTorch"] = lambda dtype: [*pytorch, "--dtype", dtype]
        return commands
    depth = int(re.search(r"\d+", model.replace("resnet18", "18"))[0])
    compiled = [*pytorch, "--fused-optimizer", "--mode", "compile-graph"] + ["--autotune"] * (depth <= 20)
    commands["PyTorch eager"] = lambda dtype: [*pytorch, "--dtype", dtype]
    commands["PyTorch graph"] = lambda dtype: [*pytorch, "--fused-optimizer", "--mode", "graph", "--dtype", dtype]
    commands["PyTorch compile + graph"] = lambda dtype: [*compiled, "--dtype", dtype]
    return commands


def run(command, numbers, environment):
    command = [str(word) for word in command]
    for flag, value in numbers.items():
        command += [flag, str(value)]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if result.returncode != 0:
        raise SystemExit(f"exit status {result.returncode} of {' '.join(command)}")
    return json.loads(result.stdout)


def machine(device):
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()


def row(model, batch_size, dtype, results):
    """A line of the table: images/s of each contender, and zeroth's ratio to each other one."""
    medians = {name: statistics.median(sum((r["windows"] for r in runs), [])) for name, runs in results.items()}
    cells = [model, str(batch_size), dtype, *(f"{rate:.0f}" for rate in medians.values())]
    for name, runs in list(results.items())[1:]:
        each = [a["images_per_second"] / b["images_per_second"] for a, b in zip(results["zeroth"], runs)]
        cells.append(f"{medians['zeroth'] / medians[name]:.2f} ({min(each):.2f} to {max(each):.2f})")
    peaks = [max((r.get("peak_bytes") or 0) for r in runs) for runs in results.values()]
    cells.append(" / ".join(f"{peak / 2**20:.0f}" if peak else "-" for peak in peaks))
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zeroth", type=Path, help="the program")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--models", nargs="+", default=["rezero-resnet20"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[128])
    parser.add_argument("--dtypes", nargs="+", choices=("f32", "bf16", "f16"), default=["f32"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--python", default="/usr/bin/python3", help="an interpreter that has PyTorch")
    parser.add_argument("--out", type=Path, help="a folder for each run's numbers")
    options = parser.parse_args()
    malloc, malloc_name = tuned_malloc() if options.device == "cpu" else ({}, "as it is")
    environment = {**os.environ, **malloc}
    environment.update({"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(options.threads)})
    print(f"{machine(options.device)}, {options.threads} threads, load before the first run {os.getloadavg()[0]:.1f}. "
          f"OMP_WAIT_POLICY=passive; malloc of both: {malloc_name}.")
    print(f"Training images/s: median over {options.rounds} rounds of {options.windows} windows of {options.steps} "
          f"steps. Both gather, flip, crop and normalise inside the step.\n")
    header = None
    for model in options.models:
        for batch_size in options.batch_sizes:
            for dtype in options.dtypes:
                commands = contenders(options, model)
                results = {name: [] for name in commands}
                numbers = {"--model": model, "--batch-size": batch_size, "--device": options.device,
                           "--threads": options.threads, "--steps": options.steps, "--windows": options.windows}
                for turn in range(options.rounds):
                    names = list(commands)
                    names = names[turn % len(names):] + names[:turn % len(names)]
                    for name in names:
                        results[name].append(run(commands[name](dtype), numbers, environment))
                        print(f"round {turn + 1}, {model}, batch {batch_size}, {dtype}, {name}: "
                              f"{results[name][-1]['windows']}", file=sys.stderr)
                if header is None:
                    header = ["model", "batch", "storage", *commands]
                    header += [f"zeroth / {name} (range)" for name in list(commands)[1:]]
                    header.append("peak MiB of tensors, in that order")
                    print("| " + " | ".join(header) + " |")
                    print("|---" * len(header) + "|")
                print(row(model, batch_size, dtype, results), flush=True)
                if options.out:
                    options.out.mkdir(parents=True, exist_ok=True)
                    path = options.out / f"{model}-{batch_size}-{dtype}.json"
                    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
