"""Runs the program as a person does and looks at what comes out.

usage: program_test.py ZEROTH [unittest arguments]
"""

import fcntl
import json
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

from workplace import TINY, Workplace, ZEROTH


class CommandLine(Workplace):
    def test_version_is_quick(self):
        def processor_time():
            spent = resource.getrusage(resource.RUSAGE_CHILDREN)
            return spent.ru_utime + spent.ru_stime

        times = []
        for _ in range(10):
            start = processor_time()
            self.assertRegex(self.run_program("--version").stdout, r"^zeroth \d+\.\d+\.\d+[ ,].*\n$")
            times.append(processor_time() - start)
        # The aim is 0.02 s. Of the processor, not on the clock: machines that test are busy.
        self.assertLess(min(times), 0.2)

    def test_help_has_an_example(self):
        for command in ([], ["train"], ["eval"], ["eval-all"], ["plot"], ["compare"], ["predict"], ["export"], ["info"],
                        ["data"], ["data", "fetch"], ["data", "verify"], ["data", "generate"],
                        ["bench"], ["bench", "kernels"], ["bench", "train"], ["recipes"],
                        ["reproduce"]):
            shown = self.run_program(*command, "--help").stdout
            self.assertIn("Example:\n  zeroth " + " ".join(command), shown)
            self.assertLessEqual(max(len(line) for line in shown.splitlines()), 81)

    def test_unknown_words_are_refused(self):
        self.refused("trian", words=["'trian'", "did you mean 'train'?"])
        self.refused("--batch-size", "3", words=["'--batch-size'"])
        self.refused("train", "--batchsize", "64", words=["'--batchsize'", "did you mean '--batch-size'?"])
        self.refused("train", "--batchsize=64", words=["did you mean '--batch-size'?"])
        self.refused("train", "extra", words=["'extra'"])
        self.refused("eval", words=["RUN"])
        self.refused("eval", "x", "--lr", "1", words=["'--lr'"])
        self.refused("data", words=["fetch, verify, generate"])
        self.refused("data", "fech", words=["did you mean 'fetch'?"])
        self.refused("info", "--residual", "post", words=["--model"])
        self.assertIn("zeroth train", self.run_program(code=2).stderr)

    def test_values_are_refused_by_flag(self):
        for flag, values in {"--lr": ["nan", "inf", "-1", "0", "1e999", "0.1x", ""], "--epochs": ["0", "-3", "1.5", "9e9"],
                             "--batch-size": ["99999999999999999999", "x"], "--threads": ["0"],
                             "--betas": ["0.9"], "--model": ["resnet21", "vgg"], "--optimizer": ["lion"],
                             "--device": ["gpu"], "--seed": ["-1"]}.items():
            for value in values:
                self.refused("train", flag, value, words=[flag if flag != "--model" else "no model"])
        self.refused("train", "--lr", words=["--lr"])
        self.refused("train", "--impl", "conv3d=cpu", "--data", self.data, words=["conv3d", "conv2d"])
        self.refused("train", "--impl", "conv2d=none", "--data", self.data, "--device", "cpu",
                     words=["'none'", "reference"])

    def test_environment_and_file(self):
        self.refused("train", environment={"ZEROTH_LR": "nan"}, words=["ZEROTH_LR", "nan"])
        self.refused("train", environment={"ZEROTH_EPOCH": "3"}, words=["did you mean 'ZEROTH_EPOCHS'?"])
        config = self.path("my.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("epochs = 1\nlearning_rate = 0.1\n")
        self.refused("train", "--config", config, words=["my.toml:2:1", "learning_rate"])
        self.refused("train", environment={"ZEROTH_CONFIG": config}, words=["my.toml:2:1"])
        self.refused("train", "--config", self.path("none.toml"), words=["none.toml"])

    def test_no_such_device(self):
        devices = json.loads(self.run_program("info", "--json").stdout)["devices"]
        if not devices.get("cuda", {"available": True})["available"]:
            self.refused("train", "--device", "cuda", "--data", self.data, code=4, words=["CUDA"])
        self.refused("train", "--device", "cuda:99", "--data", self.data, code=4)

    def test_info(self):
        text = self.run_program("info").stdout
        for word in ("processor", "devices", "data", "recipes", "conv2d", "quick", "zeroth data fetch cifar10"):
            self.assertIn(word, text)
        machine = json.loads(self.run_program("info", "--json").stdout)
        self.assertIn("reference", machine["operations"]["conv2d"]["cpu"])
        table = self.run_program("info", "--model", "rezero-resnet56").stdout
        self.assertIn("855,797", table)
        model = json.loads(self.run_program("info", "--model", "resnet110", "--shortcut", "A", "--json").stdout)
        self.assertEqual(model["parameters"], 1727962)
        self.assertEqual(sum(layer["parameters"] for layer in model["layers"]), 1727962)
        self.assertLessEqual(max(len(line) for line in table.splitlines()), 80)

    def test_results_that_cannot_be_written_are_an_error(self):
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([ZEROTH, "info"], env=self.environment, stdout=full, stderr=subprocess.PIPE,
                                      text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("No space left", done.stderr)
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([ZEROTH, "info"], env=self.environment, stdout=writing, check=False)
        os.close(writing)
        self.assertEqual(done.returncode, 0)


class Training(Workplace):
    def test_a_run_and_its_folder(self):
        done = self.train("run", "--epochs", "2", "--save-every", "1")
        self.assertRegex(done.stdout, r"^test error \d+\.\d\d % of 20 pictures, loss \d+\.\d+, generated, after 8 steps: ")
        self.assertIn("generated", done.stderr)
        self.assertEqual(sorted(os.listdir(self.path("run"))), [".lock", "checkpoints", "config.toml", "log.jsonl", "summary.csv"])
        self.assertEqual(sorted(os.listdir(self.path("run", "checkpoints"))),
                         ["best.safetensors", "epoch-00001.safetensors", "epoch-00002.safetensors", "last.safetensors"])
        log, summary = self.log("run"), self.summary("run")
        self.assertEqual([line["step"] for line in log], [4, 8])
        self.assertTrue(all(line["data"] == "generated" and line["loss"] > 0 and line["images_per_second"] > 0
                            for line in log))
        self.assertEqual([row["epoch"] for row in summary], ["1", "2"])
        self.assertTrue(all(row["data"] == "generated" and row["test_error"] for row in summary))
        self.assertIn(f"test error {100 * float(summary[-1]['test_error']):.2f} %", done.stdout)
        with open(self.path("run", "config.toml"), encoding="utf-8") as file:
            config = file.read()
        for line in ('model = "rezero-resnet8"', "batch_size = 10", 'recipe = "quick"', "# alpha_lr: as lr"):
            self.assertIn(line, config)

        # The kept configuration says everything: it makes the same network, bit for bit.
        again = self.run_program("train", "--config", self.path("run", "config.toml"), "--out", self.path("again"),
                                 "--threads", "1")
        self.assertEqual(again.stdout.split(":")[0], done.stdout.split(":")[0])
        self.assertEqual(self.digest("run", "checkpoints", "last.safetensors"),
                         self.digest("again", "checkpoints", "last.safetensors"))
        # And another seed makes another one.
        self.train("other", "--epochs", "2", "--seed", "1")
        self.assertNotEqual(self.digest("run", "checkpoints", "last.safetensors"),
                            self.digest("other", "checkpoints", "last.safetensors"))

    def test_out_onto_something(self):
        self.train("first", "--max-steps", "1")
        self.refused("train", *TINY, "--data", self.data, "--out", self.path("first"), words=["--resume"])
        self.refused("train", *TINY, "--data", self.data, "--out", self.data, words=["no empty folder"])
        os.mkdir(self.path("empty"))
        self.train("empty", "--max-steps", "1")

    def test_default_folder_is_printed(self):
        done = self.run_program("train", *TINY, "--data", self.data, "--max-steps", "1")
        found = re.search(r"runs/rezero-resnet8-\d{8}-\d{6}", done.stdout)
        self.assertIsNotNone(found, done.stdout)
        self.assertTrue(os.path.isfile(self.path(found[0], "checkpoints", "last.safetensors")))
        # The newest of them is what auto means.
        resumed = self.run_program("train", "--resume", "auto", "--max-steps", "2")
        self.assertIn(found[0], resumed.stdout)

    def test_keep_and_validation(self):
        self.train("kept", "--epochs", "3", "--save-every", "1", "--keep", "2", "--val-split", "10")
        names = sorted(os.listdir(self.path("kept", "checkpoints")))
        self.assertEqual([name for name in names if name.startswith("epoch")],
                         ["epoch-00002.safetensors", "epoch-00003.safetensors"])
        rows = self.summary("kept")
        self.assertEqual([row["step"] for row in rows], ["3", "6", "9"])  # 30 pictures are left to train on
        self.assertTrue(all(row["validation_error"] and not row["test_error"] for row in rows))

    def test_quiet(self):
        done = self.train("quiet", "--max-steps", "1", "--quiet")
        self.assertEqual(done.stderr, "")
        self.assertTrue(done.stdout.startswith("test error"))

    def test_json(self):
        result = json.loads(self.train("json", "--max-steps", "1", "--json").stdout)
        self.assertEqual((result["steps"], result["test_pictures"], result["data"]), (1, 20, "generated"))

    def test_diverging_and_missing_a_target(self):
        done = self.train("diverged", "--lr", "1e25", "--epochs", "3", "--warmup", "0", code=6)
        self.assertIn("is not finite, first the output of", done.stderr)
        self.assertIn("misses --target-acc", self.train("missed", "--max-steps", "1", "--target-acc", "1", code=6).stderr)

    def test_init_takes_weights_only(self):
        self.train("source", "--epochs", "1")
        weights = self.path("source", "checkpoints", "last.safetensors")
        self.train("begun", "--init", weights, "--max-steps", "1")
        self.assertEqual([line["step"] for line in self.log("begun")], [1])
        self.refused("train", *TINY, "--model", "resnet14", "--data", self.data, "--init", weights, code=3,
                     words=["resnet8 with residual post", "resnet14 with residual plain"])
        self.refused("train", *TINY, "--data", self.data, "--init", self.path("none"), code=3, words=["none"])

    def test_optimizers_and_schedules(self):
        for index, flags in enumerate((["--optimizer", "adamw", "--lr", "0.001", "--betas", "0.8,0.9"],
                                       ["--optimizer", "adam", "--lr", "0.001", "--schedule", "constant"],
                                       ["--recipe", "resnet-short", "--milestones", "1", "--epochs", "2"],
                                       ["--residual", "authors", "--shortcut", "A", "--alpha-lr", "0.01"],
                                       ["--augment", "none", "--normalize", "none", "--label-smoothing", "0.1"])):
            self.train(f"kind{index}", "--epochs", "2", *flags)
        rates = [float(row["lr"]) for row in self.summary("kind2")]
        self.assertAlmostEqual(rates[1], rates[0] / 10)

    def test_a_plateau_is_remembered_across_a_resume(self):
        flags = ["--schedule", "plateau", "--plateau-patience", "0", "--plateau-cooldown", "1", "--warmup", "0",
                 "--plateau-threshold", "0.2", "--epochs", "8"]
        done = self.train("plateau", *flags)
        self.assertIn("learning rate", done.stderr)
        rates = [float(row["lr"]) for row in self.summary("plateau")]
        self.assertLess(rates[-1], 0.01)
        self.train("parts", *flags, "--max-steps", "10")  # in the middle of an epoch
        for steps in ("20", "32"):
            self.run_program("train", "--resume", self.path("parts"), "--max-steps", steps)
        self.assertEqual([float(row["lr"]) for row in self.summary("parts")], rates)
        self.assertEqual(self.digest("plateau", "checkpoints", "last.safetensors"),
                         self.digest("parts", "checkpoints", "last.safetensors"))
        self.refused("train", "--schedule", "step", "--milestones", "1", "--plateau-patience", "3",
                     words=["--plateau-patience has no effect: it goes with --schedule plateau"])
        self.refused("train", "--schedule", "one-cycle", "--warmup", "1", words=["--warmup has no effect"])

    def test_early_stop(self):
        # A rate too high to learn with: no later epoch is as good as the best for long.
        flags = ["--epochs", "40", "--early-stop", "3", "--lr", "0.5", "--schedule", "constant", "--save-every", "0"]
        done = self.train("early", *flags)
        stopped = re.search(r"stopped early after epoch (\d+): 3 epochs below the best accuracy", done.stderr)
        self.assertIsNotNone(stopped, done.stderr)
        errors = [float(row["test_error"]) for row in self.summary("early")]
        self.assertEqual(len(errors), int(stopped[1]))
        self.assertTrue(all(error > min(errors) for error in errors[-3:]))
        self.assertEqual(min(errors), errors[-4])
        # It stays stopped; with more patience it goes on.
        again = self.run_program("train", "--resume", self.path("early"))
        self.assertEqual(len(self.summary("early")), len(errors))
        self.assertIn(f"after {4 * len(errors)} steps", again.stdout)
        self.run_program("train", "--resume", self.path("early"), "--early-stop", "100", "--epochs", str(len(errors) + 1))
        self.assertEqual(len(self.summary("early")), len(errors) + 1)

    def test_a_file_size_limit_is_an_error(self):
        self.train("limited", "--epochs", "1")
        before = self.digest("limited", "checkpoints", "last.safetensors")
        done = self.run_program("train", "--resume", self.path("limited"), "--epochs", "2", code=1,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000)))
        self.assertIn("File too large", done.stderr)
        self.assertEqual(self.digest("limited", "checkpoints", "last.safetensors"), before)
        self.run_program("train", "--resume", self.path("limited"), "--epochs", "2")

    def test_the_cuda_kernels_on_the_cpu(self):
        done = self.train("simt", "--device", "simt", "--max-steps", "2", "--json")
        reference = self.train("cpu", "--device", "cpu", "--max-steps", "2", "--json")
        self.assertAlmostEqual(json.loads(done.stdout)["test_loss"], json.loads(reference.stdout)["test_loss"], places=3)


