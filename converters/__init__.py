"""Between torch modules and spiking networks: conversion, normalisation, and writing weights back."""

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

__all__ = [
    "Calibration",
    "ConversionError",
    "MaxNormalization",
    "Normalization",
    "PercentileNormalization",
    "WeightAndActivationNormalization",
    "calibrate",
    "to_spiking",
    "write_back",
]
