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
OLD_CONVOLUTIONS = {
    f"conditions / [^/]+ / [^/]+ / {key}": "conv-sleep kept the end alone"
    for key in ("checkpoints", "nights", "trainings", "tasks")
}

CASES = (
    Case("demo", run("src-mnist", *SRC, 'methods=["sequential", "src", "joint"]'), seeds=2),
    Case(
        "methods",
        run(
            "src-mnist",
            *SRC,
            'methods=["ewc", "si", "owm", "lwf", "rehearsal:0.02", "rehearsal:0.02+src", "ewc+src", "last-task"]',
        ),
    ),
    Case(
        "released-calibration",
        run(
            *("src-mnist", *SRC, 'methods=["sequential", "src"]', "calibration=released", "order=random"),
            *("evaluate_on=train", "later_learning_rate=0.05"),
        ),
    ),
    Case(
        "last-calibration",
        run(
            *("src-mnist", *SRC, 'methods=["src", "lwf+src"]', "calibration=last", "precision=float64"),
            *("first_night=false", "drive=mean-rate", "max_rate=100"),
        ),
    ),
    Case(
        "streams",
        run(
            *("src-mnist", *SRC, 'methods=["src"]', "streams=2", "drive=uniform-noise", "max_rate=40"),
            *("rehearsal_weighting=mixed", "decay=0.99"),
        ),
    ),
    Case(
        "hebbian",
        run(
            *("src-mnist", *SRC, 'methods=["src", "rehearsal:0.05"]', "plasticity=hebbian", "normalization=max"),
            *("gain_scale=2.0", "thresholds=[0.5, 0.3, 0.2]", "inhibition=0.1", "rehearsal_weighting=mixed"),
            *("loss=cross-entropy", "order=1 0 3 2 4"),
        ),
    ),
    Case(
        "deep",
        run(
            *("src-mnist", *SMALL, "hidden=[60, 50, 40, 30]", "thresholds=[5.0, 8.0, 8.0, 8.0, 8.0]", "joint_epochs=1"),
            *("sleep_steps=400", "sleep_steps_more=0"),
            preset="deep",
        ),
    ),
    Case("gentle", run("src-mnist", *GENTLE, "thresholds=[5.0, 5.0, 2.0]", preset="gentle")),
    Case("owm", run("src-mnist", *GENTLE, "thresholds=[5.0, 5.0, 2.0]", preset="owm")),
    Case(
        "icarl",
        run("icarl-mnist", *SMALL, *NET, "sleep_steps=400", 'methods=["icarl:50", "icarl:50+src"]'),
    ),
    Case(
        "icarl-own",
        run(
            *("icarl-mnist", *SRC, 'methods=["icarl:100+src"]', "icarl_night=own", "icarl_loss=sigmoid"),
            *("icarl_selection=random", "icarl_dropout_in_means=true"),
        ),
    ),
    Case(
        "cub200",
        run(
            *("src-cub200", "dataset=permuted-digits", *SMALL[1:], *NET, "joint_epochs=1", "rehearsal_epochs=1"),
            *("sleep_steps=400", "gain_scale=10.0", "thresholds=[1.0, 1.0, 1.0]"),
        ),
    ),
    Case("snn", run("src-snn", *SMALL, "hidden=[60]", "sleep_steps=400", "sleep_steps_more=100")),
    Case(
        "conv-sleep",
        run(
            "conv-sleep",
            "dataset=mnist-small",
            "images_per_task=200",
            "channels=[2, 4]",
            "hidden=40",
            "sleep_steps=200",
        ),
        one_sided=OLD_CONVOLUTIONS,
    ),
    Case("patches", run("patches", "min_overlap=13", "max_overlap=15", "sleep_steps=3000"), seeds=2, study=True),
    Case(
        "src-replay",
        run(
            *("src-replay", *SMALL, *NET, *NIGHT, "top=8", "shown=50", "noise_rate=40"),
        ),
        study=True,
    ),
    Case(
        "src-undertrained",
        run(
            *("src-undertrained", "dataset=mnist-small", *NET, "images=[200, 400]", "epochs=[1, 2]", "sleep_steps=400"),
            *("learning_rate=0.1", "thresholds=[5.0, 2.0, 2.0]"),
        ),
        study=True,
    ),
    Case("tripartite", run("tripartite-mnist", *TRIPARTITE)),
    Case(
        "tripartite-recipe",
        run(
            *("tripartite-mnist", *TRIPARTITE, "batch_size=64", "replay_batch_size=320", "learning_rate=1e-3"),
            *("standardise=true", "class_means=true", "observation_noise=true", "targets=drawn", "imagined=0.7"),
            'conditions=["p0", "p0+rem", "p0.75+rem", "p0+rem+src", "graded0.2", "joint", "ewc:100", "owm+src"]',
            *("sleep_steps=300", "thresholds=[1.0, 1.0, 1.0]"),
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
    ),
    Case("stage-order", question("stage-order", SHORT_STAGES | {("conditions", "*", "cycles"): 2}), seeds=2),
    Case("downscaling", question("downscaling", SHORT_STAGES), seeds=2),
    Case("drive", question("drive", SHORT_NIGHT), seeds=2),
    Case("potentiation", question("potentiation", SHORT_NIGHT), seeds=2),
    Case("python", Command(("python", "readme_nights.py"))),
)
