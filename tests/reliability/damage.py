"""Flipped bits and truncations: every damaged checkpoint and data file is refused, by name, with exit code 3.

Half of a checkpoint's flips fall into its header, half anywhere. It is also cut at every 64th of its length, and the
files of a generated set, their list of checksums included, likewise.
"""

import os
import shutil
import struct

from rig import Rig, check

DAMAGED = ("is damaged", "is no intact safetensors file", "is no checkpoint of zeroth")
CHANGED = ("is damaged", "lacks ")


class Count:
    def __init__(self):
        self.tried = self.refused = 0
        self.words = {}

    def judge(self, done, path, words):
        """Refused: exit code 3, nothing on stdout, one line that names the file and says what is wrong."""
        self.tried += 1
        said = next((word for word in words if word in done.stderr), None)
        if done.returncode == 3 and not done.stdout and done.stderr.count("\n") == 1 and said and path in done.stderr:
            self.refused += 1
            self.words[said] = self.words.get(said, 0) + 1
        else:
            print(f"not refused: {done.returncode} {done.stdout}{done.stderr}")

    def row(self, what):
        said = ", ".join(f"{count} \"{word.strip()}\"" for word, count in sorted(self.words.items()))
        print(f"| {what} | {self.tried} | {self.refused} | {said} |", flush=True)
        check(self.tried == self.refused, what)


def flipped(whole, bit):
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def checkpoints(rig, flips, parts):
    data = rig.generate("data", 40, 20)
    rig.run("train", "--model", "rezero-resnet8", "--batch-size", "10", "--threads", "1", "--data", data, "--epochs", "1",
            "--out", rig.path("run"))
    path = rig.path("run", "checkpoints", "last.safetensors")
    whole = read(path)
    copy = rig.path("copy.safetensors")
    write(copy, whole)
    rig.run("eval", copy, "--quiet")  # what is whole is read
    header = 8 * (8 + struct.unpack("<Q", whole[:8])[0])
    count = Count()
    for index in range(flips):
        write(copy, flipped(whole, rig.random.randrange(header if index % 2 else 8 * len(whole))))
        count.judge(rig.run("eval", copy, "--quiet", code=None), copy, DAMAGED)
    count.row("checkpoint, one bit flipped")
    count = Count()
    for part in range(64 if parts else 4):
        write(copy, whole[:len(whole) * part // 64])
        count.judge(rig.run("train", "--resume", copy, "--out", rig.path("none"), code=None), copy, DAMAGED)
    count.row("checkpoint, cut at every 64th")


def data_files(rig, flips, parts):
    made = rig.generate("made", 100, 50)
    rig.run("data", "verify", made)
    names = sorted(os.listdir(made))
    count = Count()
    folder = rig.path("damaged")
    shutil.copytree(made, folder)
    sizes = [os.path.getsize(os.path.join(made, name)) for name in names]
    for index in range(flips):
        # Every file in turn, so that the small ones, which say most, are not left out.
        name = names[index % len(names)] if index % 2 else rig.random.choices(names, sizes)[0]
        path = os.path.join(folder, name)
        whole = read(path)
        write(path, flipped(whole, rig.random.randrange(8 * len(whole))))
        count.judge(rig.run("data", "verify", folder, code=None), folder, CHANGED)
        write(path, whole)
    count.row("data files, one bit flipped")
    count = Count()
    for name in names:
        path = os.path.join(folder, name)
        whole = read(path)
        cuts = {len(whole) * part // 64 for part in range(64)} if parts else {0, len(whole) - 1}
        for length in sorted(cuts):
            write(path, whole[:length])
            count.judge(rig.run("data", "verify", folder, code=None), folder, CHANGED)
        os.remove(path)
        if name != "zeroth.sha256":
            count.judge(rig.run("data", "verify", folder, code=None), folder, CHANGED)
        write(path, whole)
    count.row("data files, cut at every 64th, or removed")
    rig.run("data", "verify", folder)


def main():
    with Rig(__doc__) as rig:
        print("| damaged | tried | refused | by the words |\n|---|---|---|---|")
        flips = 60 if rig.quick else 2000
        checkpoints(rig, flips, not rig.quick)
        data_files(rig, flips, not rig.quick)


if __name__ == "__main__":
    main()
