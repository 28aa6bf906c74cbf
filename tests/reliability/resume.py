"""Trainings cut at random steps and resumed hold the same files and numbers as ones that were left alone.

Each training is cut by SIGINT, SIGTERM, SIGUSR1, SIGKILL and --max-steps, in random order, and resumed after each.
"""

import os
import re
import select
import signal
import time

from rig import Rig, check, differences, last_of, step_of

STEPS_PER_EPOCH, EPOCHS = 25, 4
COMMON = ["--model", "rezero-resnet8", "--batch-size", "10", "--epochs", str(EPOCHS), "--save-every", "1", "--keep", "2"]
SETTINGS = {
    "SGD, f32": ["--threads", "1"],
    "AdamW, f32": ["--threads", "1", "--optimizer", "adamw", "--lr", "0.002"],
    "SGD, fp16": ["--threads", "1", "--amp", "fp16", "--lr", "0.05", "--loss-scale-growth-interval", "3"],
    "AdamW, fp16": ["--threads", "1", "--amp", "fp16", "--optimizer", "adamw", "--lr", "0.002",
                    "--loss-scale-growth-interval", "3"],
    "SGD, f32, 2 threads": ["--threads", "2"],
    "SGD, f32, plateau, validation": ["--threads", "1", "--schedule", "plateau", "--plateau-patience", "0",
                                      "--plateau-cooldown", "0", "--val-split", "50", "--clip-norm", "1"],
}
CUTS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143), "SIGUSR1": (signal.SIGUSR1, 138),
        "SIGKILL": (signal.SIGKILL, -9), "--max-steps": (None, 0)}


def wait_for_step(process, target, steps_per_epoch):
    """Reads progress until that step was shown, or a tenth of an epoch may have passed since; the text."""
    shown = ""
    while True:
        ready, _, _ = select.select([process.stderr], [], [], 120)
        check(ready, f"silent before step {target}: {shown}")
        line = process.stderr.readline()
        if not line:
            return shown
        shown += line
        place = re.match(r"epoch (\d+)/\d+  step (\d+)/", line)
        if place and (int(place[1]) - 1) * steps_per_epoch + int(place[2]) >= target:
            return shown


def cut(rig, arguments, run, how, target, steps_per_epoch):
    """Trains until it is cut at or soon after the target; the step it can go on from."""
    number, code = CUTS[how]
    if number is None:
        rig.run(*arguments, "--max-steps", str(target))
        return target
    process = rig.start(*arguments)
    shown = wait_for_step(process, target, steps_per_epoch)
    time.sleep(rig.random.uniform(0, 0.1))
    process.send_signal(number)
    shown += process.communicate(timeout=300)[1]
    check(process.returncode in (code, 0), f"{how}: ended with {process.returncode}: {shown}")
    if process.returncode == code and number != signal.SIGKILL:
        stopped = re.search(r"stopped by (\w+) after step (\d+) and saved", shown)
        check(stopped and stopped[1] == how and int(stopped[2]) == step_of(last_of(run)), shown)
    return step_of(last_of(run))


def main():
    with Rig(__doc__) as rig:
        data = rig.generate("data", STEPS_PER_EPOCH * 10, 50)
        names = list(SETTINGS)[:3:2] if rig.quick else list(SETTINGS)
        print("| training | cut by, and at step | files and numbers that differ |\n|---|---|---|")
        within = 0
        for index, name in enumerate(names):
            train = ["train", *COMMON, *SETTINGS[name], "--data", data]
            straight, run = rig.path(f"straight{index}"), rig.path(f"cut{index}")
            rig.run(*train, "--out", straight)
            steps_per_epoch = 20 if "validation" in name else STEPS_PER_EPOCH
            last = steps_per_epoch * EPOCHS
            kinds = rig.random.sample(list(CUTS), 3 if rig.quick else 5)
            targets = sorted(rig.random.sample(range(1, last - 6), len(kinds)))
            shown = []
            for how, target in zip(kinds, targets):
                begun = os.path.exists(last_of(run))
                if begun and step_of(last_of(run)) >= target:
                    target = min(step_of(last_of(run)) + 1, last - 1)
                arguments = ["train", "--resume", run] if begun else [*train, "--out", run]
                step = cut(rig, arguments, run, how, target, steps_per_epoch)
                within += step % steps_per_epoch != 0
                shown.append(f"{how} {step}")
            rig.run("train", "--resume", run)
            found = differences(straight, run)
            print(f"| {name} | {', '.join(shown)} | {'; '.join(found) or 'none'} |", flush=True)
            check(not found, f"{name}: {found}")
            check(step_of(last_of(run)) == last, "not trained to the end")
        check(within > 0, "no cut fell within an epoch")


if __name__ == "__main__":
    main()
