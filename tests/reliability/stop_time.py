"""From SIGTERM to a checkpoint on the disk and the end of the process, at random moments of a training.

The bound is five seconds and one step. A step's time is the slowest of the training's log, evaluation has batches of
its own, which take about as long.
"""

import os
import re
import signal
import time

from rig import Rig, check, last_of, read_checkpoint, records, wait_for

TRAININGS = {
    "rezero-resnet8, batches of 10": ["--model", "rezero-resnet8", "--batch-size", "10"],
    "rezero-resnet20, batches of 128": ["--model", "rezero-resnet20", "--batch-size", "128"],
    "resnet56, batches of 128": ["--model", "resnet56", "--batch-size", "128"],
}


def seconds_a_step(run, batch):
    """Of the slowest line of the log; of a short one, all there is."""
    with open(os.path.join(run, "log.jsonl"), encoding="utf-8") as file:
        rates = [float(rate) for rate in re.findall(r'"images_per_second":([0-9.e+]+)', file.read())]
    return batch / min(rates) if rates else None


def main():
    with Rig(__doc__) as rig:
        data = rig.generate("data", 1280, 1000)
        names = list(TRAININGS)[:1] if rig.quick else list(TRAININGS)
        print("| training | stops | a step, s | to the end of the process, median s | longest s | of those, bytes saved |\n"
              "|---|---|---|---|---|---|")
        for index, name in enumerate(names):
            flags = TRAININGS[name]
            batch, run, taken, slowest = int(flags[-1]), rig.path(f"run{index}"), [], 0.0
            for count in range(3 if rig.quick else 20):
                arguments = (["train", "--resume", run] if count else
                             ["train", *flags, "--data", data, "--epochs", "100000", "--threads", "1", "--save-every", "0",
                              "--lr", "0.01", "--warmup", "0", "--schedule", "constant", "--out", run])
                process = rig.start(*arguments)
                wait_for(last_of(run), process)
                if count:  # resumed: its first line of progress says that it trains
                    while not re.match(r"epoch \d+/\d+(  step|:)", process.stderr.readline()):
                        check(process.poll() is None, "ended by itself")
                time.sleep(rig.random.uniform(0, 2 if rig.quick else 10))
                sent = time.monotonic()
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=600)
                taken.append(time.monotonic() - sent)
                check(process.returncode == 143, f"ended with {process.returncode}")
                read_checkpoint(last_of(run))  # whole
                slowest = max(slowest, seconds_a_step(run, batch) or 0)
            taken.sort()
            print(f"| {name} | {len(taken)} | {slowest:.2f} | {taken[len(taken) // 2]:.2f} | {taken[-1]:.2f} | "
                  f"{os.path.getsize(last_of(run)):,} |", flush=True)
            check(taken[-1] < 5 + slowest, f"{taken[-1]} s")
            check(records(run)[0], "nothing was trained")


if __name__ == "__main__":
    main()
