"""Gives zeroth bad input of every kind and holds what it prints, and its exit code, against docs/bad-inputs.md.

usage: bad_inputs.py ZEROTH [--update] [--only WORD]

--update writes the page anew: read every line of the difference as a user would (what, where, how to mend). A case
whose message depends on the machine compares its exit code only, and the page keeps what it has.
"""

import argparse
import difflib
import gzip
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

import bad_input_cases as cases

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "bad-inputs.md")
HEAD = """# Bad input

What zeroth prints for input that is wrong, and its exit code: 1 the machine failed, 2 usage, 3 data or checkpoint, 4 no
such device, 6 diverged or target missed. `tests/reliability/bad_inputs.py` makes each of these and fails when a line
changes; `--update` writes this page. `tiny` is a generated data set of 40 pictures, `run` a run of rezero-resnet8 on
it, and `...` stands for `--model rezero-resnet8 --data tiny --batch-size 10`; what is damaged was first a whole copy.
"""


class Workplace:
    """A scratch folder with a data set, a run, and copies of them to damage."""

    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="zeroth-bad-"))
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("ZEROTH_", "OMP_", "XDG_"))}
        self.environment = {**keep, "HOME": self.path("home"), "NO_COLOR": "1", "LC_ALL": "C",
                            "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": ""}
        os.mkdir(self.path("home"))
        self.must("data", "generate", "generated", "--out", "tiny", "--train", "40", "--test", "20")
        self.must(*cases.TRAIN, "--max-steps", "1", "--out", "run", "--quiet")

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def run(self, arguments, environment=None, limits=None, stdin=None):
        def limit():
            for kind, size in (limits or {}).items():
                resource.setrlimit(getattr(resource, kind), (size, size))
        return subprocess.run([self.program, *arguments], cwd=self.folder, env={**self.environment, **(environment or {})},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=300,
                              preexec_fn=limit, check=False)

    def must(self, *arguments):
        done = self.run(arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"

    # What cases are set up with.
    def copy(self, source, target):
        (shutil.copytree if os.path.isdir(self.path(source)) else shutil.copy)(self.path(source), self.path(target))
        return self.path(target)

    def write(self, name, content=b""):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return self.path(name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def cut(self, name, size):
        os.truncate(self.path(name), size)

    def flip(self, name, place):
        data = bytearray(self.read(name))
        data[place] ^= 1
        self.write(name, bytes(data))

    def safetensors(self, name, header, data=b""):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.write(name, struct.pack("<Q", len(text)) + text + data)

    def archive(self, name, add):
        with tarfile.open(self.path(name), "w:gz") as tar:
            add(tar)

    def gzip(self, name, content):
        self.write(name, gzip.compress(content, mtime=0))


def words(command):
    text = " ".join(word if re.fullmatch(r"[\w./=:,+@%-]+", word) else "'" + word + "'" for word in command)
    return text.replace(" ".join(cases.TRAIN[1:]), "...")


def told(place, done):
    """What was printed, with what changes from one run or machine to the next taken out."""
    text = (done.stdout + done.stderr).decode(errors="backslashreplace").rstrip("\n")
    text = text.replace(place.folder + "/", "").replace(place.folder, ".")
    text = re.sub(r"\.tmp-\d+", ".tmp-N", text)
    text = re.sub(r"after \d+ ms", "after N ms", text)
    return text


def run_cases(place, only):
    """(group, what, command, printed, exit code, whether the text counts), in order; and what is wrong."""
    rows, faults = [], []
    for group, members in cases.groups(place):
        for case in members:
            if only and only not in case.what and only not in group:
                continue
            if case.setup:
                case.setup(place)
            done = place.run(case.command, case.environment, case.limits)
            printed = told(place, done)
            rows.append((group, case, printed, done.returncode))
            name = f"{group}: {case.what}: zeroth {words(case.command)}"
            if done.returncode != case.code:
                faults.append(f"{name}\n  exit code {done.returncode} instead of {case.code}: {printed}")
            elif case.one_line and (printed.count("\n") > 0 or not printed.startswith("zeroth: ")):
                faults.append(f"{name}\n  not one line that begins with 'zeroth: ': {printed}")
    return rows, faults


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def page_of(rows, committed):
    """The page; where the machine decides on a text, the committed one stays."""
    kept = {}
    for line in committed.splitlines():
        parts = re.split(r"(?<!\\) \| ", line.strip("| "))
        if line.startswith("| ") and len(parts) == 4:
            kept[(parts[0], parts[1])] = parts[2]
    text, last = HEAD, None
    for group, case, printed, code in rows:
        if group != last:
            text += f"\n## {group}\n\n| what is wrong | `zeroth` ... | what it prints | code |\n|---|---|---|---|\n"
            last = group
        command = "`" + cell(case.said or words(case.command)) + "`"
        message = cell(printed)
        if case.machine:
            message = kept.get((case.what, command), message)
        text += f"| {case.what} | {command} | {message} | {code} |\n"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--only", help="only cases whose name or group contains this; the page is not compared")
    said = parser.parse_args()
    place = Workplace(said.program)
    try:
        rows, faults = run_cases(place, said.only)
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)
    committed = ""
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            committed = file.read()
    page = page_of(rows, committed)
    for fault in faults:
        print(fault)
    if said.only:
        print(page)
        return bool(faults)
    if said.update:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(page)
    elif page != committed:
        sys.stdout.writelines(difflib.unified_diff(committed.splitlines(True), page.splitlines(True), "docs/bad-inputs.md",
                                                   "what zeroth prints now"))
        faults.append("the page differs")
    print(f"{len(rows)} bad inputs, {len(faults)} faults")
    return bool(faults) or len(rows) < 80


if __name__ == "__main__":
    sys.exit(main())
