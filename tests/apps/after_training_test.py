"""What a person does with runs that have ended: plot, compare, evaluate, export, watch.

usage: after_training_test.py ZEROTH [unittest arguments]
"""

import csv
import glob
import json
import os
import re
import struct

from workplace import Workplace, main


def finished_run(folder, errors, data="cifar10", held_out="test", seconds=2.0):
    """Writes a run folder as `zeroth train` leaves it, of runs longer than a test may take."""
    os.makedirs(folder)
    with open(os.path.join(folder, "config.toml"), "w", encoding="utf-8") as file:
        file.write('model = "resnet20"\nepochs = %d\n' % max(len(errors), 1))
    with open(os.path.join(folder, "log.jsonl"), "w", encoding="utf-8") as steps, \
            open(os.path.join(folder, "summary.csv"), "w", encoding="utf-8") as epochs:
        epochs.write("epoch,step,lr,train_loss,train_error,validation_loss,validation_error,test_loss,test_error,"
                     "images_per_second,seconds,data\n")
        for epoch, (train, held) in enumerate(errors, 1):
            steps.write(json.dumps({"step": 10 * epoch, "epoch": epoch, "loss": train * 3, "error": train, "lr": 0.1 / epoch,
                                    "images_per_second": 500, "data": data}) + "\n")
            columns = f"{held * 3},{held},," if held_out == "validation" else f",,{held * 3},{held}"
            epochs.write(f"{epoch},{10 * epoch},{0.1 / epoch},{train * 3},{train},{columns},500,{seconds},{data}\n")
    return folder


