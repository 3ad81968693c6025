"""The objects of an experiment as plain values, and back: what its TOML holds.

Every object is a table of its own values that are not the defaults, with its class under ``kind``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.lesions import BlockedDepression, BlockedPotentiation, SilencedNeurons
from neurosleep.experiments.networks import ConvolutionalNetwork, GenerativeNetwork, ReluNetwork, SnnNetwork
from neurosleep.experiments.studies.patches import Patches
from neurosleep.experiments.studies.second_night import SecondNight
from neurosleep.experiments.studies.undertrained import Undertrained
from neurosleep.hypnogram import Hypnogram, Preset, Segment, StageDrive
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.drives.correlated import CorrelatedNoise
from neurosleep.sims.drives.modulated import Cosine, Modulated, Piecewise
from neurosleep.sims.drives.populations import Drives, Kicks
from neurosleep.sims.drives.rates import MaskedMeanRate, MeanRate, UniformNoise
from neurosleep.sims.drives.signed import SignedRate
from neurosleep.sims.drives.slow_oscillation import SlowOscillation
from neurosleep.sims.drives.spindles import Bursts, Spindles
from neurosleep.sims.drives.sum import Sum
from neurosleep.sims.errors import InputError, unknown
from neurosleep.sims.homeostasis.downscaling import GradedDownscaling, MagnitudePruning
from neurosleep.sims.homeostasis.excitability import IntrinsicExcitability
from neurosleep.sims.homeostasis.scaling import IncomingNormalisation, SynapticScaling
from neurosleep.sims.neurons import Adaptation, Neurons
from neurosleep.sims.projections import Projection, RandomWeights, StoredWeights
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.training import Trainer
from neurosleep.tripartite.looking import Looks
from neurosleep.tripartite.stages import NREM, REM, Interleaved, Settings

DRIVES = (
    MeanRate,
    MaskedMeanRate,
    UniformNoise,
    SignedRate,
    CorrelatedNoise,
    SlowOscillation,
    Spindles,
    Bursts,
    Modulated,
    Sum,
    StageDrive,
)
RULES = (Hebbian, GatedHebbian)
DOWNSCALING = (MagnitudePruning, GradedDownscaling)
HOMEOSTASIS = (SynapticScaling, IncomingNormalisation, IntrinsicExcitability, *DOWNSCALING)
NETWORKS = (ReluNetwork, SnnNetwork, ConvolutionalNetwork, GenerativeNetwork)
STUDIES = (Patches, SecondNight, Undertrained)
TABLES: dict[str, tuple[type, ...]] = {
    "stream": (DataStream,),
    "network": NETWORKS,
    "training": (Trainer,),
    "looks": (Looks,),
}
"""Tables of an experiment, and of which classes they may be."""
PARTS: dict[tuple[type, str], tuple[type, ...]] = {
    (SpontaneousReplay, "drive"): (*DRIVES, Drives),
    **{(cls, "drive"): DRIVES for cls in (SlowOscillation, Spindles, Bursts, Modulated, Kicks)},
    (Modulated, "envelope"): (Cosine, Piecewise),
    (SpontaneousReplay, "plasticity"): RULES,
    (SpontaneousReplay, "downscaling"): DOWNSCALING,
    (SpontaneousReplay, "hypnogram"): (Hypnogram,),
    (Segment, "drive"): (*DRIVES, Drives),
    (Segment, "plasticity"): RULES,
    (SpontaneousReplay, "neurons"): (Neurons,),
    (Neurons, "adaptation"): (Adaptation,),
    (Projection, "weights"): (RandomWeights, StoredWeights),
    (Interleaved, "nrem"): (NREM,),
    (Interleaved, "rem"): (REM,),
    (GenerativeNetwork, "settings"): (Settings,),
    (Condition, "network"): NETWORKS,
    (Condition, "training"): (Trainer,),
    (Patches, "training"): (Trainer,),
    (Patches, "night"): (SpontaneousReplay,),
    (SecondNight, "stream"): (DataStream,),
    (SecondNight, "network"): (ReluNetwork,),
    (SecondNight, "training"): (Trainer,),
    (SecondNight, "night"): (SpontaneousReplay,),
    (SecondNight, "noise"): (UniformNoise,),
    (Undertrained, "network"): (ReluNetwork,),
    (Undertrained, "training"): (Trainer,),
    (Undertrained, "night"): (SpontaneousReplay,),
}
"""Fields that hold an object, and of which classes it may be."""
LISTS: dict[tuple[type, str], tuple[type, ...]] = {
    (Sum, "drives"): DRIVES,
    (SpontaneousReplay, "homeostasis"): HOMEOSTASIS,
    (Hypnogram, "segments"): (Segment,),
    (Condition, "night"): (SpontaneousReplay, *DOWNSCALING, NREM, REM, Interleaved),
    (SpontaneousReplay, "projections"): (Projection,),
    (Condition, "lesions"): (SilencedNeurons, BlockedPotentiation, BlockedDepression),
}
"""Fields that hold several objects."""
_ONE_OR_MORE = ((SpontaneousReplay, "homeostasis"),)
NAMES: dict[tuple[type, str], tuple[str, ...]] = {
    (SpontaneousReplay, "hypnogram"): get_args(Preset),
    (Segment, "plasticity"): ("stage",),
}
"""Fields that hold an object or one of these names."""
BY_POPULATION = {(SpontaneousReplay, "neurons")}
"""Fields that may hold an object for each population instead of one, as tables in a table."""
_EVERY = {cls for allowed in (*PARTS.values(), *LISTS.values()) for cls in allowed} | {
    Condition,
    DataStream,
    Looks,
    Kicks,
    *STUDIES,
}
_PLAIN: dict[tuple[type, str], Any] = {
    (SpontaneousReplay, "normalization"): str,
    (SpontaneousReplay, "silenced"): dict[str, list[int]],
}
_NONE = "none"


def to_plain(value: Any, *, whole: bool = False) -> Any:
    """Return an object as tables, lists, numbers and strings; with its defaults, too, if `whole`.

    Raises
    ------
    InputError
        If there is an object in it that no file can hold, such as recorded spikes or a normalisation of your own.
    """
    if type(value) is Drives:
        return {"kind": "Drives"} | {name: to_plain(item, whole=whole) for name, item in value.items()}
    if type(value) in _EVERY:
        return {"kind": type(value).__name__} | {
            field.name: _NONE if (item := getattr(value, field.name)) is None else to_plain(item, whole=whole)
            for field in fields(value)
            if field.init and (whole or not _is_default(field, getattr(value, field.name)))
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, whole=whole) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 and not is_dataclass(value):  # a NumPy number
        return value.item()
    if not isinstance(value, bool | int | float | str):
        known = ", ".join(sorted(cls.__name__ for cls in _EVERY))
        raise InputError(
            f"an experiment is kept as text, which cannot hold {type(value).__name__}; it can hold {known}"
        )
    return value


def _is_default(field: "Field[Any]", value: Any) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    return field.default_factory is not MISSING and bool(value == field.default_factory())


def from_plain(values: Any, allowed: Sequence[type], where: str) -> Any:
    """Return the object of a table whose ``kind`` is one of `allowed` (it may be left out if there is but one).

    Raises
    ------
    InputError
        For an unknown kind or key, with the nearest that there is, or a value that will not do; `where` says where.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a table, as {{ kind = {allowed[0].__name__!r}, ... }}, got {values!r}")
    names = [cls.__name__ for cls in allowed]
    kind = values.get("kind", names[0] if len(names) == 1 else None)
    if kind not in names:
        raise InputError(f"{where}: " + unknown("kind", kind, names))
    cls = allowed[names.index(kind)]
    given = {key: value for key, value in values.items() if key != "kind"}
    if cls is Drives:
        return _drives(given, where)
    known = {field.name: field for field in fields(cls) if field.init}
    for key in given:
        if key not in known:
            raise InputError(f"{where}: {kind} has " + unknown("key", key, list(known)))
    missing = [name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in given]
    if missing:
        raise InputError(f"{where}: {kind} needs {', '.join(missing)}")
    hints = get_type_hints(cls)
    made = {key: _value(cls, key, value, hints[key], f"{where}.{key}") for key, value in given.items()}
    try:
        return cls(**made)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _drives(values: Mapping[str, Any], where: str) -> Drives:
    """Return the drives of populations, each a table under the population's name."""
    made = {
        name: from_plain(item, DRIVES if name == "input" else (Kicks,), f"{where}.{name}")
        for name, item in values.items()
    }
    try:
        return Drives(made)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _value(cls: type, key: str, value: Any, hint: Any, where: str) -> Any:
    if (cls, key) in NAMES and isinstance(value, str) and value != _NONE:
        if value not in NAMES[cls, key]:
            raise InputError(f"{where}: " + unknown(key, value, NAMES[cls, key]))
        return value
    if (cls, key) in PARTS:
        if (cls, key) in BY_POPULATION and _by_population(value, PARTS[cls, key]):
            return {name: from_plain(item, PARTS[cls, key], f"{where}.{name}") for name, item in value.items()}
        return None if value == _NONE else from_plain(value, PARTS[cls, key], where)
    if (cls, key) in LISTS:
        if isinstance(value, Mapping) and (cls, key) in _ONE_OR_MORE:
            value = [value]
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list of tables, got {value!r}")
        return [from_plain(item, LISTS[cls, key], f"{where}[{i}]") for i, item in enumerate(value)]
    if value == _NONE and type(None) in get_args(hint):
        return None
    made = checked(value, _PLAIN.get((cls, key), hint), where)
    return tuple(made) if isinstance(made, list) else made


def _by_population(value: Any, kinds: Sequence[type]) -> bool:
    """Whether a table holds tables by population, and not the values of one object."""
    own = {"kind", *(field.name for kind in kinds for field in fields(kind))}
    return isinstance(value, Mapping) and bool(value) and not own & set(value)


def checked(value: Any, hint: Any, where: str) -> Any:
    """Return a plain value if it is of a type, as msgspec understands it."""
    try:
        return msgspec.convert(value, hint)
    except ValueError as error:  # msgspec's own, or a text that is none
        raise InputError(f"{where} = {value!r} will not do: {error}") from error
