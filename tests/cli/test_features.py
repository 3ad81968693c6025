"""`neurosleep features` and `neurosleep backbone` on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from neurosleep.data import ColourImages
from neurosleep.features import cache as vision
from neurosleep.features import training as backbone_training
from neurosleep.features.recipes import RECIPES


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Few images of noise in place of the real sets, and an empty cache."""

    def load(name, split, *_):
        n = {"train": 50, "test": 10}[split]
        rng = np.random.default_rng(n)
        pixels = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        return ColourImages(pixels, rng.integers(0, 2, n), name, split, Path(), "noise", ("a", "b"))

    monkeypatch.setattr(vision, "load_cifar", load)
    monkeypatch.setattr("neurosleep.data.load_cifar", load)
    monkeypatch.setattr(vision, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))


TINY = ("backbone", "--epochs", 2, "--batch-size", 25, "--precision", "float32", "--out")


def test_training_and_features_with_what_was_trained(cli, images, tmp_path):
    trained = cli(*TINY, tmp_path / "out", "--seed", 3, "--no-augment")
    assert (trained.code, trained.err) == (0, "")
    assert [line.split(":")[0] for line in trained.out.splitlines()[:2]] == ["epoch   1 of 2", "epoch   2 of 2"]
    options = json.loads((tmp_path / "out" / "training.json").read_text())["options"]
    assert (options["seed"], options["augment"], options["images"]) == (3, False, "cifar100, noise")
    shown = cli("features", "cifar10", "--weights", tmp_path / "out" / "backbone.npz")
    assert (shown.code, shown.err) == (0, "")
    head, train, test, *_ = shown.out.splitlines()
    assert head.split()[:3] == ["split", "images", "form"]
    assert train.split()[:3] == ["train", "50", "noise"]
    assert test.split()[:3] == ["test", "10", "noise"]
    assert train.split()[4] == "1.0000"  # the largest
    assert str(tmp_path / "cache") in shown.out
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 2


def test_layers_of_brain_inspired_replay(cli, images, tmp_path):
    trained = cli(*TINY, tmp_path / "out", "--layers", "conv-cifar10", "--optimizer", "sgd")
    assert (trained.code, trained.err) == (0, "")
    options = json.loads((tmp_path / "out" / "training.json").read_text())["options"]
    assert (options["layers"], options["optimizer"], options["images"]) == ("conv-cifar10", "sgd", "cifar10, noise")
    assert (options["epochs"], options["learning_rate"], options["weight_decay"]) == (2, 1e-4, 0)
    for weights in ((), ("--weights", tmp_path / "out" / "backbone.npz")):
        shown = cli("features", "cifar100", "--layers", "conv-cifar10", *weights)
        assert (shown.code, shown.err) == (0, "")
        head, train, test, *_ = shown.out.splitlines()
        assert head.split()[-3:] == ["s.d.", "negative", "%"]
        assert (train.split()[:2], test.split()[:2]) == (["train", "50"], ["test", "10"])
        assert float(train.split()[5]) < 0  # the smallest
    wrong = cli("features", "cifar100", "--weights", tmp_path / "out" / "backbone.npz")
    assert wrong.code == 2
    assert "not weights of the layers vgg-cifar100" in wrong.err


def test_help_tells_the_recipes(cli):
    told = " ".join(cli("backbone", "--help").out.split())
    vgg, conv = RECIPES["vgg-cifar100"], RECIPES["conv-cifar10"]
    for name in ("epochs", "batch_size", "optimizer", "learning_rate", "schedule", "precision"):
        assert f"({getattr(vgg, name)}; conv-cifar10: {getattr(conv, name)})" in told
    assert (vgg.momentum, conv.momentum, vgg.weight_decay, conv.weight_decay) == (0.9, 0.9, 0.0005, 0)


@pytest.mark.parametrize(("layers", "expected"), [("vgg-cifar100", "cifar100"), ("conv-cifar10", "cifar10")])
def test_recipes_are_the_defaults(cli, images, monkeypatch, tmp_path, layers, expected):
    asked = []
    monkeypatch.setattr(backbone_training, "train_backbone", lambda *args, **_: asked.append(args) or tmp_path)
    assert cli("backbone", "--layers", layers).code == 0
    ((_, train, test, options),) = asked
    assert (train.name, test.name, options) == (expected, expected, RECIPES[layers])


def test_defaults_are_those_of_the_weights_that_ship(cli, images, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(backbone_training, "train_backbone", lambda *args, **_: asked.append(args) or tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli("backbone").code == 0
    ((out, train, test, options),) = asked
    assert (out, train.name, train.split, test.split) == (Path("backbone"), "cifar100", "train", "test")
    assert options == backbone_training.BackboneTraining()


def test_ctrl_c_says_how_to_go_on(cli, images, monkeypatch, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(backbone_training, "train_backbone", stop)
    result = cli(*TINY, tmp_path / "out")
    assert (result.code, result.out) == (130, "")
    assert result.err == (
        f"neurosleep: stopped; the same command goes on after the last whole epoch, from {tmp_path / 'out'}\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["features", "mnist"], ["'mnist'", "cifar10"]),
        (["features", "cifar10", "--data-dir", "nowhere"], ["nowhere", "found neither"]),
        (["features", "cifar10", "--weights", "none.npz"], ["none.npz", "expected a file of weights"]),
        (["backbone", "--data-dir", "nowhere"], ["nowhere", "found neither"]),
        (["backbone", "--momentum", "1"], ["momentum"]),
        (["backbone", "--layers", "resnet"], ["'resnet'", "conv-cifar10"]),
        (["features", "cifar10", "--layers", "resnet"], ["'resnet'", "conv-cifar10"]),
        (["backbone", "--epochs", "0"], ["--epochs"]),
    ],
)
def test_bad_input(cli, assert_refused, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    assert_refused(cli(*words), *told)
    assert list(tmp_path.iterdir()) == []
