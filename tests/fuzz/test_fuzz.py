"""Two thousand damaged files of all formats; `python -m tests.fuzz --inputs 100000` reads more."""

import json
import re
from pathlib import Path

import pytest

INPUTS = 2000
FORMATS = (
    *(
        "log-finished",
        "log-killed",
        "log-samples",
        "log-segments",
        "checkpoint",
        "memory",
        "learner",
        "training",
        "weights",
        "layers",
    ),
    *(
        "embeddings-npz",
        "embeddings-h5",
        "embeddings-mat",
        "embeddings-mat-packed",
        "inputs-npy",
        "inputs-npz",
        "projection",
    ),
    *("digits", "digits-gz", "features", "mosaic", "program", "torchscript", "nir", "toml", "settings", "arguments"),
    *("record", "folder", "folder-log", "search"),
)
ALLOWED = {"same", "refused", "other"}


@pytest.fixture(scope="module")
def found(fuzz, tmp_path_factory):
    """What came of each format's inputs."""
    folder = tmp_path_factory.mktemp("fuzz")
    done = fuzz(folder, "--inputs", str(INPUTS), "--json", str(folder / "found.json"))
    assert (folder / "found.json").exists(), done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


def test_every_format_is_there(found):
    assert set(found) == set(FORMATS)
    assert sum(sum(one["counts"].values()) for one in found.values()) == pytest.approx(INPUTS, abs=len(FORMATS))


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_as_they_were_or_refused(found, name):
    counts = found[name]["counts"]
    assert found[name]["failing"] == []
    assert counts["refused"] > 0
    assert set(counts) <= ALLOWED


def test_the_page_names_tests_and_formats_that_there_are():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reliability.md").read_text("utf-8")
    named = set(re.findall(r"tests/\w+/\w+\.py", page))
    assert named
    assert {name for name in named if not (root / name).exists()} == set()
    listed = set(re.findall(r"[\w-]+", " ".join(re.findall(r"fuzz \(([^)]*)\)", page))))
    assert {name for name in listed if "-" in name} <= set(FORMATS)
