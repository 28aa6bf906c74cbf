"""Networks that leave zeroth and come back: ONNX by onnxruntime, state dicts by PyTorch, pictures by predict.

usage: exchange_test.py ZEROTH [unittest arguments]

Where a peer's package is missing its tests are skipped.
"""

import json
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pytorch"))

from workplace import Workplace, main

NETWORKS = {
    "plain-b": ["--model", "resnet8"],
    "post-a": ["--model", "rezero-resnet8", "--shortcut", "A", "--alpha-init", "0.5"],
    "authors-b": ["--model", "resnet8", "--residual", "authors", "--alpha-init", "0.5"],
}
LARGE = {
    "resnet18": ["--model", "resnet18"],
    "rezero-resnet18-cifar": ["--model", "rezero-resnet18-cifar", "--alpha-init", "0.3"],
}


def png(path, pixels):
    """Writes (H, W, 3) bytes as PNG."""
    height, width = len(pixels), len(pixels[0])
    raw = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in pixels)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


class Exchange(Workplace):
    def trained(self, name, flags, steps="2"):
        self.run_program("train", "--batch-size", "4", "--threads", "2", "--lr", "0.05", "--warmup", "0", "--quiet",
                         "--data", self.data, *flags, "--max-steps", steps, "--out", self.path(name))
        return self.path(name)

    def pictures(self, count=3):
        """Pictures of the test set: paths of PNG files, and their bytes as (C, H, W) planes."""
        with open(os.path.join(self.data, "test_batch.bin"), "rb") as file:
            records = [file.read(3073) for _ in range(count)]
        paths = []
        for index, record in enumerate(records):
            planes = record[1:]
            paths.append(self.path(f"picture{index}.png"))
            png(paths[-1], [[[planes[c * 1024 + y * 32 + x] for c in range(3)] for x in range(32)] for y in range(32)])
        return paths, [record[1:] for record in records]

    def probabilities(self, run, paths):
        """What predict says: a list of 10 probabilities by label for each picture."""
        result = json.loads(self.run_program("predict", run, *paths, "--top", "10", "--json", "--threads", "2").stdout)
        by_label = []
        for entry in result["pictures"]:
            values = {guess["label"]: guess["probability"] for guess in entry["top"]}
            by_label.append([values[label] for label in range(10)])
        return by_label


class Predict(Exchange):
    def test_pictures_and_their_classes(self):
        run = self.trained("run", NETWORKS["post-a"])
        paths, _ = self.pictures()
        result = json.loads(self.run_program("predict", run, *paths, "--json").stdout)
        self.assertEqual([entry["picture"] for entry in result["pictures"]], paths)
        for entry in result["pictures"]:
            shares = [guess["probability"] for guess in entry["top"]]
            self.assertEqual(len(shares), 5)
            self.assertEqual(shares, sorted(shares, reverse=True))
        self.assertEqual(result["data"], "generated")
        for shares in self.probabilities(run, paths):
            self.assertAlmostEqual(sum(shares), 1)
        text = self.run_program("predict", run, paths[0], "--top", "2").stdout
        self.assertIn(result["pictures"][0]["top"][0]["class"], text)
        self.assertEqual(text.count(" %"), 2)
        self.assertIn("generated", text)
        # Its guesses are those that eval counts.
        right = json.loads(self.run_program("eval", run, "--json").stdout)["error"]
        paths, _ = self.pictures(20)
        result = json.loads(self.run_program("predict", run, *paths, "--top", "1", "--json").stdout)
        hits = sum(entry["top"][0]["label"] == index % 10 for index, entry in enumerate(result["pictures"]))
        self.assertAlmostEqual(1 - hits / 20, right)

    def test_what_is_no_picture(self):
        run = self.trained("one-step", NETWORKS["plain-b"], "1")
        paths, _ = self.pictures(1)
        junk = self.path("junk.png")
        with open(junk, "wb") as file:
            file.write(b"<html>")
        done = self.run_program("predict", run, junk, paths[0], "--json", code=3)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("junk.png", done.stderr)
        self.assertEqual([entry["picture"] for entry in json.loads(done.stdout)["pictures"]], paths)
        self.refused("predict", run, self.path("none.png"), code=3, words=["none.png"])
        self.refused("predict", self.path("nowhere"), paths[0], code=3, words=["nowhere"])
        self.refused("predict", run, paths[0], "--top", "0", words=["--top"])
        self.refused("predict", run, words=["PICTURE"])


class Export(Exchange):
    def test_bad_input(self):
        run = self.trained("bad", NETWORKS["plain-b"], "1")
        self.refused("export", run, words=["--onnx"])
        self.refused("export", self.path("nowhere"), "--onnx", self.path("x.onnx"), code=3, words=["nowhere"])
        self.refused("export", run, "--onnx", self.path("none", "x.onnx"), code=1, words=["x.onnx"])


