"""The search for parameters: what it is judged on, that its short cuts change nothing, and what it may change."""

import multiprocessing as mp
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState

from neurosleep import InputError
from neurosleep.continual import Nights, Stream, Task, learn
from neurosleep.continual.methods.names import MethodName
from neurosleep.experiments.experiment import Experiment
from neurosleep.experiments.loading import describe, load
from neurosleep.experiments.settings import with_settings
from neurosleep.sims.network import population_sizes
from neurosleep.tuning.kept import finished, open_study
from neurosleep.tuning.objective import FIRST_SEED, Objective, hold_out, tunable
from neurosleep.tuning.outcome import short_names, write_outcome
from neurosleep.tuning.space import Dimension, published_space, searchable, with_searches
from neurosleep.tuning.storage import alone
from neurosleep.tuning.study import Search, evaluate, run_search

SETTINGS = (
    *("dataset=mnist-small", "images_per_task=60", "hidden=[20]", "thresholds=[1.0, 1.0]", "epochs=1"),
    *("steps=60", "steps_more=0", "order=random", 'conditions=["src"]'),
)
Values = dict[str, Any]
INC, THRESHOLD = "base.night.0.plasticity.inc", "base.night.0.thresholds.0"


def described(*settings: str) -> Values:
    return with_settings(describe("src-mnist"), [*SETTINGS, *settings])[0]


def made(*settings: str, **condition: Any) -> Experiment:
    """The experiment with values changed, and others of its condition."""
    return Experiment.from_description({**described(*settings), "conditions": {"src": condition}})


def plainly(experiment: Experiment, seed: int) -> float:
    """What the condition reaches by learning from begin to end, on what is held out."""
    condition, network = experiment.conditions["src"], experiment.network
    stream = hold_out(experiment.stream.make(seed, None))
    sizes = stream.tasks[0].inputs.shape[1], 10
    populations = population_sizes(network.sizes(*sizes))
    nights = Nights(
        stages=lambda n: condition.stages(n, populations, seed),
        memory=condition.memory(network),
        precision=experiment.precision,
    )
    method = MethodName.parse(condition.method).make(seed)
    model = network.make(*sizes, seed)
    return learn(model, stream, experiment.training_of("src"), method=method, nights=nights, seed=seed).accuracy


def rows(x: torch.Tensor) -> set[bytes]:
    return {row.tobytes() for row in x.numpy()}


def test_held_out_images_are_training_images_that_are_not_trained_on() -> None:
    for settings in ((), ("images_per_task=2000",)):  # some to spare, and none
        plain = made(*settings).stream.make(3, None)
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


@pytest.mark.parametrize("setting", ["momentum=0.5", "momentum=0.0", "base.first_night=false"])
def test_keeping_the_first_task_changes_nothing(setting: str) -> None:
    objective = Objective("src", None, (1000, 1001))
    objective.accuracies(made(setting, "inc=0.5", "thresholds=[0.1, 0.1]"))  # fills what is kept
    for experiment in (made(setting), made(setting, "inc=0.2", "thresholds=[0.2, 0.1]")):
        expected = [plainly(experiment, seed) for seed in (1000, 1001)]
        assert objective.accuracies(experiment) == expected
    other = objective.accuracies(made(setting, "learning_rate=0.01"))
    assert other != expected  # another first task is not taken for it


@pytest.mark.parametrize(
    "condition",
    [
        {"method": "rehearsal:0.1", "training": {"epochs": 2}},
        {"method": "si"},
        {"method": "owm"},
        {"method": "rehearsal:0.1", "night": []},
    ],
)
def test_other_methods_are_judged_as_they_run(condition: Values) -> None:
    experiment = made(**condition)
    objective = Objective("src", None, (1000,))
    expected = plainly(experiment, 1000)
    assert [objective.accuracies(experiment) for _ in range(2)] == [[expected], [expected]]


def test_few_first_tasks_are_kept() -> None:
    objective = Objective("src", None, (1000,))
    rates = [f"learning_rate={0.01 * n}" for n in range(1, 7)]
    results = [objective.accuracies(made(rate)) for rate in rates]
    assert len(objective._first_tasks) == 4
    assert objective.accuracies(made(rates[0])) == results[0]  # done anew


def test_a_layer_that_fell_silent_is_worth_nothing() -> None:
    rule = 'plasticity={ kind = "Hebbian", inc = 0.0, dec = 5.0 }'
    gone = made(rule, "thresholds=[0.1, 0.1]", "calibration=last")
    assert Objective("src", None, (1000,)).accuracies(gone) == [0.0]


