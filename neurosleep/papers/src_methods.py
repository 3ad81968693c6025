"""Methods as an experiment names them: "ewc", "rehearsal:0.02", "icarl:100+src"."""

from collections.abc import Sequence
from dataclasses import dataclass

from neurosleep.continual.methods import EWC, METHODS, OWM, SI, ICaRL, LwF, Method, Rehearsal
from neurosleep.papers.src_config import Config
from neurosleep.sims.errors import InputError

SLEEP = "+src"
KNOWN = (*METHODS, "src", "joint", "last-task")


@dataclass(frozen=True)
class MethodName:
    """A method with its value and whether there is sleep after each task.

    Attributes
    ----------
    text
        As it was written.
    base
        One of `METHODS`, "joint" (all tasks at once) or "last-task" (a network that has learned nothing but the last
        task: the control of the released cross-modal script).
    value
        The fraction of rehearsal, the capacity of iCaRL, the strength of the others; None for the default.
    sleeps
        Whether there is a night after each task.
    """

    text: str
    base: str
    value: float | None
    sleeps: bool

    @classmethod
    def parse(cls, text: str) -> "MethodName":
        """Read ``NAME[:VALUE][+src]``; "src" alone is sequential learning with sleep.

        Raises
        ------
        InputError
            If there is no such method, its value is not a number or it takes none, or it cannot sleep.
        """
        head = text.removesuffix(SLEEP)
        base, colon, number = head.partition(":")
        if base not in KNOWN:
            raise InputError(
                f"there is no method {text!r}; there are: {', '.join(KNOWN)}, and each but the last two with {SLEEP}"
            )
        sleeps = head != text
        if base == "src":
            base, sleeps = "sequential", True
        if base in ("joint", "last-task") and sleeps:
            raise InputError(f"method {text!r} cannot be: {base} has no tasks in sequence to sleep between")
        value = None
        if colon:
            if base in ("sequential", "joint", "last-task"):
                raise InputError(f"method {text!r} cannot be: {base} takes no value")
            try:
                value = float(number)
            except ValueError:
                raise InputError(f"method {text!r}: {number!r} is not a number, as in rehearsal:0.02") from None
        return cls(text, base, value, sleeps)

    def make(self, config: Config, seed: int) -> Method:
        """Return a fresh method for one network.

        Raises
        ------
        InputError
            If its value is outside its range.
        """
        v = self.value
        match self.base:
            case "ewc":
                return EWC() if v is None else EWC(strength=v)
            case "si":
                return SI() if v is None else SI(strength=v)
            case "owm":
                return OWM() if v is None else OWM(alpha=v)
            case "lwf":
                return LwF() if v is None else LwF(strength=v)
            case "rehearsal":
                return Rehearsal(0.0075 if v is None else v, weighting=config.rehearsal_weighting, seed=seed)
            case "icarl":
                if v is not None and not v.is_integer():
                    raise InputError(f"method {self.text!r}: the capacity must be a whole number of inputs")
                return ICaRL(
                    100 if v is None else int(v),
                    loss=config.icarl_loss,
                    selection=config.icarl_selection,
                    means_with_dropout=config.icarl_dropout_in_means,
                    seed=seed,
                )
        return Method()


def parse_all(texts: Sequence[str]) -> list[MethodName]:
    """Read several names; each may stand once.

    Raises
    ------
    InputError
        If one is not known, stands twice, or there is none.
    """
    if not texts or len(set(texts)) < len(texts):
        raise InputError(f"methods must be at least one, and each only once, got {', '.join(texts) or 'none'}")
    return [MethodName.parse(text) for text in texts]
