"""An experiment is what it says: checked, kept as TOML, made again from it."""

from dataclasses import replace

import numpy as np
import pytest

import neurosleep as ns
from neurosleep.experiments import (
    BlockedDepression,
    BlockedPotentiation,
    Condition,
    DataStream,
    Experiment,
    GenerativeNetwork,
    ReluNetwork,
    SilencedNeurons,
    StudyExperiment,
    load,
)
from neurosleep.experiments.loading import from_toml
from neurosleep.experiments.studies.patches import Patches
from neurosleep.sims.rules.one_way import OnlyDepression
from neurosleep.training import Trainer
from neurosleep.tripartite import NREM, REM, Interleaved

NIGHT = ns.SpontaneousReplay(
    1_000, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.032, 0.0033), thresholds=(14.5, 44.6, 38.0), gain_scale=55.9
)
POPULATIONS = {"input": 784, "hidden1": 100, "hidden2": 50, "output": 10}


def everything() -> Experiment:
    """An experiment in which nearly every kind of object stands, with values that are not the defaults."""
    dreaming = GenerativeNetwork((20,), latents=5, class_means=True)
    return Experiment(
        'Is "everything" kept?',
        {
            "no sleep": Condition(),
            "src": Condition([NIGHT], steps_more=500, first_night=False),
            "watched": Condition(
                [replace(NIGHT, plasticity=None, drive=ns.UniformNoise(3.0), silenced={"hidden1": [1]})]
            ),
            "down, then up": Condition(
                [ns.MagnitudePruning(0.5), replace(NIGHT, downscaling=ns.GradedDownscaling(0.1), downscale_every=7)],
                method="ewc:3",
                lesions=[SilencedNeurons("hidden1", 0.25), BlockedPotentiation(), BlockedDepression()],
                training=Trainer(epochs=1),
                network=ReluNetwork((30, 30), dropout=0.0),
            ),
            "dreams": Condition([NREM(5), REM(5), Interleaved(3, NREM(2), None)], network=dreaming),
            "cued, then not": Condition(
                [replace(NIGHT, drive=ns.CuedReplay(ns.MeanRate(9.0), 2, share=0.1, length=3))], sleep_after=(1, 3)
            ),
            "all at once": Condition(method="joint"),
        },
        seeds=[3, 1],
        stream=DataStream("mnist", 100, 5, "1 0"),
        training=Trainer(epochs=3, loss="cross-entropy"),
        logs="all",
        products="bfloat16",
        notes="two\nlines",
    )


def test_toml_holds_everything() -> None:
    first = everything()
    text = first.to_toml()
    again = from_toml(text)
    assert again == first
    assert again.to_toml() == text
    assert again.conditions["dreams"].night[2].rem is None
    assert again.conditions["watched"].night[0].plasticity is None


RHYTHM = ns.SlowOscillation(ns.MaskedMeanRate(100.0, 5), 0.7, up=0.4, depth=0.9, jitter=0.1, rhythm=3)


@pytest.mark.parametrize(
    "drive",
    [
        RHYTHM,
        RHYTHM + ns.Spindles(ns.CorrelatedNoise(5.0, 2.0), frequency=12.0) + ns.UniformNoise(0.5),
        ns.Modulated(ns.Bursts(ns.SignedRate(50.0, "both"), 0.4), ns.Piecewise((0.0, 1.0), (1.0, 0.2))),
        ns.Modulated(RHYTHM, ns.Cosine(0.02)),
        {"input": RHYTHM, "hidden1": ns.Kicks(ns.UniformNoise(2.0), 0.5)},
        {"output": ns.Kicks(ns.Sum((ns.UniformNoise(2.0), ns.UniformNoise(3.0))), -0.25)},
    ],
)
def test_toml_holds_drives_of_drives(drive: object) -> None:
    first = Experiment("?", {"a": Condition([replace(NIGHT, drive=drive)])})
    assert from_toml(first.to_toml()) == first


