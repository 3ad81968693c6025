"""Between torch modules and spiking networks: conversion, normalisation, writing weights back, and other software."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ConversionError
from .normalization import (
    Calibration,
    MaxNormalization,
    Normalization,
    PercentileNormalization,
    WeightAndActivationNormalization,
    calibrate,
)
from .to_spiking import to_spiking
from .write_back import write_back

if TYPE_CHECKING:
    from .graph.from_chain import as_graph
    from .graph.report import ConversionReport, VerificationError, conversion_report, verify
    from .graph.to_graph import to_spiking_graph
    from .nir.export import export_report, from_nir, to_nir, write_nir
    from .snntorch.reading import from_snntorch, sleeping_chain, write_back_snntorch
    from .snntorch.writing import to_snntorch

# What a night does not need is imported when it is first used: snnTorch alone takes longer than all else.
_HOMES = {
    "graph.from_chain": ("as_graph",),
    "graph.report": ("ConversionReport", "VerificationError", "conversion_report", "verify"),
    "graph.to_graph": ("to_spiking_graph",),
    "nir.export": ("export_report", "from_nir", "to_nir", "write_nir"),
    "snntorch.reading": ("from_snntorch", "sleeping_chain", "write_back_snntorch"),
    "snntorch.writing": ("to_snntorch",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Calibration",
    "ConversionError",
    "ConversionReport",
    "MaxNormalization",
    "Normalization",
    "PercentileNormalization",
    "VerificationError",
    "WeightAndActivationNormalization",
    "as_graph",
    "calibrate",
    "conversion_report",
    "export_report",
    "from_nir",
    "from_snntorch",
    "sleeping_chain",
    "to_nir",
    "to_snntorch",
    "to_spiking",
    "to_spiking_graph",
    "verify",
    "write_back",
    "write_back_snntorch",
    "write_nir",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'neurosleep.converters' has no attribute {name!r}")
    return getattr(import_module(f"neurosleep.converters.{_HOME_OF[name]}"), name)
