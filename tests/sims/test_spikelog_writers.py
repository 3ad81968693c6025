"""One writer of a spike log, any number of readers, and nobody who goes on with what is not theirs."""

import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes import lock
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import Epoch, SpikeReader
from neurosleep.sims.spikes.resume import Expected

POPULATIONS = {"input": 5, "output": 2}
EMPTY = [(np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.uint32))] * 2
IDENTITY = "0123456789abcdef" * 4
EXPECTED = Expected(IDENTITY, POPULATIONS, 0.001, 7, [("evening", 0, 3), ("night", 10, 4)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spikes.h5"


def spikes(*steps: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array(steps, dtype=np.uint32), np.zeros(len(steps), dtype=np.uint32)), EMPTY[1]]


def write(path: Path, *nights: str, until: int = 10, identity: str | None = IDENTITY, complete: bool = True) -> None:
    log = SpikeLog(path, POPULATIONS, 0.001, seed=7, identity=identity)
    for number, name in enumerate(nights):
        log.begin_epoch(name, seed=3 + number)
        stop = until if number == len(nights) - 1 else 10
        log.append(spikes(0, 1, 2) if stop else EMPTY, stop)
        log.end_epoch()
    interrupted = KeyboardInterrupt()
    log.__exit__(*((None, None) if complete else (KeyboardInterrupt, interrupted)), None)


def test_a_second_writer_is_refused_and_the_first_goes_on(path: Path) -> None:
    with SpikeLog(path, POPULATIONS, 0.001) as first:
        first.begin_epoch("mine")
        first.append(spikes(1, 2, 3), 10)
        first.flush()
        for second in (
            lambda: SpikeLog(path, POPULATIONS, 0.001, overwrite=True),
            lambda: SpikeLog(path, POPULATIONS, 0.001),
            lambda: SpikeLog.resume(path, 0),
        ):
            with pytest.raises(InputError, match=r"is being written by another process, or another SpikeLog"):
                second()
        first.append(spikes(12), 20)
        first.end_epoch()
    with SpikeReader(path) as reader:
        assert ([epoch.name for epoch in reader.epochs], reader.counts("input")) == (["mine"], 4)
    with SpikeLog(path, POPULATIONS, 0.001, overwrite=True):
        pass
    assert list(path.parent.iterdir()) == [path]


def test_of_writers_at_the_same_time_one_wins(path: Path) -> None:
    won: list[int] = []
    lost: list[InputError] = []
    ready, over = threading.Barrier(4), threading.Barrier(4)

    def start(number: int) -> None:
        ready.wait()
        try:
            log = SpikeLog(path, POPULATIONS, 0.001, seed=number, overwrite=True)
        except InputError as error:
            lost.append(error)
            over.wait()
            return
        over.wait()
        log.close()
        won.append(number)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    with SpikeReader(path) as reader:
        assert (reader.seed, reader.complete) == (won[0], True)


def test_a_log_is_locked_and_open_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, seen = Path.replace, []

    def watched(self: Path, target: Path) -> Path:
        done = replace(self, target)
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                seen.append(lock.is_marked(path))
        return done

    monkeypatch.setattr(Path, "replace", watched)
    SpikeLog(path, POPULATIONS, 0.001).close()
    assert seen == [True]


def test_whoever_resumes_waits_for_readers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "evening")
    reader = SpikeReader(path)
    threading.Timer(0.3, reader.close).start()
    with SpikeLog.resume(path, 5) as log:
        log.append(EMPTY, 10)
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    before = path.read_bytes()
    with SpikeReader(path), pytest.raises(InputError, match="is being written or read by somebody else"):
        SpikeLog.resume(path, 5)
    assert path.read_bytes() == before


def test_a_reader_waits_for_whoever_keeps_all_others_out_for_a_moment(path: Path) -> None:
    write(path, "evening")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.3, fcntl.flock, (os.dup(file.fileno()), fcntl.LOCK_UN)).start()
        with SpikeReader(path) as reader:
            assert reader.counts("input") == 3


@dataclass
class Wrong:
    """What is expected otherwise, and what is said."""

    change: dict[str, object]
    told: str


