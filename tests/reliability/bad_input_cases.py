"""The bad inputs that bad_inputs.py gives zeroth, in the groups and the order of docs/bad-inputs.md."""

import dataclasses
import os
import typing

TRAIN = ["train", "--model", "rezero-resnet8", "--data", "tiny", "--batch-size", "10", "--threads", "1"]
LAST = "checkpoints/last.safetensors"


@dataclasses.dataclass
class Case:
    what: str
    command: list
    code: int
    setup: typing.Callable = None
    environment: dict = None
    limits: dict = None
    said: str = ""          # the command as the page has it, where the arguments alone do not say it
    machine: bool = False   # the text depends on the machine
    one_line: bool = True   # and begins with "zeroth: "


def command_line(_):
    def train(what, *words):
        return Case(what, [*TRAIN, *words], 2)
    return [
        Case("no such command", ["trane"], 2),
        Case("a command between others", ["data", "fecth", "cifar10"], 2),
        Case("an unknown flag", ["train", "--learning-rate", "0.1"], 2),
        Case("a flag with a typing mistake", ["train", "--batchsize", "64"], 2),
        Case("a flag of another command", ["eval", "run", "--epochs", "3"], 2),
        Case("a flag without its value", ["train", "--lr"], 2),
        Case("an empty value", ["train", "--out", ""], 2),
        Case("a word too many", ["eval", "run", "run"], 2),
        Case("a command without its operand", ["eval"], 2),
        train("no number", "--lr", "fast"),
        train("a number with a unit", "--lr", "0.1x"),
        train("a decimal comma", "--lr", "0,1"),
        train("not a number", "--lr", "nan"),
        train("a number out of range", "--momentum", "1.5"),
        train("a negative number", "--weight-decay", "-1"),
        train("no integer", "--epochs", "2.5"),
        train("an integer that is too large", "--epochs", "99999999999999999999"),
        train("no threads", "--threads", "0"),
        train("no picture in a batch", "--batch-size", "0"),
        train("a batch larger than the set", "--batch-size", "41"),
        train("an unknown choice", "--optimizer", "adamax"),
        train("another program's name for a choice", "--amp", "float16"),
        train("an unknown model", "--model", "vgg16"),
        train("a depth that is none", "--model", "resnet21"),
        train("a list out of order", "--schedule", "step", "--milestones", "9,3"),
        train("a pair that is none", "--optimizer", "adam", "--betas", "0.9"),
        train("a flag that has no effect", "--betas", "0.9,0.99"),
        train("a loss scale without fp16", "--loss-scale", "1024"),
        train("an unknown augmentation", "--augment", "flip,rotate"),
        train("a normalisation for other pictures", "--normalize", "mnist"),
        train("an unknown recipe", "--recipe", "quik"),
        train("no such operation", "--impl", "conv3d=native"),
        train("no such row", "--impl", "conv2d=fast"),
        train("a row without an operation", "--impl", "onednn"),
        train("a row that is not deterministic", "--deterministic", "--impl", "conv2d=onednn"),
        Case("plans that are timed, and the same bits every time", [*TRAIN, "--deterministic", "--cudnn-plans", "timed"], 2),
        train("more pictures held out than there are", "--val-split", "40"),
        Case("a validation that is no multiple of the classes", [*TRAIN, "--val-split", "-3"], 2),
        Case("no such table", ["reproduce", "rezero-tabel"], 2),
        Case("no such row of a table", ["reproduce", "rezero-table", "--rows", "resnet21", "--data", "tiny"], 2),
        Case("no such operation to time", ["bench", "kernels", "--op", "conv3d"], 2),
        Case("a shape that is none", ["bench", "kernels", "--shapes", "resnet20x128"], 2),
        Case("a picture of no known kind", ["plot", "run", "--out", "error.gif"], 2),
        Case("nothing to export to", ["export", "run"], 2),
        Case("memory of no model", ["info", "--memory"], 2),
        Case("no classes to show", ["predict", "run", "cat.png", "--top", "0"], 2),
    ]


def configuration(place):
    def config(what, text, *words, code=2):
        name = what.replace(" ", "-") + ".toml"
        place.write(name, text)
        return Case(what, [*TRAIN, "--config", name, *words], code)
    return [
        Case("no such file", [*TRAIN, "--config", "none.toml"], 2),
        Case("a folder for a file", [*TRAIN, "--config", "tiny"], 2),
        config("an unknown key", "learning_rate = 0.1\n"),
        config("a misspelled key", "batchsize = 10\n"),
        config("a value of another type", 'lr = "fast"\n'),
        config("a list where a number belongs", "lr = [0.1, 0.2]\n"),
        config("broken TOML", "lr = 0.1\nepochs = = 3\n"),
        config("a key twice", "lr = 0.1\nlr = 0.2\n"),
        config("bytes that are no text", b"lr = \xff\xfe\n"),
        config("a table", "[train]\nlr = 0.1\n"),
        config("a configuration that names one", 'config = "other.toml"\n'),
        config("a value out of range", "epochs = 0\n"),
        config("a recipe that does not exist", 'recipe = "none"\n'),
        Case("a table as a recipe", ["recipes", "none"], 2),
    ]


