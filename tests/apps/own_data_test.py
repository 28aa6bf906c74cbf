"""Trains on data of a user's own as a person does: folders of pictures, files in MNIST's and in SVHN's layout.

usage: own_data_test.py ZEROTH [unittest arguments]
"""

import gzip
import json
import os
import signal
import struct
import subprocess
import unittest
import zlib

from workplace import Workplace, ZEROTH

SMALL = ["--model", "rezero-resnet8", "--batch-size", "8", "--threads", "1", "--quiet"]


def write_png(path, side, pixel):
    """An RGB file, pixel(x, y) being its three bytes."""
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(side)) for y in range(side))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def write_pictures(folder, count):
    """Two classes: stripes that lie and stripes that stand."""
    for index in range(count):
        write_png(os.path.join(folder, "lying stripes", f"{index}.png"), 40 + index,
                  lambda x, y, i=index: [((y + i) // 5 % 2) * 200, 30, 90])
        write_png(os.path.join(folder, "standing", f"{index}.png"), 40 + index,
                  lambda x, y, i=index: [((x + i) // 5 % 2) * 200, 30, 90])


class Folders(Workplace):
    def test_one_command_trains(self):
        write_pictures(self.path("halves", "train"), 16)
        write_pictures(self.path("halves", "test"), 4)
        done = self.run_program("train", *SMALL, "--data", "halves", "--epochs", "6", "--augment", "crop", "--out", "stripes")
        self.assertRegex(done.stdout, r"^test error 0\.00 % of 8 pictures, loss \d\.\d+, pictures, after 24 steps: stripes")
        with open(self.path("stripes", "config.toml"), encoding="utf-8") as file:
            config = file.read()
        self.assertRegex(config, r'normalize = "0\.\d+,0\.\d+,0\.\d+/0\.\d+,[\d.]+,[\d.]+"')
        shown = json.loads(self.run_program("eval", "stripes", "--json", "--quiet").stdout)
        self.assertEqual(shown["class_accuracy"], {"lying stripes": 1.0, "standing": 1.0})
        self.refused("train", *SMALL, "--data", "halves", "--test-share", "0.5", words=["--test-share has no effect"])

    def test_one_folder_is_split_alike_ever_after(self):
        write_pictures(self.path("one"), 12)
        flags = ["--test-share", "0.25", "--picture-size", "24"]
        self.run_program("train", *SMALL, "--data", "one", *flags, "--max-steps", "1", "--out", "long")
        shown = json.loads(self.run_program("eval", "long", "--json", "--quiet").stdout)
        self.assertEqual(shown["pictures"], 6)
        self.run_program("train", "--resume", "long", "--max-steps", "4", "--quiet")
        self.run_program("train", *SMALL, "--data", "one", *flags, "--max-steps", "4", "--out", "whole")
        self.assertEqual(self.digest("long", "checkpoints", "last.safetensors"),
                         self.digest("whole", "checkpoints", "last.safetensors"))
        # Another picture makes another set.
        write_png(self.path("one", "standing", "a.png"), 9, lambda x, y: [1, 2, 3])
        self.refused("train", "--resume", "whole", "--max-steps", "5", code=3, words=["other pictures"])

    def test_what_is_wrong_is_said_in_one_line(self):
        write_pictures(self.path("bad"), 3)
        with open(self.path("bad", "standing", "1.png"), "r+b") as file:
            file.truncate(60)
        self.refused("train", "--data", "bad", code=3, words=["1.png is truncated"])
        self.refused("data", "verify", "bad", code=3, words=["1.png is truncated"])
        os.remove(self.path("bad", "standing", "1.png"))
        with open(self.path("bad", "standing", "about.txt"), "w", encoding="utf-8") as file:
            file.write("about")
        done = self.run_program("data", "verify", "bad")
        self.assertIn("passed over 1 entry", done.stderr)
        self.assertIn("2 of a class", done.stdout.replace("to 2 of a class", "2 of a class"))
        self.refused("train", "--data", "bad", "--picture-size", "4", words=["--picture-size"])

    def test_a_decoder_that_dies_costs_one_line(self):
        write_png(self.path("large", "a", "0.png"), 300, lambda x, y: [x % 256, y % 256, 7])
        for index in range(1, 200):
            for name in "ab":
                os.makedirs(self.path("large", name), exist_ok=True)
                os.link(self.path("large", "a", "0.png"), self.path("large", name, f"{index}.png"))
        program = subprocess.Popen([ZEROTH, "data", "verify", "large"], cwd=self.scratch, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env={**self.environment, "OMP_WAIT_POLICY": "passive"})
        decoder = None
        while decoder is None and program.poll() is None:
            with open(f"/proc/{program.pid}/task/{program.pid}/children", encoding="ascii") as file:
                decoder = next(iter(file.read().split()), None)
        self.assertIsNotNone(decoder, "no child process was seen")
        os.kill(int(decoder), signal.SIGKILL)
        out, errors = program.communicate(timeout=500)
        self.assertEqual((program.returncode, out), (3, ""), errors)
        self.assertRegex(errors, r"^zeroth: large/[ab]/\d+\.png cannot be decoded: the decoder ended with signal 9 "
                                 r"\(Killed\); repair it or remove it\n$")


def write_idx(folder, half, count, classes):
    os.makedirs(folder, exist_ok=True)
    pixels = b"".join(bytes((x if label % classes else y) // 4 % 2 * 220 for y in range(28) for x in range(28))
                      for label in range(count))
    with gzip.open(os.path.join(folder, f"{half}-images-idx3-ubyte.gz"), "wb") as file:
        file.write(struct.pack(">4I", 0x803, count, 28, 28) + pixels)
    with open(os.path.join(folder, f"{half}-labels-idx1-ubyte"), "wb") as file:
        file.write(struct.pack(">2I", 0x801, count) + bytes(label % classes for label in range(count)))


def mat_array(name, kind, extents, numbers):
    """A packed array of MATLAB's class `kind`, its numbers stored as bytes."""
    def part(number_type, data):
        return struct.pack("<II", number_type, len(data)) + data + bytes(-len(data) % 8)
    body = (part(6, struct.pack("<II", kind, 0)) + part(5, struct.pack(f"<{len(extents)}i", *extents))
            + part(1, name.encode()) + part(2, numbers))
    packed = zlib.compress(struct.pack("<II", 14, len(body)) + body)
    return struct.pack("<II", 15, len(packed)) + packed


class Layouts(Workplace):
    def test_grey_pictures_of_28_x_28(self):
        write_idx(self.path("letters"), "train", 64, 2)
        write_idx(self.path("letters"), "t10k", 16, 2)
        done = self.run_program("train", *SMALL, "--data", "letters", "--epochs", "3", "--out", "grey")
        self.assertRegex(done.stdout, r"^test error 0\.00 % of 16 pictures, loss \d\.\d+, idx, after 24 steps")
        with open(self.path("grey", "config.toml"), encoding="utf-8") as file:
            self.assertIn('augment = "crop"', file.read())  # letters are not mirrored unless somebody says so
        self.assertIn("idx", self.run_program("eval", "grey").stdout)
        self.run_program("train", *SMALL, "--data", "letters", "--max-steps", "1", "--augment", "flip", "--device", "simt",
                         "--out", "kernels")
        with open(self.path("letters", "t10k-labels-idx1-ubyte"), "ab") as file:
            file.write(b"\0")
        self.refused("eval", "grey", "--quiet", code=3, words=["t10k-labels-idx1-ubyte is longer"])

    def test_house_numbers(self):
        os.mkdir(self.path("svhn"))
        for name, count in (("train", 40), ("test", 20)):
            pixels = b"".join(bytes((i % 10 * 20 + j % 7) for j in range(3072)) for i in range(count))
            with open(self.path("svhn", f"{name}_32x32.mat"), "wb") as file:
                file.write(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + mat_array("X", 9, (32, 32, 3, count), pixels)
                           + mat_array("y", 6, (count, 1), bytes(1 + i % 10 for i in range(count))))
        here = {"ZEROTH_DATA": self.scratch}
        report = self.run_program("data", "verify", "svhn", environment=here).stdout
        self.assertIn("40 training pictures (4 of each class), 20 test pictures (2 of each class)", report)
        self.assertIn("not the official files (0 of 2 have the published checksum)", report)
        done = self.run_program("train", *SMALL, "--data", "svhn", "--max-steps", "1", "--out", "digits", environment=here)
        self.assertIn("svhn (unofficial)", done.stdout)
        with open(self.path("digits", "config.toml"), encoding="utf-8") as file:
            self.assertIn('augment = "crop"', file.read())
        self.refused("train", "--data", "svhn-extra", code=3, environment=here, words=["zeroth data fetch svhn-extra"])


if __name__ == "__main__":
    unittest.main()
