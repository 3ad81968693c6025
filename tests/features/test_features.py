"""Features of images: the layers, their training, and the cache."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neurosleep.data import ColourImages, DataError
from neurosleep.features import cache as vision
from neurosleep.features import training as backbone_training
from neurosleep.features.training import BackboneTraining, augmented, classifier, train_backbone
from neurosleep.sims.errors import InputError

FOLDERS = (os.environ.get("NEUROSLEEP_DATA", ""), Path(__file__).parents[3] / "shared" / "data")
REAL = next((Path(f) for f in FOLDERS if f and (Path(f) / "cifar10").is_dir()), None)
N = {"train": 60, "test": 20}


def tiny(split, seed=0):
    """Images of three classes, of which each has one bright colour."""
    rng = np.random.default_rng([seed, split == "test"])
    labels = rng.integers(0, 3, N[split])
    pixels = rng.integers(0, 60, (N[split], 32, 32, 3), np.uint8)
    pixels[np.arange(N[split]), :, :, labels] += 150 if split == "train" else 190
    return ColourImages(pixels, labels, "tiny", split, Path(), "drawn", ("red", "green", "blue"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "user_cache_dir", lambda name, appauthor: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurosleep" / "features"


@pytest.fixture
def images(monkeypatch):
    """Images that are loaded instead of CIFAR's; tests may change them."""
    held = {split: tiny(split) for split in N}
    monkeypatch.setattr(vision, "load_cifar", lambda name, split, *_: replace(held[split], name=name))
    return held


def reference(images):
    """The features in torch's own words, from the weights that ship."""
    with np.load(vision.SHIPPED) as weights:
        w = {name: torch.from_numpy(weights[name]) for name in weights.files}
    x = (torch.from_numpy(images.pixels).permute(0, 3, 1, 2).float() - 127.5) / 63.75
    for block in (0, 5, 10):
        for layer in (block, block + 2):
            x = torch.relu(nn.functional.conv2d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=1))
        x = nn.functional.max_pool2d(x, 2)
    return x.flatten(1).numpy()


# The layers


def test_layers_are_the_published_ones():
    layers = list(vision.Backbone())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        *((3, 32, (3, 3)), (32, 32, (3, 3)), (32, 64, (3, 3))),
        *((64, 64, (3, 3)), (64, 128, (3, 3)), (128, 128, (3, 3))),
    ]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in layers) == 3
    assert vision.Backbone()(torch.zeros(2, 3, 32, 32)).shape == (2, 2048)
    head = [layer.out_features for layer in classifier(vision.Backbone(), 100, 0)[1] if isinstance(layer, nn.Linear)]
    assert head == [1028, 256, 100]


def test_weights_that_ship():
    content = vision.SHIPPED.read_bytes()
    assert hashlib.sha256(content).hexdigest() == vision.SHA256
    assert len(content) < 1_300_000
    backbone = vision.load_backbone()
    assert sum(p.numel() for p in backbone.parameters()) == 287_008
    assert not backbone.training


@pytest.mark.skipif(REAL is None, reason="CIFAR-10 is not on this machine")
def test_features_tell_real_classes_apart(monkeypatch):
    """Nearest class mean of a part of CIFAR-10's test images; raw pixels give 28 %."""
    load = vision.load_cifar

    def part(name, split, *rest):
        full = load(name, "test", *rest)
        chosen = slice(0, 1500) if split == "train" else slice(1500, 2500)
        return replace(full, pixels=full.pixels[chosen], labels=full.labels[chosen], split=split)

    monkeypatch.setattr(vision, "load_cifar", part)
    train, test = (vision.features("cifar10", split, REAL) for split in ("train", "test"))
    means = np.stack([train.inputs[train.labels == label].mean(0) for label in range(10)])
    distances = (means**2).sum(1) - 2 * test.inputs @ means.T
    assert (distances.argmin(1) == test.labels).mean() > 0.45


# Features


