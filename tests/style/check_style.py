"""Rules that no compiler checks: file lengths, who may include whom, launches without chevrons, test names that
CTest can pass on, no notes to self.

    check_style.py ROOT
"""

import pathlib
import re
import sys

LONGEST_FILE = 500
SUFFIXES = {".h", ".cpp", ".cuh", ".cu", ".py", ".cmake", ".txt", ".sh", ".in"}
FOLDERS = ["kernels", "engine", "models", "data", "apps", "tests", "benchmarks"]
# An arrow runs downwards only: the folders whose headers a folder may include.
MAY_INCLUDE = {
    "kernels": {"kernels"},
    "engine": {"engine", "kernels"},
    "models": {"models", "engine", "kernels"},
    "data": {"data", "kernels"},
    "apps": {"apps", "models", "data", "engine", "kernels"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"(?P<folder>[a-z]+)/', re.MULTILINE)
TEST_NAME = re.compile(r'^(?:TEST_CASE|TEMPLATE_TEST_CASE)\(\s*"((?:[^"\\]|\\.)*)"', re.MULTILINE)
# CMake splits lists of names at ";" unless a bracket is open; Catch takes "-" for an option and "~" for "not".
UNFIT_TEST_NAME = re.compile(r"^[-~]|[\[\];*\\]")
CPLUSPLUS = {".h", ".cpp", ".cuh", ".cu"}
CHEVRONS = "<" * 3
NOTE = re.compile("|".join([r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"]))


def check_file(root, path):
    text = path.read_text()
    name = path.relative_to(root)
    lines = text.count("\n")
    if lines > LONGEST_FILE:
        yield f"{name}: {lines} lines; {LONGEST_FILE} are the limit"
    if NOTE.search(text):
        yield f"{name}: a note to self"
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    if path.suffix not in CPLUSPLUS:
        return
    if CHEVRONS in text:
        yield f"{name}: kernels start with launch(), not with {CHEVRONS}"
    allowed = MAY_INCLUDE.get(name.parts[0])
    for include in INCLUDE.finditer(text):
        if allowed and include["folder"] in {*MAY_INCLUDE, "tests"} - allowed:
            yield f"{name}: {name.parts[0]}/ may not include {include['folder']}/"
    for test in TEST_NAME.findall(text):
        if UNFIT_TEST_NAME.search(test):
            yield f'{name}: CTest cannot pass on the test name "{test}"'
    if path.suffix in {".h", ".cuh"} and "#pragma once" not in text:
        yield f"{name}: a header without #pragma once"


def check(root):
    faults, files = [], 0
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("**/*")):
            if path.is_file() and path.suffix in SUFFIXES and "results" not in path.parts:
                faults += check_file(root, path)
                files += 1
    if files == 0:
        faults.append(f"no sources below {root}")
    return faults, files


def main():
    faults, files = check(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(faults) or f"{files} files in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
