"""The objects of an experiment as plain values, and back: what its TOML holds.

Every object is a table of its own values that are not the defaults, with its class under ``kind``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from neurosleep.experiments.conditions import Condition
from neurosleep.experiments.data_stream import DataStream
from neurosleep.experiments.image_networks import ResidualNetwork, VggNetwork
from neurosleep.experiments.lesions import BlockedDepression, BlockedPotentiation, SilencedNeurons
from neurosleep.experiments.networks import ConvolutionalNetwork, GenerativeNetwork, ReluNetwork, SnnNetwork
from neurosleep.experiments.own_classes import class_of, is_own, kind_of
from neurosleep.experiments.studies.patches import Patches
from neurosleep.experiments.studies.second_night import SecondNight
from neurosleep.experiments.studies.undertrained import Undertrained
from neurosleep.hypnogram import Hypnogram, Preset, Segment, StageDrive
from neurosleep.night import SpontaneousReplay
from neurosleep.sims.drives.correlated import CorrelatedNoise
from neurosleep.sims.drives.cued import CuedReplay
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
from neurosleep.sims.rules.bcm import BCM
from neurosleep.sims.rules.bounds import HardBounds, SoftBounds
from neurosleep.sims.rules.hebbian import GatedHebbian, Hebbian
from neurosleep.sims.rules.keep_sign import KeepSign
from neurosleep.sims.rules.modulator import Modulator
from neurosleep.sims.rules.neuromodulated import Neuromodulated
from neurosleep.sims.rules.oja import Oja
from neurosleep.sims.rules.per_layer import PerLayer
from neurosleep.sims.rules.rule import Rule, Wrapper
from neurosleep.sims.rules.stdp import PairSTDP, TripletSTDP
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
    CuedReplay,
)
RULES = (
    Hebbian,
    GatedHebbian,
    SoftBounds,
    HardBounds,
    Oja,
    BCM,
    PairSTDP,
    TripletSTDP,
    KeepSign,
    Neuromodulated,
)
DOWNSCALING = (MagnitudePruning, GradedDownscaling)
HOMEOSTASIS = (SynapticScaling, IncomingNormalisation, IntrinsicExcitability, *DOWNSCALING)
NETWORKS = (ReluNetwork, SnnNetwork, ConvolutionalNetwork, ResidualNetwork, VggNetwork, GenerativeNetwork)
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
    **{(cls, "drive"): DRIVES for cls in (SlowOscillation, Spindles, Bursts, Modulated, CuedReplay, Kicks)},
    (Modulated, "envelope"): (Cosine, Piecewise),
    (SpontaneousReplay, "plasticity"): (*RULES, PerLayer),
    (SpontaneousReplay, "modulator"): (Modulator,),
    (Wrapper, "rule"): RULES,
    (SpontaneousReplay, "downscaling"): DOWNSCALING,
    (SpontaneousReplay, "hypnogram"): (Hypnogram,),
    (Segment, "drive"): (*DRIVES, Drives),
    (Segment, "plasticity"): (*RULES, PerLayer),
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
    (PerLayer, "rules"): RULES,
    (SpontaneousReplay, "homeostasis"): HOMEOSTASIS,
    (Hypnogram, "segments"): (Segment,),
    (Condition, "night"): (SpontaneousReplay, *DOWNSCALING, NREM, REM, Interleaved),
    (SpontaneousReplay, "projections"): (Projection,),
    (Condition, "lesions"): (SilencedNeurons, BlockedPotentiation, BlockedDepression),
}
"""Fields that hold several objects."""
ONE_OR_MORE = {(SpontaneousReplay, "homeostasis")}
"""Of these, fields that may hold one object instead, as a single table."""
NAMES: dict[tuple[type, str], tuple[str, ...]] = {
    (SpontaneousReplay, "hypnogram"): get_args(Preset),
    (Segment, "plasticity"): ("stage",),
}
"""Fields that hold an object or one of these names."""


class Role(NamedTuple):
    """What a class of one's own must be to stand where those that ship may."""

    what: str
    fits: Callable[[type], bool]


ROLES: dict[tuple[type, ...], Role] = {
    DRIVES: Role(
        "a drive: it needs a method probability",
        lambda cls: callable(getattr(cls, "probability", None)) or callable(getattr(cls, "schedule", None)),
    ),
    RULES: Role("a rule: it must derive from neurosleep's Rule", lambda cls: issubclass(cls, Rule)),
    HOMEOSTASIS: Role(
        "homeostasis: it needs a method apply or excitability",
        lambda cls: callable(getattr(cls, "apply", None)) or callable(getattr(cls, "excitability", None)),
    ),
    (Modulator,): Role("a modulator: it needs a method values", lambda cls: callable(getattr(cls, "values", None))),
}
"""Where classes of one's own may stand, by the classes that ship for there."""
_OPEN = tuple(cls for allowed in ROLES for cls in allowed)
BY_POPULATION = {(SpontaneousReplay, "neurons")}
"""Fields that may hold an object for each population instead of one, as tables in a table."""
_EVERY = {cls for allowed in (*PARTS.values(), *LISTS.values()) for cls in allowed} | {
    Condition,
    DataStream,
    Looks,
    Kicks,
    *STUDIES,
}
_CLOSED = tuple(_EVERY - set(_OPEN))
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
    if type(value) in _EVERY or (is_own(value) and not isinstance(value, _CLOSED)):
        return {"kind": type(value).__name__ if type(value) in _EVERY else kind_of(type(value))} | {
            field.name: _NONE if (item := getattr(value, field.name)) is None else to_plain(item, whole=whole)
            for field in fields(value)
            if field.init and (whole or not _is_default(field, getattr(value, field.name)))
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item, whole=whole) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_NONE if item is None else to_plain(item, whole=whole) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 and not is_dataclass(value):  # a NumPy number
        return value.item()
    if not isinstance(value, bool | int | float | str):
        known = ", ".join(sorted(cls.__name__ for cls in _EVERY))
        raise InputError(
            f"an experiment is kept as text, which cannot hold {type(value).__name__}; it can hold {known}, and "
            "dataclasses of numbers, texts and such for rules and drives of your own"
        )
    return value


