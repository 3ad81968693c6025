"""The small MNIST is what its command makes of the full one."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from neurosleep.data import idx, subset
from neurosleep.data.catalogue import DATASETS, MNIST, MNIST_SMALL, Dataset, File, Pair
from neurosleep.data.files import PACKAGE
from neurosleep.sims.errors import InputError

LABELS = np.arange(40) * 7 % 10  # four of every digit


def contents(folder):
    """Content of the files in a folder, uncompressed: other versions of zlib may compress otherwise."""
    return {path.name: gzip.decompress(path.read_bytes()) for path in folder.iterdir()}


def made_up(tmp_path, monkeypatch):
    """A full set of 40 + 40 made-up images, each with its own index as its first pixel."""
    files = {}
    for split, pair in MNIST.files.items():
        pixels = np.zeros((40, 28, 28), np.uint8)
        pixels[:, 0, 0] = np.arange(40)
        entries = []
        for file, values in zip(pair, (pixels, LABELS.astype(np.uint8)), strict=True):
            path = tmp_path / "full" / "mnist" / file.name
            idx.write(path, values)
            entries.append(File(file.name, hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()))
        files[split] = Pair(*entries)
    monkeypatch.setitem(DATASETS, "mnist", Dataset("mnist", "mnist", MNIST.url, files, MNIST.label_names))
    return tmp_path / "full"


def test_made_up_subset_is_drawn_from_the_full_set_in_order(tmp_path, monkeypatch):
    full = made_up(tmp_path, monkeypatch)
    written = subset.make(tmp_path / "out", full, per_class={"train": 3, "test": 1})
    assert [path.name for path in written] == [f"{file.name}.gz" for pair in MNIST.files.values() for file in pair]
    for split, count in {"train": 3, "test": 1}.items():
        images, labels = (tmp_path / "out" / f"{file.name}.gz" for file in MNIST.files[split])
        index = idx.read(images, ndim=3)[:, 0, 0]
        assert (np.diff(index.astype(int)) > 0).all()
        np.testing.assert_array_equal(idx.read(labels, ndim=1), LABELS[index])
        assert np.bincount(LABELS[index]).tolist() == [count] * 10


# Where the full set is on this machine, the shipped subset is made anew from it; everywhere, the folder that
# ships is held against the checksums in the catalogue.
FOLDERS = (os.environ.get("NEUROSLEEP_DATA", ""), Path(__file__).parents[3] / "shared" / "data")
FULL = [str(folder) for folder in FOLDERS if folder and (Path(folder) / "mnist").is_dir()]


def shipped(_):
    return PACKAGE / MNIST_SMALL.folder


def remade(out):
    subset.main(["--data-dir", FULL[0], "--out", str(out)])
    return out


@pytest.mark.parametrize("folder", [shipped, remade] if FULL else [shipped])
def test_shipped_subset(tmp_path, folder):
    found = contents(folder(tmp_path / "out"))
    assert found == contents(PACKAGE / MNIST_SMALL.folder)
    sums = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in found.items()}
    assert sums == {f"{file.name}.gz": file.md5 for pair in MNIST_SMALL.files.values() for file in pair}


def test_choice_is_fixed_forever():
    """PCG64's raw output is promised never to change; these indices are what seed 1 gives."""
    assert subset.choose(np.array([0, 1] * 6), per_class=2, seed=1).tolist() == [2, 4, 7, 9]
    assert subset.choose(np.array([0, 1] * 6), per_class=2, seed=2).tolist() != [2, 4, 7, 9]


def test_every_image_is_as_likely():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    counts = np.zeros(8)
    for seed in range(400):
        counts[subset.choose(labels, per_class=1, seed=seed)] += 1
    assert counts.sum() == 800
    assert (np.abs(counts - 100) < 45).all()  # five standard deviations


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="at least 3 images of class 1; found 2"):
        subset.choose(np.array([0, 0, 0, 1, 1]), per_class=3, seed=0)
    with pytest.raises(InputError, match="at least 1 image to choose"):
        subset.choose(np.array([0, 1]), per_class=0, seed=0)


def test_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        subset.main(["--data-dir", str(tmp_path), "--out", str(tmp_path / "out")])
    assert raised.value.code == 1
    assert "train-images-idx3-ubyte.gz: expected this file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_command_lists_what_it_wrote(tmp_path, monkeypatch, capsys):
    full = made_up(tmp_path, monkeypatch)
    monkeypatch.setattr(
        subset, "make", lambda out, data_dir: [Path(data_dir) / "mnist" / MNIST.files["test"].labels.name]
    )
    subset.main(["--data-dir", str(full), "--out", str(tmp_path)])
    assert capsys.readouterr().out.endswith("t10k-labels-idx1-ubyte  48 bytes\n")
