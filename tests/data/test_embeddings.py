"""Embeddings from files of several formats, and the stand-in made from digits."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
import scipy.io

from neurosleep.data import DataError, load_embeddings, permuted_digits
from neurosleep.sims.errors import InputError

N, N_TEST, D, C = 12, 6, 5, 3


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "train_x": rng.random((N, D)).astype(np.float32),
        "train_y": np.arange(N) % C,
        "test_x": rng.random((N_TEST, D)).astype(np.float32),
        "test_y": np.arange(N_TEST) % C,
    }


def as_npz(path, arrays):
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def as_mat(path, arrays):
    scipy.io.savemat(path.with_suffix(".mat"), arrays)  # labels become one row
    return path.with_suffix(".mat")


def as_hdf5(path, arrays):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, value in arrays.items():
            file[name] = value
    return path.with_suffix(".h5")


def as_mat73(path, arrays):
    """As MATLAB's v7.3 writes it: HDF5 behind 512 bytes of its own, axes reversed, labels one column."""
    with h5py.File(path.with_suffix(".mat"), "w", userblock_size=512) as file:
        for name, value in arrays.items():
            value = np.asarray(value)
            file[name] = (value if value.ndim == 2 else value[:, None]).astype(float).T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with path.with_suffix(".mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path.with_suffix(".mat")


FORMATS = [as_npz, as_mat, as_hdf5, as_mat73]


def same(found, arrays):
    for name, value in arrays.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-6)
        assert getattr(found, name).dtype == (np.float32 if name.endswith("x") else np.int64)


@pytest.mark.parametrize("write", FORMATS)
def test_one_file(tmp_path, arrays, write):
    found = load_embeddings(write(tmp_path / "birds", arrays))
    same(found, arrays)
    assert found.name == "birds"


@pytest.mark.parametrize("write", FORMATS)
def test_square_arrays_keep_their_axes(tmp_path, arrays, write):
    arrays["test_x"] = np.arange(25.0).reshape(5, 5) / 25
    arrays["test_y"] = np.arange(5) % C
    same(load_embeddings(write(tmp_path / "birds", arrays)), arrays)


@pytest.mark.parametrize("write", FORMATS)
def test_folder_of_two_files(tmp_path, arrays, write):
    for split in ("train", "test"):
        write(tmp_path / f"cub200_resnet50_{split}", {"X": arrays[f"{split}_x"], "y": arrays[f"{split}_y"]})
    same(load_embeddings(str(tmp_path)), arrays)


def test_labels_from_one_are_shifted(tmp_path, arrays):
    shifted = arrays | {"train_y": arrays["train_y"] + 1.0, "test_y": (arrays["test_y"] + 1)[:, None]}
    same(load_embeddings(as_npz(tmp_path / "a", shifted)), arrays)


def test_values_above_one_are_divided_by_the_training_maximum(tmp_path, arrays):
    arrays["train_x"][3, 2] = 4
    arrays["test_x"][0, 0] = 5
    found = load_embeddings(as_npz(tmp_path / "a", arrays))
    np.testing.assert_allclose(found.train_x, arrays["train_x"] / 4)
    np.testing.assert_allclose(found.test_x[1:], arrays["test_x"][1:] / 4)
    assert found.test_x[0, 0] == 1


def test_small_values_are_not_scaled_up(tmp_path, arrays):
    arrays["train_x"] *= 0.1
    same(load_embeddings(as_npz(tmp_path / "a", arrays)), arrays)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("train_x", np.zeros(N), r"expected train_x to be numbers of shape \(n, d\); found float64 of shape \(12,\)"),
        ("train_x", np.zeros((N, 0)), r"found float64 of shape \(12, 0\)"),
        ("train_x", np.full((N, D), "a"), "expected train_x to be numbers"),
        ("test_x", np.zeros((N_TEST, D + 1)), "vectors of one length; found 5 and 6"),
        ("test_x", np.full((N_TEST, D), np.nan), "expected test_x to be finite"),
        ("train_x", np.full((N, D), np.inf), "expected train_x to be finite"),
        ("train_x", np.full((N, D), -0.5), "found -0.5. Take the embeddings behind a ReLU, or set negative"),
        ("train_y", np.zeros(N - 1), r"expected train_y to be 12 labels, one a vector; found shape \(11,\)"),
        ("train_y", np.zeros((3, 4)), r"found shape \(3, 4\)"),
        ("test_y", np.arange(N_TEST) / 2, "expected test_y to be whole numbers"),
        ("test_y", np.full(N_TEST, np.nan), "expected test_y to be whole numbers"),
        ("train_y", np.full(N, "bird"), "expected train_y to be whole numbers"),
        ("train_y", np.arange(N) % C + 2, "labels 0 to C-1 or 1 to C, each at least once; found 3 labels between 2"),
        ("train_y", np.arange(N) % C * 2, "found 3 labels between 0 and 4"),
        ("train_y", np.arange(N) % C - 1, "found 3 labels between -1 and 1"),
        ("test_y", np.arange(N_TEST), "expected test labels 0 to 2, as in training; found 0 to 5"),
        ("test_y", np.arange(N_TEST) - 1, "expected test labels 0 to 2, as in training; found -1 to 4"),
    ],
)
def test_faults(tmp_path, arrays, name, value, message):
    with pytest.raises(DataError, match=message) as error:
        load_embeddings(as_npz(tmp_path / "a", arrays | {name: value}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", FORMATS)
def test_missing_array_says_which_were_found(tmp_path, arrays, write):
    arrays["labels"] = arrays.pop("test_y")
    with pytest.raises(
        DataError, match=r"expected the arrays train_x, .*test_y; found labels, test_x, train_x, train_y"
    ):
        load_embeddings(write(tmp_path / "a", arrays))


def test_missing_files(tmp_path):
    with pytest.raises(DataError, match="expected a file or a folder of embeddings; found none"):
        load_embeddings(tmp_path / "nowhere")
    np.savez(tmp_path / "cub200_resnet50_train.npz", X=np.zeros((2, 2)), y=np.arange(2))
    with pytest.raises(DataError, match=r"expected cub200_resnet50_test with one of the endings \.npz, \.mat"):
        load_embeddings(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 99])
@pytest.mark.parametrize("name", ["a.npz", "a.mat", "a.h5"])
def test_damaged_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"not a whole \.npz, MATLAB or HDF5 file") as error:
        load_embeddings(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", FORMATS)
def test_file_cut_short(tmp_path, arrays, write):
    path = write(tmp_path / "a", arrays)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError):
        load_embeddings(path)


