"""What tests of ranks share: processes with a launcher's variables, and how each of them ended.

A test script's first argument is the program.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "apps"))
from workplace import TINY, ZEROTH, Workplace, main  # noqa: E402,F401

ENDS_WITHIN = 5.0  # seconds from the detection of a failure


def free_port():
    """MASTER_PORT such that the port after it, where ranks meet, is free."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1] - 1


class RankWorkplace(Workplace):
    def setUp(self):
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def start_rank(self, rank, size, port, *arguments, out="ranks", before=(), environment=None, master="127.0.0.1"):
        """One of `size` ranks; `before` is what starts it: ip netns exec NAME."""
        places = environment if environment is not None else {"RANK": str(rank), "WORLD_SIZE": str(size),
                                                              "MASTER_ADDR": master, "MASTER_PORT": str(port)}
        process = subprocess.Popen(
            [*before, ZEROTH, "train", *TINY, "--device", "cpu", "--data", self.data, "--out", self.path(out), *arguments],
            env={**self.environment, **places}, cwd=self.scratch, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.processes.append(process)
        return process

    def start_ranks(self, size, *arguments, **options):
        port = free_port()
        return [self.start_rank(rank, size, port, *arguments, **options) for rank in range(size)]

    def wait_for_steps(self, out, processes, steps=1, seconds=120):
        """Until the run of these processes has logged so many lines."""
        log, end = self.path(out, "log.jsonl"), time.time() + seconds
        while time.time() < end:
            try:
                with open(log, encoding="utf-8") as file:
                    if len(file.readlines()) >= steps:
                        return
            except FileNotFoundError:
                pass
            for process in processes:
                self.assertIn(process.poll(), (None, 0), process.communicate() if process.poll() else "")
            time.sleep(0.05)
        self.fail(f"{log}: not {steps} lines within {seconds} s")

    def end_of(self, process, seconds):
        """(exit code, stderr) of a process that ends within so many seconds."""
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.fail(f"a rank has not ended within {seconds} s")
        return process.returncode, errors

    def survivors_end(self, processes, since, detection, words):
        """Each ends within the time of detection and 5 s more, with exit code 5 and one line with these words."""
        for process in processes:
            code, errors = self.end_of(process, max(0.1, since + detection + ENDS_WITHIN - time.time()))
            self.assertEqual(code, 5, errors)
            lines = [line for line in errors.splitlines() if line.startswith("zeroth: ")]
            self.assertEqual(len(lines), 1, errors)
            for word in words:
                self.assertIn(word, lines[0])

    def children_of(self, process):
        """The ranks that `zeroth train --ranks` has started, by rank."""
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            pids = [int(pid) for pid in file.read().split()]
        by_rank = {}
        for pid in pids:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item)
            by_rank[int(variables[b"RANK"])] = pid
        return by_rank


def stop(process):
    process.send_signal(signal.SIGSTOP)


def host():
    return os.uname().nodename
