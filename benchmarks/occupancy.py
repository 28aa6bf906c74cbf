#!/usr/bin/env python3
"""Registers, shared memory, spills and occupancy of the hand-written kernels, as nvcc and arithmetic give them.

    python3 benchmarks/occupancy.py [--nvcc PROGRAM] [OPERATION ...]      prints a table for each operation
    python3 benchmarks/occupancy.py --update PAGE ...                     rewrites the tables in Markdown pages
    python3 benchmarks/occupancy.py --check PAGE ...                      fails where a page's table is another one

No GPU is needed and nothing is run. A page holds a table between the lines

    <!-- occupancy: OPERATION PATTERN -->
    <!-- end of occupancy -->

OPERATION stands for kernels/OPERATION/native.cu, OPERATION/FILE for another file of its folder. PATTERN, a regular
expression, chooses the kernels; without one all are shown. Shared memory is what a kernel declares; what a launch adds
(dynamic shared memory) is not counted. Figures depend on the compiler: a table names its release, and --check passes
over tables of another one. Exit code 77: there is no nvcc, or nothing that this one can check.

Warps an SM holds at once: the smallest of four limits of NVIDIA's occupancy calculator, in whole blocks: 64 warps, 32
blocks, registers (65536, four quarters, handed out to warps in units of 256) and shared memory (164 KB on compute
capability 8.0, 228 KB on 9.0, in units of 128 bytes, 1 KB a block taken by the system).
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTHING_TO_DO = 77
SHARED = {"sm_80": 164 << 10, "sm_90a": 228 << 10}
MARKER = re.compile(
    r"^<!-- occupancy: ([\w/]+)(?: (.+?))? -->\n(.*?)^<!-- end of occupancy -->$", re.MULTILINE | re.DOTALL
)


def round_up(value, unit):
    return -(-value // unit) * unit


def occupancy(arch, threads, registers, shared):
    """Warps an SM holds at once, and what limits them."""
    warps = round_up(threads, 32) // 32
    limits = {"warps": 64 // warps, "blocks": 32}
    limits["registers"] = 65536 // 4 // round_up(max(registers, 1) * 32, 256) * 4 // warps
    limits["shared memory"] = SHARED[arch] // round_up(shared + 1024, 128)
    blocks = min(limits.values())
    return blocks * warps, next(name for name, value in limits.items() if value == blocks)


def short_names(mangled):
    """{mangled: a kernel's name without namespaces, parameters and result}"""
    done = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True)
    return {name: short_name(text) for name, text in zip(mangled, done.stdout.splitlines())}


def short_name(text):
    text = re.sub(r"zeroth::|cuda_native::|\(anonymous namespace\)::|_GLOBAL__N__\w+::", "", text)
    text = re.sub(r"\((?:int|bool|\w*Form)\)", "", text)  # casts of template arguments
    depth = 0
    for at, character in enumerate(text):  # the parameters begin at the first parenthesis outside < >
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            text = text[:at]
            break
    return re.sub(r"^void ", "", text).replace(" >", ">")