class Plot(Workplace):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first = finished_run(os.path.join(cls.scratch, "first"), [(0.5, 0.6), (0.3, 0.4), (0.2, 0.45)])
        cls.second = finished_run(os.path.join(cls.scratch, "second"), [(0.6, 0.7), (0.5, 0.35)], "generated", "validation")

    def words(self, *arguments):
        """The texts of an SVG plot."""
        out = self.path("plot.svg")
        self.assertEqual(self.run_program("plot", *arguments, "--out", out).stdout, out + "\n")
        with open(out, encoding="utf-8") as file:
            return re.findall(r"<text[^>]*>([^<]*)</text>", file.read())

    def test_what_is_shown_is_said(self):
        words = self.words(self.first, self.second)
        for word in ("Error by epoch", "data: cifar10 and generated", "epochs", "error, %", "first, best 40.00 %",
                     "second (generated), best 35.00 %", "validation or test", "training"):
            self.assertIn(word, words)
        self.assertIn("first, best 1.200", self.words(self.first, "--what", "loss"))
        self.assertIn("first, best 60.00 %", self.words(self.first, "--what", "accuracy", "--title", "Mine"))
        words = self.words(self.second, "--what", "lr")
        self.assertIn("second (generated)", words)
        self.assertNotIn("training", words)

    def test_a_range_of_epochs(self):
        words = self.words(self.first, "--epochs", "0:1")
        self.assertIn("first, best 60.00 %", words)
        self.assertNotIn("3", words)
        self.assertIn("first, best 45.00 %", self.words(self.first, "--epochs", "3:"))
        self.refused("plot", self.first, "--epochs", "7:9", "--out", self.path("x.png"), words=["7:9", "no run"])

    def test_png(self):
        out = self.path("plot.png")
        self.run_program("plot", self.first, "--smooth", "3", "--log", "--out", out)
        with open(out, "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_a_run_within_its_first_epoch(self):
        self.train("young", "--max-steps", "2")
        self.assertIn("young (generated)", self.words(self.path("young")))

    def test_bad_input(self):
        out = self.path("never.png")
        self.refused("plot", self.path("nowhere"), "--out", out, code=3, words=["nowhere"])
        self.refused("plot", self.data, "--out", out, code=3, words=["no run folder", "config.toml"])
        self.refused("plot", self.first, "--out", self.path("never.jpg"), words=[".png"])
        self.refused("plot", self.first, words=["--out"])
        self.refused("plot", "--out", out, words=["RUN"])
        for flag, value in (("--what", "los"), ("--epochs", "3"), ("--epochs", "5:2"), ("--smooth", "0")):
            self.refused("plot", self.first, "--out", out, flag, value, words=[flag, value])
        empty = finished_run(self.path("empty"), [])
        self.refused("plot", empty, "--out", out, code=3, words=["log.jsonl", "no record"])
        os.remove(os.path.join(empty, "log.jsonl"))
        self.refused("plot", empty, "--out", out, code=3, words=["log.jsonl"])
        broken = finished_run(self.path("broken"), [(0.5, 0.5)])
        with open(os.path.join(broken, "summary.csv"), "a", encoding="utf-8") as file:
            file.write("2,x\n")
        self.refused("plot", broken, "--out", out, code=3, words=["summary.csv:3"])
        self.assertFalse(os.path.exists(out))


class Compare(Workplace):
    def test_numbers(self):
        first = finished_run(self.path("first"), [(0.5, 0.6), (0.15, 0.4), (0.09, 0.45)])
        second = finished_run(self.path("second"), [(0.6, 0.7)], "generated", "validation")
        entries = json.loads(self.run_program("compare", first, second, "--json").stdout)
        self.assertEqual(
            [entries[0][key] for key in ("run", "model", "epochs", "steps", "final_error", "best_error", "best_epoch",
                                         "epochs_to_80", "epochs_to_90", "seconds", "held_out", "parameters")],
            [first, "resnet20", 3, 30, 0.45, 0.4, 2, 2, 3, 6.0, "test", None])
        self.assertAlmostEqual(entries[0]["images_per_second"], 500)
        self.assertEqual([entries[1][key] for key in ("held_out", "final_error", "epochs_to_80")], ["validation", 0.7, None])
        text = self.run_program("compare", first, second).stdout
        for word in ("first ", "second (generated)", "45.00 %", "40.00 %", "validation"):
            self.assertIn(word, text)
        # Two runs whose folders have the same name are told apart by their paths.
        other = finished_run(self.path("other", "first"), [(0.5, 0.6)])
        self.assertIn(other, self.run_program("compare", first, other).stdout)

    def test_a_real_run(self):
        self.train("run", "--epochs", "1")
        entry = json.loads(self.run_program("compare", self.path("run"), "--json").stdout)[0]
        parameters = json.loads(self.run_program("info", "--model", "rezero-resnet8", "--json").stdout)["parameters"]
        self.assertEqual((entry["parameters"], entry["epochs"], entry["data"]), (parameters, 1, "generated"))
        self.assertGreater(entry["seconds"], 0)
        self.refused("compare", self.path("run"), self.path("nowhere"), code=3, words=["nowhere"])


class EvalAll(Workplace):
    def test_every_checkpoint_and_a_damaged_one(self):
        self.train("run", "--epochs", "3", "--save-every", "1", "--max-steps", "10")
        run, table, picture = self.path("run"), self.path("table.csv"), self.path("picture.svg")
        flags = ["--data", self.data, "--threads", "1", "--quiet"]
        done = self.run_program("eval-all", run, *flags, "--csv", table, "--plot", picture)
        self.assertEqual(done.stdout.count("best"), 1)
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["step"] for row in rows], ["4", "8", "10"])
        self.assertEqual(rows[2]["checkpoint"], "last.safetensors")
        self.assertEqual(float(rows[2]["epochs"]), 2.5)
        self.assertTrue(all(row["data"] == "generated" for row in rows))
        with open(picture, encoding="utf-8") as file:
            self.assertIn("generated", file.read())
        single = json.loads(self.run_program("eval", run, *flags, "--json").stdout)
        self.assertEqual((single["loss"], single["error"]), (float(rows[2]["test_loss"]), float(rows[2]["test_error"])))

        with open(os.path.join(run, "checkpoints", "epoch-00001.safetensors"), "r+b") as file:
            file.truncate(1000)
        done = self.run_program("eval-all", run, *flags, "--json", code=3)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.assertIn("epoch-00001.safetensors", done.stderr)
        result = json.loads(done.stdout)
        self.assertIn(4, [entry["step"] for entry in result["checkpoints"]] + [4])
        self.assertTrue({8, 10} <= {entry["step"] for entry in result["checkpoints"]})
        self.assertIn(result["best"], [entry["checkpoint"] for entry in result["checkpoints"]])

    def test_bad_input(self):
        self.refused("eval-all", self.path("nowhere"), code=3, words=["nowhere"])
        self.refused("eval-all", self.data, code=3, words=["no checkpoint"])
        self.refused("eval-all", self.data, "--plot", "x.gif", words=[".png"])


