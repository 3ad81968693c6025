"""The guides' Python runs as it stands, and says what it promises."""

import contextlib
import io
import logging
import os
import re
import warnings
from functools import partial
from pathlib import Path

import pytest

import neurosleep as ns
from neurosleep.sims import thresholds

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"


def run(page: str, names: dict) -> str:
    """Run the Python of a page, and return what it printed."""
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    printed = io.StringIO()
    level = logging.root.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
        warnings.simplefilter("ignore")  # of the simulators, of their own calls
        exec(compile("\n".join(blocks), page, "exec"), names)  # noqa: S102
    logging.root.setLevel(level)
    return printed.getvalue()


@pytest.fixture(scope="module")
def slept(tmp_path_factory):
    """What convert.md leaves behind."""
    names: dict = {}
    with contextlib.chdir(tmp_path_factory.mktemp("guide")):
        printed = run("convert.md", names)
    assert re.search(r"accuracy: trained [6-9]\d", printed)
    return names


def accuracies(printed: str) -> list[float]:
    """Return the two accuracies of the line that compares them."""
    found = re.search(r"in \w+ ([\d.]+)%, .*? ([\d.]+)%", printed)
    assert found is not None, printed
    return [float(x) for x in found.groups()]


def test_snntorch(slept, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run("snntorch.md", dict(slept))
    theirs, ours = accuracies(printed)
    assert theirs == ours
    differ = [int(n) for n in re.findall(r"spikes, (\d+) neurons differ", printed)]
    assert len(differ) == 3
    assert max(differ) < 30  # of 360,000: where a membrane is within rounding of its threshold
    assert int(re.search(r"([\d,]+) spikes asleep", printed)[1].replace(",", "")) > 0


@pytest.mark.parametrize(
    ("page", "needs"),
    [("norse.md", "norse.torch"), ("spikingjelly.md", "spikingjelly.activation_based.nir_exchange")],
)
def test_simulators_that_reset_to_0(slept, tmp_path, monkeypatch, page, needs) -> None:
    pytest.importorskip("nir", minversion="1.0.8")
    pytest.importorskip(needs)
    monkeypatch.chdir(tmp_path)
    printed = run(page, dict(slept))
    theirs, ours = accuracies(printed)
    assert theirs == pytest.approx(ours, abs=0.4)  # one image of 300: sums are rounded in another order
    assert ": 0 changes" in printed


def test_sinabs(slept, tmp_path, monkeypatch) -> None:
    pytest.importorskip("sinabs.nir")
    monkeypatch.chdir(tmp_path)
    printed = run("sinabs.md", dict(slept))
    theirs, ours = accuracies(printed)
    assert theirs == pytest.approx(ours, abs=1)  # one image of 100: sums are rounded in another order
    assert "spikes per step: at most one here, up to" in printed
    assert ": 0 changes" in printed


@pytest.mark.skipif("NEUROSLEEP_BRIAN2" not in os.environ, reason="needs the python of an environment with Brian2")
def test_brian2(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brian2").symlink_to(Path(os.environ["NEUROSLEEP_BRIAN2"]).absolute().parents[1])
    printed = run("brian2.md", {})
    found = [
        (name, int(n), int(differ)) for name, n, differ in re.findall(r"(\w+): (\d+) spikes, (\d+) differ", printed)
    ]
    assert [name for name, _, _ in found] == ["input", "hidden1", "output"]
    assert all(n > 100 and differ <= 0.01 * n for _, n, differ in found)
    changes = re.findall(r"differ by (\S+) at most", printed)
    assert len(changes) == 2
    assert max(map(float, changes)) < 0.01


def test_nir(slept, tmp_path, monkeypatch) -> None:
    pytest.importorskip("nir")
    monkeypatch.chdir(tmp_path)
    assert "it answers the same" in run("nir.md", dict(slept))


def test_files_from_others(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run("files-from-others.md", {})
    assert printed.count("torch.Size([2, 3])") == 2
    assert "runs code of its own when it is opened" in printed


def test_spikes(tmp_path, monkeypatch) -> None:
    for needs in ("pynwb", "neo", "pandas", "elephant", "pynapple", "statsmodels"):
        pytest.importorskip(needs)
    monkeypatch.chdir(tmp_path)
    assert "hidden1" in run("spikes.md", {})


def test_own_drive(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    printed = run("own-drive.md", names)
    shares = [int(x) for x in re.findall(r"(\d+) % of them in up states", printed)]
    assert len(shares) == 3
    assert shares[0] == 100
    assert min(shares[1:]) > 90  # what leaks away may still fire at once
    assert all(n > 0 for n in names["record"].spikes.values())


def test_own_classes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    printed = run("own-classes.md", {})
    assert 'kind = "my_sleep:Waves"' in printed
    assert "points" in printed


def test_own_rule(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused, changed = run("own-rule.md", {"__name__": "own_rule"}).splitlines()
    assert refused.startswith("Remembers.on_post refers to 'seen', which is a list")
    assert float(changed) > 1e-5


def test_own_homeostasis(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    printed = run("own-homeostasis.md", names)
    rates = {name: names[name].rates["hidden1"] for name in ("free", "bounded", "quiet", "scaled")}
    assert rates["bounded"] != rates["free"]
    assert max(rates["quiet"], rates["scaled"]) < 0.6 * rates["free"], rates
    assert re.search(
        r"homeostasis Wrong, layer \S+, step 1000: apply\(\) gives \d+ values that are not finite", printed
    )


def test_your_network(tmp_path, monkeypatch) -> None:
    """On the reference, which need not be compiled."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((ns, "sleep"), (thresholds, "simulate_ensemble")):
        monkeypatch.setattr(module, name, partial(getattr(module, name), backend="reference"))
    names: dict = {}
    printed = run("your-network.md", names)
    rates = names["record"].rates
    assert all(0.01 < 0.001 * rates[name] < 0.03 for name in ("stem", "conv", "out")), rates
    changed = {change.layer for change in names["record"].weight_changes if change.mean_absolute_change > 0}
    assert changed >= {"stem", "conv", "shortcut"}
    assert re.search(r"2 and 3: [6-9]\d\.\d % right before the night, [4-9]\d\.\d % after", printed)
    assert "submodule 'cell' (GRU) is not supported" in printed
    assert "DataLoader gives no batch" in printed


def test_own_neurons(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    run("own-neurons.md", names)
    rates = {name: names[name].rates["hidden1"] for name in ("plain", "tired", "noisy", "echo")}
    assert rates["tired"] < 0.6 * rates["plain"] < 0.6 * min(rates["noisy"], rates["echo"]), rates
    assert [change.layer for change in names["echo"].projections] == ["hidden1 to hidden1"]
    assert names["echo"].projections[0].mean_absolute_change > 0


def test_hypnogram(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = run("hypnogram.md", {})
    assert re.search(r"N1: 33 steps, input at [23]\d Hz\nN2: \d+ steps", printed)
    assert len(re.findall(r"spikes of hidden1", printed)) == 3