def test_both_splits_are_divided_by_the_training_maximum(images):
    images["train"], images["test"] = (replace(images[a], split=b) for a, b in (("test", "train"), ("train", "test")))
    expected = {split: reference(images[split]) for split in N}
    maximum = expected["train"].max()
    assert expected["test"].max() > maximum  # so that cutting off is tested too
    for split in ("test", "train"):
        found = vision.features("cifar10", split)
        np.testing.assert_allclose(found.inputs, np.minimum(expected[split] / maximum, 1), rtol=2e-3, atol=1e-4)
        assert found.inputs.dtype == np.float32
        assert found.inputs.flags.writeable
        assert (found.inputs.min(), found.inputs.max()) == (0, 1)
        assert found.maximum == pytest.approx(maximum, rel=1e-3)
        np.testing.assert_array_equal(found.labels, images[split].labels)
        assert (found.name, found.split, found.form) == ("cifar10", split, "drawn")


def test_more_images_than_a_batch(images, monkeypatch):
    whole = vision.features("cifar10", "train").inputs
    monkeypatch.setattr(vision, "BATCH", 7)
    monkeypatch.setattr(vision, "VERSION", 2)
    np.testing.assert_allclose(vision.features("cifar10", "train").inputs, whole, rtol=2e-3, atol=1e-4)


def test_features_are_computed_once(images, computed, cache):
    first = vision.features("cifar10", "test")
    assert computed == ["test", "train"]
    second = vision.features("cifar10", "test")
    vision.features("cifar10", "train")
    assert computed == ["test", "train"]
    np.testing.assert_array_equal(first.inputs, second.inputs)
    assert len(list(cache.iterdir())) == 4  # and nothing temporary


def test_other_images_weights_and_versions_are_computed_anew(images, computed, tmp_path, monkeypatch):
    vision.features("cifar10", "train")
    images["train"].pixels[0, 0, 0, 0] ^= 255
    vision.features("cifar10", "train")
    torch.manual_seed(0)
    vision.save_weights(tmp_path / "own.npz", vision.Backbone())
    vision.features("cifar10", "train", weights=tmp_path / "own.npz")
    monkeypatch.setattr(vision, "VERSION", 99)
    vision.features("cifar10", "train")
    assert computed == ["train"] * 4


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("ending", [".npy", ".json"])
@pytest.mark.parametrize("damage", [cut, flip, empty, remove])
def test_damaged_cache_is_computed_anew(images, computed, cache, ending, damage):
    first = vision.features("cifar10", "train")
    (path,) = cache.glob(f"*{ending}")
    good = path.read_bytes()
    damage(path)
    np.testing.assert_array_equal(vision.features("cifar10", "train").inputs, first.inputs)
    assert computed == ["train"] * 2
    assert path.read_bytes() == good


def test_another_maximum_in_the_cache_is_not_believed(images, computed, cache):
    first = vision.features("cifar10", "train")
    (path,) = cache.glob("*.json")
    good = json.loads(path.read_text())
    path.write_text(json.dumps(good | {"maximum": 2 * good["maximum"]}))
    np.testing.assert_array_equal(vision.features("cifar10", "train").inputs, first.inputs)
    assert json.loads(path.read_text()) == good


def test_interrupted_computation_leaves_nothing(images, cache, monkeypatch):
    monkeypatch.setattr(vision, "BATCH", 7)
    calls = iter(range(3))

    def stopped(self, pixels):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return torch.zeros(len(pixels), 2048)

    monkeypatch.setattr(vision.Backbone, "forward", stopped)
    with pytest.raises(KeyboardInterrupt):
        vision.features("cifar10", "train")
    assert list(cache.iterdir()) == []


def test_what_a_killed_computation_left_is_removed(images, cache):
    vision.features("cifar10", "train")
    (path,) = cache.glob("*.npy")
    old, young = (path.with_name(f".{path.name}.{end}") for end in ("old", "young"))
    for left in (old, young):
        left.write_bytes(b"part")
    os.utime(old, (1e9, 1e9))
    path.unlink()
    vision.features("cifar10", "train")
    assert path.exists()
    assert young.exists()  # perhaps of another process that is still at work
    assert not old.exists()