def data(place):
    def damaged(what, damage, code=3, command=("data", "verify")):
        name = what.replace(" ", "-")
        place.copy("tiny", name)
        damage(name)
        return Case(what, [*command, name], code)

    def link(name):
        os.remove(place.path(name, "data_batch_1.bin"))
        os.symlink("/nonexistent", place.path(name, "data_batch_1.bin"))

    place.write("empty/none", b"")
    os.remove(place.path("empty", "none"))
    for folder in ("pictures/train/cat", "pictures/train/dog", "pictures/test/cat", "pictures/test/dog", "single/cat"):
        place.write(folder + "/a.png", b"\x89PNG\r\n\x1a\nno picture")
    place.write("odd/cat/a.gif", b"GIF89a")
    place.write("note.txt", b"hello")
    place.write("short.tar.gz", b"\x1f\x8b\x08\x00")
    place.write("digits/train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00\x00\x00\x05" + b"\x00" * 4)
    place.write("numbers/train_32x32.mat", b"MATLAB 7.3 file")
    place.write("numbers/test_32x32.mat", b"MATLAB 7.3 file")
    place.copy("tiny", "full")
    return [
        Case("no such folder", ["train", "--data", "nowhere"], 3),
        Case("a name with a typing mistake", ["train", "--data", "cifra10"], 3),
        Case("a set that is not here", ["train", "--data", "cifar100"], 3),
        Case("an empty folder", ["train", "--data", "empty"], 3),
        Case("a file for a folder", ["data", "verify", "note.txt"], 3),
        damaged("a truncated file", lambda name: place.cut(name + "/data_batch_1.bin", 1000)),
        damaged("a missing file", lambda name: os.remove(place.path(name, "test_batch.bin"))),
        damaged("a label out of range", lambda name: place.write(
            name + "/test_batch.bin", b"\x0b" + place.read(name + "/test_batch.bin")[1:])),
        damaged("an empty file", lambda name: place.cut(name + "/test_batch.bin", 0)),
        damaged("a link to nowhere", link),
        damaged("too few names of classes", lambda name: place.write(name + "/batches.meta.txt", "cat\ndog\n")),
        Case("a picture that is none", ["train", "--data", "pictures"], 3),
        Case("pictures of one class", ["train", "--data", "single"], 3),
        Case("pictures of an unknown kind", ["train", "--data", "odd"], 3),
        Case("a truncated IDX file", ["data", "verify", "digits"], 3),
        Case("a .mat file that is none", ["data", "verify", "numbers"], 3),
        Case("a truncated archive", ["data", "fetch", "cifar10", "--from", "short.tar.gz", "--out", "unpacked"], 3),
        Case("a text for an archive", ["data", "fetch", "cifar10", "--from", "note.txt", "--out", "unpacked"], 3),
        Case("no such archive", ["data", "fetch", "cifar10", "--from", "none.tar.gz", "--out", "unpacked"], 3),
        Case("an unknown set to fetch", ["data", "fetch", "imagenet"], 2),
        Case("nobody answers", ["data", "fetch", "mnist", "--url", "http://127.0.0.1:9/", "--out", "unpacked", "--quiet"], 1),
        Case("a folder that is not empty", ["data", "generate", "generated", "--out", "full"], 2),
        Case("no pictures to generate", ["data", "generate", "generated", "--out", "made", "--train", "0"], 2),
        Case("something else to generate", ["data", "generate", "cifar10", "--out", "made"], 2),
        Case("a picture to predict that is none", ["predict", "run", "note.txt"], 3),
        Case("no such picture to predict", ["predict", "run", "cat.png"], 3),
    ]