def test_nights_are_told_and_can_end_it() -> None:
    told: list[tuple[int, float]] = []
    accuracies = Objective("src", None, (5, 6)).accuracies(made(), lambda n, s: told.append((n, s)))
    assert [number for number, _ in told] == [2, 3, 4, 5, 7, 8, 9, 10]
    assert told[3][1] == pytest.approx(accuracies[0])
    assert told[7][1] == pytest.approx(np.mean(accuracies))

    def stop(number: int, share: float) -> None:
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        Objective("src", None, (5,)).accuracies(made(), stop)


@pytest.mark.parametrize(
    ("name", "condition", "found"),
    [
        ("src-mnist", None, "src"),
        ("src-snn", None, "src"),
        ("src-mnist", "rehearsal+src", "rehearsal+src"),
        ("patches", None, "patches is a study"),
        ("tripartite-mnist", None, "none of its conditions"),
        ("conv-sleep", "frozen", "frozen"),
        ("sleep-length", None, "name one with --condition: 100 steps, 500 steps"),
        ("sleep-length", "no sleep", "no spontaneous replay.*these have: 100 steps"),
        ("src-mnist", "sr", r"--condition: no condition 'sr'; did you mean 'src'\? \(known: src, rehearsal\+src\)"),
    ],
)
def test_what_can_be_searched(name: str, condition: str | None, found: str) -> None:
    if found in ("src", condition):
        assert tunable(describe(name), condition, name) == found
        return
    with pytest.raises(InputError, match=found):
        tunable(describe(name), condition, name)


def test_published_space() -> None:
    space = published_space(described(), "src")
    ends = ["drive.max_rate", "plasticity.inc", "plasticity.dec", "thresholds.0", "thresholds.1", "gain_scale", "steps"]
    assert list(space) == [f"base.night.0.{end}" for end in ends]
    assert space[INC] == Dimension(INC, 0.032064 / 8, 0.032064 * 8, log=True)
    steps = "base.night.0.steps"
    assert space[steps] == Dimension(steps, 20, 180, log=True, whole=True)
    assert "base.steps_more" in published_space(describe("src-mnist"), "src")


@pytest.mark.parametrize(
    ("name", "condition", "where"),
    [
        ("src-mnist", "rehearsal+src", "base.night.0"),  # from the base
        ("sleep-length", "3,000 steps", "conditions.3,000 steps.night.0"),  # of a sweep
        ("drive", "mean input", "conditions.mean input.night.0"),
    ],
)
def test_what_is_searched_reaches_the_condition(name: str, condition: str, where: str) -> None:
    values = searchable(describe(name), condition)
    assert load(name).conditions[condition] == Experiment.from_description(values).conditions[condition]
    space = published_space(values, condition)
    assert f"{where}.steps" in space
    search = Search(name, values, condition, space, (FIRST_SEED,))
    search.check()
    assert search.begin().keys() == space.keys()
    assert search.experiment({f"{where}.steps": 7}).conditions[condition].night[0].steps == 7


BEFORE_AND_AFTER = """
question = "?"
[network]
hidden = [20]
[[base.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 100 }
plasticity = { kind = "GatedHebbian", inc = 0.1, dec = 0.01 }
[conditions.a]
before = [{ kind = "MagnitudePruning", fraction = 0.5 }]
[[conditions.a.after]]
kind = "SpontaneousReplay"
steps = 300
drive = { kind = "UniformNoise", rate = 50 }
plasticity = { kind = "GatedHebbian", inc = 0.3, dec = 0.03 }
[conditions.b]
like = "a"
steps_more = 10
[conditions.c]
"""