@pytest.mark.parametrize("identity", [IDENTITY, None])
@pytest.mark.parametrize(
    "wrong",
    [
        Wrong({"populations": {"input": 5, "output": 3}}, "populations"),
        Wrong({"dt": 0.002}, "dt"),
        Wrong({"seed": 8}, "seed"),
        Wrong({"epochs": [("evening", 0, 3), ("night", 10, 5)]}, "epochs"),
        Wrong({"epochs": [("evening", 0, 3), ("nap", 10, 4)]}, "epochs"),
        Wrong({"epochs": [("evening", 0, 3), ("night", 9, 4)]}, "epochs"),
        Wrong({"epochs": [("evening", 0, 3), ("night", 10, 4), ("more", 20, 5)]}, "epochs"),
        Wrong({"epochs": [("evening", 0, 3)]}, "is complete and holds 2 epochs, of which only 1"),
    ],
)
def test_another_log_stays_as_it_is(path: Path, identity: str | None, wrong: Wrong) -> None:
    write(path, "evening", "night", identity=identity)
    before = path.read_bytes()
    with pytest.raises(InputError, match=wrong.told) as told:
        SpikeLog.resume(path, 10, expected=EXPECTED._replace(**wrong.change))
    assert "\n" not in str(told.value)
    assert path.read_bytes() == before
    with SpikeLog.resume(path, 15, expected=EXPECTED) as log:  # the one that it is
        log.append(EMPTY, 10)


def test_a_log_of_another_identity_stays_as_it_is(path: Path) -> None:
    write(path, "evening", "night")
    before = path.read_bytes()
    with pytest.raises(InputError, match="what was simulated: 01234567 there and fffff"):
        SpikeLog.resume(path, 15, expected=EXPECTED._replace(identity="f" * 64))
    assert path.read_bytes() == before


def test_a_night_that_only_began_is_dropped(path: Path) -> None:
    """A writer was killed after it had begun a night that whoever goes on knows nothing of."""
    write(path, "evening", "night", "another", until=0, complete=False)
    with SpikeReader(path) as reader:
        assert [epoch.start for epoch in reader.epochs] == [0, 10, 20]
    with SpikeLog.resume(path, 20, expected=EXPECTED) as log:
        assert (log.n_epochs, log.epoch_open, log.steps) == (2, True, 10)
        log.end_epoch()
        log.begin_epoch("another", seed=5)
        log.append(EMPTY, 4)
    with SpikeReader(path) as reader:
        assert reader.epochs == (Epoch("evening", 0, 10, 3), Epoch("night", 10, 20, 4), Epoch("another", 20, 24, 5))
    write(path.with_name("b.h5"), "evening", complete=False)
    with SpikeLog.resume(path.with_name("b.h5"), 0, expected=EXPECTED._replace(epochs=[])) as log:
        assert (log.n_epochs, log.epoch_open) == (0, False)


def other_identity(path: Path) -> None:
    write(path, "evening", identity="f" * 64, complete=False)


def no_identity(path: Path) -> None:
    write(path, "evening", identity=None, complete=False)


def something_else(path: Path) -> None:
    path.write_text("mine")


def finished(path: Path) -> None:
    write(path, "evening")


def of_another_format(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["identity"] = IDENTITY


@pytest.mark.parametrize("made", [other_identity, no_identity, something_else, finished, of_another_format])
def test_only_an_unfinished_log_of_the_same_identity_is_begun_anew(path: Path, made: Callable[[Path], None]) -> None:
    made(path)
    before = path.read_bytes()
    for identity in (IDENTITY, None):
        with pytest.raises(InputError, match="already exists"):
            SpikeLog(path, POPULATIONS, 0.001, overwrite="unfinished", identity=identity)
    assert path.read_bytes() == before
    path.unlink()
    write(path, "evening", complete=False)
    with SpikeLog(path, POPULATIONS, 0.001, overwrite="unfinished", identity=IDENTITY) as log:
        assert log.n_epochs == 0


def test_the_identity_is_in_the_file_and_nothing_else_is_new(path: Path) -> None:
    write(path, "evening")
    write(path.with_name("plain.h5"), "evening", identity=None)
    with h5py.File(path) as file, h5py.File(path.with_name("plain.h5")) as plain:
        assert file.attrs["identity"] == IDENTITY
        assert {*file.attrs} - {*plain.attrs} == {"identity"}


def test_the_same_spikes_are_the_same_bytes(path: Path) -> None:
    write(path, "evening", "night")
    write(path.with_name("other.h5"), "evening", "night")
    assert path.read_bytes() == path.with_name("other.h5").read_bytes()


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        SpikeLog(tmp_path, POPULATIONS, 0.001, overwrite=True)
