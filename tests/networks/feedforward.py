"""Small networks in the style of those in the wild, and random ones: what is read as a graph and sleeps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SHAPE = (3, 6, 6)


class Applied(nn.Module):
    """Modules and a function of them and the input."""

    def __init__(self, function: Callable[[nn.Module, torch.Tensor], torch.Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


class Residual(nn.Module):
    """A block of a ResNet; its shortcut is a convolution where shapes change."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.relu, self.shortcut = nn.ReLU(inplace=True), nn.Sequential()
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(out + self.shortcut(x))


def normalised(n_in: int, n_out: int, *args: int, **options: int) -> list[nn.Module]:
    return [nn.Conv2d(n_in, n_out, *args, **options, bias=False), nn.BatchNorm2d(n_out)]


def resnet() -> nn.Module:
    stem = [*normalised(3, 4, 3, 1, 1), nn.ReLU()]
    blocks = Residual(4, 4), Residual(4, 6, 2)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def vgg() -> nn.Module:
    return nn.Sequential(
        *normalised(3, 4, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(True),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5, 6), nn.ReLU(True), nn.Dropout(), nn.Linear(6, 3),
    )  # fmt: skip


def densenet() -> nn.Module:
    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.stem(x)
        for norm, conv in ((m.n1, m.c1), (m.n2, m.c2)):
            x = torch.cat([x, conv(functional.relu(norm(x)))], 1)
        return m.fc(functional.relu(m.last(x)).mean((2, 3)))

    return Applied(
        function,
        stem=nn.Conv2d(3, 4, 3, padding=1),
        n1=nn.BatchNorm2d(4), c1=nn.Conv2d(4, 2, 3, padding=1, bias=False),
        n2=nn.BatchNorm2d(6), c2=nn.Conv2d(6, 2, 3, padding=1, bias=False),
        last=nn.BatchNorm2d(8), fc=nn.Linear(8, 3),
    )  # fmt: skip


def mobilenet() -> nn.Module:
    def block(n: int) -> nn.Module:
        wide = [*normalised(n, 2 * n, 1), nn.ReLU6(), *normalised(2 * n, 2 * n, 3, 1, 1, groups=2 * n), nn.ReLU6()]
        return nn.Sequential(*wide, *normalised(2 * n, n, 1))

    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.stem(x)
        return m.fc(functional.adaptive_avg_pool2d(m.head(x + m.block(x)), 1).flatten(1))

    stem = nn.Sequential(*normalised(3, 4, 3, 2, 1), nn.ReLU6())
    head = nn.Sequential(*normalised(4, 5, 1), nn.ReLU6())
    return Applied(function, stem=stem, block=block(4), head=head, fc=nn.Linear(5, 3))


def squeezenet() -> nn.Module:
    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(m.stem(x).relu(), 3, 2, ceil_mode=True)
        s = m.squeeze(x).relu()
        x = torch.cat([m.e1(s).relu(), m.e3(s).relu()], 1)
        x = functional.max_pool2d(x, 2)
        return m.out(torch.cat([m.last(x).relu(), x], 1)).mean((2, 3))

    return Applied(
        function, stem=nn.Conv2d(3, 4, 3, padding=1), squeeze=nn.Conv2d(4, 2, 1), e1=nn.Conv2d(2, 3, 1),
        e3=nn.Conv2d(2, 3, 3, padding=1), last=nn.Conv2d(6, 2, 1), out=nn.Conv2d(8, 3, 1),
    )  # fmt: skip


def unet() -> nn.Module:
    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        fine = m.down(x).relu()
        coarse = m.deep(functional.avg_pool2d(fine, 2)).relu()
        coarse = functional.pad(functional.pixel_shuffle(coarse, 2), (1, 0, 0, 1))[:, :, 1:, :-1]
        return m.fc(m.up(torch.cat([fine[:, 1:], coarse], 1)).relu().flatten(1))

    return Applied(
        function, down=nn.Conv2d(3, 3, 3, padding="same"), deep=nn.Conv2d(3, 4, 2, padding=1, stride=1, dilation=2),
        up=nn.Conv2d(3, 2, 3, padding=1), fc=nn.Linear(72, 3),
    )  # fmt: skip


