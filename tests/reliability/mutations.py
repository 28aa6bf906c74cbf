"""Plants faults in the engine and the kernels, one at a time, and checks that a test finds each.

usage: mutations.py [--only WORD] [--update] [--build FOLDER] [--jobs N]

Works on a copy of the sources in FOLDER (build/mutations), which it configures once without CUDA; the working tree
stays as it is. A fault is one piece of text that takes another's place: where the text is gone, or is there more than
once, the script fails and says so. For each fault the test program that it names is built and its tests run; they have
to fail, or to hang, which counts as found. --update writes the table of docs/reliability.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time

from planted_faults import FAULTS

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PAGE = os.path.join(ROOT, "docs", "reliability.md")
HEADING = "## Planted faults"
FIRST_LIMIT, LEAST_LIMIT, TIMES_LONGER = 3600, 120, 20  # seconds; a test without a fault sets the limit of those with one


def mutated(source, fault):
    count = source.count(fault.old)
    if count != 1:
        sys.exit(f"{fault.file}: the text of '{fault.what}' is there {count} times, not once; write the fault anew")
    return source.replace(fault.old, fault.new)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Copy:
    """The sources, and a build of them."""

    def __init__(self, folder, jobs):
        # As in the working tree, so that ccache knows what was compiled there.
        self.source, self.build, self.jobs = folder, os.path.join(folder, "build", "cpu"), jobs
        self.environment = {**os.environ, "CCACHE_BASEDIR": self.source, "CCACHE_NOHASHDIR": "1"}
        names = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"], check=True,
                               capture_output=True).stdout.decode().split("\0")
        for name in filter(None, names):
            source, target = os.path.join(ROOT, name), os.path.join(self.source, name)
            if not os.path.isfile(source):
                continue
            with open(source, "rb") as file:
                content = file.read()
            if os.path.exists(target):
                with open(target, "rb") as file:
                    if file.read() == content:
                        continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        subprocess.run(["cmake", "-S", self.source, "-B", self.build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DZEROTH_CUDA=OFF", *launcher], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def path(self, name):
        return os.path.join(self.source, name)

    def make(self, target):
        """What the compiler says where it refuses; else nothing."""
        done = subprocess.run(["nice", "ninja", "-C", self.build, f"-j{self.jobs}", target], env=self.environment,
                              capture_output=True, text=True, check=False)
        return done.stdout[-2000:] if done.returncode else ""

    def test(self, fault, limit):
        """The first test that failed, "it hangs", or nothing."""
        program = next(os.path.join(folder, fault.target) for folder, _, files in os.walk(self.build)
                       if fault.target in files)
        try:
            done = subprocess.run(["nice", program, fault.tests, "--abort"], cwd=self.build, capture_output=True,
                                  text=True, timeout=limit, check=False, env=self.environment)
        except subprocess.TimeoutExpired:
            return "it hangs"
        if done.returncode == 0:
            return ""
        names = re.search(r"-{20,}\n(.+?)\n-{20,}", done.stdout, re.DOTALL)
        return " ".join(names[1].split()) if names else f"it ends with {done.returncode}: {done.stderr[-200:]}"


def table(rows):
    text = (f"{HEADING}\n\nEach was planted alone by `tests/reliability/mutations.py`, which builds the tests named and has "
            "to see them fail.\n\n| fault | in | found by |\n|---|---|---|\n")
    for fault, found in rows:
        text += f"| {fault.what} | `{fault.file}` | {found or '**nothing**'} |\n"
    return text


def put_into_page(text):
    page = read(PAGE) if os.path.exists(PAGE) else "# Reliability\n"
    before, _, after = page.partition(HEADING)
    rest = re.search(r"^## ", after, re.MULTILINE)
    write(PAGE, before.rstrip("\n") + "\n\n" + text + ("\n" + after[rest.start():] if rest else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "mutations"))
    parser.add_argument("--jobs", type=int, default=2)
    said = parser.parse_args()
    faults = [fault for fault in FAULTS if said.only in fault.what or said.only in fault.file]
    for fault in faults:
        mutated(read(os.path.join(ROOT, fault.file)), fault)
    copy, rows = Copy(said.build, said.jobs), []
    for target in sorted({fault.target for fault in faults}):
        if trouble := copy.make(target):
            sys.exit(f"{target} does not build without a fault:\n{trouble}")
    limits = {}
    for fault in faults:
        if (fault.target, fault.tests) in limits:
            continue
        began = time.monotonic()
        if failed := copy.test(fault, FIRST_LIMIT):
            sys.exit(f"{fault.target} {fault.tests} fails without a fault: {failed}")
        limits[fault.target, fault.tests] = max(LEAST_LIMIT, TIMES_LONGER * (time.monotonic() - began))
    for fault in faults:
        began, path = time.monotonic(), copy.path(fault.file)
        whole = read(path)
        try:
            write(path, mutated(whole, fault))
            trouble = copy.make(fault.target)
            found = f"the compiler: {trouble}" if trouble else copy.test(fault, limits[fault.target, fault.tests])
        finally:
            write(path, whole)
        rows.append((fault, found))
        print(f"{'found' if found else 'NOT FOUND'}: {fault.what} ({fault.file}): {found} "
              f"[{time.monotonic() - began:.0f} s]", flush=True)
    if said.update and not said.only:
        put_into_page(table(rows))
    missed = sum(not found or found.startswith("the compiler") for _, found in rows)
    print(f"{len(rows)} faults, {missed} not found")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
