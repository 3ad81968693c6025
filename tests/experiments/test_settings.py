"""`--set`: a value by its path or the end of it, in the base or a condition, and what it does not reach is told."""

import pytest

import neurosleep as ns
from neurosleep.experiments import Experiment, load
from neurosleep.experiments.loading import build, describe, parse
from neurosleep.experiments.settings import find, with_settings

OWN = """
question = "?"
[training]
epochs = 3
[base]
[[base.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 5.0 }
plasticity = { kind = "Hebbian", inc = 0.1, dec = 0.2 }
thresholds = [1.0, 2.0]
[conditions]
awake = { night = [] }
plain = {}
"v1.5" = { night = [{ steps = 200 }], training = { epochs = 1 } }
"v1" = { method = "ewc" }
pruned = { night = [{ kind = "MagnitudePruning", fraction = 0.5 }] }
again = { like = "v1.5", method = "si" }
"""
SWEPT = """
question = "?"
[base]
[[base.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 5.0 }
plasticity = { kind = "Hebbian", inc = 0.1, dec = 0.2 }
[conditions]
awake = { night = [] }
[sweep]
"night.0.steps" = [10, 20]
"""


def changed(text: str, *settings: str) -> tuple[Experiment, list[str]]:
    values, told = with_settings(parse(text, "mine"), settings)
    return build(values, "mine"), told


def steps(experiment: Experiment) -> dict[str, int | None]:
    return {n: getattr(c.night[0], "steps", None) if c.night else None for n, c in experiment.conditions.items()}


def test_the_end_of_a_path_is_enough_where_one_place_has_it() -> None:
    assert load("src-mnist", ["inc=0.03"]) == load("src-mnist", ["base.night.0.plasticity.inc=0.03"])
    assert load("src-mnist", ["inc=0.03"]).conditions["src"].night[0].plasticity.inc == 0.03
    assert load("src-mnist", ["plasticity.inc = 0.03"]) == load("src-mnist", ["inc=0.03"])
    assert load("src-mnist", ["dataset=mnist-small"]).stream.dataset == "mnist-small"
    assert load("src-mnist", ["gate_width=0.3"]).conditions["src"].night[0].plasticity.gate_width == 0.3  # a default


def test_values_are_toml_or_else_text() -> None:
    settings = ("hidden=[20, 10]", "order=random", 'notes="a = b"', "images_per_task=1_000", "seeds=[4]")
    experiment, _ = changed(OWN, *settings)
    assert experiment.network.hidden == (20, 10)
    assert (experiment.stream.order, experiment.notes, experiment.stream.images_per_task) == ("random", "a = b", 1000)
    assert experiment.seeds == (4,)
    assert changed(OWN, "notes=[1, 2")[0].notes == "[1, 2"
    assert changed(OWN, f"notes={'9' * 5000}")[0].notes == "9" * 5000


def test_a_value_of_the_base_reaches_all_that_do_not_override_it_and_those_are_told() -> None:
    experiment, told = changed(OWN, "base.night.0.steps=7")
    assert steps(experiment) == {"awake": None, "plain": 7, "v1.5": 200, "v1": 7, "pruned": None, "again": 200}
    places = ("conditions.v1.5.night.0.steps", "conditions.pruned.night.0", "conditions.again.night.0.steps")
    assert told == [f"--set base.night.0.steps: {place} stays as it is" for place in places]


def test_training_of_the_experiment_reaches_all_that_have_none_of_their_own() -> None:
    experiment, told = changed(OWN, "epochs=9", "batch_size=7")
    assert [experiment.training_of(name).epochs for name in ("plain", "v1.5", "again")] == [9, 1, 1]
    assert experiment.training_of("v1.5").batch_size == 7
    places = ("conditions.v1.5.training.epochs", "conditions.again.training.epochs")
    assert told == [f"--set epochs: {place} stays as it is" for place in places]


