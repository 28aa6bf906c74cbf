"""Holds README.md and docs/ against the tree: every excerpt occurs in the file it names, every relative link
leads somewhere, every command of README exists.

    check_docs.py ROOT [PROGRAM]

An excerpt is a fenced block right after a line `<!-- file: path -->`. C++ blocks without that line must follow
`<!-- sketch -->`. With PROGRAM, the zeroth program, commands and flags that README shows are looked up in its
--help.
"""

import json
import pathlib
import re
import shlex
import subprocess
import sys

FENCE = re.compile(r"^```(\w*)\s*$")
MARKER = re.compile(r"^<!--\s*(file:\s*(?P<path>\S+)|sketch)\s*-->\s*$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(text):
    """Yields (line number, language, marker, text) of every fenced block."""
    marker, language, start, collected = None, None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if language is None and fence:
            language, start, collected = fence.group(1), number, []
        elif language is not None and line.rstrip() == "```":
            yield start, language, marker, "\n".join(collected) + "\n"
            marker, language = None, None
        elif language is not None:
            collected.append(line)
        elif line.strip():
            marker = MARKER.match(line)
    if language is not None:
        yield start, "unclosed", None, ""


def prose(text):
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```\s*$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """Names of a page's headings, as GitHub and most renderers form them."""
    headings = re.findall(r"^#+\s+(.*?)\s*$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_excerpts(root, page, text):
    for line, language, marker, body in blocks(text):
        where = f"{page.relative_to(root)}:{line}"
        if language == "unclosed":
            yield f"{where}: the block is never closed"
        elif marker is None and language in ("cpp", "cuda", "c++"):
            yield f"{where}: C++ without <!-- file: path --> or <!-- sketch --> before it"
        elif marker is not None and marker.group("path"):
            source = root / marker.group("path")
            if not source.is_file():
                yield f"{where}: {marker.group('path')} does not exist"
            elif body not in source.read_text():
                yield f"{where}: the excerpt does not occur in {marker.group('path')}"


def check_links(root, page, text):
    for link in LINK.findall(prose(text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(root)}: the link {link} leads nowhere"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{page.relative_to(root)}: no heading for the link {link}"


def check_paths(root, page, text):
    """Inline code that looks like a path in the tree is one."""
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if re.fullmatch(r"(kernels|engine|models|data|apps|tests|benchmarks|docs)/[\w./-]*", code):
            if not (root / code).exists():
                yield f"{page.relative_to(root)}: {code} does not exist"


def help_of(program, command, cache={}):
    if command not in cache:
        result = subprocess.run([program, *command, "--help"], capture_output=True, text=True)
        cache[command] = result.stdout + result.stderr if result.returncode == 0 else None
    return cache[command]


def check_program_call(where, words, program):
    """A line of the form: zeroth COMMAND [SUBCOMMAND] [--flag ...]."""
    command = []
    for word in words[1:]:
        if word.startswith("-") or len(command) == 2 or not re.fullmatch(r"[a-z-]+", word):
            break
        if help_of(program, tuple(command + [word])) is None:
            break
        command.append(word)
    if len(words) > 1 and not words[1].startswith("-") and not command:
        yield f"{where}: zeroth has no command {words[1]}"
        return
    text = help_of(program, tuple(command))
    for word in words[1:]:
        flag = word.split("=")[0]
        if word.startswith("--") and not re.search(re.escape(flag) + r"(?![\w-])", text):
            yield f"{where}: `zeroth {' '.join(command)}` has no {flag}"


def check_commands(root, page, text, program):
    presets = json.loads((root / "CMakePresets.json").read_text())
    names = {preset["name"] for kind, group in presets.items() if kind.endswith("Presets") for preset in group}
    for line, language, _, body in blocks(text):
        if language not in ("sh", "bash"):
            continue
        for offset, command in enumerate(body.splitlines(), 1):
            where = f"{page.relative_to(root)}:{line + offset}"
            words = shlex.split(command, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if not words:
                continue
            if words[0] in ("sh", "bash") and not (root / words[1]).is_file():
                yield f"{where}: {words[1]} does not exist"
            for flag, value in zip(words, words[1:]):
                if flag == "--preset" and value not in names:
                    yield f"{where}: there is no preset {value}"
            if program and pathlib.PurePath(words[0]).name == "zeroth":
                yield from check_program_call(where, words, program)


def check(root, program=None):
    readme = root / "README.md"
    faults = []
    for page in [readme, *sorted((root / "docs").glob("**/*.md"))]:
        text = page.read_text()
        faults += check_excerpts(root, page, text)
        faults += check_links(root, page, text)
        faults += check_paths(root, page, text)
        if page == readme:
            faults += check_commands(root, page, text, program)
    return faults


def main():
    faults = check(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else None)
    print("\n".join(faults) or "README.md and docs/ agree with the tree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
