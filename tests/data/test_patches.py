"""Patches: how many pixels are shared and unique, in the published and in the corrected form."""

import numpy as np
import pytest

from neurosleep.data import patches
from neurosleep.sims.errors import InputError


def shared(task):
    return np.flatnonzero(task.pixels.all(axis=0))


@pytest.mark.parametrize("overlap", range(16))
def test_published_images_have_16_pixels_up_to_overlap_16(overlap):
    task = patches(overlap)
    assert task.form == "published"
    assert task.pixels.sum(axis=1).tolist() == [16] * 4
    assert shared(task).tolist() == task.overlapping.tolist()
    assert len(task.overlapping) == task.overlap == overlap
    images_with_pixel = task.pixels.sum(axis=0)
    assert set(images_with_pixel) <= {0, 1, 4}
    assert (images_with_pixel == 1).sum() == 4 * (16 - overlap)


@pytest.mark.parametrize("overlap", [16, 17, 40, 100])
def test_published_images_are_identical_from_overlap_16_on(overlap):
    task = patches(overlap)
    assert (task.pixels == task.pixels[0]).all()
    assert task.pixels[0].sum() == overlap == len(task.overlapping)


@pytest.mark.parametrize(("width", "n_images", "count"), [(10, 4, 25), (10, 3, 33), (5, 2, 12), (28, 10, 78)])
def test_corrected_images_always_have_the_same_number_of_pixels_and_differ(width, n_images, count):
    for overlap in range(count):
        task = patches(overlap, "corrected", width, n_images)
        assert task.pixels.shape == (n_images, width**2)
        assert task.pixels.sum(axis=1).tolist() == [count] * n_images
        assert shared(task).tolist() == task.overlapping.tolist()
        assert (task.pixels.sum(axis=0) == 1).sum() == n_images * (count - overlap)


def test_corrected_images_partition_the_plane_without_overlap():
    assert (patches(0, "corrected").pixels.sum(axis=0) == 1).all()


@pytest.mark.parametrize("form", ["published", "corrected"])
def test_arrays(form):
    task = patches(12, form)
    assert (task.pixels.shape, task.pixels.dtype) == ((4, 100), np.float32)
    assert set(task.pixels.ravel()) == {0, 1}
    assert (task.labels.tolist(), task.labels.dtype) == ([0, 1, 2, 3], np.int64)
    assert task.overlapping.dtype == np.int64
    assert (np.diff(task.overlapping) > 0).all()


def test_seed_decides():
    assert (patches(12, seed=3).pixels == patches(12, seed=3).pixels).all()
    assert (patches(12, seed=3).pixels != patches(12, seed=4).pixels).any()


def test_pixels_are_the_seeds_permutation_dealt_out_in_order():
    order = np.random.default_rng(5).permutation(100)
    task = patches(10, seed=5)
    assert set(task.overlapping) == set(order[:10])
    for image in range(4):
        own = set(np.flatnonzero(task.pixels[image])) - set(task.overlapping)
        assert own == set(order[10 + 6 * image : 16 + 6 * image])


def test_overlap_grows_by_one_pixel_at_a_time():
    """With one seed, a larger overlap keeps the shared pixels of a smaller one."""
    for overlap in range(16):
        assert set(patches(overlap).overlapping) < set(patches(overlap + 1).overlapping)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap": -1}, "overlap to be a whole number of at least 0; got -1"),
        ({"overlap": 1.5}, "overlap to be a whole number.*got 1.5"),
        ({"overlap": True}, "overlap to be a whole number.*got True"),
        ({"overlap": 1, "width": 2}, "width to be a whole number of at least 3; got 2"),
        ({"overlap": 1, "n_images": 1}, "n_images to be a whole number of at least 2; got 1"),
        ({"overlap": 1, "seed": -1}, "seed to be a whole number of at least 0; got -1"),
        ({"overlap": 1, "form": "Published"}, "among published, corrected; got 'Published'"),
        ({"overlap": 101}, "overlap of 101 need 101 pixels; a plane of width 10 has 100"),
        ({"overlap": 0, "n_images": 7}, "7 images with 16 unique pixels each .* need 112 pixels"),
        ({"overlap": 25, "form": "corrected"}, "overlap below 25, .*; got 25"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        patches(**arguments)


def test_limits_are_allowed():
    assert patches(100).pixels.all()
    assert type(patches(np.int64(4), n_images=6).overlap) is int
    assert patches(24, "corrected").pixels.sum() == 100
