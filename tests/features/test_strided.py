"""The layers "conv-cifar10": weights as published, signed features, and training from scratch."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from neurosleep.data import ColourImages, DataError
from neurosleep.features import architectures as convolutions
from neurosleep.features import cache as vision
from neurosleep.features import training as backbone_training
from neurosleep.features.recipes import IMAGES, RECIPES, BackboneTraining
from neurosleep.features.training import classifier, train_backbone
from neurosleep.sims.errors import InputError

FOLDERS = (os.environ.get("NEUROSLEEP_DATA", ""), Path(__file__).parents[3] / "shared" / "data")
REAL = next((Path(f) for f in FOLDERS if f and (Path(f) / "cifar100" / "test" / "apple.jpg").is_file()), None)
CONV = "conv-cifar10"
N = {"train": 60, "test": 20}


def tiny(split, name="cifar10"):
    """Images of three classes, of which each has one bright colour."""
    rng = np.random.default_rng([0, split == "test"])
    labels = rng.integers(0, 3, N[split])
    pixels = rng.integers(0, 60, (N[split], 32, 32, 3), np.uint8)
    pixels[np.arange(N[split]), :, :, labels] += 150
    return ColourImages(pixels, labels, name, split, Path(), "drawn", ("red", "green", "blue"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(vision, "user_cache_dir", lambda name, appauthor: tmp_path / "cache" / name)
    return tmp_path / "cache" / "neurosleep" / "features"


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(vision, "load_cifar", lambda name, split, *_: tiny(split, name))


def published():
    with np.load(vision.SHIPPED_STRIDED) as arrays:
        return {name: arrays[name] for name in arrays.files}


def reference(pixels, mean, deviation):
    """The features in torch's own words, in float64."""
    w = {name: torch.from_numpy(value).double() for name, value in published().items()}
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    x = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)
    for i in range(1, 6):
        layer = f"convLayer{i}"
        x = nn.functional.conv2d(
            x, w[f"{layer}.conv.weight"], w[f"{layer}.conv.bias"], stride=1 if i == 1 else 2, padding=1
        )
        if i < 5:
            scale = w[f"{layer}.bn.weight"] / torch.sqrt(w[f"{layer}.bn.running_var"] + 1e-5)
            shift = w[f"{layer}.bn.bias"] - w[f"{layer}.bn.running_mean"] * scale
            x = torch.relu(x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1))
    return x.flatten(1).numpy()


# The layers


def test_layers_are_the_published_ones():
    backbone = vision.load_backbone(layers=CONV)
    shapes = {name: value.shape for name, value in published().items()}
    assert {name: tuple(value.shape) for name, value in backbone.state_dict().items()} == shapes
    assert sum(value.size for value in published().values()) == 393_572
    assert not backbone.training
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 1024)
    head = [layer.out_features for layer in classifier(backbone, 10, 0)[1] if isinstance(layer, nn.Linear)]
    assert head == [2000, 2000, 10]


def test_weights_that_ship():
    content = vision.SHIPPED_STRIDED.read_bytes()
    assert hashlib.sha256(content).hexdigest() == vision.SHA256_STRIDED
    assert "Gido van de Ven" in vision.SHIPPED_STRIDED.with_name("LICENSE").read_text()
    assert int(published()["convLayer1.bn.num_batches_tracked"]) == 100 * (50_000 // 128)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_reference_values_of_a_zero_input(name):
    backbone = vision.load_backbone(layers=CONV, images=name)
    with torch.no_grad():
        found = backbone(255 * backbone.mean.expand(1, 3, 32, 32))[0, :6]  # the mean image, so zeros when normalised
    expected = [-0.029537, -0.002385, -0.178130, -0.332784, 0.374496, 0.253994]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


@pytest.mark.skipif(REAL is None, reason="CIFAR-100 is not on this machine")
def test_reference_values_of_an_image():
    """They are of lossless pixels; JPEG's changes them by a few hundredths, other normalisation or order by more."""
    with PIL.Image.open(REAL / "cifar100" / "test" / "apple.jpg") as mosaic:
        pixels = np.asarray(mosaic.convert("RGB"))[None, :32, :32].copy()
    with torch.no_grad():
        found = vision.load_backbone(layers=CONV, images="cifar100")(torch.from_numpy(pixels).permute(0, 3, 1, 2))[0]
    expected = [0.259244, 0.464866, -0.137630, 0.088685, -0.219717, -0.640967]
    np.testing.assert_allclose(found[:6].numpy(), expected, atol=0.08)
    assert float(found.mean()) == pytest.approx(-0.009122, abs=1e-3)


def without(weights):
    del weights["convLayer5.conv.bias"]


def other_shape(weights):
    weights["convLayer1.conv.weight"] = np.zeros((16, 3, 5, 5), np.float32)


def surplus(weights):
    weights["classifier.weight"] = np.zeros((10, 1024), np.float32)


def not_a_number(weights):
    weights["convLayer3.bn.running_var"][7] = np.nan


def words(weights):
    weights["convLayer5.conv.bias"] = np.array(["a"] * 256)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (without, r"expected the arrays convLayer5\.conv\.bias 256; found others \(none in their place\)"),
        (other_shape, r"convLayer1\.conv\.weight 16x3x3x3; found others \(convLayer1\.conv\.weight 16x3x5x5\)"),
        (surplus, r"found others \(classifier\.weight 10x1024\)"),
        (not_a_number, r"finite numbers in the array convLayer3\.bn\.running_var; found NaN"),
        (words, r"expected numbers in the array convLayer5\.conv\.bias; found <U1"),
    ],
)
def test_faulty_weights_are_refused(tmp_path, spoil, told):
    weights = published()
    spoil(weights)
    np.savez(tmp_path / "bad.npz", **weights)
    with pytest.raises(DataError, match=rf"bad\.npz: .*{told}"):
        vision.load_backbone(tmp_path / "bad.npz", CONV)


