"""The same experiment on a cluster of separate worker processes, one of which is killed: nothing is lost."""

import json
import os
import signal
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import neurosleep as ns
from neurosleep.experiments import Condition
from neurosleep.experiments.record import without_machine
from neurosleep.experiments.running import run_all

distributed = pytest.importorskip("distributed")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import experiments_tiny

        yield experiments_tiny


@pytest.fixture(scope="module")
def cluster():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Dask, about this machine
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster


@pytest.fixture(autouse=True)
def _patience(monkeypatch) -> None:
    monkeypatch.setattr("neurosleep.experiments.cluster.PATIENCE", 2.0)


def runs(out: Path) -> dict[str, object]:
    return {str(p.relative_to(out)): without_machine(json.loads(p.read_text())) for p in out.rglob("seed-*.json")}


def test_a_cluster_gives_what_this_process_gives_even_if_a_worker_is_killed(tiny, cluster, tmp_path) -> None:
    local, remote = tmp_path / "local", tmp_path / "remote"
    experiment = replace(tiny.FAILING, seeds=6)
    expected = run_all(experiment, local, workers=1, progress=False)
    killed = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not list(remote.glob("runs/*/seed-*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        with distributed.Client(cluster, set_as_default=False) as client:
            (pid, *_) = client.run(os.getpid).values()
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    failed = run_all(experiment, remote, scheduler=cluster.scheduler_address, ensemble=2, progress=False)
    killer.join()
    assert killed
    assert failed == expected
    assert len(failed) == 6
    assert runs(remote) == runs(local)
    with (
        ns.SpikeReader(remote / "runs/src%2F1/seed-0.h5") as there,
        ns.SpikeReader(local / "runs/src%2F1/seed-0.h5") as here,
    ):
        for name in here.layers:
            assert [a.tolist() for a in there.events(name)] == [a.tolist() for a in here.events(name)]


def test_a_client_is_left_open(tiny, cluster, tmp_path) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        assert run_all(replace(tiny.TINY, seeds=1), tmp_path, scheduler=client, progress=False) == {}
        assert client.status == "running"
    assert len(runs(tmp_path)) == 3


def test_another_version_on_a_worker_is_refused(tiny, cluster, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("neurosleep.experiments.cluster.__version__", "9.9")
    with pytest.raises(ns.InputError, match=r"and this process 9\.9: install the same"):
        run_all(tiny.TINY, tmp_path, scheduler=cluster.scheduler_address, progress=False)
    assert runs(tmp_path) == {}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://", "127.0.0.1"])
def test_no_scheduler_there(tiny, tmp_path, address) -> None:
    with pytest.raises(ns.InputError, match=r"no scheduler answers at|is no address of a scheduler") as error:
        run_all(tiny.TINY, tmp_path, scheduler=address, progress=False)
    assert "\n" not in str(error.value)


def test_workers_that_lack_a_module_of_the_users_are_named(tiny, cluster, tmp_path, monkeypatch) -> None:
    (tmp_path / "own_here_only.py").write_text(
        "from dataclasses import dataclass\nimport neurosleep as ns\n\n"
        "@dataclass(frozen=True)\nclass Gentle(ns.GatedHebbian):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from own_here_only import Gentle  # type: ignore[import-not-found]

    night = replace(tiny.NIGHT, plasticity=Gentle(0.03, 0.003))
    experiment = replace(tiny.TINY, conditions={"mine": Condition([night])})
    with pytest.raises(ns.InputError, match="has no module own_here_only"):
        run_all(experiment, tmp_path / "out", scheduler=cluster.scheduler_address, progress=False)
