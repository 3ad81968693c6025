"""A nap: a stage of sleep that waits to be simulated, by whomever."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from neurosleep.sims.checkpoint import simulate_resumable
from neurosleep.sims.ensemble import Backend, Member, Simulation, simulate_ensemble

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Nap:
    """What is to be simulated.

    Parameters
    ----------
    member
        The network that sleeps, with everything that its night depends on.
    steps, backend
        How long, and on what; see `simulate_ensemble`.
    checkpoint
        Where the night is saved as it goes, or None.
    on_progress
        Called with the number of steps just done.
    """

    member: Member
    steps: int
    backend: Backend = "cpu"
    checkpoint: Path | None = None
    on_progress: Callable[[int], None] | None = None

    def simulate(self) -> Simulation:
        """Simulate it by itself."""
        how: dict[str, Any] = {"backend": self.backend, "on_progress": self.on_progress}
        if self.checkpoint is None:
            return simulate_ensemble([self.member], self.steps, **how)[0]
        return simulate_resumable(self.member, self.steps, self.checkpoint, **how)


def alone(napping: Generator[Nap, Simulation, T]) -> T:
    """Run what naps to its end, every nap simulated by itself; return what it returns."""
    with closing(napping):
        simulation: Any = None
        while True:
            try:
                nap = napping.send(simulation)
            except StopIteration as end:
                result: T = end.value
                return result
            simulation = nap.simulate()
