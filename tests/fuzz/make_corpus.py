#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus/: small files of every format that the fuzz targets read, whole and broken.

    python3 tests/fuzz/make_corpus.py [FOLDER]     default: the corpus beside this file

What fuzzing found stays beside them under names that begin with "found-".
"""
import io
import json
import pathlib
import struct
import sys
import tarfile
import zlib

CORPUS = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")


def write(target, name, data):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def part(data):
    """A part of an input that stands for several files."""
    return struct.pack("<H", len(data)) + data


def gzip(data, level=9):
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def cifar():
    record = bytes([3]) + bytes(i % 251 for i in range(3072))
    names = "\n".join(f"drawn {i}" for i in range(10)).encode() + b"\n"
    write("cifar", "two-records", b"\0" + part(names) + record * 2)
    write("cifar", "label-out-of-range", b"\0" + part(names) + b"\x0b" + record[1:])
    write("cifar", "half-a-record", b"\0" + part(names) + record[:1500])
    write("cifar", "eleven-names", b"\0" + part(names + b"one more\n") + record)
    write("cifar", "short-cifar10", b"\1" + part(names) + record)
    write("cifar", "page-as-cifar100", b"\2" + part(b"") + b"<!DOCTYPE html><html>login</html>")


def idx_header(*extents):
    return struct.pack(">BBBB", 0, 0, 8, len(extents)) + struct.pack(f">{len(extents)}I", *extents)


def idx():
    labels = idx_header(3) + bytes([0, 2, 1])
    pictures = idx_header(3, 4, 5) + bytes(range(60))
    write("idx", "three-pictures", part(labels) + pictures)
    write("idx", "four-labels", part(idx_header(4) + bytes(4)) + pictures)
    write("idx", "huge-extents", part(labels) + idx_header(0xFFFFFFFF, 1024, 1024) + bytes(9))
    write("idx", "truncated", part(labels) + pictures[:-3])
    write("idx", "too-long", part(labels) + pictures + b"\0")
    write("idx", "floats", part(labels) + b"\0\0\x0d\3" + pictures[4:])


def mat_part(kind, data):
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat_array(name, extents, data):
    inside = (mat_part(6, struct.pack("<II", 9, 0)) + mat_part(5, struct.pack(f"<{len(extents)}I", *extents))
              + mat_part(1, name.encode()) + mat_part(2, data))
    return struct.pack("<II", 14, len(inside)) + inside


def svhn():
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    x = mat_array("X", (32, 32, 3, 1), bytes(i % 256 for i in range(3072)))
    y = mat_array("y", (1, 1), b"\x0a")
    packed = lambda array: struct.pack("<II", 15, len(zlib.compress(array))) + zlib.compress(array)
    write("svhn", "one-picture", head + x + y)
    write("svhn", "packed", head + packed(x) + packed(y))
    write("svhn", "label-11", head + x + mat_array("y", (1, 1), b"\x0b"))
    write("svhn", "small-parts", head + struct.pack("<II", 14, 48) + mat_part(6, struct.pack("<II", 9, 0))
          + mat_part(5, struct.pack("<II", 1, 1)) + struct.pack("<HHI", 1, 1, ord("y")) + struct.pack("<HHI", 2, 1, 7))
    write("svhn", "promises-2-to-40", head + mat_array("X", (1 << 20, 1 << 20), b""))
    write("svhn", "truncated", (head + x + y)[:-20])


def unpack():
    text = bytes(range(256)) * 8
    write("unpack", "gzip", gzip(text))
    write("unpack", "zlib", zlib.compress(text))
    write("unpack", "stored", gzip(text[:300], 0))
    write("unpack", "zeros", zlib.compress(bytes(1 << 20)))
    write("unpack", "wrong-checksum", zlib.compress(text)[:-1] + b"\0")
    write("unpack", "something-follows", gzip(text) + b"more")


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, before=b"", interlace=0):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", zlib.compress(rows))
            + png_chunk(b"IEND", b""))


def jpeg(orientation=None):
    """A grey JPEG of 8 x 8: one block, tables of one code each."""
    segment = lambda marker, data: b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data
    exif = b""
    if orientation:
        entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        exif = segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4))
    tables = b"".join(segment(0xC4, bytes([kind, 1]) + bytes(15) + b"\0") for kind in (0x00, 0x10))
    return (b"\xff\xd8" + exif + segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC0, struct.pack(">BHHBBBB", 8, 8, 8, 1, 1, 0x11, 0))
            + tables + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x3f\xff\xd9")


def picture():
    write("picture", "rgb.png", png(2, 2, 8, 2, b"\0abcdef\0ghijkl"))
    write("picture", "palette.png", png(2, 1, 1, 3, b"\0\x40", png_chunk(b"PLTE", b"abcdef") + png_chunk(b"tRNS", b"\0\xff")))
    write("picture", "alpha-16.png", png(1, 1, 16, 6, b"\0abcdefgh"))
    write("picture", "interlaced.png", png(2, 2, 8, 0, b"\0a\0b\0cd", interlace=1))
    write("picture", "promises-too-much.png", png(1000, 1000, 16, 6, b"\0"))
    write("picture", "grey.jpg", jpeg())
    write("picture", "turned.jpg", jpeg(6))
    write("picture", "truncated.jpg", jpeg()[:-4])


def tar(*members):
    """Members: (name, bytes or the name it links to, type)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return out.getvalue()[:-8192]  # of the zeros at the end 1 kB is enough


