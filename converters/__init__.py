"""Between torch modules and spiking networks: conversion, normalisation, writing weights back, and other software."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neurosleep.converters.normalization import (
    Calibration,
    MaxNormalization,
    Normalization,
    PercentileNormalization,
    WeightAndActivationNormalization,
    calibrate,
)
from neurosleep.converters.path import ConversionError
from neurosleep.converters.to_spiking import to_spiking
from neurosleep.converters.write_back import write_back

if TYPE_CHECKING:
    from neurosleep.converters.chain_graph import as_graph
    from neurosleep.converters.nir import export_report, from_nir, to_nir, write_nir
    from neurosleep.converters.report import ConversionReport, VerificationError, conversion_report, verify
    from neurosleep.converters.snntorch import to_snntorch
    from neurosleep.converters.snntorch_reading import from_snntorch, sleeping_chain, write_back_snntorch
    from neurosleep.converters.to_graph import to_spiking_graph

# What a night does not need is imported when it is first used: snnTorch alone takes longer than all else.
_HOMES = {
    "chain_graph": ("as_graph",),
    "snntorch_reading": ("from_snntorch", "sleeping_chain", "write_back_snntorch"),
    "nir": ("export_report", "from_nir", "to_nir", "write_nir"),
    "report": ("ConversionReport", "VerificationError", "conversion_report", "verify"),
    "snntorch": ("to_snntorch",),
    "to_graph": ("to_spiking_graph",),
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