@pytest.mark.parametrize(
    ("drive", "told"),
    [
        ('{ kind = "SlowOscilation" }', "did you mean 'SlowOscillation'"),
        ('{ kind = "SlowOscillation" }', "SlowOscillation needs drive"),
        ('{ kind = "SlowOscillation", drive = 3 }', r"drive.drive: expected a table"),
        ('{ kind = "SlowOscillation", drive = { kind = "Kicks" } }', "no kind 'Kicks'"),
        ('{ kind = "Sum", drives = { kind = "MeanRate" } }', "drive.drives: expected a list"),
        ('{ kind = "Sum", drives = [] }', "several drives"),
        ('{ kind = "Drives" }', "empty mapping"),
        ('{ kind = "Drives", input = 3 }', "drive.input: expected a table"),
        ('{ kind = "Drives", hidden1 = { kind = "UniformNoise", rate = 2.0 } }', "no kind 'UniformNoise'"),
        ('{ input = { kind = "UniformNoise", rate = 2.0 } }', "no kind"),
        ('{ kind = "Modulated", envelope = 2.0, drive = { kind = "UniformNoise", rate = 2.0 } }', "expected a table"),
        ('{ kind = "Spindles", rate = "often", drive = { kind = "UniformNoise", rate = 2.0 } }', "will not do"),
    ],
)
def test_drives_that_toml_cannot_mean(drive: str, told: str) -> None:
    rule = '{ kind = "Hebbian", inc = 0.1, dec = 0.1 }'
    night = f'[{{ kind = "SpontaneousReplay", steps = 5, drive = {drive}, plasticity = {rule} }}]'
    with pytest.raises(ns.InputError, match=told) as refused:
        from_toml(MINIMAL + "night = " + night)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"plasticity": ns.PairSTDP(0.001, 0.002)},
        {"plasticity": ns.KeepSign(ns.SoftBounds(0.1, 0.2, -1.0, 1.0))},
        {"plasticity": ns.PerLayer((ns.Hebbian(0.1, 0.2), None, ns.Hebbian(0.3, 0.4)))},
        {"drive": {"input": ns.MeanRate(5.0), "hidden1": ns.Kicks(ns.SlowOscillation(ns.UniformNoise(2.0)), 0.5)}},
        {"drive": ns.MeanRate(5.0) + ns.Modulated(ns.UniformNoise(2.0), ns.Cosine(1.0))},
        {"drive": ns.SlowOscillation(ns.CuedReplay(ns.MeanRate(5.0), 2, share=0.1), up=0.3)},
        {"neurons": {"hidden1": ns.Neurons(refractory=2, adaptation=ns.Adaptation(0.1, 0.2))}},
    ],
)
def test_toml_holds_nights_of_every_kind(changes) -> None:
    experiment = Experiment("?", {"a": Condition([replace(NIGHT, **changes)])})
    again = from_toml(experiment.to_toml())
    assert again == experiment
    assert again.to_toml() == experiment.to_toml()


def test_every_value_matters_to_the_toml() -> None:
    """No field is forgotten: a change of any of them changes the text."""
    text = everything().to_toml()
    changes = {
        "question": "another?",
        "seeds": 2,
        "stream": DataStream(),
        "network": ReluNetwork((7,)),
        "training": Trainer(),
        "logs": "none",
        "products": "float32",
        "notes": "",
    }
    for name, value in changes.items():
        assert replace(everything(), **{name: value}).to_toml() != text, name
    plain = Experiment("?", {"a": Condition()})
    assert from_toml(replace(plain, backend="reference").to_toml()).backend == "reference"
    assert plain.to_toml() != replace(plain, backend="reference").to_toml()


def test_runs_and_logs() -> None:
    experiment = Experiment("?", {"a": Condition(), "b": Condition([NIGHT])}, seeds=[5, 2])
    assert experiment.runs == [("a", 5), ("b", 5), ("a", 2), ("b", 2)]
    assert [experiment.logged(run) for run in experiment.runs] == [True, True, False, False]
    assert all(replace(experiment, logs="all").logged(run) for run in experiment.runs)
    assert not any(replace(experiment, logs="none").logged(run) for run in experiment.runs)
    assert Experiment("?", {"a": Condition()}, seeds=3).seeds == (0, 1, 2)


MINIMAL = 'question = "?"\n[conditions.a]\n'
LIKE = """
question = "?"
[conditions.src]
[[conditions.src.night]]
kind = "SpontaneousReplay"
steps = 100
drive = { kind = "MeanRate", max_rate = 5.0 }
plasticity = { kind = "Hebbian", inc = 0.1, dec = 0.2 }
[conditions.longer]
like = "src"
night = [{ steps = 200 }]
[conditions.noise]
like = "longer"
night = [{ drive = { kind = "UniformNoise", rate = 2.0 } }]
"""


