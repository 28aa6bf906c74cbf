"""Runs `zeroth bench` on tiny shapes: what it prints, draws and refuses.

usage: bench_test.py ZEROTH [unittest arguments]
"""

import csv
import io
import json
import struct
import unittest
import xml.etree.ElementTree
import zlib

from workplace import Workplace

# Shapes and times that only show that it works.
KERNELS = ["bench", "kernels", "--device", "cpu", "--threads", "1", "--shapes", "rezero-resnet8@4", "--min-time", "1",
           "--rounds", "3", "--rotate", "1"]
TRAIN = ["bench", "train", "--device", "cpu", "--threads", "1", "--model", "rezero-resnet8", "--batch-size", "4",
         "--steps", "1", "--windows", "3", "--warmup", "3"]


def pixels(path):
    """Width, height and raw rows of an RGB PNG."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, compressed, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            compressed += body
        at += 12 + length
    return size, zlib.decompress(compressed)


class Kernels(Workplace):
    def test_the_table(self):
        text = self.run_program(*KERNELS, "--op", "conv2d,batch_norm_act").stdout
        for word in ("measured ceilings: copy ", "conv2d 4x32x32x16 * 16x3x3 /1 +1 f32   checked with 4 pictures",
                     "backward data, added to", "batch_norm_act post", "one training step of rezero-resnet8@4"):
            self.assertIn(word, text)
        self.assertRegex(text, r"  forward +onednn +\d[\d.]* +\(.* - .*\) .*1\.00 x\n")
        self.assertRegex(text, r"\n  conv2d +26 ")
        self.assertNotIn("WRONG", text)
        self.assertNotIn("inference", text)
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 110)

    def test_json_and_chart(self):
        done = self.run_program(*KERNELS, "--json", "--plot", self.path("roof.png"))
        result = json.loads(done.stdout)
        self.assertEqual(result["shapes"], ["rezero-resnet8@4"])
        self.assertGreater(result["copy_bytes_per_second"], 1e8)
        self.assertGreater(result["matrix_flops_per_second"], 1e8)
        operations = {call["operation"] for call in result["calls"]}
        self.assertEqual(operations, {"conv2d", "batch_norm", "batch_norm_act", "avg_pool", "linear",
                                      "softmax_cross_entropy"})
        for call in result["calls"]:
            self.assertGreater(call["bytes"], 0)
            self.assertGreater(call["calls_a_step"]["rezero-resnet8@4"], 0)
            self.assertNotIn("reference", [row["row"] for row in call["rows"]])
            for row in call["rows"]:
                self.assertTrue(row["right"])
                self.assertLessEqual(row["ms_low"], row["ms"])
                self.assertLessEqual(row["ms"], row["ms_high"])
                self.assertAlmostEqual(row["bytes_per_second"] * row["ms"] / 1e3, call["bytes"], delta=1e-6 * call["bytes"])
        totals = result["totals"]["rezero-resnet8@4"]
        self.assertEqual(totals["conv2d"]["calls"], 26)  # nine of each pass, but the gradient of the pictures
        self.assertGreater(totals["conv2d"]["fastest_ms"], 0)
        (width, height, depth, colour), rows = pixels(self.path("roof.png"))
        self.assertEqual((width, height, depth, colour), (2360, 1440, 8, 2))
        self.assertEqual(len(rows), height * (3 * width + 1))

    def test_csv_and_svg(self):
        done = self.run_program(*KERNELS, "--op", "linear", "--rows", "onednn,reference", "--csv", "--plot", self.path("roof.svg"))
        lines = list(csv.DictReader(io.StringIO(done.stdout)))
        self.assertEqual([(line["pass"], line["row"], line["right"]) for line in lines],
                         [(word, row, "yes") for word in ("forward", "backward data", "backward weight")
                          for row in ("onednn", "reference")])
        self.assertTrue(all(float(line["ms"]) > 0 and float(line["library_ratio"]) > 0 for line in lines))
        root = xml.etree.ElementTree.parse(self.path("roof.svg")).getroot()
        words = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
        self.assertLess({"onednn", "reference", "TFLOP/s", "linear 4x64 * 10, forward"}, words)

    def test_simt_has_no_times(self):
        done = self.run_program("bench", "kernels", "--device", "simt", "--shapes", "rezero-resnet8@2", "--op",
                                "avg_pool,linear", "--dtype", "bf16")
        self.assertIn("times would say nothing", done.stdout)
        self.assertEqual(done.stdout.count("native    right\n"), 5)
        self.assertNotIn("GB/s", done.stdout)
        self.refused("bench", "kernels", "--device", "simt", "--plot", "a.png", words=["--plot", "simt"])

    def test_refusals(self):
        self.refused("bench", words=["kernels, train"])
        self.refused("bench", "kernel", words=["did you mean 'kernels'?"])
        for flag, values in {"--op": ["conv3d", "conv2d,"], "--shapes": ["resnet20", "resnet21@4", "resnet20@0", "@4"],
                             "--dtype": ["f64"], "--rows": ["cudnnn"], "--rounds": ["2", "x"], "--min-time": ["0"],
                             "--rotate": ["-1"], "--plot": ["chart.pdf"]}.items():
            for value in values:
                self.refused("bench", "kernels", "--device", "cpu", flag, value, words=[flag])
        self.refused("bench", "kernels", "--device", "cpu", "--op", "max_pool", words=["no call of max_pool"])
        self.refused("bench", "kernels", "--json", "--csv", words=["--json and --csv"])
        self.refused(*KERNELS, "--op", "linear", "--plot", self.path("none", "a.png"), "--rounds", "2", words=["--rounds"])


class Training(Workplace):
    def test_the_report(self):
        text = self.run_program(*TRAIN).stdout
        for word in ("rezero-resnet8, batch 4, f32, cpu (1 threads", "images/s  ", "memory floor", "roofline floor",
                     "peak memory", "seen in an eager pass of its own", "conv2d_backward_weight", "between operations"):
            self.assertIn(word, text)

    def test_json_and_chart(self):
        result = json.loads(self.run_program(*TRAIN, "--amp", "bf16", "--json", "--plot", self.path("step.png")).stdout)
        self.assertEqual((result["model"], result["dtype"], result["batch_size"]), ("rezero-resnet8", "bf16", 4))
        self.assertEqual(len(result["windows"]), 3)
        self.assertTrue(all(rate > 0 for rate in result["windows"]))
        self.assertEqual(result["images_per_second"], sorted(result["windows"])[1])
        self.assertEqual(result["step_mode"], "planned")
        calls = {}
        for line in result["operations"]:  # an operation has a line for each row that served it
            calls[line["operation"]] = calls.get(line["operation"], 0) + line["calls"]
        self.assertEqual(round(calls["conv2d_forward"]), 9)
        self.assertEqual(round(calls["conv2d_backward_data"]), 8)
        self.assertEqual(round(sum(calls.values())), round(result["calls"]))
        self.assertLessEqual(sum(line["ms"] for line in result["operations"]), result["observed_step_ms"] * 1.001)
        self.assertGreater(result["floor"]["roofline_ms"], 0)
        self.assertGreater(result["peak_bytes"], 10000 * 32 * 32 * 3)
        self.assertEqual(pixels(self.path("step.png"))[0][0], 1920)

    def test_refusals(self):
        self.refused("bench", "train", "--device", "simt", words=["simt"])
        self.refused("bench", "train", "--steps", "0", words=["--steps"])
        self.refused("bench", "train", "--plot", "chart.jpg", words=["--plot"])
        self.refused("bench", "train", "--model", "resnet21", words=["resnet21"])
        self.refused("bench", "train", "--device", "cpu", "--impl", "conv2d=none", words=["'none'"])


if __name__ == "__main__":
    unittest.main()
