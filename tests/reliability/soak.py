"""A long training under SIGTERM, SIGINT, SIGUSR1 and SIGKILL: it ends with the bits of one that was left alone, in
the memory it began with.

Two trainings run side by side, on a thread each. One is stopped or killed at random moments and resumed, for
--minutes; the other is not touched until it has come as far. Then all files and numbers up to there are compared.
"""

import os
import signal
import statistics
import time

from rig import Rig, check, last_of, read_checkpoint, records, step_of, wait_for

STEPS_PER_EPOCH = 100
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 138, signal.SIGKILL: -9}


def resident(process):
    """MB in memory now, or nothing where the process has ended."""
    try:
        with open(f"/proc/{process.pid}/status", encoding="utf-8") as file:
            return next((int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS")), None)
    except OSError:
        return None


def watch(process, samples, seconds):
    """Notes the memory every few seconds until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if (now := resident(process)) is not None:
            samples.append((time.monotonic(), now))
        time.sleep(min(2.0, max(0.0, end - time.monotonic())))


def growth(samples):
    """MB between the medians of the second and the last tenth, and the first of them."""
    tenth = max(1, len(samples) // 10)
    first = statistics.median(mb for _, mb in samples[tenth:2 * tenth] or samples)
    return statistics.median(mb for _, mb in samples[-tenth:]) - first, first


def epoch_files(run):
    folder = os.path.join(run, "checkpoints")
    return sorted(name for name in os.listdir(folder) if name.startswith("epoch-") and name.endswith(".safetensors"))


def compare(straight, run, step):
    """What differs of the files and numbers up to that step."""
    found = []
    for name in epoch_files(run):
        one, other = (os.path.join(folder, "checkpoints", name) for folder in (straight, run))
        with open(one, "rb") as a, open(other, "rb") as b:
            if a.read() != b.read():
                found.append(name)
    for name, one, other in zip(("log.jsonl", "summary.csv"), records(straight), records(run)):
        one, other = ([record for record in part if int(record["step"]) <= step] for part in (one, other))
        if one != other or not one:
            found.append(name)
    return found


def main():
    with Rig(__doc__, [("--minutes", {"type": float, "default": 120.0}),
                       ("--interval", {"type": float, "default": 180.0, "help": "seconds between stops, at most"})]) as rig:
        minutes = 0.4 if rig.quick else rig.arguments.minutes
        interval = 6.0 if rig.quick else rig.arguments.interval
        data = rig.generate("data", STEPS_PER_EPOCH * 10, 200)
        train = ["train", "--model", "rezero-resnet8", "--batch-size", "10", "--threads", "1", "--lr", "0.02", "--schedule",
                 "constant", "--warmup", "0", "--epochs", "1000000", "--save-every", "1" if rig.quick else "10", "--quiet",
                 "--data", data]
        straight, run = rig.path("straight"), rig.path("run")
        with open(os.devnull, "w", encoding="utf-8") as null:
            left_alone = rig.start(*train, "--out", straight, stderr=null)
            memory, alone, stops, end = [], [], {}, time.monotonic() + 60 * minutes
            wait_for(last_of(straight), left_alone)
            while time.monotonic() < end or not epoch_files(run):
                arguments = ["train", "--resume", run, "--quiet"] if os.path.exists(run) else [*train, "--out", run]
                process = rig.start(*arguments, stderr=null)
                wait_for(last_of(run), process)
                samples = []
                watch(process, samples, rig.random.uniform(2.0, interval))
                check(left_alone.poll() is None, f"the training left alone ended with {left_alone.returncode}")
                alone.append((time.monotonic(), resident(left_alone)))
                number = rig.random.choice(list(SIGNALS))
                process.send_signal(number)
                process.wait(timeout=600)
                # Before a training begins nothing has changed since the checkpoint, and a signal ends it at once.
                check(process.returncode in (SIGNALS[number], -number), f"ended with {process.returncode}")
                stops[number] = stops.get(number, 0) + 1
                memory += samples
                read_checkpoint(last_of(run))
            newest = epoch_files(run)[-1]
            wanted = os.path.join(straight, "checkpoints", newest)
            while not os.path.exists(wanted):
                check(left_alone.poll() is None, f"the training left alone ended with {left_alone.returncode}")
                alone.append((time.monotonic(), resident(left_alone)))
                time.sleep(1)
            left_alone.kill()
            left_alone.wait()
        step = step_of(os.path.join(run, "checkpoints", newest))
        found = compare(straight, run, step)
        (more, before), (alone_more, alone_before) = growth(memory), growth(alone)
        told = ", ".join(f"{count} {signal.Signals(number).name}" for number, count in sorted(stops.items()))
        print("| minutes | stopped by | compared up to step | differs | memory of the one that was stopped | of the other |\n"
              "|---|---|---|---|---|---|")
        print(f"| {minutes:g} | {told} | {step} | {'; '.join(found) or 'nothing'} | {before:.0f} MB, {more:+.1f} | "
              f"{alone_before:.0f} MB, {alone_more:+.1f} |")
        check(not found, found)
        check(max(more, alone_more) < 4 + 0.02 * before, "memory grew")


if __name__ == "__main__":
    main()
