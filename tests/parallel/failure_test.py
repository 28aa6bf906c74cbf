"""Ranks that are killed, stopped, cut off or hang, at random moments: the others end in time, and say who it was.

    failure_test.py ZEROTH [TEST CASE]
"""

import os
import random
import signal
import subprocess
import time

from rank_processes import RankWorkplace, free_port, host, main, stop

LONG = ["--epochs", "100000", "--save-every", "0"]


class Failures(RankWorkplace):
    def fail_one(self, size, victim, act, detection, words, *arguments):
        out = f"failure-{time.monotonic_ns()}"
        ranks = self.start_ranks(size, *LONG, *arguments, out=out)
        self.wait_for_steps(out, ranks)
        time.sleep(random.uniform(0, 1))
        since = time.time()
        act(ranks[victim])
        self.survivors_end([rank for rank in ranks if rank is not ranks[victim]], since, detection, words)
        return out, ranks[victim]

    def test_a_killed_rank(self):
        for victim in (1, 0):
            out, _ = self.fail_one(3, victim, lambda rank: rank.kill(), 0, [f"rank {victim} on {host()} died"],
                                "--batch-size", "3")
            # The last checkpoint is whole.
            self.run_program("eval", self.path(out), "--data", self.data)

    def test_a_stopped_rank(self):
        for victim in (1, 0):
            _, stopped = self.fail_one(3, victim, stop, 2, [f"rank {victim} on {host()} has been silent for 2 s"],
                                       "--batch-size", "3", "--peer-timeout", "2")
            stopped.send_signal(signal.SIGCONT)
            code, errors = self.end_of(stopped, 20)
            self.assertEqual(code, 5, errors)

    def test_a_rank_that_hangs(self):
        def block(_):
            # Opening a pipe that nobody reads waits for ever.
            log = self.path(out, "log.jsonl")
            os.mkfifo(log + ".pipe")
            os.rename(log + ".pipe", log)

        out = "hanging"
        ranks = self.start_ranks(2, *LONG, "--hang-timeout", "2", out=out)
        self.wait_for_steps(out, ranks)
        since = time.time()
        block(None)
        # A line of the log comes within a few steps; then both end, the one that hangs too.
        self.survivors_end(ranks, since, 10, [f"rank 0 on {host()} has got no further for 2 s while others wait"])

    def test_an_error_of_one_rank_ends_the_others(self):
        out = "full"
        ranks = self.start_ranks(2, *LONG, out=out)
        self.wait_for_steps(out, ranks)
        log = self.path(out, "log.jsonl")
        os.rename(log, log + ".aside")
        os.mkdir(log)
        code, errors = self.end_of(ranks[0], 30)
        self.assertEqual(code, 1, errors)
        self.survivors_end([ranks[1]], time.time(), 0, [f"rank 0 on {host()} failed: cannot write"])


class TwoHosts(RankWorkplace):
    """Hosts are network namespaces, joined by a cable."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.names = [f"zeroth-{os.getpid()}-{side}" for side in "ab"]
        cls.ends = [f"z{os.getpid()}{side}" for side in "ab"]
        cls.made = cls.ip("link", "add", cls.ends[0], "type", "veth", "peer", "name", cls.ends[1])
        for name, end, address in zip(cls.names, cls.ends, ("10.213.77.1", "10.213.77.2")):
            cls.made = cls.made and cls.ip("netns", "add", name)
            cls.made = cls.made and cls.ip("link", "set", end, "netns", name)
            cls.made = cls.made and cls.inside(name, "addr", "add", address + "/24", "dev", end)
            cls.made = cls.made and cls.inside(name, "link", "set", end, "up")
            cls.made = cls.made and cls.inside(name, "link", "set", "lo", "up")

    @classmethod
    def tearDownClass(cls):
        cls.ip("link", "del", cls.ends[0])
        for name in cls.names:
            cls.ip("netns", "del", name)
        super().tearDownClass()

    @staticmethod
    def ip(*words):
        try:
            return subprocess.run(["ip", *words], capture_output=True).returncode == 0
        except FileNotFoundError:
            return False

    @classmethod
    def inside(cls, name, *words):
        return cls.ip("-n", name, *words)

    def setUp(self):
        super().setUp()
        if not self.made:
            self.skipTest("this machine lets us make no network namespaces")

    def start_hosts(self, *arguments, out, launcher="torchrun"):
        port = free_port()
        ranks = []
        for rank, name in enumerate(self.names):
            place = {"RANK": str(rank), "WORLD_SIZE": "2"} if launcher == "torchrun" else {
                "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
                "OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
            place |= {"MASTER_ADDR": "10.213.77.1", "MASTER_PORT": str(port)}
            ranks.append(self.start_rank(rank, 2, port, *arguments, out=out, before=["ip", "netns", "exec", name],
                                         environment=place))
        return ranks

    def sent(self, name, end):
        text = subprocess.run(["ip", "netns", "exec", name, "cat", f"/sys/class/net/{end}/statistics/tx_bytes"],
                              capture_output=True, text=True, check=True).stdout
        return int(text)

    def test_they_train_together(self):
        self.train("here", "--ranks", "2", "--device", "cpu", "--batch-size", "5", "--max-steps", "3")
        for launcher in ("torchrun", "mpirun"):
            ranks = self.start_hosts("--batch-size", "5", "--max-steps", "3", out=launcher, launcher=launcher)
            for rank in ranks:
                code, errors = self.end_of(rank, 120)
                self.assertEqual(code, 0, errors)
            self.assertEqual(self.digest(launcher, "checkpoints", "last.safetensors"),
                             self.digest("here", "checkpoints", "last.safetensors"))

    def test_the_bytes_on_the_wire_are_those_of_the_theory(self):
        sent = []
        for steps in (2, 12):
            before = [self.sent(name, end) for name, end in zip(self.names, self.ends)]
            for rank in self.start_hosts("--batch-size", "2", "--max-steps", str(steps), out=f"bytes-{steps}"):
                code, errors = self.end_of(rank, 120)
                self.assertEqual(code, 0, errors)
            sent.append([self.sent(name, end) - was for name, end, was in zip(self.names, self.ends, before)])
        parameters = 78045
        # All-reduce among 2: each sends half of its gradients, and then half of the sums.
        theory = 10 * parameters * 4
        for few, many in zip(*sent):
            self.assertGreater(many - few, theory)
            self.assertLess(many - few, 1.1 * theory)  # headers of TCP, parameters' gaps, words of the rendezvous

    def test_a_cut_cable(self):
        ranks = self.start_hosts(*LONG, "--peer-timeout", "2", out="cut")
        self.wait_for_steps("cut", ranks)
        since = time.time()
        self.assertTrue(self.inside(self.names[1], "link", "set", self.ends[1], "down"))
        try:
            for rank, other in ((ranks[0], "rank 1"), (ranks[1], "rank 0")):
                self.survivors_end([rank], since, 3, [f"{other} on {host()} has been silent for 2 s"])
        finally:
            self.inside(self.names[1], "link", "set", self.ends[1], "up")


if __name__ == "__main__":
    random.seed()
    main()
