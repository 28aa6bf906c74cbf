"""One training step of zeroth against PyTorch's, from the same weights and the same batch.

    one_step_test.py TOOL CHECK MODEL FORM SHORTCUT

CHECK f64    zeroth's reference rows in double precision agree with PyTorch's float64 to 1e-10
      f32    for each tensor (loss, gradients, weights after the update, running statistics), the error of
             zeroth's fast CPU rows against PyTorch's float64 is at most 4 times that of PyTorch's own f32
             run, plus 1e-6
      bf16   the same in mixed precision, beside PyTorch's autocast to bfloat16
      simt, simt-bf16   the same for the CUDA kernels, run on the host
      cuda, cuda-bf16   the same on a GPU, beside PyTorch on the CPU; skipped where there is no GPU

An error is a relative L2 norm, in f32 and simt over a tensor's values in BATCHES networks and batches
together. There, the alphas of a network count as one tensor, and so do their gradients: PyTorch's rounding
error in a single number is now and then almost zero by luck. Exit code 77: skipped.
"""

import argparse
import copy
import math
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED, NO_DEVICE = 77, 4  # exit codes: of a test for ctest, of zeroth

try:
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

import networks
import tensor_file
from kinks import move_off_kinks

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
FACTOR, FLOOR = 4.0, 1e-6
EXACT = 1e-10
MARGIN = 2e-5  # least distance from a kink, in standard deviations: ten times the error of an f32 activation
POOL_MARGIN = 5e-6  # likewise behind the first convolution, whose error is smaller
BATCHES = 3


def random_problem(model, form, shortcut, batch, seed):
    """A network whose every parameter matters (alphas far from 0), and a batch; all numbers are f32."""
    torch.manual_seed(seed)
    network = networks.build(model, form, shortcut)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("alpha"):
                parameter.uniform_(0.3, 1.0)
                parameter *= 1.0 if torch.rand(()) < 0.7 else -1.0
            elif parameter.dim() == 1:
                parameter += torch.empty_like(parameter).uniform_(-0.2, 0.2)
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0.0, 0.5)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return network, torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))


def smooth_problem(model, form, shortcut, batch, seed):
    """The first random problem from `seed` on that can be moved away from every kink, and the next seed."""
    while True:
        network, x, labels = random_problem(model, form, shortcut, batch, seed)
        seed += 1
        wide = copy.deepcopy(network).double()
        distance, pool_distance = move_off_kinks(wide, x.double())
        if distance > MARGIN and pool_distance > POOL_MARGIN:
            network.load_state_dict(wide.state_dict())
            print(f"batch of seed {seed - 1}: {distance:.1e} from the next kink")
            return network, x, labels, seed


def pytorch_steps(network, x, labels, dtype, rate=0.1, steps=1, nesterov=False):
    """All results of training steps in PyTorch, under zeroth's names and in its layout, as float64.

    bfloat16 is mixed precision: weights in float32, autocast.
    """
    mixed = dtype == torch.bfloat16
    if mixed:
        dtype = torch.float32
    network = copy.deepcopy(network).to(dtype)
    optimizer = torch.optim.SGD(
        network.parameters(), rate, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=nesterov
    )
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = torch.nn.functional.cross_entropy(network(x.to(dtype)), labels)
        loss.backward()
        optimizer.step()
    results = {"loss": loss.detach().reshape(1).numpy()}
    for name, parameter in network.named_parameters():
        results[name] = networks.to_zeroth(parameter)
        results["gradient." + name] = networks.to_zeroth(parameter.grad)
        results["momentum." + name] = networks.to_zeroth(optimizer.state[parameter]["momentum_buffer"])
    results.update(statistics_of(network))
    return {name: array.astype(numpy.float64) for name, array in results.items()}


def statistics_of(network):
    return {name: buffer.numpy() for name, buffer in network.named_buffers() if "running" in name}


def zeroth_steps(tool, arguments, network, x, labels, rate=0.1):
    """The same from zeroth."""
    tensors = {name: networks.to_zeroth(parameter) for name, parameter in network.named_parameters()}
    tensors.update(statistics_of(network))
    tensors["x"] = networks.to_zeroth(x)
    tensors["labels"] = labels.numpy().astype(numpy.int32)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.safetensors", Path(folder) / "out.safetensors"
        tensor_file.write(source, tensors)
        rates = ["--lr", rate, "--momentum", MOMENTUM, "--weight-decay", WEIGHT_DECAY]
        command = [tool, source, target, *map(str, rates), *arguments]
        status = subprocess.run(command, check=False).returncode
        if status == NO_DEVICE:
            sys.exit(SKIPPED)
        if status != 0:
            raise SystemExit(f"exit status {status} of {' '.join(map(str, command))}")
        results = tensor_file.read(target)
    del results["predictions"]
    return {name: array.astype(numpy.float64) for name, array in results.items()}


