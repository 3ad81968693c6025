"""Named arrays out of ``.npz``, MATLAB and HDF5 files; what they declare is checked before any of it is unpacked."""

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError
from ..sims.hdf5 import WatchedFile, check_dataset
from ..sims.packed import DAMAGE, Packed, cause, open_file
from .idx import DataError
from .matlab import read_matlab


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return the arrays of these names from a file, whose content tells its format.

    Raises
    ------
    DataError
        If it is damaged, has not all of them, or would unpack to more than is allowed.
    """
    try:
        return {name: np.require(value, value.dtype.newbyteorder("=")) for name, value in _read(path, names).items()}
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: not a whole .npz, MATLAB or HDF5 file of plain arrays ({cause(error)})") from error


def _read(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    import h5py

    with open_file(path) as file:
        if zipfile.is_zipfile(file):
            with Packed(path, file) as packed:
                held = {name.removesuffix(".npy"): name for name in packed.members}
                return {name: packed.array(held[name]) for name in _named(path, names, held)}
        if h5py.is_hdf5(path):
            return _hdf5(path, names)
        variables = read_matlab(path, file)
        found = {name: variables[name] for name in _named(path, names, variables)}
        return {name: _numbers(name, value) for name, value in found.items()}


def _numbers(name: str, value: NDArray[Any] | None) -> NDArray[Any]:
    if value is None:
        raise InputError(f"{name} is no real array of numbers")
    return value


def _named(path: Path, names: tuple[str, ...], found: Iterable[str]) -> tuple[str, ...]:
    found = sorted(found)
    if any(name not in found for name in names):
        raise DataError(f"{path}: expected the arrays {', '.join(names)}; found {', '.join(found)[:200] or 'none'}")
    return names


def _hdf5(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read datasets that are in the file itself; MATLAB's v7.3 is HDF5 too, with the axes of its arrays reversed."""
    import h5py

    found = {}
    with WatchedFile(path) as raw, h5py.File(raw, "r") as file:
        for name in _named(path, names, file):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
                raise InputError(f"{name} is no dataset of this file")
            dataset = file[name]
            check_dataset(path, name, dataset)
            values = np.asarray(dataset[()])
            found[name] = values.T if "MATLAB_class" in dataset.attrs else values
    return found
