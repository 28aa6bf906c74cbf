#!/usr/bin/env python3
"""What data parallel training on many GPUs should reach, by arithmetic: a prediction to be refuted, not a measurement.

    benchmarks/scaling.py ZEROTH [--gpus 8 64 1024]

The network's layers and parameters come from `zeroth info`. A step on one GPU takes its launches or its bytes,
whichever is longer; a collective takes what NCCL's own tuning model says (src/graph/tuning.cc, Hopper, NCCL 2.18 to
2.20: latencies of algorithm and hop) with the bus bandwidths that NVIDIA states for such machines. Buckets are reduced
in the order in which backward finishes them, one after the other, beside it.
"""

import argparse
import json
import math
import subprocess
from pathlib import Path

COPY = 4.3e12  # bytes/s of an H200, measured by a copy kernel
LAUNCH = 1.75e-6  # seconds between dependent kernels of a CUDA graph
LAUNCHES_A_BLOCK = 27  # docs/kernels/README.md: 250 of ReZero-20 are 9 blocks, stem, head and update
NODE = 8  # GPUs behind one NVSwitch
NVLINK_RING, NVLINK_SHARP = 370e9, 480e9  # bus bandwidth: github.com/NVIDIA/nccl-tests issues 212, 290
RAIL = 47e9  # of one 400 Gb/s adapter, one a GPU: the same issue 290
# {protocol: (base, NVLink hop, network hop, share of the bandwidth)}, seconds: NCCL's model.
RING = {"LL": (6.6e-6, 0.6e-6, 2.7e-6, 0.25), "LL128": (14e-6, 1.9e-6, 4.0e-6, 0.92), "Simple": (8.4e-6, 3.4e-6, 14e-6, 1.0)}
TREE = {"LL": (6.8e-6, 0.6e-6, 5.0e-6, 0.25), "LL128": (14e-6, 1.25e-6, 8.5e-6, 0.92)}
NVLS = 23e-6

NETWORKS = {  # MB of memory traffic an image, with library convolutions and fused batch norm; residual blocks
    "rezero-resnet20": (4.9, 9),
    "rezero-resnet110": (26.4, 54),
    "resnet18": (1.2, 8),
    "resnet18-cifar": (14.8, 8),
}


def all_reduce(size, gpus):
    """Seconds for `size` bytes: the best of rings, trees and NVLink SHARP. Half of it is a reduce-scatter."""
    nodes = math.ceil(gpus / NODE)
    local = min(gpus, NODE)
    wire = 2 * (gpus - 1) / gpus * size
    times = []
    for base, nvlink, network, share in RING.values():
        hops = 2 * (gpus - nodes) * nvlink + 2 * (nodes if nodes > 1 else 0) * network
        bandwidth = NVLINK_RING if nodes == 1 else min(NVLINK_RING, RAIL * NODE)
        times.append(base + hops + wire / (bandwidth * share))
    for base, nvlink, network, share in TREE.values():
        hops = 2 * ((local - 1) * nvlink + math.ceil(math.log2(nodes)) * network)
        bandwidth = NVLINK_RING if nodes == 1 else min(NVLINK_RING, RAIL * NODE)
        times.append(base + hops + wire / (bandwidth * share))
    if nodes == 1:
        times.append(NVLS + wire / NVLINK_SHARP)
    return min(times)


class Network:
    def __init__(self, zeroth, name, optimizer_bytes):
        described = json.loads(subprocess.run([zeroth, "info", "--model", name, "--json"], check=True,
                                              stdout=subprocess.PIPE).stdout)
        self.name = name
        self.parameters = described["parameters"]
        self.layers = described["layers"]
        self.norms = sum(layer["kind"].startswith("batch_norm") for layer in self.layers)
        traffic, blocks = NETWORKS[name]
        self.traffic = traffic * 1e6
        self.launches = LAUNCHES_A_BLOCK * blocks + 7
        self.update = self.parameters * optimizer_bytes / COPY

    def step(self, batch):
        """Seconds of forward and backward on one GPU."""
        return max(self.launches * LAUNCH, batch * self.traffic / COPY)

    def buckets(self, batch, count, bytes_each):
        """(seconds into the step at which it is ready, bytes), by position in backward: equal shares of the bytes."""
        total = sum(layer["saved_bytes"] for layer in self.layers) or 1
        step, done, size, result = self.step(batch), 0.0, 0, []
        for layer in reversed(self.layers):
            done += layer["saved_bytes"] / total
            size += layer["parameters"] * bytes_each
            if size >= self.parameters * bytes_each / count:
                result.append((step / 3 + done * step * 2 / 3, size))
                size = 0
        return result + ([(step, size)] if size else [])


def parallel_step(network, batch, gpus, strategy, buckets, sync_norm, bytes_each):
    """Seconds of a step, and of it those in which the GPU waits for the network."""
    step = network.step(batch)
    if sync_norm:  # forward and backward of each wait for a small exchange
        step += 2 * network.norms * all_reduce(2 * 64 * 8, gpus)
    alone = network.step(batch)
    finished = 0.0
    for ready, size in network.buckets(batch, buckets, bytes_each):
        share = 1.0 if strategy == "ddp" else 0.5
        finished = max(finished, ready * step / alone) + share * all_reduce(size, gpus)
    end = max(step, finished)
    update = network.update if strategy == "ddp" else network.update / gpus
    gather = 0.0 if strategy == "ddp" else 0.5 * all_reduce(network.parameters * bytes_each, gpus)
    return end + update + gather


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zeroth", type=Path)
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 1024])
    options = parser.parse_args()

    print("All-reduce, microseconds:\n")
    sizes = [16e3, 1.1e6, 3.4e6, 22.4e6, 44.7e6]
    print("| GPUs | " + " | ".join(f"{size / 1e6:g} MB" for size in sizes) + " |\n|---" * 1 + "|---" * len(sizes) + "|")
    for gpus in options.gpus:
        print(f"| {gpus} | " + " | ".join(f"{all_reduce(size, gpus) * 1e6:.0f}" for size in sizes) + " |")

    print("\nEfficiency: the time of a step on one GPU over that on many, same pictures a GPU.\n")
    print("| network, pictures a GPU | GPUs | one GPU, ms | ddp, one bucket | ddp, four | zero1, four | ddp, four, "
          "synchronised batch norm | thousand images/s, ddp, four |")
    print("|---" * 8 + "|")
    for name, optimizer_bytes in (("rezero-resnet20", 16), ("rezero-resnet110", 16), ("resnet18", 26),
                                  ("resnet18-cifar", 26)):
        network = Network(options.zeroth, name, optimizer_bytes)
        for gpus in options.gpus:
            batch = 128 if gpus <= 64 else 16  # 50,000 pictures are fewer than 1024 batches of 128
            alone = network.step(batch) + network.update
            ways = [("ddp", 1, False), ("ddp", 4, False), ("zero1", 4, False), ("ddp", 4, True)]
            times = [parallel_step(network, batch, gpus, strategy, buckets, sync, 2) for strategy, buckets, sync in ways]
            print(f"| {name}, {batch} | {gpus} | {alone * 1e3:.2f} | "
                  + " | ".join(f"{100 * alone / time:.0f} %" for time in times)
                  + f" | {gpus * batch / times[1] / 1e3:,.0f} |")


if __name__ == "__main__":
    main()
