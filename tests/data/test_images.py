"""Image sets: where they are looked for, what is downloaded, and what is refused."""

import functools
import gzip
import hashlib
import http.server
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pooch
import pytest

from neurosleep.data import DataError, idx, load
from neurosleep.data.catalogue import DATASETS, Dataset, File, Pair
from neurosleep.sims.errors import InputError

PIXELS = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([0, 2, 1], np.uint8)
NAMES = ("images-ubyte", "labels-ubyte")

# A folder that holds the full sets on this machine, if there is one.
FOLDERS = (os.environ.get("NEUROSLEEP_DATA", ""), Path(__file__).parents[3] / "shared" / "data")
FULL = [Path(f) for f in FOLDERS if f and all((Path(f) / s).is_dir() for s in ("mnist", "fashion_mnist"))][:1]
REAL = [("mnist-small", None, {"train": 10_000, "test": 2_000})] + [
    (name, folder, {"train": 60_000, "test": 10_000}) for folder in FULL for name in ("mnist", "fashion-mnist")
]


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no data folder in the environment, and no proxy before this machine."""
    monkeypatch.delenv("NEUROSLEEP_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurosleep" / "tiny"


@pytest.fixture
def add(monkeypatch):
    """Enter an image set "tiny" into the catalogue; give back the content of its files, gzipped."""

    def enter(folder, images=PIXELS, labels=LABELS, url="http://127.0.0.1:9/"):
        contents, files = {}, []
        for name, values in zip(NAMES, (images, labels), strict=True):
            idx.write(folder / name, values)
            content = (folder / name).read_bytes()
            contents[name] = gzip.compress(content, 1)
            files.append(File(name, md5(content), md5(contents[name])))
            (folder / name).unlink()
        monkeypatch.setitem(DATASETS, "tiny", Dataset("tiny", "tiny", url, {"train": Pair(*files)}, ("a", "b", "c")))
        return contents

    return enter


@pytest.fixture
def put(add):
    """The same, with the files put into a data folder."""

    def into(data_dir, **arrays):
        for name, content in add(data_dir / "tiny", **arrays).items():
            (data_dir / "tiny" / f"{name}.gz").write_bytes(content)

    return into


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, add):
    """A server on this machine that the image set "tiny" is downloaded from; gives the folder it serves."""
    served = tmp_path / "served"
    handler = functools.partial(Quiet, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        for name, content in add(served, url=f"http://127.0.0.1:{running.server_port}/").items():
            (served / f"{name}.gz").write_bytes(content)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield served
        running.shutdown()
        thread.join()


# The real sets


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("name", "data_dir", "sizes"), REAL)
def test_real_set(name, data_dir, sizes, split):
    images = load(name, split, data_dir, download=False)
    n = sizes[split]
    assert len(images) == n
    assert (images.pixels.shape, images.pixels.dtype) == ((n, 28, 28), np.uint8)
    assert (images.labels.shape, images.labels.dtype) == ((n,), np.int64)
    assert set(images.labels) == set(range(10)) == set(range(len(images.label_names)))
    assert (images.name, images.split) == (name, split)
    assert (images.pixels.min(), images.pixels.max()) == (0, 255)


def test_shipped_set_is_balanced_and_small():
    for split, count in {"train": 1000, "test": 200}.items():
        images = load("mnist-small", split)
        assert np.bincount(images.labels).tolist() == [count] * 10
        assert images.label_names[7] == "7"
    files = list(images.source.iterdir())
    assert len(files) == 4
    assert sum(path.stat().st_size for path in files) < 3_000_000


def test_shipped_digits_have_their_labels():
    """Nearest class mean: far above chance only if images and labels belong together."""
    train, test = load("mnist-small", "train"), load("mnist-small", "test")
    means = np.stack([train.vectors()[train.labels == digit].mean(0) for digit in range(10)])
    distances = ((test.vectors()[:, None] - means) ** 2).sum(-1)
    assert (distances.argmin(1) == test.labels).mean() > 0.75


def test_published_addresses_and_checksums_are_complete():
    for dataset in (DATASETS["mnist"], DATASETS["fashion-mnist"]):
        assert dataset.url.endswith("/")
        assert set(dataset.files) == {"train", "test"}
        sums = [s for pair in dataset.files.values() for file in pair for s in (file.md5, file.gz_md5)]
        assert len(set(sums)) == 8
        assert all(len(s) == 32 for s in sums)


# The arrays


def test_vectors_are_the_pixels_in_0_to_1(tmp_path, put):
    put(tmp_path)
    images = load("tiny", "train", tmp_path)
    vectors = images.vectors()
    assert (vectors.shape, vectors.dtype) == ((3, 784), np.float32)
    np.testing.assert_allclose(vectors, PIXELS.reshape(3, 784) / 255, rtol=1e-6)
    assert vectors.max() == 1
    np.testing.assert_array_equal(images.labels, [0, 2, 1])
    np.testing.assert_array_equal(images.pixels, PIXELS)
    assert images.source == tmp_path / "tiny"


def test_arrays_are_writable(tmp_path, put):
    put(tmp_path)
    images = load("tiny", "train", tmp_path)
    assert all(array.flags.writeable for array in (images.pixels, images.labels, images.vectors()))


# Where they are looked for


def test_order_is_argument_then_environment_then_cache(tmp_path, put, cache, monkeypatch):
    given, environment = tmp_path / "given", tmp_path / "environment"
    for folder in (given, environment, cache.parent):
        put(folder)
    assert load("tiny", "train", download=False).source == cache
    monkeypatch.setenv("NEUROSLEEP_DATA", str(environment))
    assert load("tiny", "train").source == environment / "tiny"
    assert load("tiny", "train", data_dir=given).source == given / "tiny"
    monkeypatch.setenv("NEUROSLEEP_DATA", "")
    assert load("tiny", "train", download=False).source == cache


def test_home_is_understood(tmp_path, put, monkeypatch):
    put(tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load("tiny", "train", "~/data").source == tmp_path / "data" / "tiny"


@pytest.mark.parametrize("missing", NAMES)
def test_named_folder_without_a_file_is_an_error_not_a_download(tmp_path, server, put, cache, monkeypatch, missing):
    folder = tmp_path / "data"
    tiny = DATASETS["tiny"]
    put(folder)
    monkeypatch.setitem(DATASETS, "tiny", tiny)  # the one with the address of the server
    (folder / "tiny" / f"{missing}.gz").unlink()
    with pytest.raises(DataError, match=f"tiny.{missing}.gz: expected this file, .*found neither. Put it there"):
        load("tiny", "train", folder)
    monkeypatch.setenv("NEUROSLEEP_DATA", str(folder))
    with pytest.raises(DataError, match=f"tiny.{missing}.gz: expected this file.*NEUROSLEEP_DATA"):
        load("tiny", "train")
    assert not cache.exists()


def test_shipped_set_ignores_data_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSLEEP_DATA", str(tmp_path))
    assert load("mnist-small", "test", data_dir=tmp_path).source.name == "mnist_small"


def test_uncompressed_files_are_read(tmp_path, put):
    put(tmp_path)
    for name in NAMES:
        zipped = tmp_path / "tiny" / f"{name}.gz"
        zipped.with_suffix("").write_bytes(gzip.decompress(zipped.read_bytes()))
        zipped.unlink()
    np.testing.assert_array_equal(load("tiny", "train", tmp_path).pixels, PIXELS)


def test_files_gzipped_anew_are_read(tmp_path, put):
    put(tmp_path)
    zipped = tmp_path / "tiny" / f"{NAMES[0]}.gz"
    before = zipped.read_bytes()
    zipped.write_bytes(gzip.compress(gzip.decompress(before), 9, mtime=1))
    assert zipped.read_bytes() != before
    np.testing.assert_array_equal(load("tiny", "train", tmp_path).pixels, PIXELS)


# What is refused


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": PIXELS[:, :27]}, r"images-ubyte.gz: expected 28 x 28 pixels; found 27 x 28"),
        ({"images": PIXELS[:2]}, "labels-ubyte.gz: expected 2 labels, one per image; found 3"),
        ({"labels": LABELS + np.uint8(1)}, "labels-ubyte.gz: expected labels 0 to 2; found 3"),
        ({"images": PIXELS[0]}, "images-ubyte.gz: expected 3 dimension.*; found 2"),
        ({"labels": PIXELS}, "labels-ubyte.gz: expected 1 dimension.*; found 3"),
    ],
)
def test_wrong_images_are_refused(tmp_path, put, arrays, message):
    put(tmp_path, **arrays)
    with pytest.raises(DataError, match=message):
        load("tiny", "train", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_not_the_published_ones_are_refused(tmp_path, put, name):
    put(tmp_path)
    zipped = tmp_path / "tiny" / f"{name}.gz"
    content = bytearray(gzip.decompress(zipped.read_bytes()))
    content[-1] ^= 1
    zipped.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=f"{name}.gz: expected the published file"):
        load("tiny", "train", tmp_path)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="mnist, fashion-mnist, mnist-small; got 'MNIST'"):
        load("MNIST", "train")
    with pytest.raises(InputError, match="train, test; got 'validation'"):
        load("mnist-small", "validation")


# Downloading


def test_download_goes_to_the_cache_once(server, cache):
    images = load("tiny", "train", progress=False)
    np.testing.assert_array_equal(images.pixels, PIXELS)
    assert images.source == cache
    assert {path.name for path in cache.iterdir()} == {f"{name}.gz" for name in NAMES}
    for path in server.iterdir():
        path.unlink()
    np.testing.assert_array_equal(load("tiny", "train").labels, LABELS)


@pytest.mark.parametrize("progress", [True, False])
def test_download_shows_a_bar_where_it_is_wanted(server, capfd, progress):
    load("tiny", "train", progress=progress)
    assert ("100%" in capfd.readouterr().err) == progress


def test_download_shows_no_bar_off_a_terminal(server, capfd):
    load("tiny", "train")
    assert "100%" not in capfd.readouterr().err


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"<html>", lambda content: b""])
def test_damaged_download_is_refused_and_not_kept(server, cache, damage):
    path = server / f"{NAMES[1]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=f"{NAMES[1]}.gz: expected a download with md5 .*http://127.*not kept.*--data-dir"
    ):
        load("tiny", "train")
    assert [path.name for path in cache.iterdir()] == [f"{NAMES[0]}.gz"]


def test_damaged_file_in_the_cache_is_refused_until_deleted(server, cache):
    load("tiny", "train")
    damaged = cache / f"{NAMES[0]}.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"expected a whole gzip file.*delete it to have it downloaded again"):
        load("tiny", "train")
    damaged.unlink()
    np.testing.assert_array_equal(load("tiny", "train").pixels, PIXELS)


def test_file_missing_on_the_server_is_one_clear_error(server, cache):
    (server / f"{NAMES[0]}.gz").unlink()
    with pytest.raises(DataError, match=r"could not be downloaded from http://127.0.0.1:\d+/images-ubyte.gz .*404"):
        load("tiny", "train")
    assert list(cache.iterdir()) == []


def test_no_network_is_one_clear_error(tmp_path, add):
    with socket.socket() as taken:  # bound but not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        add(tmp_path, url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(DataError, match=r"could not be downloaded from http://127.*--data-dir or NEUROSLEEP_DATA"):
            load("tiny", "train")


def test_download_may_be_forbidden(server, cache):
    with pytest.raises(DataError, match=r"expected this file.*Allow the download, or name a data folder"):
        load("tiny", "train", download=False)
    assert not cache.exists()


def test_a_published_set_without_its_checksum_is_not_trusted(server, monkeypatch):
    tiny = DATASETS["tiny"]
    files = {"train": Pair(*(replace(file, gz_md5=None) for file in tiny.files["train"]))}
    monkeypatch.setitem(DATASETS, "tiny", replace(tiny, files=files))
    with pytest.raises(DataError, match="not kept"):
        load("tiny", "train")
