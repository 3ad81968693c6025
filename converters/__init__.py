"""Between torch modules and spiking networks: conversion, normalisation, writing weights back, and other software."""

from lazy_loader import attach_stub

# What a night does not need is imported when it is first used: snnTorch alone takes longer than all else.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
