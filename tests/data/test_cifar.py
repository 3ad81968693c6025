"""CIFAR: mosaics and the original archive, where they are looked for, and what is refused."""

import functools
import hashlib
import http.server
import io
import os
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pooch
import pytest

from neurosleep.data import DataError, cifar, load_cifar
from neurosleep.data.cifar import CIFARS
from neurosleep.sims.errors import InputError

FOLDERS = (os.environ.get("NEUROSLEEP_DATA", ""), Path(__file__).parents[3] / "shared" / "data")
REAL = next(
    (Path(f) for f in FOLDERS if f and (Path(f) / "cifar10").is_dir() and (Path(f) / "cifar100").is_dir()), None
)
NAMES = ("ant", "bee")
COUNTS = {"train": 30, "test": 10}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("NEUROSLEEP_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurosleep"


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request, monkeypatch):
    """A set of two classes with 30 and 10 images each, up to 25 of them in a file of CIFAR-10."""
    tiny = replace(CIFARS[request.param], per_class=COUNTS, label_names=NAMES)
    monkeypatch.setitem(CIFARS, request.param, tiny)
    if request.param == "cifar10":
        monkeypatch.setattr(cifar, "TILES_PER_FILE", 25)
    return request.param


def grey(split, label, index):
    """Level of the tile of an image, all its own within a split; its three colours differ by 2."""
    return 20 + 100 * label + 3 * index + (1 if split == "test" else 0)


def files(name, split, class_name):
    """Names of the files of a class, with the indices of their images."""
    if name == "cifar100":
        return {f"{class_name}.jpg": range(COUNTS[split])}
    firsts = range(0, COUNTS[split], 25)
    return {f"{class_name}_{f // 25}.jpg": range(f, min(f + 25, COUNTS[split])) for f in firsts}