def test_cache_that_cannot_be_written_is_one_clear_error(images, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file, no folder")
    with pytest.raises(DataError, match=r"cannot be kept in the cache .* XDG_CACHE_HOME"):
        vision.features("cifar10", "train")


def test_weights_that_give_nothing_are_refused(images, tmp_path):
    backbone = vision.Backbone()
    for parameter in backbone.parameters():
        nn.init.zeros_(parameter)
    vision.save_weights(tmp_path / "zero.npz", backbone)
    with pytest.raises(InputError, match="no features above zero"):
        vision.features("cifar10", "train", weights=tmp_path / "zero.npz")
    nn.init.constant_(backbone[12].bias, 1e9)
    vision.save_weights(tmp_path / "huge.npz", backbone)
    with pytest.raises(InputError, match="beyond 65504"):
        vision.features("cifar10", "train", weights=tmp_path / "huge.npz")


def test_faulty_weights_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="expected a file of weights; found No such file"):
        vision.load_backbone(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(vision.SHIPPED.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"not a whole \.npz file of weights"):
        vision.load_backbone(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"expected the arrays 0\.weight 32x3x3x3.*; found others"):
        vision.load_backbone(tmp_path / "other.npz")
    monkeypatch.setattr(vision, "SHIPPED", tmp_path / "bad.npz")
    with pytest.raises(DataError, match="not the file that ships"):
        vision.load_backbone()


# Training

SHORT = BackboneTraining(epochs=3, batch_size=20, learning_rate=0.01, precision="float32")


def weights_of(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_training_learns_and_its_weights_can_be_used(tmp_path):
    measures = []
    path = train_backbone(
        tmp_path, tiny("train"), tiny("test"), replace(SHORT, epochs=6), progress=False, on_epoch=measures.append
    )
    assert [m["epoch"] for m in measures] == [1, 2, 3, 4, 5, 6]
    assert measures[-1]["loss"] < 0.5 * measures[0]["loss"]
    assert measures[-1]["test_accuracy"] > 0.8
    report = json.loads((tmp_path / "training.json").read_text())
    assert report["history"] == measures
    assert report["options"]["images"] == "tiny, drawn"
    assert vision.load_backbone(path)(torch.zeros(1, 3, 32, 32)).shape == (1, 2048)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backbone.npz", "checkpoint.pt", "training.json"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_interrupted_training_ends_as_an_uninterrupted_one(tmp_path, precision):
    options = replace(SHORT, precision=precision)
    train, test = tiny("train"), tiny("test")
    whole = train_backbone(tmp_path / "whole", train, test, options, progress=False)

    def stop(measures):
        if measures["epoch"] == 2:
            raise KeyboardInterrupt

    def intrude(measures):
        with pytest.raises(InputError, match=r"another process trains in .*parts: wait"):
            train_backbone(tmp_path / "parts", train, test, options, progress=False)
        stop(measures)

    with pytest.raises(KeyboardInterrupt):
        train_backbone(tmp_path / "parts", train, test, options, progress=False, on_epoch=intrude)
    assert not (tmp_path / "parts" / "backbone.npz").exists()
    epochs = []
    parts = train_backbone(tmp_path / "parts", train, test, options, progress=False, on_epoch=epochs.append)
    assert len(epochs) == 1
    assert parts.read_bytes() == whole.read_bytes()
    reports = [path.with_name("training.json").read_text() for path in (parts, whole)]
    assert reports[0] == reports[1]


KILLED = """
import sys, torch
sys.path[:0] = {paths!r}
torch.set_num_threads(1)
from test_features import SHORT, tiny
from dataclasses import replace
from neurosleep.features.training import train_backbone
train_backbone(sys.argv[1], tiny("train"), tiny("test"), replace(SHORT, epochs=40), progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_training_leaves_a_whole_checkpoint(tmp_path):
    paths = [str(Path(__file__).parent), str(Path(vision.__file__).parents[2])]
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(paths=paths), tmp_path])
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 1 <= len(found["history"]) <= 40


def test_finished_training_is_not_done_again(tmp_path):
    path = train_backbone(tmp_path, tiny("train"), tiny("test"), SHORT, progress=False)
    before = path.read_bytes()
    train_backbone(tmp_path, tiny("train"), tiny("test"), SHORT, progress=False, on_epoch=pytest.fail)
    assert path.read_bytes() == before


def test_checkpoint_of_other_options_is_refused(tmp_path):
    train_backbone(tmp_path, tiny("train"), tiny("test"), replace(SHORT, epochs=1), progress=False)
    with pytest.raises(InputError, match=r"other options \(epochs, seed\)"):
        train_backbone(tmp_path, tiny("train"), tiny("test"), replace(SHORT, seed=1), progress=False)


@pytest.mark.parametrize("damage", [cut, empty])
def test_damaged_checkpoint_is_refused(tmp_path, damage):
    train_backbone(tmp_path, tiny("train"), tiny("test"), replace(SHORT, epochs=1), progress=False)
    if damage is cut:
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:1000])
    else:
        empty(tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"checkpoint.pt: not a whole checkpoint .*delete it"):
        train_backbone(tmp_path, tiny("train"), tiny("test"), replace(SHORT, epochs=1), progress=False)


def test_checkpoint_that_cannot_be_written_keeps_the_one_before(tmp_path, room_for):
    train, test = tiny("train"), tiny("test")
    train_backbone(tmp_path / "one", train, test, replace(SHORT, epochs=1), progress=False)
    size = (tmp_path / "one" / "checkpoint.pt").stat().st_size

    with ExitStack() as full, pytest.raises(OSError, match="while writing"):
        train_backbone(
            tmp_path, train, test, SHORT, progress=False, on_epoch=lambda _: full.enter_context(room_for(size - 1))
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "one"]
    assert len(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["history"]) == 1


def test_every_epoch_has_an_order_of_its_own(tmp_path, monkeypatch):
    orders = []

    def spy(padded, chosen, rng):
        orders.append(chosen.tolist())
        return augmented(padded, chosen, rng)

    monkeypatch.setattr(backbone_training, "augmented", spy)
    train_backbone(tmp_path, tiny("train"), tiny("test"), replace(SHORT, epochs=2, batch_size=60), progress=False)
    first, second = orders
    assert first != second
    assert sorted(first) == sorted(second) == list(range(60))


def test_precision_is_that_of_training_and_testing(tmp_path, monkeypatch):
    asked, autocast = [], torch.autocast
    monkeypatch.setattr(
        torch, "autocast", lambda *words, enabled: asked.append(enabled) or autocast(*words, enabled=enabled)
    )
    for precision in ("float32", "bfloat16"):
        options = replace(SHORT, epochs=1, precision=precision)
        train_backbone(tmp_path / precision, tiny("train"), tiny("test"), options, progress=False)
    assert asked == [False] * 4 + [True] * 4  # three steps and a test


def test_options_are_used(tmp_path):
    def trained(**options):
        options = replace(SHORT, epochs=1, **options)
        path = train_backbone(tmp_path / str(options), tiny("train"), tiny("test"), options, progress=False)
        return weights_of(path)["0.weight"]

    tmp_path.joinpath("x").mkdir()
    base = trained()
    np.testing.assert_array_equal(base, trained(warm_up=0.15))
    for option in (
        {"seed": 1},
        {"batch_size": 30},
        {"learning_rate": 0.02},
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"schedule": "cosine"},
        {"warm_up": 0.5},
        {"augment": False},
        {"label_smoothing": 0.3},
        {"max_norm": 0.1},
        {"precision": "bfloat16"},
    ):
        assert (trained(**option) != base).any(), option


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0},
        {"momentum": 1},
        {"weight_decay": -1},
        {"warm_up": 0},
        {"label_smoothing": 1},
        {"max_norm": 0},
        {"schedule": "steps"},
        {"precision": "float16"},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError, match=next(iter(options))):
        BackboneTraining(**options)


def test_learning_rates():
    one, cosine, constant = (BackboneTraining(schedule=s, learning_rate=2) for s in ("one-cycle", "cosine", "constant"))
    assert [one.rate(p) for p in (0, 0.15, 1)] == pytest.approx([0.08, 2, 0])
    assert one.rate(0.075) == pytest.approx(1.04)
    assert one.rate(0.575) == pytest.approx(1)
    assert [cosine.rate(p) for p in (0, 0.5, 1)] == pytest.approx([2, 1, 0])
    assert constant.rate(0.9) == 2


def test_augmented_images_are_shifted_and_mirrored():
    images = tiny("train").pixels
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    chosen = np.array([5, 3, 8])
    np.testing.assert_array_equal(augmented(padded, chosen, None), images[chosen])
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(400):
        (found,) = augmented(padded, np.array([7]), rng)
        crops = {
            (top, left, mirrored): padded[7, top : top + 32, left : left + 32][:, :: -1 if mirrored else 1]
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
        }
        seen |= {key for key, crop in crops.items() if (found == crop).all()}
    assert {key[0] for key in seen} == {key[1] for key in seen} == set(range(9))
    assert {key[2] for key in seen} == {False, True}
    assert len(seen) > 120
