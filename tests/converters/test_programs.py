"""Networks from files of torch.export and TorchScript."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.programs import read_program
from neurosleep.sims.errors import InputError


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding="same", groups=2)
        self.last = nn.Linear(8, 10)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        y = nn.functional.avg_pool2d(torch.relu(x + self.second(x)), 2)
        y = nn.functional.adaptive_avg_pool2d(nn.functional.max_pool2d(y, 2), 1)
        return self.last(self.dropout(torch.flatten(y, 1)))


class Sounds(nn.Module):
    """One axis of space, an affine input, and a view by the number of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 4, 3, stride=2, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(2)
        )
        self.last = nn.Linear(24, 5)
        self.register_buffer("mean", torch.tensor([[0.1], [0.2]]))

    def forward(self, x):
        x = self.features((x.float() - self.mean) / 2.0)
        return self.last(x.view(x.size(0), -1)).relu()


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))

    def forward(self, x):
        return self.layers(x)


NETWORKS = {"residual": (Residual, (3, 16, 16)), "sounds": (Sounds, (2, 26)), "dense": (Dense, (6,))}


def saved(way: str, model: nn.Module, example: torch.Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if way == "export":
            n = ({0: torch.export.Dim("n", min=1)},)
            torch.export.save(torch.export.export(model, (example,), dynamic_shapes=n), path)
        else:
            program = torch.jit.trace(model, example) if way == "trace" else torch.jit.script(model)
            torch.jit.save(program, path)
    return path


CASES = [(name, way) for name in NETWORKS for way in ("export", "trace")] + [("sounds", "script")]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_program_computes_what_its_network_does(tmp_path, name, way) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    for buffer in (b for key, b in model.named_buffers() if "running" in key):
        nn.init.uniform_(buffer, 0.5, 2)
    model.eval()
    suffix = ".pt2" if way == "export" else ".pt"
    program = read_program(
        saved(way, model, torch.randn(2, *shape), tmp_path / f"model{suffix}"), trust=way != "export"
    )
    x = torch.randn(7, *shape)
    torch.testing.assert_close(program(x), model(x), rtol=1e-5, atol=1e-5)
    kept = {path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)}
    assert kept <= {path for path, _ in program.named_modules()}


class Sigmoid(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


class Two(nn.Module):
    def forward(self, x):
        return x + 1, x


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(x, self.linear.weight.relu())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Sigmoid(), r"aten::sigmoid.*not supported"),
        (Two(), "one input and one output, got 1 and 2"),
        (Product(), "computes values from weights alone"),
        (nn.Sequential(nn.ConvTranspose2d(1, 1, 2)), "transpose"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, model, says) -> None:
    example = torch.randn(2, 1, 4, 4)
    with pytest.raises(ConversionError, match=says):
        read_program(saved("export", model.eval(), example, tmp_path / "model.pt2"))


def test_scripted_networks_that_look_at_shapes(tmp_path) -> None:
    with pytest.raises(ConversionError, match=r"torch.jit.trace"):
        read_program(saved("script", Dense().eval(), torch.randn(2, 6), tmp_path / "model.pt"), trust=True)


def test_files_that_are_no_programs(tmp_path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_program(tmp_path / "none.pt2")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(InputError, match="not a zip file"):
        read_program(tmp_path / "text.pt2")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "state.pt")
    with pytest.raises(InputError, match="module:factory"):
        read_program(tmp_path / "state.pt")
    whole = saved("export", Dense().eval(), torch.randn(2, 6), tmp_path / "whole.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a zip file"):
        read_program(tmp_path / "cut.pt2")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("where", ["sample_inputs", "weights"])
def test_pickled_objects_are_not_read(tmp_path, where) -> None:
    good, bad, trace = tmp_path / "good.pt2", tmp_path / "bad.pt2", tmp_path / "ran"
    saved("export", Dense().eval(), torch.randn(2, 6), good)
    bomb = io.BytesIO()
    torch.save(Bomb(trace), bomb)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if where == "sample_inputs" and "sample_inputs" in name:
                content = bomb.getvalue()
            elif where == "weights" and name.endswith("weights_config.json"):
                content = content.replace(b'"use_pickle":false', b'"use_pickle":true').replace(
                    b'"use_pickle": false', b'"use_pickle": true'
                )
                assert b"true" in content
            elif where == "weights" and name.endswith("weight_0"):
                content = bomb.getvalue()
            new.writestr(name, content)
    with pytest.raises(InputError, match=r"pickled object|more than tensors"):
        read_program(bad)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # noqa: S301
    assert trace.exists()
