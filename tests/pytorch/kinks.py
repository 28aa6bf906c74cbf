"""Moves a network to a point where one training step can be compared between implementations.

ReLU and max pooling have kinks. Where a ReLU's input lies within rounding error of zero, two correct f32
programs may take different sides; one such element among a million changes gradients by 1e-3, a thousand
times their rounding error, and a comparison then measures luck. So before comparing, the biases of batch norm
are shifted until no ReLU's input is near zero, channel by channel, in float64. The network stays an ordinary
one: both sides of each ReLU remain in use.
"""

import torch

from networks import BasicBlock

WINDOW = 0.1  # the largest shift, in standard deviations of the ReLU's input


def middle_of_widest_gap(values, bound):
    """The middle of the widest interval in [-bound, bound] that holds none of `values`."""
    inside = values[values.abs() < bound].sort().values
    edges = torch.cat([-values.new_tensor([bound]), inside, values.new_tensor([bound])])
    widest = (edges[1:] - edges[:-1]).argmax()
    return (edges[widest] + edges[widest + 1]) / 2


def move_off_kinks(network, x):
    """Shifts the batch norm biases of a float64 network in training mode, keeping them f32 numbers.

    Returns the smallest distance of a ReLU's input from zero, in standard deviations of its tensor, and the
    smallest difference between the largest and the second value of a pooling window, likewise (1 without
    pooling).
    """
    distances, pool_distances = [], [1.0]

    def shift(norm, factor):  # the ReLU's input moves by factor * (change of the bias)
        def hook(_, inputs):
            z = inputs[0]
            channels = z.detach().transpose(0, 1).flatten(1)
            scale = channels.std()
            moves = torch.stack([middle_of_widest_gap(channel, WINDOW * scale) for channel in channels])
            bias = (norm.bias.data - moves / factor).float().double()
            z = z + (factor * (bias - norm.bias.data)).view(1, -1, 1, 1)
            norm.bias.data.copy_(bias)
            distances.append(float(z.abs().min() / scale))
            return (z,)

        return hook

    def look_at_windows(pool, inputs):
        x = inputs[0]
        windows = torch.nn.functional.unfold(
            x.reshape(-1, 1, *x.shape[2:]), pool.kernel_size, padding=pool.padding, stride=pool.stride
        )
        top = windows.topk(2, dim=1).values
        contested = (top[:, 0] - top[:, 1])[top[:, 0] > 0]  # a window of zeros passes no gradient on
        pool_distances.append(float(contested.min() / x.std()))

    state = {name: buffer.clone() for name, buffer in network.named_buffers()}
    hooks = [network.relu.register_forward_pre_hook(shift(network.bn1, 1.0))]
    if isinstance(network.pool, torch.nn.MaxPool2d):
        hooks.append(network.pool.register_forward_pre_hook(look_at_windows))
    for block in network.modules():
        if isinstance(block, BasicBlock):
            factor = block.alpha.item() if block.form == "post" else 1.0
            hooks.append(block.relu1.register_forward_pre_hook(shift(block.bn1, 1.0)))
            hooks.append(block.relu2.register_forward_pre_hook(shift(block.bn2, factor)))
    with torch.no_grad():
        network(x)
        for name, buffer in network.named_buffers():  # running statistics as they were
            buffer.copy_(state[name])
    for hook in hooks:
        hook.remove()
    return min(distances), min(pool_distances)
