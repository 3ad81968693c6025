"""NWB files that DANDI takes: who slept, an identifier of its own for each night, nothing empty."""

import shutil
import uuid

import numpy as np
import pytest

from neurosleep.interchange import to_nwb
from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes.log import SpikeLog

pynwb = pytest.importorskip("pynwb")
SIZES = {"input": 12, "hidden1": 5}


def write(path, *nights, seed=3, **options):
    """Write nights of so many steps, with two spikes of every neuron if they have any steps."""
    rng = np.random.default_rng(seed)
    with SpikeLog(path, SIZES, dt=0.001, seed=seed, **options) as log:
        for number, steps in enumerate(nights):
            log.begin_epoch(f"night {number}", seed=seed)
            spikes = 2 if steps else 0
            step = [np.sort(rng.integers(0, max(1, steps), spikes * n)).astype(np.uint32) for n in SIZES.values()]
            node = [np.tile(np.arange(n, dtype=np.uint32), spikes) for n in SIZES.values()]
            log.append(list(zip(step, node, strict=True)), steps)
            log.end_epoch()
    return path


def read(path, take):
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        return take(io.read())


def identifier(path):
    return read(path, lambda file: file.identifier)


@pytest.mark.parametrize(
    ("nights", "options"),
    [((900, 0, 300), {}), ((900,), {}), ((900, 50), {"windows": [(200, 400), (400, 500)]}), ((0, 0, 40), {})],
)
def test_the_inspector_finds_nothing_that_dandi_would_refuse(tmp_path, nights, options) -> None:
    inspector = pytest.importorskip("nwbinspector")
    log = write(tmp_path / "night.h5", *nights, **options)
    to_nwb(log, tmp_path / "night.nwb")
    found = list(inspector.inspect_nwbfile(nwbfile_path=tmp_path / "night.nwb", config=inspector.load_config("dandi")))
    assert {message.importance.name for message in found} == {"BEST_PRACTICE_SUGGESTION"}, found
    assert pynwb.validate(path=str(tmp_path / "night.nwb")) == []


def test_stages_of_no_steps_are_left_out(tmp_path) -> None:
    to_nwb(write(tmp_path / "night.h5", 100, 0, 50), tmp_path / "night.nwb")
    spans = read(
        tmp_path / "night.nwb", lambda file: list(zip(file.epochs.start_time[:], file.epochs.stop_time[:], strict=True))
    )
    assert spans == [(0.0, 0.1), (0.1, 0.15)]
    to_nwb(write(tmp_path / "none.h5", 100, windows=[(200, 300)], overwrite=True), tmp_path / "none.nwb")
    assert read(tmp_path / "none.nwb", lambda file: "obs_intervals" in file.units.colnames) is False


def test_who_slept_is_said_to_be_simulated_unless_it_is_given(tmp_path) -> None:
    log = write(tmp_path / "night.h5", 100)
    told = {}
    for name, subject in (("a", None), ("b", {"species": "Mus musculus", "age": "P90D/P100D", "subject_id": "M 1"})):
        to_nwb(log, tmp_path / f"{name}.nwb", subject=subject)
        told[name] = read(tmp_path / f"{name}.nwb", lambda file: {**file.subject.fields})
    assert told["a"]["description"].startswith("simulated: ")
    assert (told["a"]["subject_id"], told["a"]["sex"], told["a"]["age"]) == ("simulated-seed-3", "U", "P0D")
    assert told["a"]["species"].endswith("NCBITaxon_32630")  # synthetic construct
    given = {"species": "Mus musculus", "age": "P90D/P100D", "subject_id": "M 1"}
    assert told["b"] == told["a"] | given


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("species", "mouse", "Latin binomial"),
        ("species", "http://example.org/NCBITaxon_1", "Latin binomial"),
        ("subject_id", "a/b", "text without '/'"),
        ("subject_id", "", "text without '/'"),
        ("age", "90 days", "ISO 8601"),
        ("age", "P", "ISO 8601"),
        ("sex", "male", "one of M, F, O"),
        ("description", " ", "must be text"),
        ("description", 5, "must be text"),
        ("description", "a\0b", "must be text"),
        ("weight", "20", "a number and a unit"),
        ("specie", "Mus musculus", "no key 'specie'; did you mean 'species'?"),
    ],
)
def test_a_subject_that_dandi_would_refuse_is_refused(tmp_path, key, value, expected) -> None:
    log = write(tmp_path / "night.h5", 100)
    with pytest.raises(InputError, match="subject: ") as error:
        to_nwb(log, tmp_path / "night.nwb", subject={key: value})
    assert expected in str(error.value)
    assert not (tmp_path / "night.nwb").exists()


def test_the_identifier_is_of_the_spikes(tmp_path) -> None:
    log = write(tmp_path / "night.h5", 100, 50)
    same = shutil.copy(log, tmp_path / "copy.h5")
    others = write(tmp_path / "other.h5", 100, 50, seed=4)
    ways = {
        "a": (log, {}),
        "copy": (same, {}),
        "other": (others, {}),
        "part": (log, {"stop": 100}),
        "some": (log, {"populations": ["input"]}),
    }
    found = {}
    for name, (path, options) in ways.items():
        to_nwb(path, tmp_path / f"{name}.nwb", **options)
        found[name] = identifier(tmp_path / f"{name}.nwb")
        uuid.UUID(found[name])
    assert found["a"] == found["copy"]
    assert len(set(found.values())) == 4


def test_more_neurons_than_a_file_can_name(tmp_path) -> None:
    with SpikeLog(tmp_path / "wide.h5", {"input": 5_000_000, "output": 2}, dt=0.001) as log:
        log.begin_epoch("night")
        log.append([(np.uint32([1]), np.uint32([7])), (np.uint32([1]), np.uint32([1]))], 10)
    with pytest.raises(InputError, match="has 5,000,002 neurons, but NWB has a unit for each neuron"):
        to_nwb(tmp_path / "wide.h5", tmp_path / "wide.nwb")
    to_nwb(tmp_path / "wide.h5", tmp_path / "wide.nwb", populations=["output"])