def test_weights_of_other_layers_damaged_and_changed_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"not weights of the layers conv-cifar10: .* and 26 more; found others \(0\.w"):
        vision.load_backbone(vision.SHIPPED, CONV)
    with pytest.raises(DataError, match="not weights of the layers vgg-cifar100"):
        vision.load_backbone(vision.SHIPPED_STRIDED)
    (tmp_path / "half.npz").write_bytes(vision.SHIPPED_STRIDED.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"not a whole \.npz file of weights"):
        vision.load_backbone(tmp_path / "half.npz", CONV)
    monkeypatch.setattr(vision, "SHIPPED_STRIDED", vision.SHIPPED)
    with pytest.raises(DataError, match="not the file that ships"):
        vision.load_backbone(layers=CONV)


def test_unknown_layers_and_sets_are_refused():
    with pytest.raises(InputError, match="expected layers among vgg-cifar100, conv-cifar10; got 'vgg'"):
        vision.load_backbone(layers="vgg")
    with pytest.raises(InputError, match="expected images of a set among cifar10, cifar100; got 'svhn'"):
        vision.features("svhn", "train", layers=CONV)


# Features


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_features_are_raw_and_signed(images, name):
    for split in N:
        found = vision.features(name, split, layers=CONV)
        expected = reference(tiny(split).pixels, *convolutions.STATISTICS[name])
        np.testing.assert_allclose(found.inputs, expected, rtol=1e-4, atol=1e-4)
        assert (found.inputs < 0).any()
        assert (found.inputs.dtype, found.maximum) == (np.float32, 1)
        np.testing.assert_array_equal(found.labels, tiny(split).labels)


def test_features_are_mapped_into_memory_and_safe_there(images, computed):
    found = vision.features("cifar100", "train", layers=CONV)
    assert isinstance(found.inputs, np.memmap)
    before = found.inputs.copy()
    torch.from_numpy(found.inputs)[:] = 0  # without a warning, and without a trace on disk
    np.testing.assert_array_equal(vision.features("cifar100", "train", layers=CONV).inputs, before)
    assert computed == ["train"]


def test_layers_and_sets_have_features_of_their_own(images, computed, cache):
    for name in ("cifar10", "cifar100"):
        vision.features(name, "train", layers=CONV)
    vision.features("cifar10", "train")
    assert computed == ["train"] * 3
    assert len(list(cache.glob("*.npy"))) == 3
    assert len({path.stem.split("-")[-1] for path in cache.glob("*.npy")}) == 3  # not by the file's first word alone


def flip(content):
    content[len(content) // 2] ^= 1


def cut(content):
    del content[-2:]


@pytest.mark.parametrize("damage", [flip, cut])
def test_damaged_cache_is_computed_anew(images, computed, cache, damage):
    expected = vision.features("cifar100", "test", layers=CONV).inputs.copy()
    (path,) = cache.glob("*.npy")
    content = bytearray(path.read_bytes())
    damage(content)
    path.unlink()
    path.write_bytes(content)
    np.testing.assert_array_equal(vision.features("cifar100", "test", layers=CONV).inputs, expected)
    assert computed == ["test"] * 2


def test_weights_that_give_no_numbers_are_refused(images, tmp_path, cache):
    weights = published()
    weights["convLayer2.bn.running_var"][0] = -1
    np.savez(tmp_path / "bad.npz", **weights)
    with pytest.raises(InputError, match="its weights are not trained"):
        vision.features("cifar10", "train", layers=CONV, weights=tmp_path / "bad.npz")
    assert list(cache.iterdir()) == []


# Training

SHORT = replace(RECIPES[CONV], epochs=3, batch_size=16)


def test_recipe_is_the_published_one():
    recipe = RECIPES[CONV]
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.augment) == (100, 128, 1e-4, True)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.max_norm) == ("adam", 0.9, 0, None)
    assert {recipe.rate(progress) for progress in (0, 0.5, 1)} == {1e-4}
    assert RECIPES["vgg-cifar100"] == BackboneTraining()
    assert IMAGES == {"vgg-cifar100": "cifar100", "conv-cifar10": "cifar10"}