class Onnx(Exchange):
    def compare(self, networks):
        try:
            import numpy
            import onnx
            import onnxruntime
        except ImportError:
            self.skipTest("no onnx and onnxruntime in this Python")
        paths, planes = self.pictures()
        x = numpy.stack([numpy.frombuffer(p, numpy.uint8).reshape(3, 32, 32) for p in planes]).astype(numpy.float32) / 255
        worst = 0.0
        for name, flags in networks.items():
            run, out = self.trained(name, flags), self.path(name + ".onnx")
            self.assertEqual(self.run_program("export", run, "--onnx", out).stdout, out + "\n")
            model = onnx.load(out)
            onnx.checker.check_model(model, full_check=True)
            self.assertGreaterEqual(model.opset_import[0].version, 13)
            properties = {entry.key: entry.value for entry in model.metadata_props}
            self.assertEqual(properties["data"], "generated")
            self.assertEqual(len(properties["class_names"].split("\n")), 10)
            session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
            for count in (3, 1):  # the batch is free
                logits = session.run(["logits"], {"pictures": x[:count]})[0].astype(numpy.float64)
                theirs = numpy.exp(logits - logits.max(1, keepdims=True))
                theirs /= theirs.sum(1, keepdims=True)
                ours = numpy.array(self.probabilities(run, paths[:count]))
                self.assertGreater(ours.std(), 1e-3)  # a network that says nothing would agree with any
                worst = max(worst, float(numpy.abs(theirs - ours).max()))
        print(f"largest difference of a probability between zeroth and onnxruntime: {worst:.3g}")
        self.assertLess(worst, 2e-6)

    def test_forms_and_shortcuts(self):
        self.compare(NETWORKS)

    def test_resnet18(self):
        self.compare(LARGE)


class PyTorchExchange(Exchange):
    def torch(self):
        try:
            import networks
            import tensor_file
            import torch
        except ImportError:
            self.skipTest("no torch in this Python")
        torch.set_num_threads(2)
        return torch, networks, tensor_file

    def network(self, flags):
        """The network of tests/pytorch/networks.py that zeroth's flags mean."""
        _, networks, _ = self.torch()
        said = dict(zip(flags[::2], flags[1::2]))
        return networks.build(said["--model"], said.get("--residual"), said.get("--shortcut", "B").lower())

    def load(self, path):
        torch, _, tensor_file = self.torch()
        try:
            from safetensors.torch import load_file
            return load_file(path)
        except ImportError:
            return {name: torch.from_numpy(array.copy()) for name, array in tensor_file.read(path).items()}

    def their_probabilities(self, network, planes, mean, stddev):
        torch, _, _ = self.torch()
        x = torch.stack([torch.tensor(list(p), dtype=torch.float32).reshape(3, 32, 32) for p in planes]) / 255
        x = (x - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(stddev).reshape(3, 1, 1)
        with torch.no_grad():
            return torch.softmax(network.eval()(x), 1)

    def properties(self, path):
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        return header["__metadata__"]

    def there_and_back(self, networks):
        torch, _, tensor_file = self.torch()
        paths, planes = self.pictures()
        for name, flags in networks.items():
            run, out = self.trained(name, flags), self.path(name + ".safetensors")
            self.run_program("export", run, "--pytorch", out)
            network = self.network(flags)
            network.load_state_dict(self.load(out), strict=True)
            said = self.properties(out)
            constants = [[float(value) for value in said[key].split(",")] for key in ("mean", "stddev")]
            ours = torch.tensor(self.probabilities(run, paths))
            self.assertGreater(float(ours.std()), 1e-3)
            self.assertLess(float((self.their_probabilities(network, planes, *constants) - ours).abs().max()), 2e-5)

            # PyTorch's own state dict, counters and all, is where a training can begin.
            back = self.path(name + "-back.safetensors")
            tensor_file.write(back, {key: value.numpy() for key, value in network.state_dict().items()})
            begun = self.path(name + "-begun")
            self.run_program("train", "--batch-size", "4", "--data", self.data, *flags, "--init", back, "--lr", "1e-30",
                             "--weight-decay", "0", "--warmup", "0", "--max-steps", "1", "--threads", "2", "--quiet",
                             "--out", begun)
            again = self.path(name + "-again.safetensors")
            self.run_program("export", begun, "--pytorch", again)
            first, second = self.load(out), self.load(again)
            self.assertEqual(first.keys(), second.keys())
            for key, value in first.items():
                if "running" not in key:  # one step has moved those
                    self.assertTrue(torch.equal(value, second[key]), key)


class PyTorch(PyTorchExchange):
    def test_forms_and_shortcuts(self):
        self.there_and_back(NETWORKS)

    def test_another_model(self):
        _, _, tensor_file = self.torch()
        network = self.network(NETWORKS["post-a"])
        theirs = self.path("theirs.safetensors")
        tensor_file.write(theirs, {key: value.numpy() for key, value in network.state_dict().items()})
        train = ["train", "--data", self.data, "--batch-size", "4", "--init", theirs, "--max-steps", "1", "--quiet"]
        self.refused(*train, "--model", "rezero-resnet14", code=3, words=["theirs.safetensors", "layer1.1", "another model"])
        self.refused(*train, "--model", "resnet18-cifar", code=3, words=["theirs.safetensors"])


class PyTorchResNet18(PyTorchExchange):
    def test_resnet18(self):
        self.there_and_back({"resnet18": LARGE["resnet18"]})


if __name__ == "__main__":
    main()
