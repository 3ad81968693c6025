"""Puts trained neural networks to sleep at the level of single spikes, and wakes them up with their old memories back.

>>> import neurosleep as ns
>>> memory = ns.Memory()
>>> memory.observe(model, images)  # doctest: +SKIP
>>> stage = ns.SpontaneousReplay(15_000, ns.MeanRate(240), ns.GatedHebbian(0.03, 0.003), thresholds=(14.5, 44.6, 38.0))
>>> record = ns.sleep(model, memory, stage, log="night.h5")  # doctest: +SKIP
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a checkout, converters/, sims/ and data/ stand beside this folder rather than inside it. When this package is
# imported from there, let Python find them as subpackages, as they are in an installed neurosleep.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "sims" / "network.py").is_file():
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from neurosleep.converters import ConversionError as ConversionError
    from neurosleep.converters import to_spiking as to_spiking
    from neurosleep.converters import to_spiking_graph as to_spiking_graph
    from neurosleep.converters import write_back as write_back
    from neurosleep.memory import Memory as Memory
    from neurosleep.night import SleepRecord as SleepRecord
    from neurosleep.night import SpontaneousReplay as SpontaneousReplay
    from neurosleep.night import sleep as sleep
    from neurosleep.sims.awake.present import present as present
    from neurosleep.sims.downscaling import GradedDownscaling as GradedDownscaling
    from neurosleep.sims.downscaling import MagnitudePruning as MagnitudePruning
    from neurosleep.sims.drive import MaskedMeanRate as MaskedMeanRate
    from neurosleep.sims.drive import MeanRate as MeanRate
    from neurosleep.sims.drive import RecordedSpikes as RecordedSpikes
    from neurosleep.sims.drive import UniformNoise as UniformNoise
    from neurosleep.sims.ensemble import Member as Member
    from neurosleep.sims.ensemble import simulate as simulate
    from neurosleep.sims.ensemble import simulate_ensemble as simulate_ensemble
    from neurosleep.sims.errors import BackendError as BackendError
    from neurosleep.sims.errors import InputError as InputError
    from neurosleep.sims.errors import NeurosleepError as NeurosleepError
    from neurosleep.sims.plasticity import GatedHebbian as GatedHebbian
    from neurosleep.sims.plasticity import Hebbian as Hebbian
    from neurosleep.sims.spikes.log import SpikeLog as SpikeLog
    from neurosleep.sims.spikes.reader import SpikeReader as SpikeReader

# Where each public name lives. Names are imported when first used, so that `neurosleep.sims` never loads torch and the
# command line starts at once.
_HOMES = {
    "converters": ("ConversionError", "to_spiking", "to_spiking_graph", "write_back"),
    "memory": ("Memory",),
    "night": ("SleepRecord", "SpontaneousReplay", "sleep"),
    "sims.downscaling": ("GradedDownscaling", "MagnitudePruning"),
    "sims.drive": ("MaskedMeanRate", "MeanRate", "RecordedSpikes", "UniformNoise"),
    "sims.ensemble": ("Member", "simulate", "simulate_ensemble"),
    "sims.errors": ("BackendError", "InputError", "NeurosleepError"),
    "sims.plasticity": ("GatedHebbian", "Hebbian"),
    "sims.awake.present": ("present",),
    "sims.spikes.log": ("SpikeLog",),
    "sims.spikes.reader": ("SpikeReader",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'neurosleep' has no attribute {name!r}")
    return getattr(import_module(f"neurosleep.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