@pytest.mark.parametrize(
    ("condition", "base", "after"),
    [
        ("a", "base.night.0", "conditions.a.after.0"),
        ("b", "conditions.b.night.0", "conditions.b.after.0"),
        ("c", "base.night.0", ""),
    ],
)
def test_stages_before_and_after(condition: str, base: str, after: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(BEFORE_AND_AFTER)
    values = searchable(describe(file), condition)
    space = published_space(values, condition)
    Search("mine", values, condition, space, (FIRST_SEED,)).check()
    begin = Search("mine", values, condition, space, (FIRST_SEED,)).begin()
    assert begin[f"{base}.plasticity.inc"] == 0.1
    assert {name.rpartition(".")[0] for name in space if name.endswith("steps")} == {base, after} - {""}
    if after:
        assert (begin[f"{after}.drive.rate"], begin[f"{after}.steps"]) == (50, 300)


@pytest.mark.parametrize(
    ("settings", "searched"),
    [
        (["thresholds=auto"], {"target_rates": (0.0025, 0.16)}),
        (["thresholds=auto", "target_rates={ output = 0.25 }"], {"target_rates.output": (0.03125, 1)}),
        (
            ["thresholds={ hidden1 = 1.0, output = 2.0 }", "gain_scale=4.0"],
            {"thresholds.hidden1": (0.125, 8), "thresholds.output": (0.25, 16), "gain_scale": (0.5, 32)},
        ),
    ],
)
def test_levels_of_firing_are_searched_by_what_says_them(settings: list[str], searched: dict[str, Any]) -> None:
    values = described(*settings)
    search = Search("mine", values, "src", published_space(values, "src"), (FIRST_SEED,))
    search.check()
    assert set(search.begin()) == set(search.space)
    before = "base.night.0."
    named = {path.removeprefix(before): of for path, of in search.space.items()}
    others = {"drive.max_rate", "plasticity.inc", "plasticity.dec", "steps"}
    assert {path: (of.low, of.high) for path, of in named.items() if path not in others} == searched
    path = before + next(iter(searched))
    assert search.experiment({path: 0.15}) == search.experiment({**search.begin(), path: 0.15})


def test_short_names() -> None:
    short = short_names(["base.night.0.steps", "base.night.1.steps", "base.night.0.thresholds.0", "training.loss"])
    assert list(short.values()) == ["night.0.steps", "night.1.steps", "thresholds.0", "loss"]


def test_a_parameter_without_a_value_can_be_searched() -> None:
    space = with_searches({}, ["later_learning_rate=0.01:0.1:log"], described(), "src")
    (found,) = space.values()
    assert not found.contains(None)
    assert found.contains(0.05)


def test_searches_change_the_space() -> None:
    begin = described()
    searches = ["inc=0.1:0.2", "learning_rate=0.01:1:log", "loss=squared-error|cross-entropy", "epochs=1:4", "dec="]
    space = with_searches(published_space(begin, "src"), searches, begin, "src")
    assert space[INC] == Dimension(INC, 0.1, 0.2)
    assert space["training.learning_rate"] == Dimension("training.learning_rate", 0.01, 1.0, log=True)
    assert space["training.loss"].choices == ("squared-error", "cross-entropy")
    assert space["training.epochs"] == Dimension("training.epochs", 1, 4, whole=True)
    assert "base.night.0.plasticity.dec" not in space
    dec = "base.night.0.plasticity.dec"
    assert with_searches({}, ["dec=0:1:linear"], begin, "src") == {dec: Dimension(dec, 0.0, 1.0)}
    stage = a_search().experiment({"base.night.0.thresholds.1": 7.0, INC: 0.15}).conditions["src"].night[0]
    assert (stage.thresholds, stage.plasticity.inc) == ((1.0, 7.0), 0.15)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("inc", "takes KEY=LOW:HIGH"),
        ("joy=1:2", "no parameter 'joy'"),
        ("thresholds=1:2", r"it has 2 values, so name one of them, as in base.night.0.thresholds.0"),
        ("thresholds.2=1:2", "no such value"),
        ("base.joy=1:2", "no parameter 'base.joy'"),
        ("plasticity=1:2", "it is a table"),
        ("base.night.0=1:2", "it is a table"),
        ("inc=2:1", "LOW at most HIGH"),
        ("inc=0:1:log", "LOW is above 0"),
        ("inc=a:b", "expected LOW:HIGH"),
        ("epochs=1:2.5", "whole number"),
        ("inc=0:inf", "expected LOW:HIGH"),
        ("inc=0:1:joy", "expected LOW:HIGH"),
        ("hidden.0=[20]|[30]", "single values"),
    ],
)
def test_searches_that_cannot_be(search: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_searches(published_space(described(), "src"), [search], described(), "src")


def test_a_search_of_another_condition_is_refused() -> None:
    values = describe("src-mnist")
    with pytest.raises(InputError, match=r"another condition than 'src'"):
        with_searches({}, ["conditions.rehearsal+src.method=ewc|si"], values, "src")


def a_search(**changes: object) -> Search:
    begin = described()
    space = with_searches({}, ["inc=0.001:0.5:log", "thresholds.0=0.05:5:log"], begin, "src")
    given = {"name": "src-mnist", "values": begin, "condition": "src", "space": space, "seeds": (FIRST_SEED,)}
    return Search(**{**given, **changes})


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
    assert first[0].params == pytest.approx({INC: 0.032064, THRESHOLD: 1.0})
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
    drawn = [trial.params[INC] for trial in more if INC in trial.params]
    assert len(set(drawn)) == len(drawn)  # workers differ
    with pytest.raises(InputError, match="holds another search"):
        search_for(url, 6, a_search(spread=1.0))

    search = a_search()
    (tmp_path / "other").mkdir()
    written, table = write_outcome(search, more, tmp_path)
    assert {path.name for path in written} == {"best.toml", "trials.csv", "tune.json", "history.png"}
    assert table[0][""] == "where it began"
    assert {"inc", "thresholds.0"} < table[0].keys()
    (other, *_), _ = write_outcome(search, more, tmp_path / "other", {"order": "released"})
    assert (load(other).stream.order, load(tmp_path / "best.toml").stream.order) == ("released", "random")
    best = max((t for t in more if t.state == TrialState.COMPLETE), key=lambda trial: trial.value)
    chosen = load(tmp_path / "best.toml")
    assert chosen == search.experiment(best.params)
    accuracies = Objective("src", None, search.seeds).accuracies(chosen)
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


def test_one_search_at_a_time(tmp_path: Path) -> None:
    url = tmp_path / "journal.log"
    with alone(str(url)), pytest.raises(InputError, match="another search is at work"):
        search_for(url, 1)
    with alone(str(url)):
        pass


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("dropout=0:2", r"--search network\.dropout: 2\.0 will not do"),
        ("loss=squared-error|joy", r"--search training\.loss: 'joy' will not do"),
        ("batch_size=0:5", r"--search training\.batch_size: 0 will not do"),
        ("logs=first|all", "--search logs: condition 'src' stays the same"),
    ],
)
def test_values_that_the_experiment_cannot_take(tmp_path: Path, search: str, message: str) -> None:
    wrong = a_search(space=with_searches({}, [search], described(), "src"))
    with pytest.raises(InputError, match=message):
        search_for(tmp_path / "journal.log", 1, wrong)
    assert not list(tmp_path.iterdir())


