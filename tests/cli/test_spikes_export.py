"""`neurosleep spikes FILE --to ...`."""

import h5py
import numpy as np
import pytest

from neurosleep.sims.spikes.log import SpikeLog


@pytest.fixture
def log(tmp_path):
    with SpikeLog(tmp_path / "night.h5", {"input": 3, "output": 2}, dt=0.001) as log:
        log.begin_epoch("nrem")
        log.append([(np.uint32([1, 4]), np.uint32([2, 0])), (np.uint32([4]), np.uint32([1]))], 10)
        log.end_epoch()
    return tmp_path / "night.h5"


def test_spikes_are_written(cli, log, tmp_path) -> None:
    out = tmp_path / "sonata.h5"
    done = cli("spikes", log, "--to", "sonata", "--out", out)
    assert done.code == 0, done.err
    assert f"written into {out}" in done.out
    with h5py.File(out) as file:
        assert file["spikes/input/timestamps"][:].tolist() == [1, 4]
    again = cli("spikes", log, "--to", "sonata", "--out", out)
    assert again.code == 2
    assert "exists already" in again.err
    assert cli("spikes", log, "--to", "csv", "--out", out, "--force").code == 0
    assert out.read_text().splitlines()[1] == "0.001,1,input,2,nrem"


def test_the_log_itself_is_not_replaced(cli, assert_refused, log) -> None:
    before = log.read_bytes()
    assert_refused(cli("spikes", log, "--to", "csv", "--out", log, "--force"), "is the log that is to be read")
    assert log.read_bytes() == before


def test_damaged_spikes_are_not_written(cli, assert_refused, log, tmp_path) -> None:
    with h5py.File(log, "r+") as file:
        file["spikes/input/node_id"][0] = 4_000_000_000
    assert_refused(cli("spikes", log, "--to", "csv", "--out", tmp_path / "new.csv"), "night.h5 is damaged")
    assert_refused(cli("spikes", log), "night.h5 is damaged")
    assert [p.name for p in tmp_path.iterdir()] == ["night.h5"]


@pytest.mark.parametrize(
    ("name", "module", "attributes"), [("nwb", "pynwb", ("NWBHDF5IO",)), ("nirdata", "nir", ("NIRGraphData",))]
)
def test_formats_of_optional_packages(cli, log, tmp_path, name, module, attributes) -> None:
    package = pytest.importorskip(module)
    if not all(hasattr(package, attribute) for attribute in attributes):
        pytest.skip(f"an older {module}")
    out = tmp_path / f"spikes.{name}"
    done = cli("spikes", log, "--to", name, "--out", out)
    assert done.code == 0, done.err
    assert h5py.is_hdf5(out)


def test_who_slept_is_told_in_nwb(cli, assert_refused, log, tmp_path) -> None:
    pynwb = pytest.importorskip("pynwb")
    written = ("spikes", log, "--to", "nwb", "--out", tmp_path / "a.nwb", "--subject")
    assert cli(*written, "subject_id=M1", "--subject", "species=Mus musculus").code == 0
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "r") as io:
        assert io.read().subject.species == "Mus musculus"
    assert_refused(cli(*written, "sex=male", "--force"), "subject: sex must be one of M, F")
    assert_refused(cli(*written, "sex"), "--subject takes KEY=VALUE, got sex")
    assert_refused(cli("spikes", log, "--subject", "sex=F"), "--subject belongs to --to nwb")


@pytest.mark.parametrize("options", [("--to", "sonata"), ("--out", "x")])
def test_to_and_out_belong_together(cli, log, options) -> None:
    done = cli("spikes", log, *options)
    assert done.code == 2
    assert "belong together" in done.err
