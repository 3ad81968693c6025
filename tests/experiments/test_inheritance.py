"""Descriptions without repetition: like, base, before and after, sweeps; each ends as what one would write in full."""

from dataclasses import replace

import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, GenerativeNetwork, ReluNetwork, SnnNetwork, library, load
from neurosleep.experiments.loading import build, describe, from_toml
from neurosleep.training import Trainer

SRC = ns.SpontaneousReplay(100, ns.MeanRate(5.0), ns.Hebbian(0.1, 0.2), thresholds=(1.0, 2.0))
PRUNED = ns.MagnitudePruning(0.5)
BASE = """
question = "?"
[network]
hidden = [30]
init = 0.1
[training]
epochs = 3
momentum = 0.2
[base]
steps_more = 50
cycles = 2
lesions = [{ kind = "BlockedPotentiation" }]
before = [{ kind = "MagnitudePruning", fraction = 0.5 }]
[[base.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 5.0 }
plasticity = { kind = "Hebbian", inc = 0.1, dec = 0.2 }
thresholds = [1.0, 2.0]
"""


def made(text: str) -> dict[str, Condition]:
    return dict(from_toml(BASE + text).conditions)


@pytest.mark.parametrize("name", library.names())
def test_what_ships_is_what_its_whole_text_says(name: str) -> None:
    experiment = build(describe(name), name)
    assert from_toml(experiment.to_toml(), name) == experiment == load(name)
    assert experiment.source or experiment.notes
    assert experiment.cost or "study" in describe(name)


def test_a_condition_begins_with_the_base() -> None:
    found = made("[conditions]\nplain = {}\nlonger = { night = [{ steps = 200 }], cycles = 1 }")
    common = {"steps_more": 50, "lesions": [ns.experiments.BlockedPotentiation()]}
    assert found["plain"] == Condition([PRUNED, SRC], cycles=2, **common)
    assert found["longer"] == Condition([PRUNED, replace(SRC, steps=200)], cycles=1, **common)


def test_no_night_is_also_none_of_what_is_for_nights() -> None:
    found = made(
        '[conditions]\na = { night = [] }\nb = { night = [], before = [{ kind = "GradedDownscaling" }] }\nc = {}'
    )
    assert found["a"] == Condition()
    assert found["b"] == Condition([ns.GradedDownscaling()])


def test_before_and_after_are_around_the_night() -> None:
    after = 'after = [{ kind = "MagnitudePruning", fraction = 0.1 }]'
    found = made(f'[conditions]\na = {{ {after} }}\nb = {{ before = [], {after} }}\nc = {{ like = "b", after = [] }}')
    assert found["a"].night == (PRUNED, SRC, ns.MagnitudePruning(0.1))
    assert found["b"].night == (SRC, ns.MagnitudePruning(0.1))
    assert found["c"].night == (SRC,)


def test_a_condition_like_another_does_not_begin_with_the_base_again() -> None:
    found = made('[conditions]\na = { night = [] }\nb = { like = "a", method = "ewc" }')
    assert found["b"] == Condition(method="ewc")


def test_lists_of_another_length_and_tables_of_another_kind_are_replaced() -> None:
    found = made(
        """[conditions.a]
night = [{ drive = { kind = "UniformNoise", rate = 2.0 }, thresholds = [3.0] }]
[conditions.b]
night = [{ kind = "MagnitudePruning", fraction = 0.2 }, { kind = "GradedDownscaling" }]
steps_more = 0
lesions = []
"""
    )
    assert found["a"].night[1] == replace(SRC, drive=ns.UniformNoise(2.0), thresholds=(3.0,))
    assert found["b"].night == (PRUNED, ns.MagnitudePruning(0.2), ns.GradedDownscaling())


