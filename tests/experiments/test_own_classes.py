"""Classes of one's own in experiments: kept and read as text, imported only if their module is allowed."""

import sys
from dataclasses import dataclass, replace
from types import ModuleType

import pytest

import neurosleep as ns
from neurosleep.experiments import Condition, Results, allow_imports, load, run
from neurosleep.experiments.loading import from_toml
from neurosleep.experiments.own_classes import code_of
from neurosleep.sims.drives.drive import InputSchedule

MODULE = '''
"""A module of a user's own."""
import os
from dataclasses import dataclass
from subprocess import Popen

import neurosleep as ns

os.environ["OWN_DRIVES_IMPORTED"] = "yes"


@dataclass(frozen=True)
class Weaker:
    """Another drive at a share of its rate."""

    drive: object
    share: float = 0.5

    def schedule(self, n_inputs, dt, mean_input):
        schedule = self.drive.schedule(n_inputs, dt, mean_input)
        return schedule._replace(thresholds=(schedule.thresholds * self.share).astype("uint64"))


@dataclass(frozen=True)
class Gentle(ns.GatedHebbian):
    """A rule."""


@dataclass(frozen=True)
class Picky(Weaker):
    """Refuses to be."""

    def __post_init__(self):
        raise KeyError("never")


@dataclass(frozen=True)
class Nothing:
    """Neither drive nor rule."""


@dataclass(frozen=True)
class Shrink:
    """Homeostasis."""

    share: float

    def apply(self, weights, rates):
        return weights * (1 - self.share)


@dataclass(frozen=True)
class Rise:
    """A modulator."""

    over: float

    def values(self, steps):
        return steps / self.over


@dataclass(frozen=True)
class Steps(ns.Rule):
    """A rule of one's own."""

    size: float

    def on_post(self, w, fired, modulator):
        return w + modulator * self.size if fired else w - self.size


class Plain:
    schedule = Weaker.schedule
'''
TOML = """
question = "?"
seeds = 1
logs = "none"
[stream]
images_per_task = 60
classes_per_task = 5
[network]
hidden = [20]
[training]
epochs = 1
[conditions.awake]
[[conditions.mine.night]]
kind = "SpontaneousReplay"
steps = 50
thresholds = [1.0, 1.0]
drive = { kind = "own_drives:Weaker", share = 0.25, drive = { kind = "MeanRate", max_rate = 200.0 } }
plasticity = { kind = "own_drives:Gentle", inc = 0.01, dec = 0.001 }
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of a module that can be imported, which no test has done yet."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "own_drives.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("OWN_DRIVES_IMPORTED", raising=False)
    yield folder
    sys.modules.pop("own_drives", None)


def test_nothing_is_imported_unless_it_is_allowed(own):
    with pytest.raises(ns.InputError, match=r"conditions.mine.night\[0\].drive: .*--allow-imports own_drives"):
        from_toml(TOML)
    for other in ("own", "own_drive", "own_drives.more", "os"):
        with allow_imports(other), pytest.raises(ns.InputError, match="--allow-imports own_drives"):
            from_toml(TOML)
    assert "own_drives" not in sys.modules
    with allow_imports("own_drives"):
        drive = from_toml(TOML).conditions["mine"].night[0].drive
    assert (type(drive).__module__, drive.share, drive.drive) == ("own_drives", 0.25, ns.MeanRate(200.0))
    with pytest.raises(ns.InputError, match="--allow-imports"):  # once more not
        from_toml(TOML)


def test_text_keeps_them(own):
    with allow_imports("own_drives"):
        first = from_toml(TOML)
        again = from_toml(first.to_toml())
    assert again == first
    assert again.to_toml() == first.to_toml()


def test_every_part_of_a_night_may_be_of_ones_own(own):
    text = TOML.replace(
        'plasticity = { kind = "own_drives:Gentle", inc = 0.01, dec = 0.001 }',
        'plasticity = { kind = "KeepSign", rule = { kind = "own_drives:Steps", size = 0.001 } }\n'
        'modulator = { kind = "own_drives:Rise", over = 9.0 }\n'
        'homeostasis = [{ kind = "own_drives:Shrink", share = 0.1 }, { kind = "SynapticScaling", target = 5.0 }]',
    )
    with allow_imports("own_drives"):
        experiment = from_toml(text)
        night = experiment.conditions["mine"].night[0]
        assert from_toml(experiment.to_toml()) == experiment
    assert (night.plasticity.rule.size, night.modulator.over, night.homeostasis[0].share) == (0.001, 9.0, 0.1)


def test_settings_reach_into_them(own, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(TOML)
    with allow_imports("own_drives"):
        found = load(file, ["conditions.mine.night.0.drive.share=0.75"]).conditions["mine"].night[0]
        with pytest.raises(
            ns.InputError, match="no parameter 'conditions.mine.night.0.drive.shar'".replace(".", r"\.")
        ):
            load(file, ["conditions.mine.night.0.drive.shar=0.75"])
    assert found.drive.share == 0.75


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("own_drives:Weaker", "own_drives:Weakest", "own_drives has no dataclass 'Weakest' of its own"),
        ("own_drives:Weaker", "own_drives:Popen", "own_drives has no dataclass 'Popen' of its own"),
        ("own_drives:Weaker", "own_drives:Plain", "own_drives has no dataclass 'Plain' of its own"),
        ("own_drives:Weaker", "own_drives:Nothing", "drive: own_drives:Nothing is not a drive"),
        ("own_drives:Gentle", "own_drives:Weaker", "plasticity: own_drives:Weaker is not a rule"),
        ("own_drives:Weaker", "own_drives:Picky", "own_drives:Picky cannot be made: KeyError: 'never'"),
        ("own_drives:Weaker", "own_drives:a.b", "must be module:Class"),
        ("own_drives:Weaker", "own drives:Weaker", "must be module:Class"),
        ("share = 0.25", "shar = 0.25", "own_drives:Weaker has no key 'shar'; did you mean 'share'"),
        ("share = 0.25", 'share = "much"', r"drive.share = 'much' will not do"),
        ("own_drives:Gentle", "own_drives:Shrink", "plasticity: own_drives:Shrink is not a rule"),
        ('kind = "SpontaneousReplay"', 'kind = "own_drives:Weaker"', "no kind 'own_drives:Weaker'"),
    ],
)
def test_what_will_not_do_is_told_in_one_line(own, old, new, message):
    with allow_imports("own_drives"), pytest.raises(ns.InputError, match=message) as told:
        from_toml(TOML.replace(old, new))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_this", "own_drives cannot be imported: ModuleNotFoundError: No module named"),
        ("def (", "own_drives cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "own_drives cannot be imported: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported(own, text, message):
    (own / "own_drives.py").write_text(text)
    with allow_imports("own_drives"), pytest.raises(ns.InputError, match=message):
        from_toml(TOML)


@pytest.mark.parametrize("name", ["my module", "", "../modules", "own_drives:Weaker"])
def test_names_of_modules(name):
    with pytest.raises(ns.InputError, match="names of modules"), allow_imports(name):
        pass


def with_drive(experiment, drive):
    night = replace(experiment.conditions["mine"].night[0], drive=drive, plasticity=ns.GatedHebbian(0.01, 0.001))
    return replace(experiment, conditions={"mine": Condition([night])})


def test_runs_go_on_and_notice_other_code(own, tmp_path):
    with allow_imports("own_drives"):
        experiment = from_toml(TOML)
    out = tmp_path / "out"
    results = run(experiment, out, workers=1, progress=False)
    assert results.complete
    assert 'kind = "own_drives:Weaker"' in (out / "experiment.toml").read_text()
    assert "code" not in results.records["awake", 0]
    record = results.records["mine", 0]
    assert record["code"] == code_of(experiment)
    weak = run(with_drive(experiment, ns.MeanRate(50.0)), tmp_path / "weak", workers=1, progress=False)
    same = [of["stages"][0]["spikes"]["input"] for of in (record, weak.records["mine", 0])]
    assert same[0] == same[1] > 0
    with pytest.raises(ns.InputError, match="--allow-imports own_drives"):
        Results.open(out)
    (own / "own_drives.py").write_text(MODULE + "\n# a remark\n")
    assert run(replace(experiment, seeds=2), out, workers=1, progress=False).complete
    (own / "own_drives.py").write_text(MODULE.replace("* self.share", "* self.share / 2"))
    with pytest.raises(ns.InputError, match="other code of your classes"):
        run(replace(experiment, seeds=3), out, workers=1, progress=False)


@dataclass(frozen=True)
class Everywhere:
    """A drive of this module."""

    rate: float

    def schedule(self, n_inputs, dt, mean_input) -> InputSchedule:
        return ns.UniformNoise(self.rate).schedule(n_inputs, dt, mean_input)


def test_objects_of_ones_own_in_python(own, tmp_path, monkeypatch):
    with allow_imports("own_drives"):
        experiment = with_drive(from_toml(TOML), Everywhere(30.0))
    assert run(experiment, tmp_path / "out", workers=1, progress=False).complete
    with allow_imports(__name__):
        assert Results.open(tmp_path / "out").experiment == experiment
    script = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(Everywhere, "__module__", "__main__")
    script.Everywhere = Everywhere
    with pytest.raises(ns.InputError, match="__main__:Everywhere is of a script or notebook"):
        run(experiment, tmp_path / "script", workers=2, progress=False)


def test_what_no_text_can_hold(own):
    @dataclass(frozen=True)
    class Local(Everywhere):
        pass

    with allow_imports("own_drives"):
        experiment = from_toml(TOML)
    with pytest.raises(ns.InputError, match="top level of a module"):
        with_drive(experiment, Local(1.0))

    @dataclass(frozen=True)
    class Stage(ns.SpontaneousReplay):
        pass

    with pytest.raises(ns.InputError, match="a night is made of stages"):
        Condition([Stage(1, ns.MeanRate(1.0), None)])
    with pytest.raises(ns.InputError, match="cannot hold RecordedSpikes"):
        with_drive(experiment, ns.RecordedSpikes([[0] * 784]))
