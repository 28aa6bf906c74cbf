"""Mixed precision, loss scales, clipping and gradients that are not finite, from outside.

    precision_test.py path/to/zeroth
"""

import json
import math
import struct
import subprocess
import unittest

from workplace import TINY, ZEROTH, Workplace

FP16 = ["--amp", "fp16", "--device", "cpu"]


def without_tensors(path, prefix):
    """Writes a checkpoint as it was before there were tensors of that prefix: in the format without a checksum."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    kept, bytes_kept = {"__metadata__": header.pop("__metadata__")}, b""
    kept["__metadata__"]["format"] = "zeroth checkpoint 1"
    del kept["__metadata__"]["crc32"]
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        if name.startswith(prefix):
            continue
        begin, end = tensor["data_offsets"]
        kept[name] = {**tensor, "data_offsets": [len(bytes_kept), len(bytes_kept) + end - begin]}
        bytes_kept += data[begin:end]
    text = json.dumps(kept).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + bytes_kept)


class Precision(Workplace):
    def tensor(self, out, name):
        path = self.path(out, "checkpoints", "last.safetensors")
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header, data = json.loads(file.read(length)), file.read()
        begin, end = header[name]["data_offsets"]
        return data[begin:end]

    def test_fp16_on_the_cpu(self):
        done = self.train("fp16", *FP16, "--epochs", "1")
        self.assertEqual(done.stderr.count("f32 copies, slowly"), 1)
        line = self.log("fp16")[-1]
        self.assertEqual(line["loss_scale"], 65536)
        self.assertEqual(line["skipped_steps"], 0)
        self.assertGreater(line["gradient_norm"], 0.1)
        self.assertLess(line["gradient_norm"], 100)  # unscaled
        plain = self.train("plain", "--device", "cpu", "--epochs", "1")
        self.assertNotIn("slowly", plain.stderr)
        self.assertNotIn("loss_scale", self.log("plain")[-1])
        self.assertNotIn("skipped_steps", self.log("plain")[-1])
        norms = [run[-1]["gradient_norm"] for run in (self.log("fp16"), self.log("plain"))]
        self.assertAlmostEqual(norms[0], norms[1], delta=0.1 * norms[1])

    def test_overflows_are_skipped_and_resumed(self):
        # The scale doubles at every step until the gradients overflow, and so goes to and fro.
        flags = [*FP16, "--loss-scale-growth-interval", "1", "--epochs", "10"]
        done = self.train("whole", *flags)
        row = self.summary("whole")[-1]
        self.assertEqual(row["step"], "40")
        skipped = int(row["skipped_steps"])
        self.assertGreater(skipped, 2)
        self.assertLess(skipped, 30)
        self.assertIn(f"{skipped} steps skipped", done.stderr)
        self.assertEqual(float(row["loss_scale"]), 2.0 ** round(math.log2(float(row["loss_scale"]))))
        self.assertLess(float(row["train_loss"]), float(self.summary("whole")[0]["train_loss"]))
        self.train("half", *flags, "--max-steps", "18")
        self.run_program("train", "--resume", self.path("half"), "--threads", "1")
        self.assertEqual(self.digest("whole", "checkpoints", "last.safetensors"),
                         self.digest("half", "checkpoints", "last.safetensors"))
        self.assertEqual(int(self.summary("half")[-1]["skipped_steps"]), skipped)

    def test_divergence_names_step_and_parameter(self):
        for flags in ([], ["--optimizer", "adamw"], [*FP16, "--loss-scale", "1e12"]):
            out = "stop" + str(len(flags))
            done = self.train(out, "--lr", "1e25", "--epochs", "5", "--warmup", "0", *flags, code=6)
            step = 1 if "--loss-scale" in flags else 2
            last = self.path(out, "checkpoints", "last.safetensors")
            first = "gradient of 'fc.(weight|bias)'" if "--loss-scale" in flags else "output of '"
            self.assertRegex(done.stderr, rf"zeroth: step {step} is not finite, first the {first}.* \(\d+ of \d+ values\); ")
            self.assertTrue(done.stderr.endswith(f"the checkpoint before it is {last}\n"), done.stderr)
            self.run_program("eval", self.path(out))  # it is whole

    def test_skipping_gives_up(self):
        data = self.path("long")
        subprocess.run([ZEROTH, "data", "generate", "generated", "--out", data, "--train", "400", "--test", "20"],
                       env=self.environment, capture_output=True, check=True)
        common = ["--data", data, "--batch-size", "4", "--lr", "1e25", "--warmup", "0"]
        done = self.train("skip", *common, "--nonfinite", "skip", code=6)
        self.assertRegex(done.stderr, "50 steps in a row were not finite, first the output of '.*' .* at step ")
        self.assertRegex(done.stderr, r"step \d+ was skipped: the gradient of 'conv1.weight' is not finite; \d+ skipped so far")
        done = self.train("minimum", *common, *FP16, code=6)
        self.assertIn("50 steps in a row were not finite at the smallest loss scale, 6.103515625e-05, first", done.stderr)

    def test_skipped_steps_do_not_reach_the_weights(self):
        done = self.train("none", *FP16, "--loss-scale", "1e12", "--nonfinite", "skip", "--max-steps", "4")
        self.assertIn("test error", done.stdout)
        self.assertEqual(self.log("none")[-1]["skipped_steps"], 4)
        self.assertIsNone(self.log("none")[-1]["loss"])
        self.train("one", *FP16, "--max-steps", "1")
        self.train("two", *FP16, "--max-steps", "1", "--lr", "0.01")
        # What a step moves, a skipped one has not moved.
        self.assertNotEqual(self.tensor("one", "fc.weight"), self.tensor("two", "fc.weight"))
        self.assertNotEqual(self.tensor("one", "fc.weight"), self.tensor("none", "fc.weight"))
        self.assertEqual(set(self.tensor("none", "optimizer.momentum.fc.weight")), {0})
        self.assertEqual(set(self.tensor("none", "bn1.running_mean")), {0})

    def test_a_checkpoint_from_before_the_guard_is_resumed(self):
        for kind in ("sgd", "adamw"):
            flags = ["--optimizer", kind, "--lr", "0.01", "--epochs", "2"]
            self.train("new" + kind, *flags, "--max-steps", "5")
            self.train("old" + kind, *flags, "--max-steps", "5")
            without_tensors(self.path("old" + kind, "checkpoints", "last.safetensors"), "guard.")
            for age in ("new", "old"):
                self.run_program("train", "--resume", self.path(age + kind), "--max-steps", "8", "--threads", "1")
            self.assertEqual(self.digest("new" + kind, "checkpoints", "last.safetensors"),
                             self.digest("old" + kind, "checkpoints", "last.safetensors"))

    def test_clipping(self):
        self.train("free", "--max-steps", "4")
        self.train("loose", "--max-steps", "4", "--clip-norm", "1e9")
        self.train("tight", "--max-steps", "4", "--clip-norm", "0.01")
        self.assertEqual(self.tensor("free", "fc.weight"), self.tensor("loose", "fc.weight"))
        self.assertNotEqual(self.tensor("free", "fc.weight"), self.tensor("tight", "fc.weight"))

    def test_what_goes_together(self):
        for flags, words in ((["--loss-scale", "8"], "--amp fp16"), (["--loss-scale", "0", *FP16], "above 0"),
                             (["--loss-scale-growth-interval", "5"], "--loss-scale dynamic"),
                             (["--amp", "f16"], "off, bf16, fp16"), (["--clip-norm", "-1"], "at least 0"),
                             (["--nonfinite", "go"], "stop, skip")):
            self.refused("train", *TINY, "--data", self.data, *flags, words=[words])
        self.train("policy", "--max-steps", "1")
        self.run_program("train", "--resume", self.path("policy"), "--nonfinite", "skip", "--max-steps", "2")


if __name__ == "__main__":
    unittest.main()
