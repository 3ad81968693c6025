"""Patches: a few binary images that share some of their pixels, the smallest task on which a network forgets.

Source: T. Tadros, G. P. Krishnan, R. Ramyaa, M. Bazhenov, "Sleep-like unsupervised replay reduces
catastrophic forgetting in artificial neural networks", Nature Communications 13:7742 (2022), Fig. 1.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..sims.errors import InputError

Form = Literal["published", "corrected"]


@dataclass(frozen=True, eq=False)
class Patches:
    """Binary images, each a class of its own.

    Attributes
    ----------
    pixels
        float32 (n, width**2), row by row: 1 is on, 0 off.
    labels
        int64 (n,): 0, 1, ..., n - 1.
    overlap
        Number of pixels that are on in every image.
    form
        "published" or "corrected"; see `patches`.
    overlapping
        Indices of the pixels that are on in every image by design, int64 (overlap,), ascending.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    overlap: int
    form: Form
    overlapping: NDArray[np.int64] = field(repr=False)


def patches(
    overlap: int,
    form: Form = "published",
    width: int = 10,
    n_images: int = 4,
    seed: int = 0,
) -> Patches:
    """Draw the images of the Patches task.

    The pixels of the plane are put in random order. The first `overlap` of them are on in every image; those
    that follow are dealt out in blocks, so that every image has equally many unique pixels, on in no
    other image. The two forms differ in how many:

    published
        ``width**2 // 6 - overlap`` or, if that is negative, none, as in the authors' released generator. For
        a width of 10 an image has 16 pixels up to an overlap of 16. From 16 on there are no unique pixels
        left: the images are identical, and no network can tell them apart.
    corrected
        ``width**2 // n_images - overlap``, so that without overlap the images partition the plane. For a
        width of 10 and four images, an image has 25 pixels. The images always differ.

    What is forgotten depends on form and training together (``docs/results.md``): with the training of the
    released sweep over overlaps, nothing in the corrected form; with that of the released softmax script, task
    1 at overlaps of 13 and more in the published form (width 11), of 16 and more in the corrected one. The
    published form is the default, since the published figure depends on it.

    Parameters
    ----------
    overlap
        Number of pixels that are on in every image.
    form
        "published" or "corrected".
    width
        Side of the images, in pixels; at least 3.
    n_images
        Number of images; at least 2.
    seed
        Seed of the order of the pixels.

    Returns
    -------
    Patches
        Pixels float32 (n_images, width**2) and labels int64 (n_images,).

    Raises
    ------
    InputError
        An argument is not a whole number in its range, the form is unknown, or the images do not fit on the
        plane.

    References
    ----------
    Tadros et al., Nature Communications 13:7742 (2022), Fig. 1 and the generator released with it.
    """
    _require_whole("overlap", overlap, least=0)
    _require_whole("width", width, least=3)  # the published images of a smaller plane have no pixels at all
    _require_whole("n_images", n_images, least=2)
    _require_whole("seed", seed, least=0)
    area = width**2
    if form == "published":
        unique = max(0, area // 6 - overlap)
        if overlap + n_images * unique > area:
            raise InputError(
                f"{n_images} images with {unique} unique pixels each and an overlap of {overlap} need "
                f"{overlap + n_images * unique} pixels; a plane of width {width} has {area}. "
                "Ask for fewer images, or another overlap."
            )
    elif form == "corrected":
        unique = area // n_images - overlap
        if unique < 1:
            raise InputError(
                f"expected an overlap below {area // n_images}, the number of pixels that each of {n_images} "
                f"images has on a plane of width {width}; got {overlap}. "
                "Ask for a smaller overlap, fewer images or a wider plane."
            )
    else:
        raise InputError(f"expected a form among {', '.join(get_args(Form))}; got {form!r}")

    order = np.random.default_rng(seed).permutation(area)
    shared = order[:overlap]
    own = order[overlap : overlap + n_images * unique].reshape(n_images, unique)
    pixels = np.zeros((n_images, area), np.float32)
    pixels[:, shared] = 1
    np.put_along_axis(pixels, own, 1, axis=1)
    return Patches(
        pixels=pixels,
        labels=np.arange(n_images, dtype=np.int64),
        overlap=int(overlap),
        form=form,
        overlapping=np.sort(shared).astype(np.int64),
    )


def _require_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"expected {name} to be a whole number of at least {least}; got {value!r}")
