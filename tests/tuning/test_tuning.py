"""The search for parameters: what it is judged on, that its short cuts change nothing, and what it may change."""

import multiprocessing as mp
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from neurosleep import InputError
from neurosleep.continual import Nights, Stream, Task, learn
from neurosleep.papers import EXPERIMENTS
from neurosleep.papers import config as configuration
from neurosleep.papers.src_methods import MethodName
from neurosleep.tuning.objective import FIRST_SEED, Objective, hold_out, tunable
from neurosleep.tuning.outcome import write_outcome
from neurosleep.tuning.space import Dimension, changed_values, published_space, with_searches
from neurosleep.tuning.storage import alone
from neurosleep.tuning.study import Search, finished, open_study, run_search

SETTINGS = (
    *("dataset=mnist-small", "images_per_task=60", "hidden=[20]", "thresholds=[1.0, 1.0]", "epochs=1"),
    *("sleep_steps=60", "sleep_steps_more=0", "order=random", "methods=['src']"),
)
EXPERIMENT = EXPERIMENTS["src-mnist"]


def config(*settings: str):
    return configuration.build(EXPERIMENT.config_type, [*SETTINGS, *settings])


def rows(x: torch.Tensor) -> set[bytes]:
    return {row.tobytes() for row in x.numpy()}


def test_held_out_images_are_training_images_that_are_not_trained_on() -> None:
    found = tunable(EXPERIMENT)
    for settings in ((), ("images_per_task=2000",)):  # some to spare, and none
        plain = found.stream(config(*settings), None, 3)
        held = hold_out(plain)
        for before, task in zip(plain.tasks, held.tasks, strict=True):
            assert rows(task.test_inputs).isdisjoint(rows(task.inputs))
            assert rows(task.test_inputs).isdisjoint(rows(before.test_inputs))
            assert rows(task.test_inputs) <= rows(plain.joint_inputs)
            assert set(task.test_labels.tolist()) == set(task.classes)
            assert len(task.labels) == (60 if not settings else 1800)
            assert len(task.test_labels) == (500 if not settings else 200)


def test_tasks_that_share_classes_hold_out_their_own() -> None:
    x = torch.arange(40.0).reshape(40, 1)
    y = torch.arange(40) % 2
    tasks = tuple(Task((0, 1), x[part], y[part], x[:2], y[:2]) for part in (slice(0, 20), slice(20, 40)))
    held = hold_out(Stream(tasks, x, y))
    assert [t.test_inputs[:, 0].tolist() for t in held.tasks] == [[18.0, 19.0], [38.0, 39.0]]
    assert [len(t.labels) for t in held.tasks] == [18, 18]


@pytest.mark.parametrize("momentum", ["momentum=0.5", "momentum=0.0", "first_night=false"])
def test_keeping_the_first_task_changes_nothing(momentum: str) -> None:
    found = tunable(EXPERIMENT)
    objective = Objective(found, None, (1000, 1001))
    objective.accuracies(config(momentum, "inc=0.5", "thresholds=[0.1, 0.1]"))  # fills what is kept
    for settings in (config(momentum), config(momentum, "inc=0.2", "thresholds=[0.2, 0.1]")):
        expected = []
        for seed in (1000, 1001):
            stream = hold_out(found.stream(settings, None, seed))
            nights = Nights(
                stages=lambda n, c=settings: [found.stage(c, n)] if n > 1 or c.first_night else [],
                memory=found.memory(settings),
                precision="float32",
            )
            model = found.network(settings, stream, seed)
            expected.append(learn(model, stream, found.trainer(settings, 1), nights=nights, seed=seed).accuracy)
        assert objective.accuracies(settings) == expected
    other = objective.accuracies(config(momentum, "learning_rate=0.01"))
    assert other != expected  # another first task is not taken for it


@pytest.mark.parametrize("method", ["rehearsal:0.1+src", "si+src", "owm+src", "rehearsal:0.1"])
def test_other_methods_are_judged_as_they_run(method: str) -> None:
    found = tunable(EXPERIMENT)
    objective = Objective(found, None, (1000,))
    settings = config(f"methods=['{method}']", "rehearsal_epochs=2")
    name = MethodName.parse(method)
    stream = hold_out(found.stream(settings, None, 1000))
    nights = Nights(
        stages=lambda n: [found.stage(settings, n, name)], memory=found.memory(settings), precision="float32"
    )
    model = found.network(settings, stream, 1000)
    trainer = found.trainer(settings, 1, name.base)
    slept = nights if name.sleeps else None
    expected = learn(model, stream, trainer, method=name.make(settings, 1000), nights=slept, seed=1000).accuracy
    assert [objective.accuracies(settings) for _ in range(2)] == [[expected], [expected]]