def test_network_and_training_of_a_condition_begin_with_those_of_the_experiment() -> None:
    found = made(
        """[conditions]
a = { network = { init = 0.3 }, training = { epochs = 1 } }
b = { network = { kind = "ReluNetwork", init = 0.3 }, training = { kind = "Trainer", epochs = 2 } }
c = { network = { kind = "SnnNetwork" }, night = [] }
d = { training = { momentum = 0.0 }, network = {} }
"""
    )
    assert found["a"].network == found["b"].network == ReluNetwork((30,), init=0.3)
    assert found["a"].training == Trainer(epochs=1, momentum=0.2)
    assert found["b"].training == Trainer(epochs=2, momentum=0.2)
    assert found["c"].network == SnnNetwork()  # another kind begins anew
    assert found["d"].training == Trainer(epochs=3, momentum=0.0)
    assert found["d"].network == ReluNetwork((30,), init=0.1)
    assert from_toml(from_toml(BASE + "[conditions]\na = {}").to_toml()).network == ReluNetwork((30,), init=0.1)


def test_an_experiment_like_one_that_ships() -> None:
    text = 'like = "tripartite-mnist-quick"\nquestion = "?"\nseeds = 1\n'
    base = load("tripartite-mnist-quick")
    assert from_toml(text) == replace(base, question="?", seeds=1)
    other = from_toml(text + '[conditions]\nmine = { method = "joint", night = [] }')
    assert list(other.conditions) == ["mine"]
    assert isinstance(other.network, GenerativeNetwork)
    assert other.training == base.training
    swept = from_toml(text + '[sweep]\n"night.0.iterations" = [1, 2]')
    assert [c.night[0].iterations for c in swept.conditions.values()] == [1, 2]


def test_a_sweep_makes_a_condition_of_each_value() -> None:
    found = made('[sweep]\n"night.0.steps" = [100, 5]')
    assert {name: c.night[1].steps for name, c in found.items()} == {"100": 100, "5": 5}
    assert all(c.cycles == 2 for c in found.values())
    found = made('[sweep."night.0.steps"]\nshort = 1\nlong = 2')
    assert {name: c.night[1].steps for name, c in found.items()} == {"short": 1, "long": 2}
    found = made('[sweep]\n"night.0.thresholds.1" = [0.5, 3.0]')
    assert found["0.5"].night[1].thresholds == (1.0, 0.5)


def test_a_sweep_of_tables_replaces_them() -> None:
    found = made(
        """[conditions]
awake = { night = [] }
[sweep."night.0.drive"]
noise = { kind = "UniformNoise", rate = 1.0 }
mean = { kind = "MeanRate", max_rate = 2.0 }
"""
    )
    assert list(found) == ["awake", "noise", "mean"]
    assert [found[name].night[1].drive for name in ("noise", "mean")] == [ns.UniformNoise(1.0), ns.MeanRate(2.0)]
    found = made('[sweep]\nbefore = { none = [], some = [{ kind = "GradedDownscaling" }] }')
    assert [len(c.night) for c in found.values()] == [1, 2]
    found = made('[sweep]\n"training.epochs" = [1, 2]')
    assert [c.training for c in found.values()] == [Trainer(epochs=n, momentum=0.2) for n in (1, 2)]


def test_several_sweeps_make_every_combination() -> None:
    found = made('[sweep]\n"night.0.steps" = [1, 2]\nmethod = { e = "ewc", s = "si" }')
    asked = {name: (c.night[1].steps, c.method) for name, c in found.items()}
    assert asked == {"1, e": (1, "ewc"), "1, s": (1, "si"), "2, e": (2, "ewc"), "2, s": (2, "si")}