def test_a_value_of_one_condition() -> None:
    for name in ("plain", "v1.5", "v1"):  # also one that takes its night over from the base
        experiment, told = changed(OWN, f"conditions.{name}.night.0.steps=7", f"conditions.{name}.training.epochs=8")
        assert steps(experiment)[name] == 7
        assert experiment.training_of(name).epochs == 8
        assert told == []
        others = {"plain", "v1.5", "v1", "again"} - {name, "again" if name == "v1.5" else name}
        assert {steps(experiment)[other] for other in others} <= {100, 200}
    (night,) = changed(OWN, "conditions.plain.night.0.thresholds.1=9.0")[0].conditions["plain"].night
    assert night == ns.SpontaneousReplay(100, ns.MeanRate(5.0), ns.Hebbian(0.1, 0.2), thresholds=(1.0, 9.0))


def test_one_of_several_values_and_whole_tables() -> None:
    def night(*settings: str) -> ns.SpontaneousReplay:
        return changed(OWN, *settings)[0].conditions["plain"].night[0]

    assert night("thresholds.0=9.0") == night("base.night.0.thresholds.0=9.0")
    assert night("thresholds.0=9.0").thresholds == (9.0, 2.0)
    assert night('drive={ kind = "UniformNoise", rate = 2.0 }').drive == ns.UniformNoise(2.0)
    assert changed(OWN, 'network={ kind = "SnnNetwork", steps = 3 }')[0].network.steps == 3
    assert changed(OWN, "looks.early=3")[0].looks.early == 3
    first, *_ = changed(OWN, "base.before=[{ kind = 'GradedDownscaling' }]")[0].conditions["plain"].night
    assert first == ns.GradedDownscaling()


def test_what_a_sweep_overrides_is_told() -> None:
    experiment, told = changed(SWEPT, "base.night.0.steps=7")
    assert steps(experiment) == {"awake": None, "10": 10, "20": 20}
    assert told == ["--set base.night.0.steps: sweep.night.0.steps stays as it is"]
    assert steps(changed(SWEPT, "sweep.night.0.steps=[1, 2]")[0]) == {"awake": None, "1": 1, "2": 2}
    # a part that a sweep replaces as a whole is not reached either
    told = with_settings(describe("drive"), ["base.night.0.drive.max_rate=1.0"])[1]
    assert told == ["--set base.night.0.drive.max_rate: sweep.night.0.drive stays as it is"]
    assert changed(SWEPT, "inc=0.5")[1] == []


def test_conditions_are_kept_in_the_order_asked_for() -> None:
    experiment, told = changed(OWN, 'conditions=["again", "plain"]', "base.night.0.steps=7")
    assert steps(experiment) == {"again": 200, "plain": 7}
    assert told == ["--set base.night.0.steps: conditions.again.night.0.steps stays as it is"]
    assert experiment.conditions["again"] == build(parse(OWN, "mine")).conditions["again"]
    assert steps(changed(OWN, 'conditions=["v1.5"]')[0]) == {"v1.5": 200}
    assert steps(changed(SWEPT, 'conditions=["20", "awake"]')[0]) == {"20": 20, "awake": None}
    whole = load("drive")
    for name in whole.conditions:
        assert load("drive", [f'conditions=["{name}"]']).conditions == {name: whole.conditions[name]}