def test_few_first_tasks_are_kept() -> None:
    objective = Objective(tunable(EXPERIMENT), None, (1000,))
    rates = [f"learning_rate={0.01 * n}" for n in range(1, 7)]
    results = [objective.accuracies(config(rate)) for rate in rates]
    assert len(objective._first_tasks) == 4
    assert objective.accuracies(config(rates[0])) == results[0]  # done anew


def test_a_layer_that_fell_silent_is_worth_nothing() -> None:
    gone = config("dec=5.0", "inc=0.0", "plasticity=hebbian", "thresholds=[0.1, 0.1]", "calibration=last")
    assert Objective(tunable(EXPERIMENT), None, (1000,)).accuracies(gone) == [0.0]


def test_nights_are_told_and_can_end_it() -> None:
    told: list[tuple[int, float]] = []
    accuracies = Objective(tunable(EXPERIMENT), None, (5, 6)).accuracies(config(), lambda n, s: told.append((n, s)))
    assert [number for number, _ in told] == [2, 3, 4, 5, 7, 8, 9, 10]
    assert told[3][1] == pytest.approx(accuracies[0])
    assert told[7][1] == pytest.approx(np.mean(accuracies))

    def stop(number: int, share: float) -> None:
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        Objective(tunable(EXPERIMENT), None, (5,)).accuracies(config(), stop)


def test_only_streams_with_sleep_can_be_tuned() -> None:
    with pytest.raises(InputError, match="patches cannot be tuned"):
        tunable(EXPERIMENTS["patches"])


def test_published_space() -> None:
    space = published_space(config())
    assert list(space) == ["max_rate", "inc", "dec", "thresholds[0]", "thresholds[1]", "gain_scale", "sleep_steps"]
    assert space["inc"] == Dimension("inc", 0.032064 / 8, 0.032064 * 8, log=True)
    assert space["sleep_steps"] == Dimension("sleep_steps", 20, 180, log=True, whole=True)


def test_a_parameter_without_a_value_can_be_searched() -> None:
    begin = EXPERIMENTS["src-mnist"].config_type()
    space = with_searches({}, ["later_learning_rate=0.01:0.1:log"], begin)
    assert begin.later_learning_rate is None
    assert not space["later_learning_rate"].contains(None)
    assert space["later_learning_rate"].contains(0.05)


