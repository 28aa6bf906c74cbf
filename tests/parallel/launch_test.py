"""Ranks from outside: started by zeroth itself, by torchrun, by mpirun's variables.

    launch_test.py ZEROTH [TEST CASE]
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time

from rank_processes import TINY, ZEROTH, RankWorkplace, free_port, host, main

TWO = ["--ranks", "2", "--device", "cpu", "--batch-size", "5"]


class Launching(RankWorkplace):
    def test_ranks_train_one_run(self):
        done = self.train("one", *TWO, "--epochs", "2", "--val-split", "10")
        self.assertIn("of 20 pictures", done.stdout)
        self.assertNotIn("rank 1", done.stderr)
        self.assertEqual([row["epoch"] for row in self.summary("one")], ["1", "2"])
        again = self.train("again", *TWO, "--epochs", "2", "--val-split", "10")
        self.assertEqual(done.stdout.split(":")[0], again.stdout.split(":")[0])
        self.assertEqual(self.digest("one", "checkpoints", "last.safetensors"),
                         self.digest("again", "checkpoints", "last.safetensors"))

    def test_strategies_give_the_same_bits(self):
        for strategy in ("ddp", "zero1", "zero2", "gemini"):
            self.train(strategy, *TWO, "--max-steps", "3", "--parallel", strategy)
        tensors = {strategy: self.tensors_of(strategy) for strategy in ("ddp", "zero1", "zero2", "gemini")}
        self.assertGreater(len(tensors["ddp"]), 2 * 4 * 78045)  # weights and momenta
        for strategy in ("zero1", "zero2", "gemini"):
            self.assertEqual(tensors["ddp"], tensors[strategy], strategy)

    def test_ranks_that_normalise_together_take_the_steps_of_one(self):
        """The first losses, as training is chaotic: a bit more or less shows after some ten steps."""
        self.train("alone", "--device", "cpu", "--batch-size", "10", "--max-steps", "3")
        self.train("together", *TWO, "--max-steps", "3", "--bn", "sync")
        self.train("apart", *TWO, "--max-steps", "3", "--bn", "local")
        alone, together, apart = [self.log(out)[-1]["loss"] for out in ("alone", "together", "apart")]
        self.assertAlmostEqual(alone, together, delta=1e-4 * abs(alone))
        self.assertNotAlmostEqual(alone, apart, delta=1e-3 * abs(alone))

    def tensors_of(self, out):
        """The bytes of all tensors of the last checkpoint: safetensors without its header."""
        with open(self.path(out, "checkpoints", "last.safetensors"), "rb") as file:
            file.seek(8 + struct.unpack("<Q", file.read(8))[0])
            return file.read()

    def test_a_resumed_run_has_the_bits_of_one_long_run(self):
        self.train("straight", *TWO, "--epochs", "3")
        self.train("stopped", *TWO, "--epochs", "3", "--max-steps", "5")
        self.run_program("train", "--resume", self.path("stopped"), "--ranks", "2", "--device", "cpu", "--threads", "1")
        self.assertEqual(self.digest("straight", "checkpoints", "last.safetensors"),
                         self.digest("stopped", "checkpoints", "last.safetensors"))

    def test_a_run_goes_on_with_another_number_of_ranks(self):
        self.train("other", *TWO, "--epochs", "2", "--max-steps", "5")
        for ranks in ("1", "5"):
            done = self.run_program("train", "--resume", self.path("other"), "--ranks", ranks, "--device", "cpu",
                                    "--threads", "1", "--max-steps", "6" if ranks == "1" else "8")
            self.assertIn("after 6 steps" if ranks == "1" else "after 8 steps", done.stdout)
        done = self.run_program("train", "--resume", self.path("other"), "--ranks", "3", "--device", "cpu", code=2)
        self.assertIn("the 10 pictures of each step of this run cannot be divided among 3 ranks", done.stderr)

    def test_a_signal_saves_and_the_run_goes_on(self):
        self.train("unbroken", *TWO, "--epochs", "6")
        launcher = self.start_launcher("broken", *TWO, "--epochs", "6")
        self.wait_for_steps("broken", [launcher])
        launcher.send_signal(signal.SIGTERM)
        code, errors = self.end_of(launcher, 60)
        self.assertEqual(code, 143, errors)
        self.assertIn("stopped by SIGTERM", errors)
        self.run_program("train", "--resume", self.path("broken"), "--ranks", "2", "--device", "cpu", "--threads", "1")
        self.assertEqual(self.digest("unbroken", "checkpoints", "last.safetensors"),
                         self.digest("broken", "checkpoints", "last.safetensors"))

    def start_launcher(self, out, *arguments):
        launcher = subprocess.Popen(
            [ZEROTH, "train", *TINY, "--data", self.data, "--out", self.path(out), *arguments],
            env=self.environment, cwd=self.scratch, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.processes.append(launcher)
        return launcher

    def test_a_killed_rank_is_started_again(self):
        self.train("whole", *TWO, "--epochs", "8")
        launcher = self.start_launcher("restarted", *TWO, "--epochs", "8", "--max-restarts", "1")
        self.wait_for_steps("restarted", [launcher], 2)
        os.kill(self.children_of(launcher)[1], signal.SIGKILL)
        code, errors = self.end_of(launcher, 120)
        self.assertEqual(code, 0, errors)
        self.assertIn("a rank failed with exit code 137: starting all again, 1 of 1 times", errors)
        self.assertEqual(self.digest("whole", "checkpoints", "last.safetensors"),
                         self.digest("restarted", "checkpoints", "last.safetensors"))

    def test_the_exit_code_is_that_of_the_rank_that_failed(self):
        launcher = self.start_launcher("killed", *TWO, "--epochs", "1000")
        self.wait_for_steps("killed", [launcher])
        os.kill(self.children_of(launcher)[1], signal.SIGKILL)
        code, errors = self.end_of(launcher, 15)
        self.assertEqual(code, 137, errors)
        self.assertIn(f"rank 1 on {host()} died", errors)

    def test_ranks_die_with_their_launcher(self):
        launcher = self.start_launcher("orphans", *TWO, "--epochs", "1000")
        self.wait_for_steps("orphans", [launcher])
        ranks = self.children_of(launcher)
        launcher.kill()
        end = time.time() + 20
        while any(self.lives(pid) for pid in ranks.values()) and time.time() < end:
            time.sleep(0.1)
        self.assertFalse([pid for pid in ranks.values() if self.lives(pid)])

    @staticmethod
    def lives(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False


class Joining(RankWorkplace):
    def test_missing_ranks_are_named(self):
        port = free_port()
        ranks = [self.start_rank(rank, 4, port, "--join-timeout", "2") for rank in (0, 3)]
        for rank in ranks:
            code, errors = self.end_of(rank, 20)
            self.assertEqual((code, errors), (5, "zeroth: ranks 1, 2 of 4 did not join within 2 s\n"))

    def test_without_rank_0(self):
        port = free_port()
        code, errors = self.end_of(self.start_rank(1, 2, port, "--join-timeout", "1"), 20)
        self.assertEqual(code, 5)
        self.assertEqual(errors, f"zeroth: cannot reach rank 0 at 127.0.0.1, port {port + 1}: Connection refused\n")

    def test_other_settings_are_named(self):
        port = free_port()
        first = self.start_rank(0, 2, port, "--lr", "0.1")
        second = self.start_rank(1, 2, port, "--lr", "0.2")
        code, errors = self.end_of(second, 60)
        self.assertEqual(code, 2)
        self.assertIn(f"rank 1 on {host()} was started with other settings than rank 0: lr = 0.2 instead of lr = 0.1", errors)
        code, errors = self.end_of(first, 20)
        self.assertEqual(code, 5)
        self.assertIn("lr = 0.2 instead of lr = 0.1", errors)
        self.assertFalse(os.path.exists(self.path("ranks")))

    def test_other_pictures_are_named(self):
        other = self.path("other-pictures")
        self.run_program("data", "generate", "generated", "--out", other, "--train", "50", "--test", "20")
        port = free_port()
        ranks = [self.start_rank(0, 2, port), self.start_rank(1, 2, port, "--data", other)]
        for rank in ranks:
            self.assertIn(f"rank 1 on {host()}", self.end_of(rank, 60)[1])

    def test_variables_that_cannot_be(self):
        for variables, words in (({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, "RANK=2"),
                                 ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK=x"),
                                 ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR")):
            code, errors = self.end_of(self.start_rank(0, 0, 0, environment=variables), 20)
            self.assertEqual(code, 2, errors)
            self.assertIn(words, errors)
        code, errors = self.end_of(self.start_rank(0, 2, 1, "--ranks", "3"), 20)
        self.assertEqual(code, 2)
        self.assertIn("--ranks 3: torchrun has started this process as one of 2", errors)


class Launchers(RankWorkplace):
    def expected(self, name):
        self.train("expected-" + name, *TWO, "--max-steps", "3")
        return self.digest("expected-" + name, "checkpoints", "last.safetensors")

    def test_torchrun(self):
        python = next((one for one in (sys.executable, "/usr/bin/python3")
                       if subprocess.run([one, "-c", "import torch.distributed.run"], capture_output=True).returncode == 0),
                      None)
        if python is None:
            self.skipTest("no PyTorch")
        # stdout by way of a log: PyTorch 1.13 cannot start anything otherwise under Python 3.11.
        done = subprocess.run(
            [python, "-m", "torch.distributed.run", "--no_python", "--nnodes", "1", "--nproc_per_node", "2",
             "--redirects", "1", "--tee", "1", "--log_dir", self.path("torchrun-logs"), "--master_port", str(free_port()), ZEROTH, "train", *TINY, "--device", "cpu", "--batch-size", "5", "--data",
             self.data, "--out", self.path("torchrun"), "--max-steps", "3"],
            env=self.environment, cwd=self.scratch, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.digest("torchrun", "checkpoints", "last.safetensors"), self.expected("torch"))

    def test_mpirun(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        done = subprocess.run(
            ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", "-x", "MASTER_PORT", ZEROTH, "train", *TINY,
             "--device", "cpu", "--batch-size", "5", "--data", self.data, "--out", self.path("by-mpirun"), "--max-steps",
             "3"],
            env={**self.environment, "MASTER_PORT": str(free_port())}, cwd=self.scratch, capture_output=True, text=True,
            timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.digest("by-mpirun", "checkpoints", "last.safetensors"), self.expected("mpi"))

    def test_the_variables_of_mpirun_and_srun(self):
        expected = self.expected("variables")
        port = str(free_port())
        mpirun = [{"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
                   "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "MASTER_PORT": port} for rank in (0, 1)]
        port = str(free_port())
        srun = [{"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": str(rank), "SLURM_NODELIST": "localhost",
                 "MASTER_PORT": port} for rank in (0, 1)]
        for name, places in (("mpirun", mpirun), ("srun", srun)):
            ranks = [self.start_rank(0, 2, 0, "--batch-size", "5", "--max-steps", "3", out=name, environment=place)
                     for place in places]
            for rank in ranks:
                code, errors = self.end_of(rank, 120)
                self.assertEqual(code, 0, errors)
            self.assertEqual(self.digest(name, "checkpoints", "last.safetensors"), expected)


if __name__ == "__main__":
    main()