def test_values_of_a_study() -> None:
    study = load("patches", ["inc=0.5", "study.min_overlap=3", "max_overlap=4", "training.epochs=1", "seeds=2"]).study
    assert study.night.plasticity.inc == 0.5
    assert (study.min_overlap, study.max_overlap, study.training.epochs) == (3, 4, 1)
    assert load("src-replay", ["hidden=[60, 60]", "stream.dataset=mnist-small"]).study.network.hidden == (60, 60)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps", "takes KEY=VALUE, got 'steps'"),
        ("=3", "no parameter ''"),
        ("icn=3", "no parameter 'icn'; did you mean 'inc'?"),
        ("base.night.0.plasticity.icn=3", "did you mean 'base.night.0.plasticity.inc'"),
        ("base.night.1.steps=3", "did you mean 'base.night.0.steps'"),
        ("conditions.v2.method=ewc", "no parameter 'conditions.v2.method'; did you mean 'conditions.v1.method'"),
        ("conditions.awake.night.0.steps=3", "there is no number 0 among 0"),
        ("kind=MeanRate", "places, name one: network.kind, base.night.0.kind, base.night.0.drive.kind"),
        ("thresholds.2=1.0", "there is no number 2 among 2; the first is 0"),
        ("thresholds.-1=1.0", "no parameter 'thresholds.-1'"),
        ("base.night.0.thresholds.x=1.0", "there is no number x among 2"),
        ("steps.0=1", "'0' is asked of 100, which is no table"),
        ("steps=many", "night[0].steps = 'many' will not do"),
        ("seeds=0", "at least one seed"),
        ("conditions=plain", "expected names of conditions"),
        ("conditions=[]", "expected names of conditions"),
        ('conditions=["plian"]', "no condition 'plian'; did you mean 'plain'"),
        ('conditions=["plain", "plain"]', "every condition may be named once"),
        ("question=", "needs a question"),
        ("study.width=3", "no parameter 'study.width'"),
    ],
)
def test_settings_that_will_not_do(setting: str, message: str) -> None:
    with pytest.raises(ns.InputError) as error:
        changed(OWN, setting)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_several_places_are_named_in_full() -> None:
    with pytest.raises(ns.InputError) as error:
        changed(SWEPT, "steps=3")
    assert str(error.value) == "'steps' stands in 2 places, name one: base.night.0.steps, sweep.night.0.steps"
    with pytest.raises(ns.InputError, match="no parameter 'cycles'"):
        load("patches", ["cycles=2"])
    with pytest.raises(ns.InputError, match="did you mean 'min_overlap'"):
        load("patches", ["overlap=3"])


def test_a_value_that_only_conditions_have() -> None:
    values = parse('question = "?"\n[conditions]\na = { method = "ewc" }\nb = {}', "mine")
    assert find(values, "method") == "conditions.a.method"
    values = parse('question = "?"\n[conditions]\na = { method = "ewc" }\nb = { method = "si" }', "mine")
    with pytest.raises(ns.InputError, match=r"name one: conditions\.a\.method, conditions\.b\.method"):
        find(values, "method")


def test_values_of_drives_by_population() -> None:
    text = """
question = "?"
[[conditions.a.night]]
kind = "SpontaneousReplay"
steps = 10
plasticity = { kind = "PairSTDP", a_plus = 0.1, a_minus = 0.1 }
"""
    drive = """
[conditions.a.night.drive]
kind = "Drives"
input = { kind = "MeanRate", max_rate = 5.0 }
hidden1 = { kind = "Kicks", amount = 0.5, drive = { kind = "UniformNoise", rate = 2.0 } }
"""
    values = parse(text + drive, "mine.toml")
    changed, _ = with_settings(values, ["hidden1.drive.rate=9.0", "tau_plus=0.05", "input.max_rate=7.0"])
    night = build(changed).conditions["a"].night[0]
    assert (night.drive["hidden1"].drive.rate, night.drive["input"].max_rate, night.plasticity.tau_plus) == (9, 7, 0.05)


def test_values_of_one_homeostasis_and_of_neurons_by_population() -> None:
    text = SWEPT.partition("[sweep]")[0].replace(
        "steps = 100\n",
        """steps = 100
homeostasis = { kind = "SynapticScaling", target = 5.0 }
neurons = { hidden1 = { refractory = 2 }, output = { adaptation = { jump = 0.5, tau = 0.1 } } }
""",
    )
    settings = (
        "homeostasis.target=7.0",
        "hidden1.refractory=3",
        "neurons.hidden1.threshold_noise=0.25",
        "adaptation.tau=0.2",
    )
    experiment, told = changed(
        text + 'plain = {}\n[sweep]\n"night.0.neurons.hidden1.reset" = ["subtract"]\n', *settings
    )
    night = experiment.conditions["plain"].night[0]
    assert (night.homeostasis[0].target, night.neurons["output"].adaptation.tau, told) == (7.0, 0.2, [])
    assert night.neurons["hidden1"] == ns.Neurons(refractory=3, threshold_noise=0.25)
    with pytest.raises(ns.InputError, match=r"no parameter 'hidden1\.refractary'; did you mean"):
        changed(text, "hidden1.refractary=3")
    with pytest.raises(ns.InputError, match=r"stands in 2 places, name one: .*hidden1\.lateral, .*output\.lateral"):
        changed(text, "lateral=3")