def archive():
    a = ("set/a.bin", bytes(range(16)), tarfile.REGTYPE)
    file = tarfile.REGTYPE
    write("archive", "whole", b"\0" + tar(a, ("set/names.txt", b"one\ntwo\n", file), ("set/other", b"x", file)))
    write("archive", "whole-packed", b"\1" + gzip(tar(a)))
    write("archive", "absolute-name", b"\0" + tar(a, ("/tmp/zeroth-evil", b"x", file)))
    write("archive", "climbing-name", b"\0" + tar(("set/../../evil", b"x", file), a))
    write("archive", "symbolic-link", b"\0" + tar(("set/names.txt", "/etc/passwd", tarfile.SYMTYPE), a))
    write("archive", "hard-link", b"\0" + tar(a, ("set/names.txt", "set/a.bin", tarfile.LNKTYPE)))
    write("archive", "link-to-folder", b"\0" + tar(("set", "..", tarfile.SYMTYPE), a))
    write("archive", "twice", b"\0" + tar(a, a))
    write("archive", "pipe", b"\0" + tar(("set/a.bin", "", tarfile.FIFOTYPE)))


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def safetensors():
    tensor = lambda dtype, shape, begin, end: {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    two = {"__metadata__": {"format": "zeroth", "crc32": "00000000"}, "a": tensor("F32", [2, 1], 0, 8),
           "b": tensor("I64", [1], 8, 16)}
    write("safetensors", "two-tensors", safetensors_file(two, bytes(16)))
    write("safetensors", "empty", safetensors_file({}))
    write("safetensors", "hole", safetensors_file({"a": tensor("F32", [1], 0, 4), "b": tensor("U8", [1], 5, 6)}, bytes(6)))
    write("safetensors", "two-to-40", safetensors_file({"a": tensor("F32", [1 << 20, 1 << 20], 0, 1 << 42)}, bytes(8)))
    write("safetensors", "overflow", safetensors_file({"a": tensor("F64", [1 << 62, 8, 0], 0, 0)}))
    write("safetensors", "key-twice", safetensors_file(b'{"a":{},"a":{}}'))
    write("safetensors", "header-too-long", struct.pack("<Q", 1 << 40) + b"{}")
    write("safetensors", "newline-in-a-name", safetensors_file({"a\nb": tensor("F99", [1], 0, 1)}, bytes(1)))


def plans():
    write("plans", "one-plan", b"\0" + json.dumps({"conv2d forward f32 128x32x32x16": "engine 3"}).encode())
    write("plans", "numbers", b'\0{"conv2d": 3}')
    write("plans", "other-version", b'\1{"format": "zeroth-plans", "version": 2}')
    write("plans", "wrong-checksum", b'\1{"format": "zeroth-plans", "version": 1, "checksum": "00", "plans": {}}')
    write("plans", "no-json", b"\1plans")


def run_log():
    step = {"step": 10, "epoch": 0.5, "loss": 2.25, "error": 0.5, "lr": 0.1, "images_per_second": 800, "data": "generated"}
    heading = "epoch,step,lr,train_loss,train_error,validation_loss,validation_error,test_loss,test_error,images_per_second,seconds,data\n"
    lines = (json.dumps(step) + "\n" + json.dumps(step | {"step": 20, "loss": None, "loss_scale": 1024, "skipped_steps": 1}) + "\n").encode()
    write("run_log", "two-steps", part(lines) + (heading + "1,20,0.1,2,0.5,,,1.5,0.25,800,3.5,generated\n").encode())
    write("run_log", "unfinished-line", part(lines + b'{"step": 30') + heading.encode())
    write("run_log", "too-few-cells", part(lines) + (heading + "1,20\n").encode())
    write("run_log", "text-for-a-number", part(b'{"step": "ten"}\n') + b"")
    write("run_log", "large-step", part(json.dumps(step | {"step": 1e300}).encode() + b"\n") + heading.encode())
    write("run_log", "deep", part(b"[" * 300 + b"\n") + heading.encode())


def events():
    write("events", "scalar", b"\0\x09\0\0\0\0\0\0\xf0\x3f\x10\x02\x2a\x02\x0a\0")
    write("events", "long-varint", b"\0\x10" + b"\xff" * 12)
    write("events", "length-past-the-end", b"\0\x2a\xff\xff\xff\xff\x0f")
    write("events", "broken-record", b"\1" + struct.pack("<QI", 1 << 40, 0))


def config():
    write("config", "all-kinds", 'model = "rezero-resnet20"\nepochs = 3\nlr = 0.05\nnesterov = true\nmilestones = [1, 2]\nschedule = "step"\n')
    write("config", "empty", "# nothing\n")
    write("config", "unknown-key", "modle = 1\n")
    write("config", "table", "[model]\nname = 1\n")
    write("config", "broken", "lr = [1, \n")
    write("config", "extremes", "lr = 1e309\nepochs = 99999999999999999999\n")
    write("config", "deep", "lr = " + "[" * 200)


def checkpoint():
    fields = {"format": "zeroth checkpoint 1", "step": "10", "config": 'model = "resnet20"\\n', "data": "generated",
              "data_hash": "1", "classes": "2", "class_names": "cat\\ndog", "height": "32", "width": "32", "channels": "3",
              "epoch_loss": "1.5", "epoch_correct": "1", "epoch_rows": "2", "best_accuracy": "0.5", "best_step": "5"}
    lines = lambda f: "".join(f"{key}={value}\n" for key, value in f.items())
    write("checkpoint", "whole", lines(fields))
    write("checkpoint", "other-classes", lines(fields | {"classes": "3"}))
    write("checkpoint", "huge-step", lines(fields | {"step": "99999999999999999999"}))
    write("checkpoint", "bad-config", lines(fields | {"config": "model = 3"}))
    write("checkpoint", "other-format", lines(fields | {"format": "zeroth checkpoint 99"}))
    write("checkpoint", "plateau", lines(fields | {"plateau_best": "0.5", "plateau_bad_epochs": "1", "plateau_cooldown_left": "0", "plateau_scale": "nan"}))


def command_line():
    say = lambda *words: "\n".join(words) + "\n"
    write("command_line", "train", say("train", "--model", "resnet20", "--epochs", "3", "--impl", "conv2d=reference", "--no-nesterov"))
    write("command_line", "unknown-flag", say("train", "--modle=resnet20"))
    write("command_line", "unknown-command", say("trian"))
    write("command_line", "no-value", say("train", "--lr"))
    write("command_line", "empty-value", say("train", "--lr="))
    write("command_line", "eval", say("eval", "runs", "--json"))
    write("command_line", "data", say("data", "generate", "generated", "--train", "80", "--out", "x"))
    write("command_line", "help", say("bench", "kernels", "--help"))
    write("command_line", "list", say("train", "--schedule", "step", "--milestones", "1,2,3", "--betas", "0.9,0.99"))


def launch():
    lines = lambda **variables: "".join(f"{name}={value}\n" for name, value in variables.items())
    torchrun = dict(RANK=1, WORLD_SIZE=4, LOCAL_RANK=1, LOCAL_WORLD_SIZE=2, MASTER_ADDR="10.0.0.1", MASTER_PORT=29500)
    write("launch", "torchrun", lines(**torchrun))
    write("launch", "rank-outside", lines(**torchrun | {"RANK": 4}))
    write("launch", "huge-size", lines(**torchrun | {"WORLD_SIZE": 1 << 40}))
    write("launch", "no-address", lines(RANK=0, WORLD_SIZE=2))
    write("launch", "bad-port", lines(**torchrun | {"MASTER_PORT": 65536}))
    write("launch", "mpirun", lines(OMPI_COMM_WORLD_RANK=0, OMPI_COMM_WORLD_SIZE=2, OMPI_COMM_WORLD_LOCAL_RANK=0,
                                    OMPI_COMM_WORLD_LOCAL_SIZE=2))
    write("launch", "slurm", lines(SLURM_PROCID=3, SLURM_NTASKS=8, SLURM_LOCALID=1, SLURM_NODELIST="node[07-09,12],gpu1",
                                   SLURM_JOB_ID=123456))
    write("launch", "host-list", "node[07-09,12],gpu1")
    write("launch", "open-bracket", "node[07-")


for make in (cifar, idx, svhn, unpack, picture, archive, safetensors, plans, run_log, events, config, checkpoint,
             command_line, launch):
    make()