@pytest.fixture
def mosaics(tmp_path, name):
    folder = tmp_path / "data" / name
    for split in COUNTS:
        (folder / split).mkdir(parents=True)
        for label, class_name in enumerate(NAMES):
            for file_name, indices in files(name, split, class_name).items():
                pixels = np.zeros((32 * -(-len(indices) // 25), 32 * 25, 3), np.uint8)
                for tile, index in enumerate(indices):
                    row, column = divmod(tile, 25)
                    level = grey(split, label, index) + np.array([0, 2, 4])
                    pixels[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = level
                with (folder / split / file_name).open("wb") as file:  # PNG, so that tests can be exact
                    PIL.Image.fromarray(pixels).save(file, "PNG")
    return tmp_path / "data"


def archive_of(name):
    """The original archive of random images, and those images and labels by split."""
    rng, content, arrays = np.random.default_rng(0), io.BytesIO(), {}
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for split, members in CIFARS[name].members.items():
            n = 4 * len(members)
            pixels = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
            labels = rng.integers(0, 2, n)
            planes = pixels.transpose(0, 3, 1, 2).reshape(n, -1)
            coarse = np.full((n, CIFARS[name].label_bytes - 1), 77, np.uint8)
            rows = np.concatenate([coarse, labels[:, None].astype(np.uint8), planes], axis=1)
            for member, part in zip(members, np.split(rows, len(members)), strict=True):
                entry = tarfile.TarInfo(member)
                entry.size = part.nbytes
                archive.addfile(entry, io.BytesIO(part.tobytes()))
            arrays[split] = pixels, labels
    return content.getvalue(), arrays


@pytest.fixture
def original(name, monkeypatch):
    content, arrays = archive_of(name)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(CIFARS, name, replace(CIFARS[name], md5=md5))
    return content, arrays


# The real sets


@pytest.mark.skipif(REAL is None, reason="the real sets are not on this machine")
@pytest.mark.parametrize(("real", "per_class"), [("cifar10", 1000), ("cifar100", 100)])
def test_real_set(real, per_class):
    images = load_cifar(real, "test", REAL)
    assert (images.pixels.shape, images.pixels.dtype) == ((10_000, 32, 32, 3), np.uint8)
    assert np.bincount(images.labels).tolist() == [per_class] * len(images.label_names)
    assert len(set(images.labels[:100].tolist())) > 9  # not sorted by class
    if images.form == "original":
        return
    pixels, _ = cifar._mosaics(CIFARS[real], "test", REAL)
    means = {"cifar10": (126.02, 123.71, 114.85), "cifar100": (129.74, 124.28, 112.70)}[real]  # of the lossless sets
    assert pixels.reshape(-1, 3).mean(0) == pytest.approx(means, abs=0.6)


@pytest.mark.skipif(REAL is None, reason="the real sets are not on this machine")
@pytest.mark.parametrize("real", ["cifar10", "cifar100"])
def test_label_names_are_the_official_ones(real):
    import json

    known = json.loads((REAL / real / "classes.json").read_text())["label_names"]
    assert list(CIFARS[real].label_names) == known


def test_label_names_are_alphabetical_and_complete():
    for key, count in {"cifar10": 10, "cifar100": 100}.items():
        names = CIFARS[key].label_names
        assert len(set(names)) == count
        assert list(names) == sorted(names)


# Mosaics


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_tile_has_its_label(mosaics, name, split):
    images = load_cifar(name, split, mosaics)
    assert (images.name, images.split, images.label_names) == (name, split, NAMES)
    assert images.source == mosaics / name
    assert images.form == CIFARS[name].form
    assert images.form.startswith("JPEG-recoded")
    assert (images.pixels.dtype, images.labels.dtype) == (np.uint8, np.int64)
    assert (images.pixels == images.pixels[:, :1, :1]).all()  # no tile has pixels of another
    assert (images.pixels[:, 0, 0] - images.pixels[:, 0, 0, :1] == [0, 2, 4]).all()
    expected = {(grey(split, label, i), label) for label in (0, 1) for i in range(COUNTS[split])}
    assert set(zip(images.pixels[:, 0, 0, 0].tolist(), images.labels.tolist(), strict=True)) == expected
    assert len(images) == len(expected)


def test_order_is_the_documented_one(mosaics, name):
    images = load_cifar(name, "train", mosaics)
    keys = np.random.PCG64(2009).random_raw(60).tolist()
    sorted_by_class = [grey("train", label, i) for label in (0, 1) for i in range(30)]
    expected = [level for _, level in sorted(zip(keys, sorted_by_class, strict=True))]
    assert images.pixels[:, 0, 0, 0].tolist() == expected
    assert expected != sorted_by_class


def some_file(mosaics, name):
    return mosaics / name / "train" / ("bee_1.jpg" if name == "cifar10" else "bee.jpg")


def test_missing_file(mosaics, name):
    some_file(mosaics, name).unlink()
    with pytest.raises(DataError, match=r"bee.*jpg: expected a readable file; found No such file"):
        load_cifar(name, "train", mosaics)
    load_cifar(name, "test", mosaics)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_damaged_file(mosaics, name, content):
    path = some_file(mosaics, name)
    path.write_bytes(path.read_bytes()[:-60] if content is None else content)
    with pytest.raises(DataError, match=r"bee.*jpg: expected a whole image; found a damaged one"):
        load_cifar(name, "train", mosaics)


@pytest.mark.parametrize("size", [(32 * 25, 32 * 3), (32 * 24, 32), (32 * 25, 33)])
def test_wrong_number_of_tiles(mosaics, name, size):
    with some_file(mosaics, name).open("wb") as file:
        PIL.Image.new("RGB", size).save(file, "PNG")
    with pytest.raises(DataError, match=rf"expected \d+ tiles, 800 x \d+ pixels; found {size[0]} x {size[1]} pixels"):
        load_cifar(name, "train", mosaics)


def test_checksums_beside_the_folders_are_used(mosaics, name):
    path = some_file(mosaics, name)
    relative = path.relative_to(mosaics).as_posix()
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    (mosaics / "verify_sha256.txt").write_text(f"{'0' * 64}  other/file.jpg\n{good}  {relative}\n")
    load_cifar(name, "train", mosaics)
    (mosaics / "verify_sha256.txt").write_text(f"{'0' * 64}  {relative}\n")
    with pytest.raises(DataError, match=r"expected the sha256 that verify_sha256\.txt gives, 0000"):
        load_cifar(name, "train", mosaics)


# The original version


@pytest.mark.parametrize("split", ["train", "test"])
def test_original_goes_first_and_keeps_its_order(mosaics, name, original, split):
    content, arrays = original
    (mosaics / name / CIFARS[name].archive).write_bytes(content)
    images = load_cifar(name, split, mosaics)
    assert images.form == "original"
    np.testing.assert_array_equal(images.pixels, arrays[split][0])
    np.testing.assert_array_equal(images.labels, arrays[split][1])
    assert (images.pixels.dtype, images.labels.dtype) == (np.uint8, np.int64)


def test_archive_with_another_checksum_is_refused(mosaics, name, original):
    (mosaics / name / CIFARS[name].archive).write_bytes(original[0] + b"\0")
    with pytest.raises(DataError, match="expected the published file, with md5"):
        load_cifar(name, "train", mosaics)


def test_published_checksums():
    assert CIFARS["cifar10"].md5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert CIFARS["cifar100"].md5 == "03b5dce01913d631647c71ecec9e9cb8"


# Where it is looked for


@pytest.fixture
def server(tmp_path, name, original, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    (served / CIFARS[name].archive).write_bytes(original[0])

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served)) as running:
        monkeypatch.setattr(cifar, "URL", f"http://127.0.0.1:{running.server_port}/")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield served
        running.shutdown()
        thread.join()


def test_download_goes_to_the_cache_once(server, cache, name, original):
    for _ in range(2):
        images = load_cifar(name, "test")
        np.testing.assert_array_equal(images.labels, original[1]["test"][1])
        assert images.source == cache / name
        (server / CIFARS[name].archive).unlink(missing_ok=True)


def test_download_of_something_else_is_not_kept(server, cache, name):
    (server / CIFARS[name].archive).write_bytes(b"something else")
    with pytest.raises(DataError, match="not kept"):
        load_cifar(name, "test")
    assert list((cache / name).iterdir()) == []


def test_named_folder_is_final(server, cache, name, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=rf"{name}: expected .*binary.tar.gz or a folder of mosaics, train"):
        load_cifar(name, "train", tmp_path / "nowhere")
    monkeypatch.setenv("NEUROSLEEP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere"):
        load_cifar(name, "train")
    assert not cache.exists()


def test_download_may_be_forbidden(server, cache, name):
    with pytest.raises(DataError, match="allow the download"):
        load_cifar(name, "train", download=False)
    assert not cache.exists()


def test_environment_names_a_folder(mosaics, name, monkeypatch):
    monkeypatch.setenv("NEUROSLEEP_DATA", str(mosaics))
    assert load_cifar(name, "train").source == mosaics / name


def test_unknown_names():
    with pytest.raises(InputError, match="cifar10, cifar100; got 'mnist'"):
        load_cifar("mnist", "train")
    with pytest.raises(InputError, match="train, test; got 'all'"):
        load_cifar("cifar10", "all")
