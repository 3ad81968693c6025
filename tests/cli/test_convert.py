"""`neurosleep convert`: a folder with a network and its report, or one clear line and nothing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

nir = pytest.importorskip("nir")

SOURCE = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 4))

def pools():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4))

def number():
    return 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module, its weights, and data; also the present one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text(SOURCE)
    names: dict = {}
    exec(SOURCE, names)  # noqa: S102
    model = names["make"]()
    torch.save(model.state_dict(), "weights.pt")
    rng = np.random.default_rng(0)
    inputs = rng.random((40, 1, 8, 8), dtype=np.float32)
    labels = model(torch.from_numpy(inputs)).argmax(1).numpy()
    np.savez("data.npz", inputs=inputs, labels=labels)
    return tmp_path


def test_a_folder_with_everything(cli, here) -> None:
    done = cli("convert", "mynet:make", "--weights", "weights.pt", "--calibration", "data.npz", "--out", "out")
    assert done.code == 0, done.err
    assert "accuracy of the trained network: 100.00 %" in done.out
    assert sorted(p.name for p in (here / "out").iterdir()) == [
        "conversion.png",
        "conversion.svg",
        "network.nir",
        "report.json",
        "report.txt",
    ]
    report = json.loads((here / "out" / "report.json").read_text())
    assert report["conversion"]["steps"] == 200
    assert report["export"]["target"] == "generic"
    assert report["export"]["changes"] == []
    assert "input" in nir.read(str(here / "out" / "network.nir")).nodes
    again = cli("convert", "mynet:make", "--calibration", "data.npz", "--out", "out")
    assert again.code == 2
    assert "out exists already" in again.err


def test_a_network_from_a_file(cli, here) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 4)).eval()
    n = ({0: torch.export.Dim("n", min=1)},)
    torch.export.save(torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=n), "model.pt2")
    np.save("inputs.npy", np.load("data.npz")["inputs"])
    options = ("--target", "spikingjelly", "--steps", "50", "--reset", "zero")
    done = cli("convert", "model.pt2", "--calibration", "inputs.npy", "--out", "out", *options)
    assert done.code == 0, done.err
    assert "NIR for spikingjelly" in (here / "out" / "report.txt").read_text()
    done = cli("convert", "model.pt2", "--calibration", "inputs.npy", "--out", "several", "--target", "sinabs")
    assert done.code == 0, done.err
    assert ": 0 changes" in (here / "several" / "report.txt").read_text()


def test_changes_must_be_accepted(cli, here) -> None:
    words = (
        "convert",
        "mynet:make",
        "--calibration",
        "data.npz",
        "--target",
        "generic",
        "--reset",
        "subtract",
        "--out",
        "out",
    )
    refused = cli(*words)
    assert refused.code == 2
    assert "reset" in refused.err
    assert "--accept-changes" in refused.err
    assert not (here / "out").exists()
    assert cli(*words, "--accept-changes").code == 0
    assert len(json.loads((here / "out" / "report.json").read_text())["export"]["changes"]) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing:make", "--calibration", "data.npz"), "no Python module 'nothing'"),
        (("mynet:none", "--calibration", "data.npz"), "has no attribute 'none'"),
        (("mynet:number", "--calibration", "data.npz"), "must return a torch.nn.Module, got int"),
        (("mynet:pools", "--calibration", "data.npz"), "MaxPool2d"),
        (("mynet:make", "--calibration", "data.npz", "--weights", "data.npz"), "expected a state dict"),
        (("mynet:make", "--calibration", "none.npz"), "No such file"),
        (("mynet:make", "--calibration", "data.csv"), "expected an .npy or .npz file, or a data set among"),
        (("mynet:make", "--calibration", "wrong.npz"), "expected an array `inputs`; found x"),
        (("mynet:make", "--calibration", "narrow.npy"), "does not take inputs of shape"),
        (("mynet:make", "--calibration", "nan.npy"), "not finite"),
        (("mynet:make", "--calibration", "empty.npy"), "n at least 1"),
        (("mynet:make", "--calibration", "data.npz", "--target", "rockpool"), "rockpool"),
        (("none.pt2", "--calibration", "data.npz"), "none.pt2: expected a file of torch.export or TorchScript"),
        (("weights.pt", "--calibration", "data.npz"), "needs the code of its network"),
        (("none.pt2", "--calibration", "data.npz", "--weights", "weights.pt"), "has its own"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(cli, here, words, says) -> None:
    np.savez("wrong.npz", x=np.zeros(3))
    np.save("narrow.npy", np.zeros((3, 1, 2, 2)))
    np.save("nan.npy", np.full((3, 1, 8, 8), np.nan))
    np.save("empty.npy", np.zeros((0, 1, 8, 8)))
    before = sorted(here.rglob("*"))
    done = cli("convert", *words, "--out", "out")
    assert done.code == 2, done
    assert says in done.err
    assert done.err.count("\n") == 1
    assert [p for p in sorted(here.rglob("*")) if "__pycache__" not in str(p)] == before


def test_a_full_disk_leaves_nothing(cli, here, monkeypatch) -> None:
    import neurosleep.cli.conversion

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neurosleep.cli.conversion, "draw", full)
    done = cli("convert", "mynet:make", "--calibration", "data.npz", "--out", "out")
    assert done.code == 1
    assert "No space left" in done.err
    assert [p.name for p in here.iterdir() if "out" in p.name] == []
