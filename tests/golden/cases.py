"""What `compare.py` runs on both sides: a table of commands, shortened so that each takes seconds.

The two sides of a case may have different commands: `old` is that of the base revision, `new` that of the working tree,
where it differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command line, without --seeds, --workers and --out.

    Attributes
    ----------
    words
        What stands behind `neurosleep`; or, if the first is "python", a script of this folder that takes the folder to
        write into.
    edits
        Changes of the TOML that the same words print with --show; its file is then run in place of the last word. A
        path's "*" stands for all keys or items there; behind one, only keys that are there are changed.
    """

    words: tuple[str, ...]
    edits: Mapping[tuple[str, ...], Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes
    ----------
    old, new
        Commands; the same if `new` is None.
    seeds
        How many.
    study
        Whether it is no comparison of conditions.
    one_sided
        Regular expressions of places that one side alone may have, and why, besides those of `compare.ONE_SIDED`.
    """

    name: str
    old: Command
    new: Command | None = None
    seeds: int = 1
    study: bool = False
    one_sided: Mapping[str, str] = field(default_factory=dict)


def run(name: str, *settings: str, preset: str | None = None) -> Command:
    """Return `neurosleep run NAME [--preset PRESET] --set ...`."""
    begin = ("run", name) if preset is None else ("run", name, "--preset", preset)
    return Command((*begin, *(word for setting in settings for word in ("--set", setting))))


def question(name: str, edits: Mapping[tuple[str, ...], Any]) -> Command:
    """Return `neurosleep experiment NAME` on a few images, its TOML edited."""
    return Command(("experiment", name), {("stream", "images_per_task"): 200, **edits})


SMALL = ("dataset=mnist-small", "images_per_task=200", "epochs=1")
NET = ("hidden=[60, 40]", "init=0.05")
NIGHT = ("sleep_steps=400", "sleep_steps_more=100", "thresholds=[5.0, 10.0, 8.0]")
SRC = (*SMALL, *NET, *NIGHT, "joint_epochs=1", "rehearsal_epochs=1")
GENTLE = (*SMALL, *NET, "rehearsal_epochs=2", "sleep_steps=400", "inc=0.005")
TRIPARTITE = (
    "dataset=mnist-small",
    "hidden=[60, 40]",
    "latents=20",
    "iterations=12",
    "look_inputs=50",
    "epochs=1",
    "sgd_rate=0.01",
)
SHORT_NIGHT = {
    ("network", "hidden"): [60, 40],
    ("network", "init"): 0.05,
    ("training", "epochs"): 1,
    ("conditions", "*", "night", "*", "thresholds"): [5.0, 10.0, 8.0],
    ("conditions", "*", "night", "*", "steps"): 400,
}
SHORT_STAGES = {
    ("network", "hidden"): [60, 40],
    ("conditions", "*", "night", "*", "iterations"): 6,
}
# The same in the words of the new system.


def experiment(
    name: str,
    *settings: str,
    conditions: Mapping[str, Any] | None = None,
    edits: Mapping[tuple[str, ...], Any] | None = None,
) -> Command:
    """Return `neurosleep run NAME --set ...`, with other conditions or further edits of its TOML."""
    words = ("run", name, *(word for setting in settings for word in ("--set", setting)))
    return Command(words, {**({("conditions",): conditions} if conditions else {}), **(edits or {})})


def named(*methods: str) -> dict[str, Any]:
    """Return conditions that are called as their method; with "+src" they sleep."""
    return {
        name: {"method": name.removesuffix("+src"), **({} if name.endswith("+src") else {"night": []})}
        for name in methods
    } | ({"src": {}} if "src" in methods else {})


NEW_NIGHT = ("night.0.steps=400", "steps_more=100", "thresholds=[5.0, 10.0, 8.0]")
NEW_SRC = (*SMALL, *NET, *NEW_NIGHT)
NEW_GENTLE = (*SMALL[:2], *NET, "steps=400", "inc=0.005", "thresholds=[5.0, 5.0, 2.0]")
NEW_TRIPARTITE = (
    *("dataset=mnist-small", "hidden=[60, 40]", "latents=20", "night.0.iterations=12", "looks.inputs=50", "epochs=1"),
    "training.learning_rate=0.01",
)
REPLAY = {
    "kind": "SpontaneousReplay",
    "name": "night",
    "steps": 300,
    "drive": {"kind": "MeanRate", "max_rate": 453.0},
    "plasticity": {"kind": "GatedHebbian", "inc": 0.0003, "dec": 0.00003},
    "thresholds": [1.0, 1.0, 1.0],
    "gain_scale": 4.13,
}
ALONE = {"night": [{"rem": "none"}]}
NEW_SHORT_NIGHT = {
    ("network",): {"hidden": [60, 40], "init": 0.05},
    ("training", "epochs"): 1,
    ("base", "night", "*", "thresholds"): [5.0, 10.0, 8.0],
    ("base", "night", "*", "steps"): 400,
}
NEW_SHORT_BASE = {("network", "hidden"): [60, 40], ("base", "night", "*", "iterations"): 6}
NEW_SHORT_STAGES = NEW_SHORT_BASE | {("conditions", "*", "night", "*", "iterations"): 6}


def asked(name: str, edits: Mapping[tuple[str, ...], Any]) -> Command:
    """Return `neurosleep run NAME` on a few images, its TOML edited."""
    return Command(("run", name), {("stream", "images_per_task"): 200, **edits})


CASES = (
    Case(
        "demo",
        run("src-mnist", *SRC, 'methods=["sequential", "src", "joint"]'),
        seeds=2,
        new=experiment("src-mnist", *NEW_SRC, 'conditions=["sequential", "src", "joint"]'),
    ),
    Case(
        "methods",
        run(
            "src-mnist",
            *SRC,
            'methods=["ewc", "si", "owm", "lwf", "rehearsal:0.02", "rehearsal:0.02+src", "ewc+src", "last-task"]',
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            conditions=named("ewc", "si", "owm", "lwf", "rehearsal:0.02", "rehearsal:0.02+src", "ewc+src", "last-task"),
        ),
    ),
    Case(
        "released-calibration",
        run(
            *("src-mnist", *SRC, 'methods=["sequential", "src"]', "calibration=released", "order=random"),
            *("evaluate_on=train", "later_learning_rate=0.05"),
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            'conditions=["sequential", "src"]',
            "calibration=kept images",
            "order=random",
            "evaluate_on=train",
            "later_learning_rate=0.05",
        ),
    ),
    Case(
        "last-calibration",
        run(
            *("src-mnist", *SRC, 'methods=["src", "lwf+src"]', "calibration=last", "precision=float64"),
            *("first_night=false", "drive=mean-rate", "max_rate=100"),
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            "calibration=last",
            "precision=float64",
            "first_night=false",
            'drive={ kind = "MeanRate", max_rate = 100 }',
            conditions=named("src", "lwf+src"),
        ),
    ),
    Case(
        "streams",
        run(
            *("src-mnist", *SRC, 'methods=["src"]', "streams=2", "drive=uniform-noise", "max_rate=40"),
            *("rehearsal_weighting=mixed", "decay=0.99"),
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            'conditions=["src"]',
            "streams=2",
            'drive={ kind = "UniformNoise", rate = 40 }',
            "decay=0.99",
        ),
    ),
    Case(
        "hebbian",
        run(
            *("src-mnist", *SRC, 'methods=["src", "rehearsal:0.05"]', "plasticity=hebbian", "normalization=max"),
            *("gain_scale=2.0", "thresholds=[0.5, 0.3, 0.2]", "inhibition=0.1", "rehearsal_weighting=mixed"),
            *("loss=cross-entropy", "order=1 0 3 2 4"),
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            'plasticity={ kind = "Hebbian", inc = 0.032064, dec = 0.003344 }',
            "normalization=max",
            "gain_scale=2.0",
            "thresholds=[0.5, 0.3, 0.2]",
            "inhibition=0.1",
            "loss=cross-entropy",
            "order=1 0 3 2 4",
            conditions={
                "src": {},
                "rehearsal:0.05": {"method": "rehearsal:0.05", "night": [], "method_options": {"weighting": "mixed"}},
            },
        ),
    ),
    Case(
        "deep",
        run(
            *("src-mnist", *SMALL, "hidden=[60, 50, 40, 30]", "thresholds=[5.0, 8.0, 8.0, 8.0, 8.0]", "joint_epochs=1"),
            *("sleep_steps=400", "sleep_steps_more=0"),
            preset="deep",
        ),
        new=experiment(
            "src-mnist-deep",
            *SMALL,
            "hidden=[60, 50, 40, 30]",
            "thresholds=[5.0, 8.0, 8.0, 8.0, 8.0]",
            "steps=400",
            "steps_more=0",
        ),
    ),
    Case(
        "gentle",
        run("src-mnist", *GENTLE, "thresholds=[5.0, 5.0, 2.0]", preset="gentle"),
        new=experiment("src-mnist-gentle", *NEW_GENTLE, "epochs=2"),
    ),
    Case(
        "owm",
        run("src-mnist", *GENTLE, "thresholds=[5.0, 5.0, 2.0]", preset="owm"),
        new=experiment("src-mnist-owm", *NEW_GENTLE, "epochs=1"),
    ),
    Case(
        "icarl",
        run("icarl-mnist", *SMALL, *NET, "sleep_steps=400", 'methods=["icarl:50", "icarl:50+src"]'),
        new=experiment("icarl-mnist", *SMALL, *NET, "steps=400", 'conditions=["icarl:50", "icarl:50+src"]'),
    ),
    Case(
        "icarl-own",
        run(
            *("icarl-mnist", *SRC, 'methods=["icarl:100+src"]', "icarl_night=own", "icarl_loss=sigmoid"),
            *("icarl_selection=random", "icarl_dropout_in_means=true"),
        ),
        new=experiment(
            "src-mnist",
            *NEW_SRC,
            "loss=cross-entropy",
            conditions={
                "icarl:100+src": {
                    "method": "icarl:100",
                    "method_options": {"loss": "sigmoid", "selection": "random", "means_with_dropout": True},
                }
            },
        ),
    ),
    Case(
        "cub200",
        run(
            *("src-cub200", "dataset=permuted-digits", *SMALL[1:], *NET, "joint_epochs=1", "rehearsal_epochs=1"),
            *("sleep_steps=400", "gain_scale=10.0", "thresholds=[1.0, 1.0, 1.0]"),
        ),
        new=experiment(
            "src-cub200",
            "dataset=permuted-digits",
            *SMALL[1:],
            *NET,
            "steps=400",
            "gain_scale=10.0",
            "thresholds=[1.0, 1.0, 1.0]",
        ),
    ),
    Case(
        "snn",
        run("src-snn", *SMALL, "hidden=[60]", "sleep_steps=400", "sleep_steps_more=100"),
        new=experiment("src-snn", *SMALL, "hidden=[60]", "night.0.steps=400", "steps_more=100"),
    ),
    # conv-sleep is not here: it follows the protocol of all experiments now, and its runs are others (docs/results.md).
    Case(
        "patches",
        run("patches", "min_overlap=13", "max_overlap=15", "sleep_steps=3000"),
        seeds=2,
        study=True,
        new=experiment("patches", "min_overlap=13", "max_overlap=15", "steps=3000"),
    ),
    Case(
        "src-replay",
        run(
            *("src-replay", *SMALL, *NET, *NIGHT, "top=8", "shown=50", "noise_rate=40"),
        ),
        study=True,
        new=experiment(
            "src-replay",
            *SMALL,
            *NET,
            "night.steps=400",
            "steps_more=100",
            "thresholds=[5.0, 10.0, 8.0]",
            "top=8",
            "shown=50",
            "noise.rate=40",
        ),
    ),
    Case(
        "src-undertrained",
        run(
            *("src-undertrained", "dataset=mnist-small", *NET, "images=[200, 400]", "epochs=[1, 2]", "sleep_steps=400"),
            *("learning_rate=0.1", "thresholds=[5.0, 2.0, 2.0]"),
        ),
        study=True,
        new=experiment(
            "src-undertrained",
            "dataset=mnist-small",
            *NET,
            "images=[200, 400]",
            "study.epochs=[1, 2]",
            "steps=400",
            "learning_rate=0.1",
            "thresholds=[5.0, 2.0, 2.0]",
        ),
    ),
    Case("tripartite", run("tripartite-mnist", *TRIPARTITE), new=experiment("tripartite-mnist", *NEW_TRIPARTITE)),
    Case(
        "tripartite-recipe",
        run(
            *("tripartite-mnist", *TRIPARTITE, "batch_size=64", "replay_batch_size=320", "learning_rate=1e-3"),
            *("standardise=true", "class_means=true", "observation_noise=true", "targets=drawn", "imagined=0.7"),
            'conditions=["p0", "p0+rem", "p0.75+rem", "p0+rem+src", "graded0.2", "joint", "ewc:100", "owm+src"]',
            *("sleep_steps=300", "thresholds=[1.0, 1.0, 1.0]"),
        ),
        new=experiment(
            "tripartite-mnist",
            *NEW_TRIPARTITE,
            "nrem.batch_size=64",
            "rem.batch_size=320",
            "settings.learning_rate=1e-3",
            "standardise=true",
            "class_means=true",
            "observation_noise=true",
            "targets=drawn",
            "imagined=0.7",
            conditions={
                "p0": ALONE,
                "p0+rem": {},
                "p0.75+rem": {"before": [{"kind": "MagnitudePruning", "fraction": 0.75}]},
                "p0+rem+src": {"after": [REPLAY]},
                "graded0.2": {"before": [{"kind": "GradedDownscaling", "rate": 0.2}], **ALONE},
                **named("joint", "ewc:100"),
                "owm+src": {"method": "owm", "night": [REPLAY]},
            },
        ),
    ),
    Case(
        "tripartite-generator",
        run(
            *("tripartite-mnist", *TRIPARTITE, "generator_iterations=4", "gating=0.3", "conditional_prior=true"),
            *(
                "downscaled_generator=true",
                "reset_adam=true",
                "order=released",
                'conditions=["p0.5+rem", "p0+rem+src"]',
            ),
            *("sleep_steps=300", "thresholds=[1.0, 1.0, 1.0]"),
        ),
        new=experiment(
            "tripartite-mnist",
            *NEW_TRIPARTITE,
            "gating=0.3",
            "conditional_prior=true",
            "downscaled_generator=true",
            "reset_adam=true",
            "order=released",
            edits={
                ("base", "night"): [
                    {
                        "kind": "Interleaved",
                        "iterations": n,
                        "nrem": {"batch_size": 128},
                        "rem": {"batch_size": 128},
                        "generator_only": only,
                    }
                    for n, only in ((12, False), (4, True))
                ]
            },
            conditions={
                "p0.5+rem": {"before": [{"kind": "MagnitudePruning", "fraction": 0.5}]},
                "p0+rem+src": {"after": [REPLAY]},
            },
        ),
    ),
    Case(
        "sleep-length",
        question(
            "sleep-length",
            SHORT_NIGHT
            | {
                ("conditions", "100 steps", "night", "*", "steps"): 20,
                ("conditions", "500 steps", "night", "*", "steps"): 50,
                ("conditions", "3,000 steps", "night", "*", "steps"): 100,
                ("conditions", "60,000 steps", "night", "*", "steps"): 800,
            },
        ),
        seeds=2,
        new=asked(
            "sleep-length",
            NEW_SHORT_NIGHT
            | {
                ("sweep", "night.0.steps"): {
                    "100 steps": 20,
                    "500 steps": 50,
                    "3,000 steps": 100,
                    "15,000 steps": 400,
                    "60,000 steps": 800,
                }
            },
        ),
    ),
    Case(
        "stage-order",
        question("stage-order", SHORT_STAGES | {("conditions", "*", "cycles"): 2}),
        seeds=2,
        new=asked("stage-order", NEW_SHORT_STAGES | {("conditions", "*", "cycles"): 2}),
    ),
    Case("downscaling", question("downscaling", SHORT_STAGES), seeds=2, new=asked("downscaling", NEW_SHORT_BASE)),
    Case("drive", question("drive", SHORT_NIGHT), seeds=2, new=asked("drive", NEW_SHORT_NIGHT)),
    Case("potentiation", question("potentiation", SHORT_NIGHT), seeds=2, new=asked("potentiation", NEW_SHORT_NIGHT)),
    Case("python", Command(("python", "readme_nights.py"))),
)
