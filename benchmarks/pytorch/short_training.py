"""Ten epochs on CIFAR-10 in PyTorch by the recipe resnet-short, for a comparison of errors on the same pictures.

    short_training.py --data FOLDER_OF_THE_BINARY_FILES --model resnet18 [--amp bf16] [--seed 0] [--epochs 10]

Batch 128, the last partial batch dropped, SGD 0.1 / 0.9 / 5e-4, rate x 0.1 after 7 of 10 epochs, flip and crop from
zero padding 4, normalised as zeroth does. Networks begin as zeroth's do: ResNet-18 as torchvision's, the others with
Kaiming normal, fan in. Prints a line for each epoch and, last, one line of JSON with the test error.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "pytorch"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import networks  # noqa: E402
from train_speed import MEAN, STD, Pictures  # noqa: E402

PICTURE = 3 * 32 * 32


def read_set(folder, names, device):
    """Pictures (M, 32, 32, 3) u8 and labels (M) of the official binary files."""
    records = numpy.concatenate([numpy.fromfile(folder / name, numpy.uint8).reshape(-1, PICTURE + 1) for name in names])
    pictures = torch.from_numpy(records[:, 1:].copy()).reshape(-1, 3, 32, 32).permute(0, 2, 3, 1).contiguous()
    return pictures.to(device), torch.from_numpy(records[:, 0].astype(numpy.int64)).to(device)


class TrainingSet(Pictures):
    """The batches of train_speed.py, drawn from real pictures."""

    def __init__(self, pictures, labels, batch_size):
        super().__init__(len(pictures), batch_size, pictures.device)
        self.pictures[:, 4:36, 4:36] = pictures
        self.labels = labels

    def shuffle(self):
        self.position, self.order = 0, torch.randperm(len(self.order), device=self.device)


def initialise(network, model):
    if not model.removeprefix("rezero-").startswith("resnet18"):
        return  # networks.build() has done it
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, torch.nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            torch.nn.init.uniform_(module.weight, -bound, bound)


@torch.no_grad()
def test_error(network, pictures, labels, autocast):
    network.eval()
    device = pictures.device
    mean, scale = torch.tensor(MEAN, device=device) * 255, 1 / (torch.tensor(STD, device=device) * 255)
    wrong = 0
    for begin in range(0, len(labels), 500):
        x = ((pictures[begin : begin + 500] - mean) * scale).permute(0, 3, 1, 2)
        with autocast():
            wrong += (network(x).argmax(1) != labels[begin : begin + 500]).sum().item()
    network.train()
    return wrong / len(labels)


def train(options):
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    batches = [f"data_batch_{i}.bin" for i in range(1, 6)]
    data = TrainingSet(*read_set(options.data, batches, device), batch_size=128)
    test = read_set(options.data, ["test_batch.bin"], device)
    network = networks.build(options.model)
    initialise(network, options.model)
    network = network.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(0.7 * options.epochs)], gamma=0.1)

    def autocast():
        return torch.autocast(device.type, torch.bfloat16, enabled=options.amp == "bf16")

    begin, error = time.monotonic(), None
    for epoch in range(options.epochs):
        data.shuffle()
        steps = min(len(data.order) // 128, options.steps or sys.maxsize)
        total = torch.zeros((), device=device)
        for _ in range(steps):
            x, labels = data.next()
            optimizer.zero_grad(set_to_none=True)
            with autocast():
                loss = functional.cross_entropy(network(x.contiguous(memory_format=torch.channels_last)), labels)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        schedule.step()
        error = test_error(network, *test, autocast)
        print(f"epoch {epoch + 1}: loss {total.item() / steps:.4f}, test error {error:.2%}", file=sys.stderr, flush=True)
    return {"model": options.model, "amp": options.amp, "seed": options.seed, "epochs": options.epochs,
            "error": error, "seconds": time.monotonic() - begin, "torch": torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--amp", choices=("off", "bf16"), default="off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, help="of each epoch, for a trial")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    print(json.dumps(train(parser.parse_args())))


if __name__ == "__main__":
    main()
