"""SIGKILL at random moments while checkpoints are being written: none is torn, none is lost.

A training that saves after every step is killed, looked at and resumed, again and again. A kill counts where it came
while a temporary file was there, or between two of a step's files; others are told apart in the table.
"""

import ctypes
import os
import select
import signal
import struct
import time

from rig import Rig, check, differences, last_of, read_checkpoint, records, step_of, wait_for

CREATED, MOVED_TO = 0x100, 0x80


class Watch:
    """inotify(7) on a folder: tells when a file is made or renamed."""

    def __init__(self, folder):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        check(self.descriptor >= 0, "no inotify here")
        check(self.libc.inotify_add_watch(self.descriptor, os.fsencode(folder), CREATED | MOVED_TO) >= 0, folder)

    def events(self, seconds):
        """(what, name) of what happened, waiting for the first."""
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        raw = os.read(self.descriptor, 65536) if ready else b""
        found = []
        while raw:
            _, what, _, size = struct.unpack("iIII", raw[:16])
            found.append((what & (CREATED | MOVED_TO), raw[16:16 + size].rstrip(b"\0").decode()))
            raw = raw[16 + size:]
        return found

    def close(self):
        os.close(self.descriptor)


def kill_while_saving(rig, run, arguments):
    """Whether a temporary file was left behind, which is what a kill within a save leaves."""
    process = rig.start(*arguments, stderr=subprocess_null())
    wait_for(last_of(run), process)
    watch = Watch(os.path.join(run, "checkpoints"))
    skip, seen = rig.random.randrange(0, 4), 0
    while seen <= skip:
        events = watch.events(120)
        check(events, "no save within two minutes")
        seen += sum(what == CREATED and name.startswith(("last", "best", "epoch")) for what, name in events)
    # A save takes a few milliseconds: the shortest delays fall into writing, others into fsync, rename and the next.
    time.sleep(rig.random.choice((0, rig.random.uniform(0, 0.003), rig.random.uniform(0, 0.02))))
    process.send_signal(signal.SIGKILL)
    process.wait()
    watch.close()
    return any(".tmp-" in name for name in os.listdir(os.path.join(run, "checkpoints")))


def subprocess_null():
    return open(os.devnull, "w", encoding="utf-8")  # pylint: disable=consider-using-with


def torn_files(run):
    torn = []
    for name in os.listdir(os.path.join(run, "checkpoints")):
        if name.endswith(".safetensors"):
            try:
                read_checkpoint(os.path.join(run, "checkpoints", name))
            except (ValueError, KeyError, struct.error):
                torn.append(name)
    return torn


def main():
    with Rig(__doc__, [("--kills", {"type": int})]) as rig:
        kills = rig.arguments.kills or (15 if rig.quick else 1000)
        data = rig.generate("data", 10, 10)
        train = ["train", "--model", "rezero-resnet8", "--batch-size", "10", "--threads", "1", "--lr", "0.01",
                 "--schedule", "constant", "--warmup", "0", "--epochs", "1000000", "--save-every", "1", "--keep", "3",
                 "--data", data]
        run, within, torn, lost, began = rig.path("run"), 0, 0, 0, time.monotonic()
        for count in range(kills):
            arguments = ["train", "--resume", run] if count else [*train, "--out", run]
            within += kill_while_saving(rig, run, arguments)
            torn += len(torn_files(run))
            # The log has a row before its epoch is saved: a checkpoint that was there cannot be behind by two.
            rows = len(records(run)[1])
            lost += rows - step_of(last_of(run)) > 1
            if count % 100 == 99:
                print(f"{count + 1} kills, step {step_of(last_of(run))}, {time.monotonic() - began:.0f} s", flush=True)
        end = step_of(last_of(run)) + 2
        rig.run("train", "--resume", run, "--max-steps", str(end))
        straight = rig.path("straight")
        rig.run(*train, "--out", straight, "--max-steps", str(end))
        found = differences(straight, run)
        print("\n| kills | with a file half written | torn | lost | steps in all | differs from an uninterrupted run |\n"
              "|---|---|---|---|---|---|")
        print(f"| {kills} | {within} | {torn} | {lost} | {end} | {'; '.join(found) or 'nothing'} |")
        check(torn == 0 and lost == 0 and not found, "a checkpoint was torn or lost")
        check(within > kills // 10, "hardly a kill came within a save")


if __name__ == "__main__":
    main()
