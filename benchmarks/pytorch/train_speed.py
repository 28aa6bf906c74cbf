"""Training speed of PyTorch on the workload of benchmarks/train_speed.cpp: images/s, median over windows.

A step is forward, cross entropy, backward and SGD with momentum and weight decay, on one batch whose pictures
lie in memory. --input full also gathers the batch from a resident uint8 data set, flips, crops and normalises
it, as a step of zeroth does; --input ready takes a normalised batch that is already there. Prints one line of
JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "pytorch"))
import networks  # noqa: E402

MEAN, STD = (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)


class Pictures:
    """Random pictures (M, 40, 40, 3), their zero padding included, on the device, and batches of them."""

    def __init__(self, count, batch_size, device):
        self.batch_size, self.device = batch_size, device
        self.pictures = torch.zeros(count, 40, 40, 3, dtype=torch.uint8, device=device)
        self.pictures[:, 4:36, 4:36].random_(0, 256)
        self.labels = torch.randint(0, 10, (count,), device=device)
        self.mean = torch.tensor(MEAN, device=device) * 255
        self.scale = 1 / (torch.tensor(STD, device=device) * 255)
        self.position, self.order = 0, torch.randperm(count, device=device)

    def next(self):
        """A batch (N, 3, 32, 32), channels last in memory, flipped, cropped and normalised; its labels."""
        n = self.batch_size
        if self.position + n > len(self.order):
            self.position, self.order = 0, torch.randperm(len(self.order), device=self.device)
        index = self.order[self.position : self.position + n]
        self.position += n
        place = torch.arange(32, device=self.device)
        rows = torch.randint(0, 9, (n, 1), device=self.device) + place
        columns = torch.randint(0, 9, (n, 1), device=self.device) + place
        flip = torch.randint(0, 2, (n, 1), device=self.device, dtype=torch.bool)
        columns = torch.where(flip, columns.flip(1), columns)
        batch = self.pictures[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return ((batch - self.mean) * self.scale).permute(0, 3, 1, 2), self.labels[index]


def make_step(options):
    """The function that runs one training step."""
    device = torch.device(options.device)
    pictures = Pictures(options.pictures, options.batch_size, device)
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
    network = networks.build(options.model, options.form, options.shortcut)
    network = network.to(device, memory_format=layout).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    ready = pictures.next()
    ready = (ready[0].contiguous(memory_format=layout), ready[1])

    def step():
        x, labels = ready if options.input == "ready" else pictures.next()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(network(x.contiguous(memory_format=layout)), labels)
        loss.backward()
        optimizer.step()

    return step


def windows(step, options):
    """images/s of each window."""
    wait = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
    for _ in range(options.warmup):
        step()
    rates = []
    for _ in range(options.windows):
        wait()
        begin = time.perf_counter()
        for _ in range(options.steps):
            step()
        wait()
        rates.append(options.steps * options.batch_size / (time.perf_counter() - begin))
    return rates


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="rezero-resnet20")
    parser.add_argument("--form", choices=networks.FORMS)
    parser.add_argument("--shortcut", choices=("a", "b"), default="b")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last")
    parser.add_argument("--input", choices=("full", "ready"), default="full")
    parser.add_argument("--pictures", type=int, default=10000, help="size of the data set")
    parser.add_argument("--warmup", type=int, default=5, help="steps that are not timed")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps in a window")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rates = windows(make_step(options), options)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__}",
        "model": options.model,
        "device": options.device,
        "dtype": "f32",
        "batch_size": options.batch_size,
        "threads": options.threads,
        "input": options.input,
        "images_per_second": round(statistics.median(rates), 1),
        "windows": [round(rate, 1) for rate in rates],
    }))


if __name__ == "__main__":
    main()