def test_what_was_searched_of_the_stream_is_in_the_best(tmp_path: Path) -> None:
    space = with_searches({}, ["images_per_task=50:60"], described(), "src")
    trial = optuna.trial.create_trial(
        params={"stream.images_per_task": 55},
        distributions={"stream.images_per_task": optuna.distributions.IntDistribution(50, 60)},
        value=0.5,
        user_attrs={"accuracies": [0.5]},
    )
    trial.number = 0
    write_outcome(a_search(space=space), [trial], tmp_path, {"dataset": "mnist-small", "images_per_task": 60})
    assert load(tmp_path / "best.toml").stream.images_per_task == 55


def test_score_takes_the_spread_away() -> None:
    assert a_search(spread=1.0).score([0.4, 0.6]) == pytest.approx(0.4)
    assert a_search().score([0.4, 0.6]) == pytest.approx(0.5)


def test_a_storage_that_cannot_be(tmp_path: Path) -> None:
    for url in ("nonsense://x", str(tmp_path / "nowhere" / "journal.log")):
        with pytest.raises(InputError, match=f"--storage {re.escape(url)} cannot be opened"):
            search_for(Path(url) if "://" not in url else url, 1)


def test_nsga2_searches_too_in_a_database(tmp_path: Path) -> None:
    search = a_search(sampler="nsga2")
    study = open_study(search, f"sqlite:///{tmp_path / 'search.db'}")
    assert isinstance(study.sampler, optuna.samplers.NSGAIISampler)
    objective = Objective("src", None, search.seeds)
    study.optimize(lambda trial: evaluate(search, objective, trial), n_trials=2)
    assert finished(open_study(search, f"sqlite:///{tmp_path / 'search.db'}")) == 2


def test_what_a_search_begins_with_is_tried_again_if_it_was_not_to_the_end() -> None:
    from neurosleep.tuning.kept import begin_with, end_running

    study, values = optuna.create_study(), {"inc": 0.25}
    for stopped in (True, True, False):
        begin_with(study, values)
        begin_with(study, values)  # waits already
        trial = study.ask()
        assert trial.suggest_float("inc", 0, 1) == 0.25
        if stopped:
            end_running(study)
        else:
            study.tell(trial, 1.0)
    begin_with(study, values)
    assert len(study.trials) == 3