def records(path):
    """The TFRecords of an event file: the lengths must lead from one to the next."""
    with open(path, "rb") as file:
        rest = file.read()
    found = []
    while rest:
        length = struct.unpack("<Q", rest[:8])[0]
        found.append(rest[12:12 + length])
        rest = rest[16 + length:]
    return found


class EventFiles(Workplace):
    def event_files(self, out):
        return sorted(glob.glob(self.path(out, "events.out.tfevents.*")))

    def test_one_file_a_process(self):
        self.train("plain", "--epochs", "1")
        self.assertEqual(self.event_files("plain"), [])
        self.train("run", "--epochs", "2", "--max-steps", "4", "--tensorboard")
        self.assertEqual(len(self.event_files("run")), 1)
        self.run_program("train", "--resume", self.path("run"), "--max-steps", "8", "--threads", "1")
        self.assertEqual(len(self.event_files("run")), 2)
        self.assertEqual([len(records(file)) for file in self.event_files("run")], [3, 4])

    def test_a_fork_and_half_a_record(self):
        self.train("whole", "--epochs", "2", "--save-every", "1", "--tensorboard")
        with open(self.event_files("whole")[0], "ab") as file:
            file.write(b"\x10\x00\x00\x00\x00\x00\x00\x00half")
        first = self.path("whole", "checkpoints", "epoch-00001.safetensors")
        self.run_program("train", "--resume", first, "--out", self.path("fork"), "--threads", "1")
        self.assertEqual([len(records(file)) for file in self.event_files("fork")], [3, 4])
        # What goes on in place, from an earlier step, keeps what came after it aside.
        self.run_program("train", "--resume", first, "--threads", "1")
        self.assertEqual(len(self.event_files("whole")), 2)
        self.assertEqual(len(self.event_files("whole/abandoned-1")), 1)


class TensorBoard(Workplace):
    def scalars(self, out):
        """What TensorBoard sees: {tag: [(step, value)]}."""
        try:
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        except ImportError:
            self.skipTest("no tensorboard in this Python")
        accumulator = EventAccumulator(self.path(out))
        accumulator.Reload()
        return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
                for tag in accumulator.Tags()["scalars"]}

    def test_tensorboard_reads_what_the_log_says(self):
        self.train("run", "--epochs", "3", "--val-split", "10", "--save-every", "1", "--tensorboard")
        # Going on from an earlier step leaves nothing twice.
        first = self.path("run", "checkpoints", "epoch-00001.safetensors")
        self.run_program("train", "--resume", first, "--threads", "1")
        seen, log, summary = self.scalars("run"), self.log("run"), self.summary("run")
        for tag, key in (("loss", "loss"), ("error", "error"), ("lr", "lr"), ("images_per_second", "images_per_second")):
            self.assertEqual([step for step, _ in seen["train/" + tag]], [line["step"] for line in log])
            for (_, value), line in zip(seen["train/" + tag], log):
                self.assertAlmostEqual(value, line[key], delta=1e-6 * max(1.0, abs(line[key])))
        for tag in ("loss", "error"):
            self.assertEqual([step for step, _ in seen["validation/" + tag]], [int(row["step"]) for row in summary])
            for (_, value), row in zip(seen["validation/" + tag], summary):
                self.assertAlmostEqual(value, float(row["validation_" + tag]), places=5)
        self.assertNotIn("test/loss", seen)


if __name__ == "__main__":
    main()
