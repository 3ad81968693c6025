"""`Neuromodulated`: a third factor, such as acetylcholine or dopamine, scales what a rule changes."""

from dataclasses import dataclass

from .rule import Wrapper


@dataclass(frozen=True)
class Neuromodulated(Wrapper):
    """Any rule, its changes multiplied by the night's modulator: ``w + modulator * (rule(w) - w)``.

    The modulator is a number for each step, given to the night (`modulator` of `neurosleep.sims.ensemble.Member`); 0
    keeps weights as they are, negative numbers turn potentiation into depression. Three-factor rules: Fremaux &
    Gerstner 2016 (Front Neural Circuits 9:85). To modulate potentiation and depression apart, take `modulator` as an
    argument of a rule of one's own.

    Parameters
    ----------
    rule
        The rule.
    """

    def change(self, w: float, new: float, modulator: float) -> float:
        """Return what becomes of a weight of which the rule makes `new`."""
        return w + modulator * (new - w)
