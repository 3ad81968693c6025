"""Where the files of an image set lie: in the package, in a data folder, in the user's cache, or on the web.

A data folder that the user names is final. If it lacks a file, that is an error: what was meant to be read
from there is never quietly replaced by a download.
"""

import os
import sys
from pathlib import Path

import pooch

from .catalogue import Dataset, File, Split
from .idx import DataError

PACKAGE = Path(__file__).resolve().parent
VARIABLE = "NEUROSLEEP_DATA"
CHUNK = 2**16  # bytes


def find(
    dataset: Dataset,
    split: Split,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: bool | None = None,
) -> tuple[Path, Path]:
    """Find the images and the labels of one split, downloading them if need be.

    Parameters
    ----------
    dataset, split
        What to find.
    data_dir
        Data folder; the files are in its subfolder ``dataset.folder``. None: the folder that the environment
        variable NEUROSLEEP_DATA names, else the user's cache.
    download
        Whether files that the cache lacks may be downloaded into it.
    progress
        Whether a download shows a bar on stderr. None: only if stderr is a terminal.

    Returns
    -------
    tuple of pathlib.Path
        The file of the images and the file of the labels, gzipped or plain. They exist; their
        content is not checked here.

    Raises
    ------
    DataError
        A file is missing and may not be downloaded, or its download failed.
    """
    images, labels = dataset.files[split]
    variable = os.environ.get(VARIABLE)
    if dataset.url is None:
        folder = PACKAGE / dataset.folder
        mend = "It ships with neurosleep: install the package again."
    elif data_dir is not None:
        folder = Path(data_dir).expanduser() / dataset.folder
        mend = "Put it there, or give no data folder to have it downloaded."
    elif variable:
        folder = Path(variable).expanduser() / dataset.folder
        mend = f"{VARIABLE} names this folder: put it there, or unset {VARIABLE} to have it downloaded."
    else:
        folder = Path(pooch.os_cache("neurosleep")) / dataset.folder
        mend = f"Allow the download, or name a data folder that has it, with --data-dir or {VARIABLE}."
        if download:
            for file in (images, labels):
                if _stored(folder, file) is None:
                    fetch(dataset.url, f"{file.name}.gz", file.gz_md5, folder, progress)
    return _existing(folder, images, mend), _existing(folder, labels, mend)


def _stored(folder: Path, file: File) -> Path | None:
    """Path of `file` in `folder`, gzipped rather than plain if there are both."""
    candidates = (folder / f"{file.name}.gz", folder / file.name)
    return next((path for path in candidates if path.is_file()), None)


def _existing(folder: Path, file: File, mend: str) -> Path:
    path = _stored(folder, file)
    if path is None:
        raise DataError(f"{folder / file.name}.gz: expected this file, or the same without .gz; found neither. {mend}")
    return path


def fetch(url: str, name: str, md5: str | None, folder: Path, progress: bool | None) -> None:
    """Download the file `name` into `folder`; it appears there whole and checked, or not at all.

    Parameters
    ----------
    url
        Where it lies, with a slash at the end.
    name
        Its name, there and here.
    md5
        Its checksum.
    folder
        Where it is put.
    progress
        Whether to show a bar on stderr. None: only if stderr is a terminal.

    Raises
    ------
    DataError
        It cannot be downloaded, or the checksum differs.
    """
    pooch.get_logger().setLevel("WARNING")  # it would say on stderr that it downloads, even without a progress bar
    if progress is None:
        progress = sys.stderr.isatty()
    mend = f"or put a good copy into a data folder and name that with --data-dir or {VARIABLE}."
    try:
        pooch.retrieve(
            url + name,
            known_hash=f"md5:{md5}",
            fname=name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK),
        )
    except OSError as error:  # what requests raises are OSErrors too
        raise DataError(
            f"{folder / name}: could not be downloaded from {url}{name} ({error}). "
            f"Check the network and try again, {mend}"
        ) from error
    except ValueError as error:  # pooch: the checksum differs
        raise DataError(
            f"{folder / name}: expected a download with md5 {md5}; "
            f"what came from {url}{name} is damaged or another file, and was not kept. Try again, {mend}"
        ) from error
