"""Training speed of PyTorch on the workload of `zeroth bench train`: images/s, median over windows.

A step is forward, cross entropy, backward and SGD with momentum and weight decay, on one batch whose pictures
lie in memory. --input full also gathers the batch from a resident uint8 data set, flips, crops and normalises
it, as a step of zeroth does; --input ready takes a normalised batch that is already there.

    --mode eager      as PyTorch runs by itself
           graph      the whole step captured in one CUDA graph
           compile    torch.compile
           compile-graph   torch.compile, and the whole step captured in one CUDA graph: the fastest there is
    --autotune        torch.compile searches for kernels (max-autotune) instead of taking its defaults

Prints one line of JSON.
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
MODES = ("eager", "graph", "compile", "compile-graph")
DTYPES = {"f32": None, "bf16": torch.bfloat16, "f16": torch.float16}


class Pictures:
    """Random pictures (M, 40, 40, 3), their zero padding included, on the device, and batches of them.

    Where the next batch begins lies on the device, so that a captured step can move on.
    """

    def __init__(self, count, batch_size, device):
        self.batch_size, self.device = batch_size, device
        self.pictures = torch.zeros(count, 40, 40, 3, dtype=torch.uint8, device=device)
        self.pictures[:, 4:36, 4:36].random_(0, 256)
        self.labels = torch.randint(0, 10, (count,), device=device)
        self.mean = torch.tensor(MEAN, device=device) * 255
        self.scale = 1 / (torch.tensor(STD, device=device) * 255)
        self.order = torch.randperm(count, device=device)
        self.within = torch.arange(batch_size, device=device)
        self.position = torch.zeros((), dtype=torch.long, device=device)
        self.place = torch.arange(32, device=device)
        self.taken = 0

    def before_step(self):
        """What happens outside a captured step: a new order for every pass over the set."""
        self.taken += self.batch_size
        if self.taken > len(self.order):
            self.taken = self.batch_size
            self.order.copy_(torch.randperm(len(self.order), device=self.device))
            self.position.zero_()

    def next(self):
        """A batch (N, 3, 32, 32), channels last in memory, flipped, cropped and normalised; its labels."""
        n = self.batch_size
        index = self.order[self.position + self.within]
        self.position += n
        rows = torch.randint(0, 9, (n, 1), device=self.device) + self.place
        columns = torch.randint(0, 9, (n, 1), device=self.device) + self.place
        flip = torch.randint(0, 2, (n, 1), device=self.device, dtype=torch.bool)
        columns = torch.where(flip, columns.flip(1), columns)
        batch = self.pictures[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return ((batch - self.mean) * self.scale).permute(0, 3, 1, 2), self.labels[index]


def make_step(options):
    """The function that runs one training step, and the seconds that compiling and capturing took."""
    device = torch.device(options.device)
    pictures = Pictures(options.pictures, options.batch_size, device)
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
    network = networks.build(options.model, options.form, options.shortcut)
    network = network.to(device, memory_format=layout).train()
    forward = network
    if options.mode.startswith("compile"):
        if not hasattr(torch, "compile"):
            sys.exit(f"PyTorch {torch.__version__} has no torch.compile")
        forward = torch.compile(network, mode="max-autotune-no-cudagraphs" if options.autotune else "default")
    fused = {"fused": True} if device.type == "cuda" and options.fused_optimizer else {}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, **fused)
    ready = pictures.next()
    ready = (ready[0].contiguous(memory_format=layout), ready[1])
    dtype = DTYPES[options.dtype]

    def work():
        x, labels = ready if options.input == "ready" else pictures.next()
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None, cache_enabled=False):
            logits = forward(x.contiguous(memory_format=layout))
            loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def eager():
        pictures.before_step()
        work()

    begin = time.perf_counter()
    if "graph" not in options.mode:
        eager()
        return eager, time.perf_counter() - begin
    if device.type != "cuda":
        sys.exit(f"--mode {options.mode} needs --device cuda")
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(11):
            eager()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay():
        pictures.before_step()
        graph.replay()

    return replay, time.perf_counter() - begin


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


def memory(options):
    """Bytes that tensors took at most, that PyTorch took from the device, and that the device has in use."""
    if not options.device.startswith("cuda"):
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "device_bytes_in_use": total - free,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rezero-resnet20")
    parser.add_argument("--form", choices=networks.FORMS)
    parser.add_argument("--shortcut", choices=("a", "b"), default="b")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f32", help="other than f32: autocast")
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--autotune", action="store_true")
    parser.add_argument("--tf32", action="store_true")
    parser.add_argument("--fused-optimizer", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last")
    parser.add_argument("--input", choices=("full", "ready"), default="full")
    parser.add_argument("--pictures", type=int, default=10000, help="size of the data set")
    parser.add_argument("--warmup", type=int, default=5, help="steps that are not timed")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps in a window")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    torch.backends.cudnn.benchmark = True
    step, seconds = make_step(options)
    rates = windows(step, options)
    print(json.dumps({
        "system": f"PyTorch {torch.__version__}",
        "mode": options.mode + (" max-autotune" if options.autotune else ""),
        "model": options.model,
        "device": torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device,
        "dtype": options.dtype,
        "batch_size": options.batch_size,
        "threads": options.threads,
        "input": options.input,
        "images_per_second": round(statistics.median(rates), 1),
        "windows": [round(rate, 1) for rate in rates],
        "first_step_seconds": round(seconds, 2),
        **memory(options),
    }))


if __name__ == "__main__":
    main()
