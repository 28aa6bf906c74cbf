"""The networks of models/resnet.h in plain PyTorch, with the same parameter names.

Filters are KCRS here and KRSC in zeroth: to_zeroth() and from_zeroth() convert. Nothing else differs.
"""

import torch
from torch import nn
from torch.nn import functional

FORMS = ("plain", "post", "authors")


class ShortcutA(nn.Module):
    """Every second pixel, the new channels zero, half of them on either side (He et al., 2015, option A)."""

    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.stride, self.pad = stride, (channels_out - channels_in) // 2

    def forward(self, x):
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))


class BasicBlock(nn.Module):
    def __init__(self, channels_in, channels_out, stride, form, shortcut):
        super().__init__()
        self.form = form
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()  # modules, so that hooks reach their inputs
        self.downsample = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            if shortcut == "a":
                self.downsample = ShortcutA(channels_in, channels_out, stride)
            else:
                self.downsample = nn.Sequential(
                    nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
                )
        if form != "plain":
            self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        f = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        shortcut = self.downsample(x)
        if self.form == "plain":
            return self.relu2(f + shortcut)
        if self.form == "post":
            return self.relu2(self.alpha * f + shortcut)
        return self.alpha * self.relu2(f) + shortcut


class ResNet(nn.Module):
    def __init__(self, blocks, channels, imagenet_stem, form, shortcut, classes=10):
        super().__init__()
        assert form in FORMS and shortcut in ("a", "b")
        if imagenet_stem:
            self.conv1 = nn.Conv2d(3, channels[0], 7, 2, 3, bias=False)
            self.pool = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
            self.pool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU()
        self.stages = len(blocks)
        channels_in = channels[0]
        for stage, (count, channels_out) in enumerate(zip(blocks, channels)):
            layer = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layer.append(BasicBlock(channels_in, channels_out, stride, form, shortcut))
                channels_in = channels_out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(channels_in, classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def build(name, form=None, shortcut="b", classes=10):
    """A network by the name that zeroth gives it: [rezero-]resnetN, resnet18 or resnet18-cifar."""
    rezero = name.startswith("rezero-")
    form = form or ("post" if rezero else "plain")
    base = name[len("rezero-"):] if rezero else name
    if base in ("resnet18", "resnet18-cifar"):
        return ResNet((2, 2, 2, 2), (64, 128, 256, 512), base == "resnet18", form, shortcut, classes)
    depth = int(base[len("resnet"):])
    if not base.startswith("resnet") or depth < 8 or (depth - 2) % 6:
        raise ValueError(f"no network named {name}")
    return ResNet((depth // 6,) * 3, (16, 32, 64), False, form, shortcut, classes)


def to_zeroth(tensor):
    """A parameter or its gradient as a numpy array in zeroth's layout."""
    tensor = tensor.detach()
    return (tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor).contiguous().numpy()


def from_zeroth(array):
    """A numpy array in zeroth's layout as a tensor in PyTorch's."""
    tensor = torch.from_numpy(array)
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.dim() == 4 else tensor
