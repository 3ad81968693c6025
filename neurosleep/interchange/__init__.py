"""Spikes of a night for other software: SONATA, NWB, Neo, Elephant, pynapple, NIR data, and tables; nights for Brian2.

Times are those of the log: the step in which a spike fell times `dt`, from the begin of the file, all nights one behind
the other. Neurons are numbered within their population. Stages of sleep go along as epochs where a format has them.

All but `to_brian2` take a log, or a part of it, as `open_spikes` does, which opens a file once for several of them.
"""

from neurosleep.interchange.brian2 import to_brian2
from neurosleep.interchange.neo_block import to_neo
from neurosleep.interchange.nir_data import to_nir_data
from neurosleep.interchange.nwb import to_nwb
from neurosleep.interchange.sonata import to_sonata
from neurosleep.interchange.source import Spikes, open_spikes
from neurosleep.interchange.spiketrains import to_elephant
from neurosleep.interchange.tables import to_csv, to_pandas
from neurosleep.interchange.tsgroup import to_pynapple

__all__ = [
    "Spikes",
    "open_spikes",
    "to_brian2",
    "to_csv",
    "to_elephant",
    "to_neo",
    "to_nir_data",
    "to_nwb",
    "to_pandas",
    "to_pynapple",
    "to_sonata",
]
