"""Training steps of zeroth with Muon against the published formula in PyTorch, from the same weights and batch.

    muon_step_test.py TOOL f64|f32|simt|cuda

Muon takes the filters behind the first convolution, SGD with Nesterov's momentum everything else. f64: two steps of
the reference rows agree to 1e-10. f32, simt, cuda: one
step; the weights of each group of parameters together are at most 4 times as far from PyTorch's float64 as PyTorch's
own f32 run is, plus 1e-6. Exit code 77: skipped.
"""

import copy
import sys

SKIPPED = 77

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

import networks
from one_step_test import MOMENTUM, WEIGHT_DECAY, random_problem, relative_errors, smooth_problem, zeroth_steps

RATE, MUON_RATE, MUON_MOMENTUM, MUON_DECAY = 0.05, 0.1, 0.8, 0.3
EXACT, FACTOR, FLOOR = 1e-10, 4.0, 1e-6


def orthogonalised(update):
    """Newton and Schulz's iteration as Keller Jordan published it, in the dtype of the update."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update / (update.norm() + 1e-7)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def is_hidden(name, parameter):
    return parameter.dim() == 4 and name != "conv1.weight"


def pytorch_steps(network, x, labels, dtype, steps):
    network = copy.deepcopy(network).to(dtype)
    hidden = [p for name, p in network.named_parameters() if is_hidden(name, p)]
    others = [p for name, p in network.named_parameters() if not is_hidden(name, p)]
    sgd = torch.optim.SGD(others, RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    buffers = [torch.zeros_like(p) for p in hidden]
    for _ in range(steps):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(x.to(dtype)), labels).backward()
        sgd.step()
        with torch.no_grad():
            for p, buffer in zip(hidden, buffers):
                buffer.mul_(MUON_MOMENTUM).add_(p.grad)
                update = orthogonalised((p.grad + MUON_MOMENTUM * buffer).flatten(1))
                p.mul_(1 - MUON_RATE * MUON_DECAY)
                p.add_(update.view_as(p), alpha=-MUON_RATE * max(1, update.size(0) / update.size(1)) ** 0.5)
    results = {name: networks.to_zeroth(p) for name, p in network.named_parameters()}
    return {name: array.astype(numpy.float64) for name, array in results.items()}


def moves(results, network):
    """What the steps did to hidden filters, and to all else: a step's error is relative to the step."""
    groups = {"hidden": [], "others": []}
    for name, parameter in network.named_parameters():
        before = networks.to_zeroth(parameter).astype(numpy.float64)
        groups["hidden" if is_hidden(name, parameter) else "others"].append((results[name] - before).ravel())
    return {name: numpy.concatenate(arrays) for name, arrays in groups.items()}


def main():
    tool, check = sys.argv[1:]
    torch.set_num_threads(2)
    exact = check == "f64"
    steps, batch = (2, 4) if exact else (1, {"f32": 16}.get(check, 2))
    arguments = ["--model", "rezero-resnet20", "--form", "post", "--shortcut", "b", "--nesterov", "--muon"]
    arguments += ["--muon-lr", str(MUON_RATE), "--muon-momentum", str(MUON_MOMENTUM), "--muon-wd", str(MUON_DECAY)]
    arguments += ["--steps", str(steps), "--dtype", "f64" if exact else "f32"]
    arguments += ["--device", check if check in ("simt", "cuda") else "cpu"]
    problem = random_problem if exact else smooth_problem
    network, x, labels = problem("rezero-resnet20", "post", "b", batch, 1)[:3]
    ours = zeroth_steps(tool, arguments, network, x, labels, RATE)
    truth = pytorch_steps(network, x, labels, torch.float64, steps)
    if exact:
        errors = relative_errors([{name: ours[name] for name in truth}], [truth])
        limits = dict.fromkeys(errors, EXACT)
    else:
        errors = relative_errors([moves(ours, network)], [moves(truth, network)])
        theirs = pytorch_steps(network, x, labels, torch.float32, steps)
        their_errors = relative_errors([moves(theirs, network)], [moves(truth, network)])
        limits = {name: FACTOR * error + FLOOR for name, error in their_errors.items()}
    print("error, limit, name; the worst first")
    for name in sorted(errors, key=lambda name: errors[name] / limits[name], reverse=True)[:8]:
        print(f"  {errors[name]:9.2e}  {limits[name]:9.2e}  {name}")
    if any(not errors[name] <= limits[name] for name in errors):
        raise SystemExit("over the limit")


if __name__ == "__main__":
    main()
