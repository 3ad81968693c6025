"""Between torch modules and spiking networks: conversion, normalisation, and writing weights back."""

from neurosleep.converters.chain_graph import as_graph
from neurosleep.converters.from_snntorch import from_snntorch, sleeping_chain, write_back_snntorch
from neurosleep.converters.nir import export_report, from_nir, to_nir, write_nir
from neurosleep.converters.normalization import (
    Calibration,
    MaxNormalization,
    Normalization,
    PercentileNormalization,
    WeightAndActivationNormalization,
    calibrate,
)
from neurosleep.converters.path import ConversionError
from neurosleep.converters.report import ConversionReport, VerificationError, conversion_report, verify
from neurosleep.converters.snntorch import to_snntorch
from neurosleep.converters.to_graph import to_spiking_graph
from neurosleep.converters.to_spiking import to_spiking
from neurosleep.converters.write_back import write_back

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