def test_a_sweep_without_a_base() -> None:
    found = from_toml('question = "?"\n[sweep]\nmethod = ["ewc", "si"]').conditions
    assert found == {"ewc": Condition(method="ewc"), "si": Condition(method="si")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one table"),  # a base alone
        ("[conditions]\na = 3", "conditions.a: expected a table"),
        ("[conditions]\na = { night = 3 }", "conditions.a.night: expected a list of tables"),
        ("[conditions]\na = { before = 3 }", "conditions.a.before: expected a list of tables"),
        ("[conditions]\na = { nigth = [] }", "conditions.a: Condition has no key 'nigth'; did you mean 'night'"),
        ("[conditions]\na = { like = 3 }", "conditions.a.like: no condition 3"),
        ('[conditions]\na = { like = ["b"] }\nb = {}', "conditions.a.like: no condition ['b']"),
        ('[conditions]\na = { like = "awak" }\nawake = {}', "did you mean 'awake'"),
        ('[conditions]\na = { like = "b" }\nb = { like = "a" }', "a is like b is like a, which never ends"),
        ('[conditions]\na = { kind = "NREM" }', "no kind 'NREM'"),
        ("[sweep]", "at least one table"),
        ('[sweep]\n"night.0.step" = [1]', "'night.0.step': a condition has no such value; did you mean 'night.0.ste"),
        ("[sweep]\nsteps = [1]", "[sweep] 'steps': a condition has no such value; did you mean 'night.0.steps'"),
        ('[sweep]\n"night.1.steps" = [1]', "[sweep] night.1.steps: there is no number 1 among 1; the first is 0"),
        ('[sweep]\n"night.0.thresholds.2" = [1]', "there is no number 2 among 2; the first is 0"),
        ('[sweep]\n"night.0.thresholds.x" = [1]', "there is no number x among 2"),
        ('[sweep]\n"night.0.steps.0" = [1]', "'0' is asked of 100, which is no table"),
        ('[sweep]\n"night.0.steps" = []', "expected values, as [100, 500]"),
        ('[sweep]\n"night.0.steps" = 5', "expected values, as [100, 500]"),
        ('[sweep]\n"night.0.steps" = [1, 1]', "every value may stand once"),
        ('[sweep]\n"night.0.drive" = [{ kind = "MeanRate" }]', "need names"),
        ('[sweep]\n"night.0.steps" = { a = 1, b = 1 }', "conditions 'a' and 'b' are the same"),
        ('[sweep]\nmethod = { a = "ewc", "a, b" = "si" }\ncycles = { "b, c" = 1, c = 2 }', "makes two conditions"),
        ('[conditions]\n5 = {}\n[sweep]\n"night.0.steps" = [5]', "a condition '5', which [conditions] has already"),
        ('[sweep]\n"night.0.steps" = ["many"]', "conditions.many.night[1].steps = 'many' will not do"),
    ],
)  # fmt: skip
def test_wrong_descriptions_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ns.InputError) as error:
        from_toml(BASE + text, "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('like = "src-mnits"', "no experiment 'src-mnits'; did you mean 'src-mnist'"),
        ("like = 3", "give the name of an experiment that ships"),
        ('like = ["src-mnist"]', "give the name of an experiment that ships"),
        ('question = "?"\nbase = 3\n[conditions.a]', "[base] must be a table, got 3"),
        ('question = "?"\nsweep = [1]\n[conditions.a]', "[sweep] must be a table"),
        ('question = "?"\nconditions = ["a"]', "[conditions] must be a table"),
        ('question = "?"\nnetwork = 3\n[conditions.a.network]\ninit = 1.0', "[network] must be a table, got 3"),
        ('question = "?"\n[base]\nnigth = []\n[conditions.a]', "[base] has no key 'nigth'; did you mean 'night'"),
        ('question = "?"\n[base]\nlike = "a"\n[conditions.a]', "[base] has no key 'like'"),
        ('question = "?"\n[looks]\nevery = 0\n[conditions.a]', "every of at least 1"),
        ('question = "?"\n[study]\nkind = "Patch"', "no kind 'Patch'; did you mean 'Patches'"),
        ('question = "?"\n[study]\ninit = 0.1', "study: no kind (known: Patches"),
        ('question = "?"\nstudy = "Patches"', "study: expected a table"),
        ('question = "?"\n[study]\nkind = "Patches"\nwidht = 3', "no key 'widht'; did you mean 'width'"),
        ('question = "?"\n[study]\nkind = "Patches"\n[conditions.a]', "no key 'conditions'"),
        ('[study]\nkind = "Patches"', "needs a question"),
    ],
)
def test_wrong_beginnings_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ns.InputError) as error:
        from_toml(text, "mine.toml")
    assert message in str(error.value)
    assert "mine.toml" in str(error.value)
    assert "\n" not in str(error.value)
