"""A search on one's own network and data: what it is judged on, that it goes on, and what is refused."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neurosleep as ns
from neurosleep.continual import Nights, Stream, class_incremental, learn
from neurosleep.continual.methods.names import MethodName
from neurosleep.networks import relu_network
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.errors import InputError
from neurosleep.training import Trainer, predict
from neurosleep.tuning.objective import FIRST_SEED, hold_out
from neurosleep.tuning.own import with_values
from neurosleep.tuning.own_objective import _ordered

X = torch.rand(240, 16, generator=torch.Generator().manual_seed(0))
Y = (X[:, :4].argmax(1)).long()
STAGE = ns.SpontaneousReplay(30, ns.MeanRate(100.0), ns.GatedHebbian(1e-3, 1e-4))
TRAINER = Trainer(epochs=2, batch_size=20)
SMALL: dict[str, Any] = {"trainer": TRAINER, "trials": 3, "orders": 2}


def stream() -> Stream:
    return class_incremental(X, Y, X, Y, images_per_task=80)


def network(seed: int = 0) -> nn.Module:
    return relu_network((16, 20, 4), generator=torch.Generator().manual_seed(seed))


def weights(model: nn.Module) -> list[Any]:
    return [p.tolist() for p in model.parameters()]


def test_a_trial_is_what_learning_would_give() -> None:
    model = network()
    before = weights(model)
    found = ns.tune(model, ns.Memory(), stream(), STAGE, method="rehearsal:0.1", **SMALL)
    assert weights(model) == before
    assert len(found.trials) == 3
    assert found.value == max(trial["value"] for trial in found.trials)
    for trial in found.trials:
        chosen = {name: value for name, value in trial.items() if name not in ("trial", "value", "accuracies")}
        for number, accuracy in enumerate(trial["accuracies"]):
            seed, own = FIRST_SEED + number, with_values(STAGE, chosen)
            nights = Nights(lambda n, own=own: [own], ns.Memory())
            tasks = _ordered(hold_out(stream()), seed)
            method = MethodName.parse("rehearsal:0.1").make(seed)
            history = learn(deepcopy(model), tasks, TRAINER, method=method, nights=nights, seed=seed)
            assert history.accuracy == accuracy
    assert found.stage == with_values(STAGE, found.chosen)
    began = next(trial for trial in found.trials if trial["trial"] == 0)
    assert began["drive.max_rate"] == 100
    assert set(found.chosen) == {"drive.max_rate", "plasticity.inc", "plasticity.dec", "target_rates", "steps"}
    lines = str(found).splitlines()
    assert "target_rates" in lines[0]
    assert lines[1].startswith("where it began")


def test_what_is_held_out_is_never_trained_on() -> None:
    """Tasks that do not train on the first inputs of their classes, as those that one makes oneself."""
    tasks = class_incremental(X, Y, X, Y).tasks
    last = [replace(task, inputs=task.inputs[-80:], labels=task.labels[-80:]) for task in tasks]
    held = hold_out(Stream(tuple(last), X, Y))
    rows = [{tuple(row) for row in x.tolist()} for task in held.tasks for x in (task.inputs, task.test_inputs)]
    assert rows[0].isdisjoint(rows[1])
    assert rows[2].isdisjoint(rows[3])


class StopError(Exception):
    pass


def counted(stop_at: int | None) -> Iterator[Any]:
    """Fresh models; stops when so many were asked for."""
    calls = 0

    def make(seed: int) -> nn.Module:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise StopError
        return network(seed)

    yield make
    yield calls


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "search"
    how = {**SMALL, "orders": 1, "space": {"plasticity.inc": (1e-4, 1e-2), "steps": [20, 30]}}
    with pytest.raises(StopError):
        ns.tune(next(counted(5)), ns.Memory(), stream(), STAGE, storage=path, **how)
    more = counted(None)
    found = ns.tune(next(more), ns.Memory(), stream(), STAGE, storage=path, **how)
    assert len(found.trials) == 3
    assert next(more) <= 5
    again = ns.tune(network, ns.Memory(), stream(), STAGE, storage=path, **how)
    assert again == found
    for other in ({"space": {"steps": [20, 30]}}, {"trainer": Trainer(epochs=1)}, {"seed": 1}):
        with pytest.raises(InputError, match="holds another search"):
            ns.tune(network, ns.Memory(), stream(), STAGE, storage=path, **{**how, **other})
    with pytest.raises(InputError, match="holds another search"):
        ns.tune(lambda seed: network(seed + 1), ns.Memory(), stream(), STAGE, storage=path, **how)


def trained() -> tuple[nn.Module, ns.Memory]:
    model, memory = network(), ns.Memory()
    TRAINER.train(model, X, Y, generator=torch.Generator().manual_seed(0))
    memory.observe(model, X)
    return model, memory


def test_one_night_of_a_trained_network() -> None:
    model, memory = trained()
    before = weights(model)
    space = {"plasticity.dec": (0.0, 0.5), "thresholds.hidden1": (0.5, 2.0)}
    stage = replace(STAGE, thresholds={"hidden1": 1.0, "output": 1.0})
    found = ns.tune(model, memory, (X.numpy(), Y.tolist()), stage, space=space, trials=4, orders=2)
    assert (weights(model), memory.count) == (before, 240)
    best = found.trials[0]
    for number, accuracy in enumerate(best["accuracies"]):
        copy = deepcopy(model)
        ns.sleep(copy, memory, found.stage, seed=FIRST_SEED + number)
        assert float((predict(copy, X) == Y).double().mean()) == accuracy
    assert found.stage.plasticity.dec == best["plasticity.dec"]
    assert found.stage.thresholds == {"hidden1": best["thresholds.hidden1"], "output": 1.0}


def test_trials_that_cannot_be_count_as_nothing() -> None:
    model, memory = trained()
    found = ns.tune(model, memory, (X, Y), STAGE, space={"drive.max_rate": [100.0, 1e-9]}, trials=6, orders=1)
    assert {trial["drive.max_rate"]: trial["value"] for trial in found.trials}[1e-9] == 0
    assert found.stage.drive.max_rate == 100


def test_bad_input_is_told_in_one_line() -> None:
    model, memory = trained()
    empty, data = ns.Memory(), (X, Y)
    for arguments, how, said in (
        ((model, empty, data, STAGE), {}, "memory has seen nothing"),
        ((model, memory, stream(), STAGE), {}, "memory must be empty for a stream"),
        ((model, None, data, STAGE), {}, "memory must be a Memory"),
        ((model, memory, X, STAGE), {}, r"data must be a Stream, or \(inputs, labels\), got Tensor"),
        ((model, memory, (X, Y[:5]), STAGE), {}, "labels must be as many as inputs"),
        ((model, memory, (X, Y + 9), STAGE), {}, "an output for each of the 13 classes"),
        ((network, memory, data, STAGE), {}, "model must be a trained torch module"),
        ((3, empty, stream(), STAGE), {}, "model must be a torch module, or a function"),
        ((model, memory, data, [STAGE]), {}, r"stage must be SpontaneousReplay\(\.\.\.\)"),
        ((model, memory, data, STAGE), {"trainer": TRAINER}, "trainer and method are for a Stream"),
        ((model, memory, data, STAGE), {"trials": 0}, "trials must be from 1 to 1,000,000, got 0"),
        ((model, memory, data, STAGE), {"space": {"drive.rate": (1, 2)}}, "no value 'drive.rate'; did you mean"),
        ((model, memory, data, STAGE), {"space": {"drive.max_rate": 3}}, r"drive.max_rate must be \(low, high\)"),
        ((model, memory, data, STAGE), {"space": {"decay": (0.5, 2.0)}}, "decay = 2.0 will not do: decay must be"),
        ((model, memory, data, STAGE), {"space": {}}, "there is nothing to search"),
        ((model, memory, data, STAGE), {"space": 3}, "space must be ranges by path"),
        ((model, memory, data, STAGE), {"storage": "no/where"}, "there is no folder no"),
        ((model, empty, stream(), STAGE), {"method": "ewcc"}, "no method 'ewcc'; did you mean 'ewc'"),
        ((relu_network((3, 4)), empty, stream(), STAGE), {}, r"inputs must be \(n, 3\)"),
        ((model, memory, data, replace(STAGE, target_rates={"x": 0.1})), {}, "target_rates: no population 'x'"),
    ):
        with pytest.raises(InputError, match=said) as error:
            ns.tune(*arguments, **how)
        assert "\n" not in str(error.value)


def test_values_are_put_where_a_path_leads() -> None:
    drive = {"input": ns.MeanRate(5.0), "hidden1": ns.Kicks(ns.UniformNoise(3.0), 0.5)}
    stage = SpontaneousReplay(9, drive, None, (1.0, 2.0))
    changed = with_values(stage, {"thresholds.1": 4.0, "drive.hidden1.drive.rate": 7.0, "steps": 3})
    assert changed == SpontaneousReplay(3, {**drive, "hidden1": ns.Kicks(ns.UniformNoise(7.0), 0.5)}, None, (1.0, 4.0))