def compile_operation(nvcc, operation, arch):
    """{mangled name: (threads of __launch_bounds__ or None, registers, shared bytes, spilled bytes)}"""
    source = ROOT / "kernels" / (f"{operation}.cu" if "/" in operation else f"{operation}/native.cu")
    if not source.is_file():
        sys.exit(f"occupancy.py: there is no {source.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as folder:
        ptx = pathlib.Path(folder) / "native.ptx"
        common = [nvcc, f"-arch={arch}", "-O3"]
        run([*common, f"-I{ROOT}", "-DNDEBUG", "-std=c++20", "-x", "cu", "-ptx", source, "-o", ptx])
        assembled = run([*common, "-cubin", "-Xptxas", "-v", ptx, "-o", pathlib.Path(folder) / "native.cubin"])
        bounds = {}
        for entry in re.split(r"\.entry\s+", ptx.read_text())[1:]:
            found = re.search(r"\.maxntid (\d+), (\d+), (\d+)", entry[: entry.index("{")])
            bounds[re.match(r"\w+", entry).group()] = (
                int(found[1]) * int(found[2]) * int(found[3]) if found else None
            )
    kernels = {}
    for text in re.split(r"Compiling entry function '", assembled)[1:]:
        name = text[: text.index("'")]
        spilled = sum(map(int, re.findall(r"(\d+) bytes spill", text)))
        shared = re.search(r"(\d+) bytes smem", text)
        registers = int(re.search(r"Used (\d+) registers", text)[1])
        kernels[name] = (bounds[name], registers, int(shared[1]) if shared else 0, spilled)
    return kernels


def run(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"occupancy.py: {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def measure(nvcc, operation):
    """[(name, threads, {arch: (registers, shared, spilled, warps, limit)})], by name."""
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(SHARED, pool.map(lambda arch: compile_operation(nvcc, operation, arch), SHARED)))
    rows = {}
    for arch, kernels in found.items():
        names = short_names(list(kernels))
        for mangled, (threads, registers, shared, spilled) in kernels.items():
            name = names[mangled]
            if threads is None:
                sys.exit(f"occupancy.py: {operation}: {name} has no __launch_bounds__, which tell its block")
            figures = (registers, shared, spilled, *occupancy(arch, threads, registers, shared))
            rows.setdefault((name, threads), {})[arch] = figures
    return sorted((name, threads, figures) for (name, threads), figures in rows.items())


def pair(a, b):
    return str(a) if a == b else f"{a} / {b}"


def table(rows, pattern, release):
    lines = [
        f"From nvcc {release}; where two figures differ: sm_80 / sm_90a.",
        "",
        "| kernel | threads | registers | shared bytes | spilled bytes | warps an SM | limited by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, threads, figures in rows:
        if not pattern or re.search(pattern, name):
            registers, shared, spilled, warps, limit = map(pair, figures["sm_80"], figures["sm_90a"])
            lines.append(f"| `{name}` | {threads} | {registers} | {shared} | {spilled} | {warps} | {limit} |")
    if len(lines) == 4:
        sys.exit(f"occupancy.py: no kernel matches '{pattern}'")
    return "\n".join(lines) + "\n"


def revised(text, measured, release, only_release):
    """The page with its tables made anew; how many there are."""
    made = 0

    def replace(match):
        nonlocal made
        if only_release and f"From nvcc {release};" not in match[3]:
            return match[0]
        made += 1
        opening = match[0].split("\n", 1)[0]
        return f"{opening}\n{table(measured(match[1]), match[2], release)}<!-- end of occupancy -->"

    return MARKER.sub(replace, text), made


def find_nvcc(wanted):
    candidates = [wanted] if wanted else ["nvcc", os.environ.get("CUDA_HOME", "/usr/local/cuda") + "/bin/nvcc"]
    return next(filter(None, map(shutil.which, candidates)), None)


def main():
    parser = argparse.ArgumentParser(description="Registers, spills and occupancy of the hand-written kernels.")
    parser.add_argument("names", nargs="*", metavar="OPERATION|PAGE")
    parser.add_argument("--update", action="store_true", help="rewrite the tables in the pages")
    parser.add_argument("--check", action="store_true", help="fail where a table in a page is another one")
    parser.add_argument("--nvcc", help="the compiler (default: from PATH, CUDA_HOME or /usr/local/cuda)")
    options = parser.parse_args()
    nvcc = find_nvcc(options.nvcc)
    if nvcc is None:
        print("occupancy.py: no nvcc here: nothing compiled, nothing checked")
        return NOTHING_TO_DO
    release = re.search(r"release ([\d.]+)", run([nvcc, "--version"]))[1]
    cache = {}

    def measured(operation):
        if operation not in cache:
            cache[operation] = measure(nvcc, operation)
        return cache[operation]

    if not options.update and not options.check:
        for operation in options.names or sorted(p.parent.name for p in ROOT.glob("kernels/*/native.cu")):
            print(f"{operation}\n\n{table(measured(operation), None, release)}", flush=True)
        return 0
    status, tables = 0, 0
    for name in options.names:
        page = pathlib.Path(name)
        text = page.read_text()
        new, made = revised(text, measured, release, only_release=options.check)
        tables += made
        if new != text and options.check:
            print(f"{page}: not what nvcc {release} gives: python3 benchmarks/occupancy.py --update {page}")
            status = 1
        elif new != text:
            page.write_text(new)
    if options.check and tables == 0:
        print(f"occupancy.py: no table here is from nvcc {release}: nothing checked")
        return NOTHING_TO_DO
    return status


if __name__ == "__main__":
    sys.exit(main())