def _is_default(field: "Field[Any]", value: Any) -> bool:
    if field.default is not MISSING:
        return bool(value == field.default)
    return field.default_factory is not MISSING and bool(value == field.default_factory())


def from_plain(values: Any, allowed: Sequence[type], where: str, role: Role | None = None) -> Any:
    """Return the object of a table whose ``kind`` is one of `allowed` (it may be left out if there is but one).

    Parameters
    ----------
    values, allowed
        The table, and the classes that may stand here.
    where
        What errors call the place.
    role
        What a class of one's own must be to stand here, too; None for that of `allowed` in `ROLES`.

    Raises
    ------
    InputError
        For an unknown kind or key, with the nearest that there is, or a value that will not do.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected a table, as {{ kind = {allowed[0].__name__!r}, ... }}, got {values!r}")
    cls = _class(values.get("kind"), tuple(allowed), where, role)
    kind = values.get("kind", cls.__name__)
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
    hints = _hints(cls, where)
    made = {key: _value(cls, key, value, hints[key], f"{where}.{key}") for key, value in given.items()}
    try:
        return cls(**made)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:
        if cls in _EVERY:
            raise
        told = " ".join(str(error).split())
        raise InputError(f"{where}: {kind} cannot be made: {type(error).__name__}: {told}") from error


def _hints(cls: type, where: str) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except (NameError, TypeError) as error:
        raise InputError(f"{where}: the types of the fields of {cls.__name__} cannot be read: {error}") from error


def _class(kind: Any, allowed: tuple[type, ...], where: str, role: Role | None) -> type:
    names = [cls.__name__ for cls in allowed if cls is not Modulator]
    role = role or next((role for kinds, role in ROLES.items() if set(kinds) <= set(allowed)), None)
    if isinstance(kind, str) and ":" in kind and role is not None:
        own = class_of(kind, where)
        if not role.fits(own):
            raise InputError(f"{where}: {kind} is not {role.what}")
        return own
    if kind is None and len(names) == 1:
        return allowed[0]
    if not names:
        raise InputError(f"{where}: give a class of your own, as kind = 'my_module:MyClass', got {kind!r}")
    if kind not in names:
        raise InputError(f"{where}: " + unknown("kind", kind, names))
    return allowed[names.index(kind)]


def part_of(cls: type, key: str, table: Mapping[tuple[type, str], tuple[type, ...]]) -> tuple[type, ...] | None:
    """Return of which classes a field of a class may be, by `PARTS` or `LISTS`; None if it holds no such object."""
    return next((table[base, key] for base in cls.__mro__ if (base, key) in table), None)


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
    if (allowed := part_of(cls, key, PARTS)) is not None:
        if (cls, key) in BY_POPULATION and by_population(value, allowed):
            return {name: from_plain(item, allowed, f"{where}.{name}") for name, item in value.items()}
        return None if value == _NONE else from_plain(value, allowed, where)
    if (allowed := part_of(cls, key, LISTS)) is not None:
        if isinstance(value, Mapping) and (cls, key) in ONE_OR_MORE:
            value = [value]
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list of tables, got {value!r}")
        return [None if item == _NONE else from_plain(item, allowed, f"{where}[{i}]") for i, item in enumerate(value)]
    if cls not in _EVERY and isinstance(value, Mapping) and "kind" in value:  # an object within one of one's own
        return from_plain(value, _OPEN, where, Role("an object", lambda cls: True))
    if value == _NONE and type(None) in get_args(hint):
        return None
    made = checked(value, _PLAIN.get((cls, key), hint), where)
    return tuple(made) if isinstance(made, list) else made


def by_population(value: Any, kinds: Sequence[type]) -> bool:
    """Whether a table holds tables by population, and not the values of one object."""
    own = {"kind", *(field.name for kind in kinds for field in fields(kind))}
    return isinstance(value, Mapping) and bool(value) and not own & set(value)


def checked(value: Any, hint: Any, where: str) -> Any:
    """Return a plain value if it is of a type, as msgspec understands it."""
    try:
        return msgspec.convert(value, hint)
    except (ValueError, TypeError) as error:  # msgspec's own, a text that is none, or a type that no file can hold
        raise InputError(f"{where} = {value!r} will not do: {error}") from error
