"""Puts trained neural networks to sleep at the level of single spikes, and wakes them up with their old memories back.

>>> import neurosleep as ns
>>> memory = ns.Memory()
>>> memory.observe(model, images)  # doctest: +SKIP
>>> stage = ns.SpontaneousReplay(15_000, ns.MeanRate(240), ns.GatedHebbian(0.03, 0.003), thresholds=(14.5, 44.6, 38.0))
>>> record = ns.sleep(model, memory, stage, log="night.h5")  # doctest: +SKIP
"""

from pathlib import Path

from lazy_loader import attach_stub

__version__ = "0.1.0"

# In a checkout, converters/, sims/ and data/ stand beside this folder rather than inside it. When this package is
# imported from there, let Python find them as subpackages, as they are in an installed neurosleep.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "sims" / "network.py").is_file():
    __path__.append(str(_checkout))

# Names are imported when first used, so that `neurosleep.sims` never loads torch and the command line starts at once.
# Where each lives, for that and for type checkers alike, is in __init__.pyi.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
