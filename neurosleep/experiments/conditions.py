"""`Condition`: one way to learn a stream, which an experiment compares with others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal

from neurosleep.continual.learning import check_sleep_after
from neurosleep.continual.methods.names import MethodName
from neurosleep.experiments.lesions import Lesion
from neurosleep.experiments.networks import GenerativeNetwork, Network
from neurosleep.experiments.own_classes import is_own
from neurosleep.memory import FeatureMemory, ImageKeepingMemory, Memory
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.drives.cued import cues
from neurosleep.sims.errors import InputError
from neurosleep.sims.fields import settle
from neurosleep.training import Trainer
from neurosleep.tripartite.stages import NREM, Interleaved, Stage, Training

Backend = Literal["cpu", "cuda", "reference"]
Calibration = Literal["all", "last", "kept images", "first task"]


@dataclass(frozen=True)
class Condition:
    """One way to learn the stream.

    Parameters
    ----------
    night
        Stages of sleep after each task, in order: `SpontaneousReplay`, `MagnitudePruning`, `GradedDownscaling`; none
        for no sleep. With a `GenerativeNetwork` also `NREM`, `REM` and `Interleaved`, by which it learns.
    method
        What is done against forgetting while awake: "sequential" (nothing), "joint" (all tasks at once), "last-task"
        (nothing but the last task is learned at all), or a method of `neurosleep.continual.methods` with a value, as
        "ewc" or "rehearsal:0.02".
    method_options
        Further arguments of the method's class, by name: ``{"loss": "sigmoid"}`` of "icarl".
    calibration
        Over what activations are measured for a night. "all": the largest of every training so far; "last": those of
        the last one. The released scripts measure the present network on images that they keep: "kept images" (all
        that were seen) or "first task" (those of the first task, of which the mean input then is, too).
    steps_more
        Steps by which spontaneous replay grows with every task after the first (5,000 in the released MNIST script).
    cycles
        Times that all stages are gone through in a night.
    first_night
        Whether there is a night after the first task.
    sleep_after
        Numbers of the tasks after which there is a night, 1 for the first; after all, if None.
    lesions
        Done to every stage of spontaneous replay.
    network, training
        Instead of those of the experiment. A generative network with training of its own learns awake.

    Raises
    ------
    InputError
        If the parts contradict each other.
    """

    night: Sequence[Stage] = ()
    method: str = "sequential"
    _: KW_ONLY
    method_options: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration = "all"
    steps_more: int = 0
    cycles: int = 1
    first_night: bool = True
    sleep_after: tuple[int, ...] | None = None
    lesions: Sequence[Lesion] = ()
    network: Network | None = None
    training: Trainer | None = None

    def __post_init__(self) -> None:
        for what, usual in (("night", "[SpontaneousReplay(...)]"), ("lesions", "[SilencedNeurons(...)]")):
            if not isinstance(getattr(self, what), Iterable):
                raise InputError(f"{what} must be several, as {usual}, got {getattr(self, what)!r}")
            object.__setattr__(self, what, tuple(getattr(self, what)))
        for stage in self.night:
            if not isinstance(stage, Stage) or is_own(stage):
                raise InputError(f"a night is made of stages such as SpontaneousReplay(...), got {stage!r}")
        for lesion in self.lesions:
            if not isinstance(lesion, Lesion):
                raise InputError(f"lesions are SilencedNeurons, BlockedPotentiation, BlockedDepression, got {lesion!r}")
        for what, kinds, usual in (("network", Network, "ReluNetwork"), ("training", Trainer, "Trainer")):
            if not isinstance(value := getattr(self, what), kinds | None):
                raise InputError(f"{what} must be an object such as {usual}(...), or None, got {value!r}")
        settle(self)
        if self.method.endswith("+src"):
            raise InputError(
                f"method {self.method!r} cannot be here: sleep is what `night` says; "
                f"give {self.method.removesuffix('+src')!r}"
            )
        method = MethodName.parse(self.method)
        method.make(0, self.method_options)
        if method.base in ("joint", "last-task") and self.night:
            raise InputError(f"{method.base} learning has no tasks in sequence to sleep between: leave out its night")
        replays = any(isinstance(stage, SpontaneousReplay) for stage in self.night)
        for what, given in (("lesions", bool(self.lesions)), ("steps_more", self.steps_more != 0)):
            if given and not replays:
                raise InputError(f"{what} change spontaneous replay, and this night has none")
        if self.cycles != 1 and not self.night:
            raise InputError("cycles repeat the stages of a night, and this night has none")
        check_sleep_after(self.sleep_after)
        if self.sleep_after is not None and not (self.night and self.first_night):
            raise InputError("sleep_after says which nights there are: give it with a night, and without first_night")
        if self.cued_tasks and self.calibration not in ("all", "last"):
            raise InputError("cued replay needs a memory of each task's mean: give calibration 'all' or 'last'")
        if self.steps_more < 0 or self.cycles < 1:
            raise InputError(
                f"steps_more must be at least 0 and cycles at least 1, got {self.steps_more} and {self.cycles}"
            )

    def learns_awake(self, network: Network) -> bool:
        """Whether a network is trained awake; else it learns by its nights."""
        return not isinstance(network, GenerativeNetwork) or self.method != "sequential" or self.training is not None

    def check(self, network: Network, backend: Backend = "cpu") -> None:
        """Raise `InputError` if the condition cannot be with a network, on a backend."""
        trained = any(isinstance(stage, Training) for stage in self.night)
        if not isinstance(network, GenerativeNetwork):
            if trained:
                raise InputError("NREM and REM need a network that dreams: give network=GenerativeNetwork(...)")
            return
        if self.learns_awake(network):
            if trained:
                raise InputError(
                    "a generative network learns by its nights, or awake: a method or training is not for one "
                    "whose night has NREM or REM"
                )
            return
        if backend != "cpu":
            raise InputError(f"nights of a generative network are simulated on 'cpu', not on {backend!r}")
        if not self.first_night:
            raise InputError("a generative network learns its first task by a night, too: leave out first_night")
        if self.sleep_after is not None:
            raise InputError("a generative network learns every task by a night: leave out sleep_after")
        if not any(isinstance(stage, NREM | Interleaved) for stage in self.night):
            raise InputError("a generative network learns a task by NREM or Interleaved, and this night has neither")

    def check_tasks(self, tasks: int) -> None:
        """Raise `InputError` if the condition names a task beyond as many as there are."""
        check_sleep_after(self.sleep_after, tasks)
        if self.cued_tasks and max(self.cued_tasks) > tasks:
            raise InputError(f"a cue is of task {max(self.cued_tasks)}, but there are {tasks}")

    @property
    def cued_tasks(self) -> set[int]:
        """Numbers of the tasks by whose patterns nights are cued."""
        replays = [stage for stage in self.night if isinstance(stage, SpontaneousReplay)]
        drives = [drive for stage in replays for drive in (stage.drive, *(part.drive for part in stage.segments))]
        return {cue.task for drive in drives for cue in cues(drive)}

    def sleeps_after(self, task: int) -> bool:
        """Whether there is a night after a task, 1 for the first."""
        return (task > 1 or self.first_night) and (self.sleep_after is None or task in self.sleep_after)

    def memory(self, network: Network) -> Memory:
        """Return an empty memory for a network's nights."""
        if isinstance(network, GenerativeNetwork):
            return FeatureMemory(each_task=self.cued_tasks != set())
        if self.calibration in ("all", "last"):
            scales: Literal["all", "last"] = "all" if self.calibration == "all" else "last"
            replays = [stage for stage in self.night if isinstance(stage, SpontaneousReplay)]
            moments = any(stage.batch_norm != "kept" for stage in replays)
            return Memory(scales=scales, each_task=self.cued_tasks != set(), moments=moments)
        return ImageKeepingMemory(first_only=self.calibration == "first task")

    def stages(self, task: int, populations: Mapping[str, int], seed: int) -> list[Stage]:
        """Return the stages of the night after a task (1 for the first), for populations of these sizes.

        Raises
        ------
        InputError
            If a lesion names a population that is not there.
        """
        if not self.sleeps_after(task):
            return []
        stages: list[Stage] = []
        for stage in self.night:
            if isinstance(stage, SpontaneousReplay):
                stage = replace(stage, steps=stage.steps + (task - 1) * self.steps_more, name=f"{stage.name} {task}")
                for lesion in self.lesions:
                    stage = lesion.apply(stage, populations, seed)
            stages.append(stage)
        return stages * self.cycles