class Interruption(Workplace):
    def test_resuming_gives_the_same_bits(self):
        self.train("straight", "--epochs", "3")
        for stop in ("4", "5", "7"):  # at an epoch's end, and within one
            out = "stopped" + stop
            self.train(out, "--epochs", "3", "--max-steps", stop)
            self.assertEqual(self.log(out)[-1]["step"], int(stop))
            done = self.run_program("train", "--resume", self.path(out), "--threads", "1")
            self.assertIn("after 12 steps", done.stdout)
            self.assertEqual(self.digest("straight", "checkpoints", "last.safetensors"),
                             self.digest(out, "checkpoints", "last.safetensors"))
            losses = [[row["train_loss"], row["test_error"]] for row in self.summary(out)]
            self.assertEqual(losses, [[row["train_loss"], row["test_error"]] for row in self.summary("straight")])

    def test_resuming_an_earlier_checkpoint_cuts_the_log(self):
        self.train("early", "--epochs", "3", "--save-every", "1")
        end = self.digest("early", "checkpoints", "last.safetensors")
        first = self.path("early", "checkpoints", "epoch-00001.safetensors")
        self.run_program("train", "--resume", first, "--max-steps", "6", "--threads", "1")
        self.assertEqual([line["step"] for line in self.log("early")], [4, 6])
        self.run_program("train", "--resume", self.path("early"), "--threads", "1")
        self.assertEqual(end, self.digest("early", "checkpoints", "last.safetensors"))
        self.run_program("train", "--resume", first, "--max-steps", "8", "--out", self.path("forked"))
        self.assertEqual([line["step"] for line in self.log("forked")], [4, 8])
        self.assertEqual(len(self.summary("forked")), 2)
        self.assertEqual(len(self.summary("early")), 3)

    def test_a_changed_setting_is_refused_by_name(self):
        self.train("fixed", "--epochs", "1")
        run = self.path("fixed")
        self.refused("train", "--resume", run, "--batch-size", "5", words=["--batch-size 5", "10"])
        self.refused("train", "--resume", run, environment={"ZEROTH_LR": "0.5"}, words=["ZEROTH_LR"])
        self.run_program("train", "--resume", run, "--batch-size", "10", "--epochs", "2")
        other = self.path("other-pictures")
        self.run_program("data", "generate", "generated", "--out", other, "--train", "40", "--test", "20", "--seed", "9")
        self.refused("train", "--resume", run, "--data", other, code=3, words=["other pictures"])
        moved = self.path("moved")
        shutil.copytree(self.data, moved)
        self.run_program("train", "--resume", run, "--data", moved, "--epochs", "3")

    def test_what_cannot_be_resumed(self):
        self.refused("train", "--resume", self.path("nowhere"), code=3, words=["nowhere"])
        self.refused("train", "--resume", self.data, code=3, words=["no checkpoint"])
        done = self.train("fresh", "--resume", "auto", "--max-steps", "1")
        self.assertIn("a new run begins", done.stderr)
        self.train("fresh", "--resume", "auto", "--max-steps", "2")
        with open(self.path("junk.safetensors"), "wb") as file:
            file.write(b"<html>not a checkpoint</html>")
        self.refused("train", "--resume", self.path("junk.safetensors"), code=3, words=["junk.safetensors"])

    def interrupt(self, out, number, code):
        process = subprocess.Popen([ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path(out), "--epochs",
                                    "1000", "--save-every", "0"], env=self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not os.path.exists(self.path(out, "checkpoints", "last.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, errors)
        self.assertEqual(output, "")
        step = int(re.search(r"after step (\d+) and saved", errors)[1])
        self.assertIn(f"zeroth train --resume {self.path(out)}", errors)
        return step

    def test_signals_save_and_the_rest_follows_bit_for_bit(self):
        for out, number, code in (("int", signal.SIGINT, 130), ("term", signal.SIGTERM, 143)):
            step = self.interrupt(out, number, code)
            self.run_program("train", "--resume", self.path(out), "--max-steps", str(step + 3), "--threads", "1")
            self.train(out + "-straight", "--epochs", "1000", "--save-every", "0", "--max-steps", str(step + 3))
            self.assertEqual(self.digest(out, "checkpoints", "last.safetensors"),
                             self.digest(out + "-straight", "checkpoints", "last.safetensors"))


class Evaluation(Workplace):
    def test_every_picture_counts_once(self):
        trained = json.loads(self.train("run", "--epochs", "1", "--json").stdout)
        result = json.loads(self.run_program("eval", self.path("run"), "--json").stdout)
        self.assertEqual((result["pictures"], result["data"], result["step"]), (20, "generated", 4))
        self.assertEqual(result["loss"], trained["test_loss"])
        self.assertEqual(result["error"], trained["test_error"])
        self.assertEqual(len(result["class_accuracy"]), 10)
        self.assertAlmostEqual(sum(result["class_accuracy"].values()) / 10, 1 - result["error"])
        text = self.run_program("eval", self.path("run", "checkpoints", "last.safetensors")).stdout
        self.assertIn("generated", text)
        self.assertIn("of 20 pictures", text)

    def test_the_validated_checkpoint(self):
        self.train("validated", "--epochs", "2", "--val-split", "10")
        self.assertIn("best.safetensors", self.run_program("eval", self.path("validated")).stdout)

    def test_what_cannot_be_evaluated(self):
        self.train("damaged", "--max-steps", "1")
        path = self.path("damaged", "checkpoints", "last.safetensors")
        with open(path, "rb") as file:
            whole = file.read()
        with open(path, "wb") as file:
            file.write(whole[:-1])
        self.refused("eval", self.path("damaged"), code=3, words=["last.safetensors"])
        self.refused("eval", self.path("absent"), code=3, words=["absent"])
        header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header + bytes(4))
        self.refused("eval", path, code=3, words=["no checkpoint of zeroth"])


class DataSets(Workplace):
    def test_not_found(self):
        self.refused("train", "--data", "cifar10", code=3, words=["zeroth data fetch cifar10"])
        self.refused("train", "--data", self.path("nothing"), code=3, words=["nothing"])
        self.refused("train", environment={"ZEROTH_DATA": self.path("nothing")}, code=3, words=["ZEROTH_DATA"])

    def test_no_data_at_all_means_generated_and_says_so(self):
        done = self.run_program("train", "--model", "resnet8", "--max-steps", "1", "--out", self.path("none"))
        self.assertIn("no CIFAR-10 found: training on the generated pictures", done.stderr)
        self.assertIn("generated", done.stdout)
        self.assertEqual(self.log("none")[0]["data"], "generated")

    def test_verify(self):
        self.assertIn("40", self.run_program("data", "verify", self.data).stdout)
        report = json.loads(self.run_program("data", "verify", self.data, "--json").stdout)
        self.assertTrue(report["balanced"])
        self.assertEqual([entry["train"] for entry in report["classes"]], [4] * 10)
        self.refused("data", "verify", self.path("nothing"), code=3)

    def test_damaged_files(self):
        damaged = self.path("damaged")
        shutil.copytree(self.data, damaged)
        name = next(name for name in sorted(os.listdir(damaged)) if name.startswith("data_batch"))
        with open(os.path.join(damaged, name), "r+b") as file:
            file.write(b"\x0a")  # label 10
        self.refused("train", "--data", damaged, code=3, words=[name, "10"])
        with open(os.path.join(damaged, name), "wb") as file:
            file.write(bytes(100))
        self.refused("train", "--data", damaged, code=3, words=[name])

    def test_fetch(self):
        self.refused("data", "fetch", "cifar11", words=["cifar11"])
        page = self.path("page.tar.gz")
        with open(page, "w", encoding="utf-8") as file:
            file.write("<!DOCTYPE html><html>404</html>")
        self.refused("data", "fetch", "cifar10", "--from", page, "--quiet", code=3, words=["page.tar.gz"])
        self.refused("data", "generate", "generated", "--train", "-1", words=["--train"])


class Terminal(Workplace):
    def watch(self, columns, *arguments, environment=None):
        """The bytes a terminal of that width gets."""
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.scratch)
            fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execve(ZEROTH, [ZEROTH, *arguments], {**self.environment, "TERM": "xterm", **(environment or {})})
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, shown)
        os.close(master)
        return shown.decode()

    def test_one_line_is_redrawn_and_fits(self):
        for columns in (20, 40, 80, 200):
            shown = self.watch(columns, "train", *TINY, "--data", self.data, "--out", self.path(f"wide{columns}"),
                               "--epochs", "20", "--save-every", "0")
            found = re.findall(r"\r\x1b\[K([^\r\n]*)", shown.replace("\r\x1b[K", "\n\r\x1b[K"))
            redrawn = [text for text in found if re.match(r"epoch \d+/\d+(  |$)", text)]
            self.assertTrue(redrawn, shown)
            for text in redrawn:
                self.assertLess(len(text), columns)
                self.assertTrue(text.startswith("epoch "))
            if columns >= 80:
                self.assertTrue(all("generated" in text and "ETA" in text for text in redrawn))
            self.assertNotIn("\x1b[1m", shown)

    def test_colour_and_pipes(self):
        shown = self.watch(80, "train", *TINY, "--data", self.data, "--out", self.path("colour"), "--epochs", "3",
                           environment={"NO_COLOR": ""})
        self.assertIn("\x1b[1m", shown)
        plain = self.train("pipe", "--epochs", "3").stderr
        self.assertNotIn("\x1b", plain)
        self.assertNotIn("\r", plain)
        self.assertIn("epoch 3/3  step 4/4  loss", plain)


if __name__ == "__main__":
    unittest.main()