def relative_errors(runs, truths):
    """Name -> relative L2 error over all runs together."""
    errors = {}
    for name in truths[0]:
        difference = size = 0.0
        for run, truth in zip(runs, truths):
            if run.keys() != truth.keys() or run[name].shape != truth[name].shape:
                raise SystemExit(f"{name}, or {sorted(run.keys() ^ truth.keys())}: not the same tensors")
            difference += numpy.sum((run[name] - truth[name]) ** 2)
            size += numpy.sum(truth[name] ** 2)
        error = math.sqrt(difference / size) if difference != 0.0 else 0.0
        errors[name] = error if math.isfinite(error) else math.inf
    return errors


def with_alphas_together(results):
    """Alphas as one tensor; momentum left out, which after one step is the gradient once more."""
    together = {}
    for name, array in results.items():
        if name.startswith("momentum."):
            continue
        if name.endswith("alpha"):
            name = "gradient.alphas" if name.startswith("gradient.") else "alphas"
        together.setdefault(name, []).append(array)
    return {name: numpy.concatenate(arrays) for name, arrays in together.items()}


def check_exact(options, batch):
    """Two steps with Nesterov's momentum, so that the momentum buffer matters; then one without.

    The two are short: after a long one, two pictures may be learned to the last bit.
    """
    arguments = ["--model", options.model, "--form", options.form, "--shortcut", options.shortcut]
    arguments += ["--dtype", "f64"]
    failures = 0
    for steps, rate, nesterov in ((2, 0.01, True), (1, 0.1, False)):
        network, x, labels = random_problem(options.model, options.form, options.shortcut, batch, seed=steps)
        more = ["--steps", str(steps)] + ["--nesterov"] * nesterov
        ours = zeroth_steps(options.tool, arguments + more, network, x, labels, rate)
        truth = pytorch_steps(network, x, labels, torch.float64, rate, steps, nesterov)
        errors = relative_errors([ours], [truth])
        worst = sorted(errors, key=errors.get, reverse=True)
        print(f"{steps} step(s), nesterov {nesterov}: {len(errors)} tensors; the largest relative errors:")
        for name in worst[:5]:
            print(f"  {errors[name]:9.2e}  {name}")
        failures += sum(not error <= EXACT for error in errors.values())
    return failures


def check_rounding(options, batch):
    device = {"f32": "cpu", "bf16": "cpu"}.get(options.check, options.check.split("-")[0])
    dtype = "bf16" if options.check.endswith("bf16") else "f32"
    arguments = ["--model", options.model, "--form", options.form, "--shortcut", options.shortcut]
    arguments += ["--device", device, "--dtype", dtype]
    ours, theirs, truths, seed = [], [], [], 0
    for _ in range(BATCHES):
        network, x, labels, seed = smooth_problem(options.model, options.form, options.shortcut, batch, seed)
        ours.append(with_alphas_together(zeroth_steps(options.tool, arguments, network, x, labels)))
        precision = torch.bfloat16 if dtype == "bf16" else torch.float32
        theirs.append(with_alphas_together(pytorch_steps(network, x, labels, precision)))
        truths.append(with_alphas_together(pytorch_steps(network, x, labels, torch.float64)))
    our_errors, their_errors = relative_errors(ours, truths), relative_errors(theirs, truths)
    rows = []
    for name, error in our_errors.items():
        rows.append((error / (FACTOR * their_errors[name] + FLOOR), error, their_errors[name], name))
    rows.sort(reverse=True)
    print(f"{len(rows)} tensors; those nearest to the limit (1), with the relative errors of both {dtype} runs:")
    print("   of limit     zeroth    PyTorch")
    for ratio, error, their_error, name in rows[:12]:
        print(f"  {ratio:9.2f}  {error:9.2e}  {their_error:9.2e}  {name}")
    return sum(not ratio <= 1.0 for ratio, *_ in rows)


def pictures_of(check, model):
    """As few as time wants, but where ResNet-18's last maps are one pixel, batch norm needs more pictures."""
    check = {"simt-bf16": "simt"}.get(check, check if check in ("f64", "simt") else "f32")
    if model.endswith("resnet18"):
        return {"f64": 16, "f32": 16, "simt": 8}[check]
    if model.endswith("resnet18-cifar"):
        return {"f64": 2, "f32": 4, "simt": 1}[check]
    return {"f64": 4, "f32": 16, "simt": 2}[check]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("check", choices=("f64", "f32", "bf16", "simt", "simt-bf16", "cuda", "cuda-bf16"))
    parser.add_argument("model")
    parser.add_argument("form", choices=networks.FORMS)
    parser.add_argument("shortcut", choices=("a", "b"))
    options = parser.parse_args()
    torch.set_num_threads(2)
    batch = pictures_of(options.check, options.model)
    if options.check == "f64":
        failures = check_exact(options, batch)
    else:
        failures = check_rounding(options, batch)
    if failures:
        raise SystemExit(f"{failures} tensors are over the limit")


if __name__ == "__main__":
    main()