def test_searches_change_the_space() -> None:
    begin = config()
    searches = ["inc=0.1:0.2", "learning_rate=0.01:1:log", "loss=squared-error|cross-entropy", "epochs=1:4", "dec="]
    space = with_searches(published_space(begin), searches, begin)
    assert space["inc"] == Dimension("inc", 0.1, 0.2)
    assert space["learning_rate"] == Dimension("learning_rate", 0.01, 1.0, log=True)
    assert space["loss"].choices == ("squared-error", "cross-entropy")
    assert space["epochs"] == Dimension("epochs", 1, 4, whole=True)
    assert "dec" not in space
    assert with_searches({}, ["dec=0:1:linear"], begin) == {"dec": Dimension("dec", 0.0, 1.0)}
    changed = changed_values(asdict(begin), {"thresholds[1]": 7.0, "inc": 0.15})
    assert (changed["thresholds"], changed["inc"]) == ((1.0, 7.0), 0.15)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("inc", "takes KEY=LOW:HIGH"),
        ("joy=1:2", "no such parameter"),
        ("thresholds=1:2", r"it has 2 values, so name one of them, as in thresholds\[0\]"),
        ("thresholds[2]=1:2", "no such value"),
        ("inc=2:1", "LOW at most HIGH"),
        ("inc=0:1:log", "LOW is above 0"),
        ("inc=a:b", "expected LOW:HIGH"),
        ("epochs=1:2.5", "whole number"),
        ("inc=0:inf", "expected LOW:HIGH"),
        ("inc=0:1:joy", "expected LOW:HIGH"),
        ("hidden[0]=[20]|[30]", "single values"),
    ],
)
def test_searches_that_cannot_be(search: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_searches(published_space(config()), [search], config())


def a_search(**changes: object) -> Search:
    begin = config()
    space = with_searches({}, ["inc=0.001:0.5:log", "thresholds[0]=0.05:5:log"], begin)
    return Search(**{"name": "src-mnist", "config": begin, "space": space, "seeds": (FIRST_SEED,), **changes})


def search_for(
    url: Path | str, trials: int, search: Search | None = None, workers: int = 1
) -> list[optuna.trial.FrozenTrial]:
    return run_search(
        search or a_search(), str(url), trials=trials, workers=workers, data_dir=None, timeout=None, progress=False
    )


def test_a_search_begins_with_the_defaults_goes_on_and_writes_what_it_found(tmp_path: Path) -> None:
    url = tmp_path / "journal.log"
    first = search_for(url, 3)
    assert [trial.state for trial in first] == [TrialState.COMPLETE] * 3
    assert first[0].params == pytest.approx({"inc": 0.032064, "thresholds[0]": 1.0})
    study = open_study(a_search(), str(url))
    study.ask()  # as a killed search leaves it
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(search_for, url, 9, workers=2)
        killed = kill_a_worker(study, 5)
        more = future.result()
    assert killed
    failed = [trial.number for trial in more if trial.state == TrialState.FAIL]
    assert failed[0] == 3
    assert len(failed) <= 2  # a worker that is killed loses no more than its trial
    assert finished(study) == 9
    assert not study.get_trials(states=(TrialState.RUNNING,))
    drawn = [trial.params["inc"] for trial in more if "inc" in trial.params]
    assert len(set(drawn)) == len(drawn)  # workers differ
    with pytest.raises(InputError, match="holds another search"):
        search_for(url, 6, a_search(spread=1.0))

    search = a_search()
    (tmp_path / "other").mkdir()
    written, table = write_outcome(search, more, tmp_path)
    assert {path.name for path in written} == {"best.toml", "trials.csv", "tune.json", "history.png"}
    other, _ = write_outcome(search, more, tmp_path / "other", {"order": "released"})
    assert configuration.read_parameters(other[0], "src-mnist")["order"] == "released"
    assert table[0][""] == "where it began"
    done = [trial for trial in more if trial.state == TrialState.COMPLETE]
    best = max(done, key=lambda trial: trial.value)
    values = configuration.read_parameters(tmp_path / "best.toml", "src-mnist")
    chosen = configuration.build(EXPERIMENT.config_type, [], values)
    assert chosen == search.configuration(best.params)
    accuracies = Objective(tunable(EXPERIMENT), None, search.seeds).accuracies(chosen)
    assert accuracies == best.user_attrs["accuracies"]  # the file alone gives what the search saw
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == len(more) + 1


def kill_a_worker(study: optuna.Study, number: int) -> bool:
    """Kills one of two workers once a trial of this number has begun."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        workers = [p for p in mp.active_children() if p.is_alive()]
        if len(study.get_trials(deepcopy=False)) > number and len(workers) == 2:
            workers[0].kill()
            return True
        time.sleep(0.01)
    return False


def test_trials_that_lag_behind_are_ended(tmp_path: Path) -> None:
    study = open_study(a_search(), str(tmp_path / "journal.log"))

    def trial(*values: float) -> optuna.Trial:
        begun = study.ask()
        for night, value in enumerate(values, start=2):
            begun.report(value, night)
        return begun

    for n in range(8):
        assert not trial(0.9, 0.0).should_prune()  # nothing to compare with yet
        study.tell(trial(0.9, 0.4 + n / 100), 0.4)
    assert not trial(0.9, 0.43).should_prune()
    assert trial(0.9, 0.405).should_prune()  # its best night so far does not save it
    assert trial(0.8).should_prune()
    assert not trial(0.9, 0.5, 0.1).should_prune()  # nobody was there before


@pytest.mark.skipif(sys.platform == "win32", reason="not noticed on Windows")
def test_one_search_at_a_time(tmp_path: Path) -> None:
    url = tmp_path / "journal.log"
    with alone(str(url)), pytest.raises(InputError, match="another search is at work"):
        search_for(url, 1)
    with alone(str(url)):
        pass


def test_values_that_the_configuration_cannot_take(tmp_path: Path) -> None:
    for search in ("dropout=0:2", "loss=squared-error|joy", "batch_size=0:5"):
        wrong = a_search(space=with_searches({}, [search], config()))
        with pytest.raises(InputError, match=r"parameter \w+ = .* will not do"):
            search_for(tmp_path / "journal.log", 1, wrong)
    assert not list(tmp_path.iterdir())


def test_score_takes_the_spread_away() -> None:
    assert a_search(spread=1.0).score([0.4, 0.6]) == pytest.approx(0.4)
    assert a_search().score([0.4, 0.6]) == pytest.approx(0.5)


def test_a_storage_that_cannot_be(tmp_path: Path) -> None:
    for url in ("nonsense://x", str(tmp_path / "nowhere" / "journal.log")):
        with pytest.raises(InputError, match=f"--storage {re.escape(url)} cannot be opened"):
            search_for(Path(url) if "://" not in url else url, 1)


def test_nsga2_searches_too_in_a_database(tmp_path: Path) -> None:
    search = a_search(sampler="nsga2")
    assert len(search_for(f"sqlite:///{tmp_path / 'search.db'}", 2, search)) == 2
    assert isinstance(open_study(search, str(tmp_path / "journal.log")).sampler, optuna.samplers.NSGAIISampler)