def test_nothing_is_unpickled(tmp_path, arrays):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the file ran code",))

    np.savez(tmp_path / "a.npz", **arrays | {"train_x": np.array([Trap()], object)})
    with pytest.raises(DataError, match="not a whole"):
        load_embeddings(tmp_path / "a.npz")


def test_nothing_is_read_from_elsewhere_or_beyond_what_is_allowed(tmp_path, arrays, monkeypatch):
    as_hdf5(tmp_path / "other", arrays)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in arrays:
            file[name] = h5py.ExternalLink("other.h5", name)
    with pytest.raises(DataError, match="train_x is no dataset of this file"):
        load_embeddings(tmp_path / "a.h5")
    with h5py.File(as_hdf5(tmp_path / "b", arrays), "r+") as file:
        del file["test_x"]
        file.create_dataset("test_x", (2**34, 8), "f4", chunks=(64, 8))
    with pytest.raises(DataError, match=r"test_x unpacks to 549755813888 bytes, and 512000000 are allowed"):
        load_embeddings(tmp_path / "b.h5")
    np.savez_compressed(tmp_path / "c.npz", **arrays, more=np.zeros(10_000))
    assert load_embeddings(tmp_path / "c.npz").name == "c"
    monkeypatch.setenv("NEUROSLEEP_MAX_BYTES", "80000")
    with pytest.raises(DataError, match="and 80000 are allowed"):
        load_embeddings(tmp_path / "c.npz")


# The stand-in


def test_stand_in_has_the_shape_of_cub200():
    found = permuted_digits()
    assert found.name == "permuted-digits-200 (stand-in, not CUB-200)"
    assert (found.train_x.shape, found.test_x.shape) == ((6000, 2048), (5800, 2048))
    assert np.bincount(found.train_y).tolist() == [30] * 200
    assert np.bincount(found.test_y).tolist() == [29] * 200
    for x in (found.train_x, found.test_x):
        assert x.dtype == np.float32
        assert x.min() == 0
        assert x.max() <= 1
    assert found.train_x.max() == 1


def test_stand_in_can_be_learned():
    """Nearest class mean: far above chance, 0.5 %, only if vectors and labels belong together in both splits."""
    found = permuted_digits(per_class=10, per_class_test=5, n_features=400)
    means = np.stack([found.train_x[found.train_y == c].mean(0) for c in range(200)])
    distances = (means**2).sum(1) - 2 * found.test_x @ means.T
    assert (distances.argmin(1) == found.test_y).mean() > 0.3


def test_stand_in_depends_on_its_seed_alone():
    first, again, other = (permuted_digits(seed, 1, 1, 50) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train_x, again.train_x)
    assert (first.train_x != other.train_x).any()


def test_stand_in_gives_classes_of_a_digit_different_images():
    found = permuted_digits(per_class=50, per_class_test=1, n_features=20)
    assert len(np.unique(found.train_x, axis=0)) == 10_000


@pytest.mark.parametrize(
    "arguments", [{"seed": -1}, {"per_class": 0}, {"per_class": 1001}, {"per_class_test": 201}, {"n_features": 1.5}]
)
def test_stand_in_refuses_what_it_cannot_make(arguments):
    with pytest.raises(InputError, match=f"expected {next(iter(arguments))} to be a whole number"):
        permuted_digits(**arguments)


def test_data_needs_no_torch():
    code = "import sys, neurosleep.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("value", [b"a text", 3.0])
def test_a_single_value_is_no_labels(tmp_path, value):
    path = tmp_path / "vectors.h5"
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"{split}_x"], file[f"{split}_y"] = np.ones((2, 3)), [0, 1]
        del file["test_y"]
        file["test_y"] = value
    with pytest.raises(DataError, match="test_y"):
        load_embeddings(path)
