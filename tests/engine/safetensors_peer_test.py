"""Holds zeroth's safetensors files against the format's own Python package.

usage: safetensors_peer_test.py SAFETENSORS_TOOL
Exit code 77 (skipped) where the packages safetensors and numpy are not installed.
"""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile

try:
    import numpy
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

TOOL = sys.argv[1]


def tensors():
    random_numbers = numpy.random.default_rng(1)
    return {
        "conv1.weight": random_numbers.standard_normal((16, 3, 3, 3)).astype(numpy.float32),
        "half": random_numbers.standard_normal((5, 7)).astype(numpy.float16),
        "double": random_numbers.standard_normal((3,)),
        "labels": numpy.arange(11, dtype=numpy.int32),
        "pixels": numpy.arange(13, dtype=numpy.uint8),
        "alpha": numpy.array(0.25, dtype=numpy.float32),
        "empty": numpy.zeros((0, 4), dtype=numpy.float32),
    }


def round_trip(folder):
    """Python writes, zeroth reads and writes, Python reads."""
    theirs, ours = os.path.join(folder, "theirs.safetensors"), os.path.join(folder, "ours.safetensors")
    metadata = {"step": "390", "config": 'model = "rezero-resnet20"\n\u00e9'}
    save_file(tensors(), theirs, metadata=metadata)
    subprocess.run([TOOL, "copy", theirs, ours], check=True)
    loaded = load_file(ours)
    assert loaded.keys() == tensors().keys(), loaded.keys()
    for name, expected in tensors().items():
        assert loaded[name].dtype == expected.dtype, name
        assert loaded[name].shape == expected.shape, name
        assert loaded[name].tobytes() == expected.tobytes(), name
    with safe_open(ours, "numpy") as file:
        assert file.metadata() == metadata, file.metadata()
    return ours


def brain_floats(folder):
    """numpy has no bfloat16, so the bytes are compared."""
    source, copy = os.path.join(folder, "b.safetensors"), os.path.join(folder, "b2.safetensors")
    header = json.dumps({"b": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    with open(source, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + bytes(range(6)))
    subprocess.run([TOOL, "copy", source, copy], check=True)
    with safe_open(copy, "numpy") as file:
        assert file.get_slice("b").get_dtype() == "BF16"
    with open(copy, "rb") as file:
        assert file.read().endswith(bytes(range(6)))


def mutations(folder, intact):
    """What zeroth accepts of damaged files the package must accept, too."""
    with open(intact, "rb") as file:
        original = file.read()
    header = 8 + struct.unpack("<Q", original[:8])[0]
    generator = random.Random(2)
    paths = []
    for index in range(600):
        damaged = bytearray(original)
        for _ in range(generator.choice((1, 1, 1, 2, 4))):
            damaged[generator.randrange(header)] = generator.choice((generator.randrange(256), 48, 49, 57, 91, 34))
        if index % 10 == 0:
            damaged = damaged[: generator.randrange(len(damaged))]
        paths.append(os.path.join(folder, f"m{index}.safetensors"))
        with open(paths[-1], "wb") as file:
            file.write(damaged)
    answers = subprocess.run([TOOL, "check", *paths], check=True, capture_output=True).stdout.splitlines()
    assert len(answers) == len(paths), "one line for each file"
    accepted = 0
    for path, answer in zip(paths, answers):
        if answer != b"intact":
            assert os.path.basename(path).encode() in answer, answer
            continue
        accepted += 1
        try:
            load_file(path)
        except (SafetensorError, UnicodeDecodeError) as error:
            raise AssertionError(f"{path}: zeroth takes what the package refuses: {error}") from error
    # Damage within a name or a metadata value is no damage; all the rest must have been noticed.
    assert 0 < accepted < 500, accepted
    return accepted


with tempfile.TemporaryDirectory() as scratch:
    written = round_trip(scratch)
    brain_floats(scratch)
    taken = mutations(scratch, written)
    print(f"round trips equal; {taken} of 600 damaged files are still valid for both")