def test_like() -> None:
    conditions = from_toml(LIKE).conditions
    src = ns.SpontaneousReplay(100, ns.MeanRate(5.0), ns.Hebbian(0.1, 0.2))
    assert conditions["src"] == Condition([src])
    assert conditions["longer"] == Condition([replace(src, steps=200)])
    assert conditions["noise"] == Condition([replace(src, steps=200, drive=ns.UniformNoise(2.0))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question", "cannot be read as TOML"),
        ("[conditions.a]", "needs a question"),
        ('question = "?"', "at least one table"),
        ('question = "?"\nseed = 3\n[conditions.a]', "no key 'seed'; did you mean 'seeds'"),
        ('question = "?"\nseeds = []\n[conditions.a]', "at least one seed"),
        ('question = "?"\nseeds = 0\n[conditions.a]', "at least one seed"),
        ('question = "?"\nseeds = [1, 1]\n[conditions.a]', "every seed may stand once"),
        ('question = "?"\nseeds = [-1]\n[conditions.a]', "at least 0"),
        ('question = "?"\nseeds = "many"\n[conditions.a]', "seeds = 'many' will not do"),
        (MINIMAL + "nights = []", "no key 'nights'; did you mean 'night'"),
        (MINIMAL + "night = 3", "expected a list of tables"),
        (MINIMAL + 'night = [{ kind = "SpontaneusReplay" }]', "did you mean 'SpontaneousReplay'"),
        (MINIMAL + 'night = [{ kind = "SpontaneousReplay" }]', "needs steps, drive, plasticity"),
        (MINIMAL + 'night = [{ kind = "MagnitudePruning", fraction = 2.0 }]', "fraction must be from 0 to 1"),
        (MINIMAL + 'night = [{ kind = "MagnitudePruning", fraction = "x" }]', "night[0].fraction = 'x' will not do"),
        (MINIMAL + 'night = [{ kind = "NREM" }]', "need a network that dreams"),
        (MINIMAL + 'method = "ewk"', "no method 'ewk'; did you mean 'ewc'"),
        (MINIMAL + "steps_more = 5", "this night has none"),
        (MINIMAL + 'lesions = [{ kind = "BlockedPotentiation" }]', "this night has none"),
        (MINIMAL + 'lesions = [{ kind = "SilencedNeurons", population = "hidden1" }]', "one of the two"),
        (MINIMAL + 'like = "b"', "no condition 'b'"),
        (MINIMAL + 'like = "a"', "never ends"),
        (MINIMAL + "[conditions.b]", "'a' and 'b' are the same"),
        (MINIMAL + '[stream]\ndataset = "mnist-smal"', "there is no data set 'mnist-smal'"),
        (MINIMAL + '[stream]\norder = "1 1"', "order must be"),
        (MINIMAL + '[network]\nkind = "ReluNetwork"\nhidden = 5', "network.hidden = 5 will not do"),
        (MINIMAL + "[training]\nepochs = -1", "epochs must be at least 0"),
    ],
)
def test_wrong_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ns.InputError) as error:
        from_toml(text, "q.toml")
    assert message in str(error.value)
    assert str(error.value).startswith("q.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Experiment(" ", {"a": Condition()}), "needs a question"),
        (lambda: Experiment("?", {}), "at least one condition"),
        (lambda: Experiment("?", {"": Condition()}), "printable"),
        (lambda: Experiment("?", {"a": NIGHT}), "must be Condition"),
        (lambda: Experiment("?", {"a": Condition()}, logs="last"), "no logs 'last'"),
        (lambda: Experiment("?", {"a": Condition()}, seeds=True), "seeds must be"),
        (
            lambda: Experiment("?", {"a": Condition()}, stream="mnist"),
            r"stream must be DataStream\(\.\.\.\), got 'mnist'",
        ),
        (lambda: Experiment("?", {"a": Condition()}, network=ReluNetwork), r"network must be ReluNetwork\(\.\.\.\) or"),
        (lambda: Experiment("?", {"a": Condition()}, looks=3), r"looks must be Looks\(\.\.\.\), got 3"),
        (lambda: Condition(network=3), r"network must be an object such as ReluNetwork\(\.\.\.\), or None, got 3"),
        (lambda: Condition(training={"epochs": 1}), r"training must be an object such as Trainer"),
        (lambda: Condition(calibration="first"), "no calibration 'first'; did you mean 'first task'"),
        (lambda: Condition([NIGHT], "last-task"), "no tasks in sequence"),
        (lambda: Condition(cycles=2), "this night has none"),
        (lambda: StudyExperiment("?", Condition()), "a study is one of Patches, SecondNight, Undertrained"),
        (lambda: StudyExperiment(" ", Patches()), "needs a question"),
        (lambda: StudyExperiment("?", Patches(), logs="last"), "no logs 'last'"),
        (lambda: Condition([3]), "made of stages"),
        (lambda: Condition([NIGHT], lesions=[3]), "lesions are"),
        (lambda: Condition([NIGHT], method="joint"), "no tasks in sequence"),
        (lambda: Condition(method="ewc+src"), "sleep is what `night` says"),
        (lambda: Condition([NIGHT], steps_more=-1), "at least 0"),
        (lambda: SilencedNeurons("hidden1", 1.5), "from 0 to 1"),
        (lambda: SilencedNeurons("hidden1", 0.5, (1,)), "one of the two"),
        (lambda: DataStream(images_per_task=0), "at least 1"),
        (
            lambda: Experiment("?", {"a": Condition([replace(NIGHT, drive=ns.RecordedSpikes([[1]]))])}),
            "cannot hold RecordedSpikes",
        ),
        (
            lambda: Experiment("?", {"a": Condition([REM()])}, network=GenerativeNetwork()),
            "by NREM or Interleaved, and this night has neither",
        ),
        (
            lambda: Experiment("?", {"a": Condition([NREM()])}, network=GenerativeNetwork(), backend="reference"),
            "simulated on 'cpu'",
        ),
        (
            lambda: Experiment("?", {"a": Condition([NREM()], method="ewc")}, network=GenerativeNetwork()),
            "a method or training is not for one",
        ),
    ],
)
def test_contradictions_are_refused(make, message: str) -> None:
    with pytest.raises(ns.InputError, match=message):
        make()


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(ns.InputError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_stages_of_a_night() -> None:
    condition = Condition([ns.MagnitudePruning(0.5), NIGHT], steps_more=50, first_night=False)
    assert condition.stages(1, POPULATIONS, 0) == []
    pruning, replayed = condition.stages(3, POPULATIONS, 0)
    assert pruning == ns.MagnitudePruning(0.5)
    assert replayed == replace(NIGHT, steps=1_100, name="spontaneous-replay 3")


def test_lesions() -> None:
    def lesioned(*lesions, seed: int = 0) -> ns.SpontaneousReplay:
        (stage,) = Condition([NIGHT], lesions=lesions).stages(1, POPULATIONS, seed)
        return stage

    assert lesioned(BlockedPotentiation()).plasticity == ns.GatedHebbian(0.0, 0.0033)
    assert lesioned(BlockedDepression()).plasticity == ns.GatedHebbian(0.032, 0.0)
    own = replace(NIGHT, plasticity=ns.PerLayer((ns.PairSTDP(0.1, 0.1), None)))
    (blocked,) = Condition([own], lesions=[BlockedPotentiation()]).stages(1, POPULATIONS, 0)
    assert blocked.plasticity == ns.PerLayer((OnlyDepression(ns.PairSTDP(0.1, 0.1)), None))
    half = SilencedNeurons("hidden1", 0.5)
    drawn = dict(lesioned(half).silenced)["hidden1"]
    assert len(set(drawn)) == 50
    assert set(drawn) <= set(range(100))
    assert lesioned(half).silenced == lesioned(half).silenced
    assert lesioned(half, seed=1).silenced != lesioned(half).silenced
    two = dict(lesioned(SilencedNeurons("hidden1", neurons=(3, 1)), SilencedNeurons("output", neurons=(9,))).silenced)
    assert {name: list(ids) for name, ids in two.items()} == {"hidden1": [1, 3], "output": [9]}
    with pytest.raises(ns.InputError, match="no population 'hidden3'"):
        lesioned(SilencedNeurons("hidden3", 0.5))


def test_streams_of_one_seed_are_one_stream(tmp_path) -> None:
    described = DataStream(images_per_task=20)
    first, second, other = described.make(1), described.make(1), described.make(2)
    assert [t.classes for t in first.tasks] == [t.classes for t in second.tasks]
    assert [t.classes for t in first.tasks] != [t.classes for t in other.tasks]
    assert len(first.joint_inputs) == 100  # what the tasks have, no more

    rng = np.random.default_rng(0)
    x, y = rng.random((40, 6), dtype=np.float32), np.arange(40) % 4
    np.savez(tmp_path / "mine.npz", train_x=x, train_y=y, test_x=x[:8], test_y=y[:8])
    own = DataStream(str(tmp_path / "mine.npz"), order="released").make(0)
    assert [task.classes for task in own.tasks] == [(0, 1), (2, 3)]