def slopes() -> nn.Module:
    model = nn.Sequential(
        *normalised(3, 4, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(4), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(36, 5), nn.RReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    with torch.no_grad():
        model[4].weight.copy_(torch.tensor([0.5, 0.2, 0.1, 0.05]))
    return model


def shared() -> nn.Module:
    def function(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = m.stem(x).relu()
        for _ in range(2):
            x = m.conv(x).relu()
        return m.fc(x.flatten(1))

    return Applied(function, stem=nn.Conv2d(3, 2, 3), conv=nn.Conv2d(2, 2, 3, padding=1), fc=nn.Linear(32, 3))


def even_same() -> nn.Module:
    convolutions = nn.Conv2d(3, 4, 2, padding="same"), nn.ReLU(), nn.Conv2d(4, 3, 4, padding="same", bias=False)
    return nn.Sequential(*convolutions, nn.ReLU(), nn.Flatten(), nn.Linear(108, 3))


NETWORKS = {f.__name__: f for f in (resnet, vgg, densenet, mobilenet, squeezenet, unet, slopes, shared, even_same)}


def trained(make: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    """Return a network in float64 whose batch norms have seen something, in evaluation."""
    torch.manual_seed(seed)
    model = make().double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(-0.2, 1.5)
                module.bias.normal_(0, 0.3)
        list(model.parameters())[-1].add_(2.0)  # no output is silent
    return model


class Random(nn.Module):
    """A random network: convolutions, sums, joins, slices, pooling, and rectifiers of all kinds."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)
        self.steps: list[tuple[str, list[int], nn.Module | None]] = []
        self.parts = nn.ModuleList()
        torch.manual_seed(seed)
        shapes = [SHAPE]
        for number in range(int(self.random.integers(4, 8))):
            shapes.append(self._add(shapes, number))
        n = int(np.prod(shapes[-1]))
        self.last = nn.Linear(n, 3)

    def _add(self, shapes: list[tuple[int, ...]], number: int) -> tuple[int, ...]:
        at = len(shapes) - 1 if self.random.random() < 0.7 else int(self.random.integers(len(shapes)))
        shape = shapes[at]
        alike = [k for k, other in enumerate(shapes) if other[1:] == shape[1:] and k]
        kinds = ["conv", "conv", "grouped", "rectify", "rectify"]
        kinds += ["max", "average", "crop"] if min(shape[1:]) > 2 and at else []
        kinds += ["sum"] if any(shapes[k] == shape for k in alike) and at else []
        kinds += ["cat"] if alike and at else []
        kind = "conv" if number == 0 else str(self.random.choice(kinds))
        module: nn.Module | None = None
        inputs = [at]
        if kind in ("conv", "grouped"):
            groups = shape[0] if kind == "grouped" else 1
            n = shape[0] if kind == "grouped" else int(self.random.integers(2, 5))
            layers: list[nn.Module] = [nn.Conv2d(shape[0], n, 3, 1, 1, groups=groups, bias=bool(number % 2))]
            layers += [nn.BatchNorm2d(n)] if self.random.random() < 0.6 else []
            layers += [self._rectifier(n)] if self.random.random() < 0.8 else []
            module, result = nn.Sequential(*layers), (n, *shape[1:])
        elif kind == "rectify":
            module, result = self._rectifier(shape[0]), shape
        elif kind in ("max", "average"):
            pool = nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2, 1)
            module = nn.Sequential(nn.ReLU(), pool) if kind == "max" else pool
            result = tuple(module(torch.zeros(1, *shape)).shape[1:])
        elif kind == "crop":
            result = (shape[0], shape[1] - 1, shape[2] - 1)
        else:
            other = [k for k in alike if kind == "cat" or shapes[k] == shape]
            inputs.append(int(self.random.choice(other)))
            result = shape if kind == "sum" else (shape[0] + shapes[inputs[1]][0], *shape[1:])
        if module is not None:
            self.parts.append(module)
        self.steps.append((kind, inputs, module))
        return result

    def _rectifier(self, n: int) -> nn.Module:
        kinds = [nn.ReLU(), nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0.0, 0.5), nn.LeakyReLU(0.2), nn.PReLU(n)]
        return kinds[int(self.random.integers(len(kinds)))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for kind, inputs, module in self.steps:
            x = values[inputs[0]]
            if module is not None:
                x = module(x)
            elif kind == "crop":
                x = functional.pad(x[:, :, 1:], (0, -1))
            else:
                x = x + values[inputs[1]] if kind == "sum" else torch.cat([x, values[inputs[1]]], 1)
            values.append(x)
        return self.last(values[-1].flatten(1))