def checkpoints(place):
    def damaged(what, damage, command=("eval",), code=3):
        name = what.replace(" ", "-")
        place.copy("run", name)
        damage(name + "/" + LAST)
        return Case(what, [*command, name], code)

    def metadata(name, old, new):
        data_of = place.read(name)
        assert data_of.count(old) == 1 and len(old) == len(new)
        place.write(name, data_of.replace(old, new))

    place.write("norun/readme", b"")
    place.copy("tiny", "other")
    place.write("other/data_batch_1.bin", bytes(reversed(place.read("tiny/data_batch_1.bin"))) if False else
                place.read("tiny/data_batch_1.bin")[3073:] + place.read("tiny/data_batch_1.bin")[:3073])
    place.safetensors("foreign.safetensors", {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8)
    place.safetensors("overlap.safetensors", {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                              "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, b"\0" * 12)
    place.safetensors("deep.safetensors", b"[" * 100000)
    place.write("huge.safetensors", b"\xff" * 8 + b"{}")
    return [
        Case("no such run", ["eval", "nowhere"], 3),
        Case("a folder that is no run", ["eval", "norun"], 3),
        damaged("a truncated checkpoint", lambda name: place.cut(name, 5000)),
        damaged("an empty checkpoint", lambda name: place.cut(name, 0)),
        damaged("a flipped bit in a weight", lambda name: place.flip(name, -100)),
        damaged("a flipped bit to resume from", lambda name: place.flip(name, -100), ("train", "--resume")),
        damaged("a flipped bit to export", lambda name: place.flip(name, -100), ("export", "--onnx", "x.onnx")),
        damaged("a flipped bit to predict with", lambda name: place.flip(name, -100), ("eval-all",)),
        Case("a header longer than the file", ["eval", "huge.safetensors"], 3),
        Case("a header nested without end", ["eval", "deep.safetensors"], 3),
        Case("tensors that overlap", ["eval", "overlap.safetensors"], 3),
        Case("another program's file", ["eval", "foreign.safetensors"], 3),
        Case("a data set for a checkpoint", ["eval", "tiny/test_batch.bin"], 3),
        Case("weights of another network", [*TRAIN, "--init", "run/" + LAST, "--model", "resnet20"], 3),
        Case("weights of another program that do not fit", [*TRAIN, "--init", "foreign.safetensors"], 3),
        Case("no such weights", [*TRAIN, "--init", "none.safetensors"], 3),
        Case("a run resumed on other pictures", ["train", "--resume", "run", "--data", "other"], 3),
        Case("a run resumed with other settings", ["train", "--resume", "run", "--lr", "0.5"], 2),
        Case("a run resumed as another network", ["train", "--resume", "run", "--model", "resnet20"], 2),
        Case("no such run to resume", ["train", "--resume", "nowhere"], 3),
        Case("a run folder that is taken", [*TRAIN, "--out", "run"], 2),
        Case("evaluated on pictures that are not here", ["eval", "run", "--data", "mnist"], 3),
        Case("a log that is no log", ["plot", "norun", "--out", "x.png"], 3),
        Case("nothing to compare", ["compare", "norun"], 3),
    ]


def environment(_):
    def with_(what, code=2, machine=False, **variables):
        text = " ".join(f"{key}={value}" for key, value in variables.items())
        return Case(what, [*TRAIN, "--max-steps", "1"], code, environment=variables, said=text + " train ...",
                    machine=machine)
    return [
        with_("a value that is no number", ZEROTH_LR="fast"),
        with_("a misspelled variable", ZEROTH_BATCHSIZE="64"),
        with_("an unknown choice", ZEROTH_OPTIMIZER="lamb"),
        with_("a configuration that is not there", ZEROTH_CONFIG="none.toml"),
        Case("a data folder that is not there", ["train", "--data", "cifar10"], 3, environment={"ZEROTH_DATA": "/nonexistent"},
             said="ZEROTH_DATA=/nonexistent train --data cifar10"),
        Case("no home", ["data", "fetch", "mnist", "--url", "http://127.0.0.1:9/"], 2, environment={"HOME": ""},
             said="HOME= data fetch mnist"),
    ]


def machine(place):
    small = [*TRAIN, "--max-steps", "2", "--quiet"]
    place.write("plain", b"")
    return [
        Case("no such kind of device", [*TRAIN, "--device", "gpu"], 2),
        Case("a device number that is none", [*TRAIN, "--device", "cuda:x"], 2),
        Case("a device that is not there", [*TRAIN, "--device", "cuda:99"], 4, machine=True),
        Case("a row of another device", [*TRAIN, "--device", "cpu", "--impl", "conv2d=cudnn"], 2),
        Case("an output folder below a file", [*small, "--out", "plain/run"], 1),
        Case("an output folder that cannot be made", [*small, "--out", "/proc/run"], 1),
        Case("files may not grow", [*small, "--out", "limited"], 1, limits={"RLIMIT_FSIZE": 20000},
             said="(ulimit -f) train ..."),
        Case("no file may be opened", [*small, "--out", "closed"], 1, limits={"RLIMIT_NOFILE": 4}, said="(ulimit -n 4) train ...",
             machine=True),
        Case("less memory than a step takes", [*TRAIN, "--model", "resnet1202", "--batch-size", "40", "--quiet",
                                              "--out", "memory"], 1, limits={"RLIMIT_AS": 1000 << 20},
             said="(ulimit -v 1024000) train --model resnet1202 --batch-size 40 ...", machine=True),
        Case("a loss that is not finite", [*small, "--lr", "1e25", "--warmup", "0", "--max-steps", "4", "--out", "diverged"], 6),
        Case("every gradient overflows", [*small, "--amp", "fp16", "--loss-scale", "1e12", "--max-steps", "4", "--out", "over"], 6),
        Case("a target that is missed", [*small, "--target-acc", "0.99", "--out", "missed"], 6, one_line=False),
        Case("a picture that cannot be written", ["plot", "run", "--out", "plain/error.png"], 1),
        Case("a model that cannot be written", ["export", "run", "--onnx", "/proc/model.onnx"], 1),
    ]


def groups(place):
    return [("Command line", command_line(place)), ("Configuration", configuration(place)), ("Data", data(place)),
            ("Checkpoints and runs", checkpoints(place)), ("Environment", environment(place)), ("Machine", machine(place))]
