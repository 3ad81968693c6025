"""`neurosleep convert`: a folder with a network and its report, or one clear line and nothing."""

import json
import warnings
import zipfile

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

def regression():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 1))
"""
LOOSE = ("--max-loss", "100")  # networks that have learnt nothing answer by a hair's breadth


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
    done = cli("convert", "mynet:make", "--weights", "weights.pt", "--calibration", "data.npz", *LOOSE, "--out", "out")
    assert done.code == 0, done.err
    assert "accuracy: trained 100.00 %, normalised " in done.out
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
    options = ("--target", "spikingjelly", "--steps", "50", "--reset", "zero", *LOOSE)
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
        *LOOSE,
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
        (("mynet:make", "--calibration", "cut.npz"), "cut.npz is damaged or no zip file"),
        (("mynet:make", "--calibration", "cut.npy"), "says that it is float64 of shape (3, 1, 2, 2), but has 86 bytes"),
        (("mynet:make", "--calibration", "huge.npy"), "says that it is"),
        (("mynet:make", "--calibration", "twice.npz"), "two members 'inputs.npy'"),
        (("mynet:make", "--calibration", "pickle.npz"), "holds object, not numbers or text"),
        (("script.pt", "--calibration", "data.npz"), "runs code of its own when it is opened"),
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
    (here / "cut.npz").write_bytes((here / "data.npz").read_bytes()[:5000])
    (here / "cut.npy").write_bytes((here / "narrow.npy").read_bytes()[:-10])
    (here / "huge.npy").write_bytes(
        (here / "narrow.npy").read_bytes().replace(b"(3, 1, 2, 2), }   ", b"(3, 2, 2, 99999), }")
    )
    np.savez("pickle.npz", inputs=np.array([[{}]], dtype=object))
    with warnings.catch_warnings(), zipfile.ZipFile("twice.npz", "w") as archive:
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.ReLU()), "script.pt")
        for _ in range(2):
            archive.writestr("inputs.npy", (here / "narrow.npy").read_bytes())
    np.save("nan.npy", np.full((3, 1, 8, 8), np.nan))
    np.save("empty.npy", np.zeros((0, 1, 8, 8)))
    before = sorted(here.rglob("*"))
    done = cli("convert", *words, "--out", "out")
    assert done.code == 2, done
    assert says in done.err
    assert done.err.count("\n") == 1
    assert [p for p in sorted(here.rglob("*")) if "__pycache__" not in str(p)] == before


def test_a_full_disk_leaves_nothing(cli, here, room_for) -> None:
    words = ("convert", "mynet:make", "--calibration", "data.npz", *LOOSE)
    assert cli(*words, "--out", "good").code == 0
    sizes = {path.name: path.stat().st_size for path in (here / "good").iterdir()}
    assert min(sizes.values()) > 500  # enough for the message, which a file takes here
    for name in ("network.nir", "report.txt", "conversion.png"):
        with room_for(sizes[name] - 1):
            done = cli(*words, "--out", "out")
        assert (done.code, done.err) == (2, "neurosleep: out: File too large while writing\n")
        assert [p.name for p in here.iterdir() if "out" in p.name] == []


def test_a_ruined_network_is_not_written(cli, here) -> None:
    words = ("convert", "mynet:make", "--weights", "weights.pt", "--calibration", "data.npz", "--steps", "3")
    done = cli(*words, "--out", "out")
    assert done.code == 3
    assert "accuracy: trained 100.00 %, normalised 100.00 %, spiking" in done.out
    assert "most of them from normalised to spiking; at most 5 may be lost, so nothing is written" in done.err
    assert "--steps" in done.err
    assert done.err.count("\n") == 1
    assert not (here / "out").exists()
    assert cli(*words, "--max-loss", "100", "--out", "out").code == 0
    ladder = json.loads((here / "out" / "report.json").read_text())["conversion"]["ladder"]
    assert list(ladder) == ["trained", "normalised", "spiking"]


def test_pooling_that_ruins_a_network_is_named(cli, here) -> None:
    names: dict = {}
    exec(SOURCE, names)  # noqa: S102
    torch.manual_seed(0)
    model, x = names["pools"](), np.load("data.npz")["inputs"]
    with torch.no_grad():
        model[0].weight.mul_(10)
        model[-1].bias -= model(torch.from_numpy(x)).mean(0)
        np.savez("pools.npz", inputs=x, labels=model(torch.from_numpy(x)).argmax(1).numpy())
    torch.save(model.state_dict(), "pools.pt")
    words = ("--weights", "pools.pt", "--calibration", "pools.npz", "--max-pool", "average", "--target", "sinabs")
    done = cli("convert", "mynet:pools", *words, "--accept-changes", "--out", "out")
    assert done.code == 3
    assert "most of them from trained to pooling replaced" in done.err
    assert "train the network with average pooling" in done.err


def test_the_reset_is_that_which_the_target_takes_and_loses_less(here, monkeypatch) -> None:
    from neurosleep.cli import conversion
    from neurosleep.converters.nir.targets import ExportReport

    model, x = conversion.read_model("mynet:make", here / "weights.pt"), np.load("data.npz")
    test = conversion.Data(x["inputs"], x["labels"])

    def chosen(target: str, accept_changes: bool = False):
        options = ("percentile", 99.9, "layer", None, "refuse", 50, 0.0, 500, accept_changes, None)
        request = conversion.Request("", None, "", None, here, target, *options)
        graphs = conversion.writable(model, test.inputs, request)
        return list(graphs), conversion.least_lost(model, graphs, test, request)

    assert chosen("spikingjelly")[0] == ["zero"]
    assert "subtract" in chosen("sinabs", accept_changes=True)[0]
    monkeypatch.setattr(conversion, "export_report", lambda graph, target: ExportReport(target, "", (), ()))
    resets, (graph, report) = chosen("spikingjelly")  # were it to take both
    assert resets == ["subtract", "zero"]
    assert graph.populations[0].reset == "subtract"
    assert conversion.lost(report) < 20


@pytest.mark.parametrize("pool", ["winner", "any"])
def test_what_cannot_be_written_is_refused_before_anything_is_simulated(cli, here, monkeypatch, pool) -> None:
    from neurosleep.cli import conversion

    monkeypatch.setattr(conversion, "conversion_report", None)  # calling it would be a TypeError
    words = ("--calibration", "data.npz", "--max-pool", pool, "--accept-changes", "--out", "out")
    done = cli("convert", "mynet:pools", *words)
    assert done.code == 2
    assert "pool" in done.err
    labels = np.full(40, 4)
    np.savez("outside.npz", inputs=np.load("data.npz")["inputs"], labels=labels)
    done = cli("convert", "mynet:make", "--calibration", "outside.npz", "--out", "out")
    assert done.code == 2
    assert "labels must be from 0 to 3, as the network has 4 outputs, got 4" in done.err
    done = cli("convert", "mynet:make", "--calibration", "data.npz", "--out", "weights.pt/out")
    assert done.code == 2
    assert "no folder that you may write into" in done.err


def test_a_regression_is_judged_by_its_values(cli, here) -> None:
    x = np.load("data.npz")["inputs"]
    np.savez("numbers.npz", inputs=x, labels=np.linspace(0, 2, 40, dtype=np.float32))
    words = ("convert", "mynet:regression", "--calibration", "numbers.npz", "--target", "sinabs", "--accept-changes")
    done = cli(*words, "--steps", "400", "--out", "out")
    assert done.code == 0, done.err
    assert "variance explained: trained 100.00 %" in done.out
    done = cli(*words, "--steps", "2", "--out", "ruined")
    assert done.code == 3, done.out