def test_first_weights():
    backbone = convolutions.StridedBackbone()
    model = classifier(backbone, 10, seed=1)
    for module, n_inputs in ((backbone.convLayer2.conv, 16 * 9), (model[1][0], 1024)):
        for values in (module.weight, module.bias):
            assert float(values.detach().abs().max()) < n_inputs**-0.5
            assert float(values.detach().abs().max()) > 0.9 * n_inputs**-0.5
    assert torch.equal(backbone.convLayer1.bn.weight, torch.ones(16))
    again = classifier(convolutions.StridedBackbone(), 10, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_training_learns_and_its_weights_can_be_used(tmp_path, images):
    measures = []
    options = replace(SHORT, epochs=4, learning_rate=1e-3)
    path = train_backbone(tmp_path, tiny("train"), tiny("test"), options, progress=False, on_epoch=measures.append)
    assert measures[-1]["loss"] < 0.5 * measures[0]["loss"]
    report = json.loads((tmp_path / "training.json").read_text())
    assert (report["options"]["layers"], report["options"]["max_norm"]) == (CONV, None)
    with np.load(path) as arrays:
        assert sorted(arrays.files) == sorted(published())
        assert int(arrays["convLayer4.bn.num_batches_tracked"]) == 4 * (60 // 16)  # whole batches alone
    found = vision.features("cifar100", "train", layers=CONV, weights=path)
    means = np.stack([found.inputs[found.labels == label].mean(0) for label in range(3)])
    distances = ((found.inputs[:, None] - means) ** 2).sum(2)
    assert (distances.argmin(1) == found.labels).mean() > 0.9


def test_interrupted_training_ends_as_an_uninterrupted_one(tmp_path):
    train, test = tiny("train"), tiny("test")
    whole = train_backbone(tmp_path / "whole", train, test, SHORT, progress=False)

    def stop(measures):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_backbone(tmp_path / "parts", train, test, SHORT, progress=False, on_epoch=stop)
    epochs = []
    parts = train_backbone(tmp_path / "parts", train, test, SHORT, progress=False, on_epoch=epochs.append)
    assert [measures["epoch"] for measures in epochs] == [2, 3]
    assert parts.read_bytes() == whole.read_bytes()


def test_shifted_images_repeat_their_edges(tmp_path, monkeypatch):
    modes, pad = [], np.pad
    monkeypatch.setattr(
        backbone_training.np, "pad", lambda array, width, mode: modes.append(mode) or pad(array, width, mode)
    )
    for options in (SHORT, BackboneTraining(batch_size=20)):
        train_backbone(tmp_path / options.layers, tiny("train"), tiny("test"), replace(options, epochs=1))
    assert modes == ["symmetric", "reflect"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layers": "resnet"}, "layers must be one of vgg-cifar100, conv-cifar10, got 'resnet'"),
        ({"optimizer": "lbfgs"}, "optimizer must be one of sgd, adam, got 'lbfgs'"),
        ({"schedule": "step"}, "schedule must be one of one-cycle, cosine, constant, got 'step'"),
        ({"precision": "float16"}, "precision must be one of bfloat16, float32, got 'float16'"),
        ({"max_norm": 0.0}, "max_norm positive or None, got .* 0.0"),
    ],
)
def test_bad_options_are_refused(change, told):
    with pytest.raises(InputError, match=told):
        replace(SHORT, **change)


def test_images_that_cannot_be_trained_on_are_refused(tmp_path):
    with pytest.raises(InputError, match="batch_size must be at most the number of images, 60; got 61"):
        train_backbone(tmp_path / "out", tiny("train"), tiny("test"), replace(SHORT, batch_size=61))
    with pytest.raises(InputError, match="expected images of a set among"):
        train_backbone(tmp_path / "out", tiny("train", "tiny"), tiny("test", "tiny"), SHORT)
    assert not (tmp_path / "out").exists()
