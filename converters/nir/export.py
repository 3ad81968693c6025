"""Spiking graphs as NIR, for neuromorphic toolchains, and NIR as spiking graphs.

NIR is the Neuromorphic Intermediate Representation (Pedersen et al. 2024, Nature Communications 15:8122). It says what
neurons do in continuous time, and each importer makes steps of it in its own way. So `to_nir` writes for a named
target, and refuses to write what the target would run as something else, unless changes are accepted.
"""

import contextlib
import inspect
import io
from pathlib import Path
from typing import Any

import h5py

from ...sims.awake.graph import SpikingGraph
from ...sims.errors import InputError
from ...sims.network import SpikingNetwork
from ...sims.whole_hdf5 import NewFile, whole_hdf5
from ..errors import ConversionError
from ..graph.from_chain import as_spiking_graph
from .lowering import as_run_by, export_report, require_nir
from .reading import from_nir
from .targets import Change, ExportReport, Target, profile_of
from .writing import Writer

__all__ = ["Change", "ExportReport", "Target", "as_run_by", "export_report", "from_nir", "to_nir", "write_nir"]


def to_nir(network: SpikingGraph | SpikingNetwork, *, target: Target = "generic", accept_changes: bool = False) -> Any:
    """Return a network as a ``nir.NIRGraph``, written so that the target's importer runs what we simulate.

    Parameters
    ----------
    network
        A graph, or a network that sleeps, which is taken as `neurosleep.converters.graph.from_chain.as_graph` makes it.
    target
        Who will read it; "generic" for NIR's own definition.
    accept_changes
        Write although the target will run something else. What, is in `export_report`; what the target then does is
        `as_run_by`.

    Raises
    ------
    ConversionError
        If the target would change the meaning and this is not accepted, or cannot express the network at all: maximum
        pooling, convolutions that its importer does not have, several thresholds in one population where it takes one,
        shortcuts that it runs in the wrong order, or a bias that varies over space.
    """
    graph, profile = as_spiking_graph(network), profile_of(target)
    report = export_report(graph, target)
    if report.changes and not accept_changes:
        raise ConversionError(
            f"{target} would run something else ({len(report.changes)} changes): "
            f"{'; '.join(str(change) for change in report.changes)}; convert with options that it has "
            f"(reset={profile.reset!r}, tie={profile.tie!r}, several_spikes={profile.several_spikes}, and no others "
            "that differ from the defaults), choose another target, or pass accept_changes=True"
        )
    nir = require_nir()
    writer = Writer(nir, graph, target, profile)
    for population in graph.populations:
        writer.add(population)
    writer.finish()
    metadata = {
        "neurosleep": {
            "target": target,
            "dt": graph.dt,
            "names": writer.populations,
            "ties": {node: p.tie for node, p in writer.moved.items()},
        }
    }
    with contextlib.redirect_stdout(io.StringIO()):  # nir prints what it infers
        try:
            written = nir.NIRGraph(nodes=writer.nodes, edges=writer.edges, **_unchecked(nir, target))
        except ValueError as error:
            raise ConversionError(f"nir {nir.version} refuses the network: {error}") from error
    written.metadata = metadata
    return written


def write_nir(
    path: str | Path,
    network: SpikingGraph | SpikingNetwork,
    *,
    target: Target = "generic",
    accept_changes: bool = False,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as a NIR file (HDF5), whole or not at all, and return what the target will change.

    Raises
    ------
    ConversionError
        As `to_nir`.
    InputError
        If the file exists and `overwrite` is false, or its folder does not.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name, or pass overwrite=True")
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} to write {path.name} into; create it first")
    graph = as_spiking_graph(network)
    written = to_nir(graph, target=target, accept_changes=accept_changes)
    with whole_hdf5(path) as new:
        require_nir().write(new, written)
        if profile_of(target).old_nir:
            _without_resets(new)
    return export_report(graph, target)


def _without_resets(new: NewFile) -> None:
    """Leave out of a file what newer versions of nir say of resets, which older ones do not read."""
    with h5py.File(new, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if name.rpartition("/")[2] == "v_reset" and isinstance(file[name], h5py.Dataset):
                del file[name]


def _unchecked(nir: Any, target: Target) -> dict[str, bool]:
    """Let nodes have parameters of shape (1,), where the importer needs them and this nir would complain."""
    checks = "type_check" in inspect.signature(nir.NIRGraph).parameters
    return {"type_check": False} if checks and target == "sinabs" else {}
