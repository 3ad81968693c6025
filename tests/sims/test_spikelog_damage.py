"""A log may come from anybody: what is not as `SpikeLog` writes it is refused in one line, before it is used."""

import shutil
import signal
import time
import zlib

import h5py
import numpy as np
import pytest

from neurosleep.sims.errors import InputError
from neurosleep.sims.spikes import table
from neurosleep.sims.spikes.log import SpikeLog
from neurosleep.sims.spikes.reader import SpikeReader

POPULATIONS = {"input": 6, "hidden1": 4, "output": 2}
TEXT = h5py.string_dtype()
SECRET = np.array([5, 4, 3, 2], dtype="<u4")


def write(path, **options):
    """Two nights of ten steps, with samples."""
    with SpikeLog(path, POPULATIONS, dt=0.001, seed=3, membranes_every=5, weights_every=5, **options) as log:
        for name in ("nrem", "rem"):
            log.begin_epoch(name, seed=9)
            step = np.array([1, 2, 3, 6], dtype=np.uint32)
            log.append([(step, np.arange(4, dtype=np.uint32) % n) for n in POPULATIONS.values()], 10)
            log.sample_membranes(5, [np.zeros(n, dtype=np.float32) for n in (4, 2)])
            log.snapshot_weights(5, [np.zeros(shape, dtype=np.float32) for shape in ((6, 4), (4, 2))])
            log.end_epoch()
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write(tmp_path_factory.mktemp("logs") / "good.h5", windows=[(0, 4), (6, 9)])


@pytest.fixture
def path(good, tmp_path):
    return shutil.copy(good, tmp_path / "night.h5")


def read_all(path):
    """Read all that a log has, by all ways."""
    with SpikeReader(path) as reader:
        for name in reader.layers:
            reader.events(name)
            list(reader.iter_events(name, chunk=3))
            reader.spike_counts(name, 0, reader.n_steps)
            reader.events_before(name, 3)
        for name in ("hidden1", "output"):
            reader.membranes(name)
            list(reader.weights(name, 0, 20))


def attribute(key, value, where="/"):
    def change(file):
        del file[where].attrs[key]
        file[where].attrs[key] = value

    return change


def record(field, value):
    def change(file):
        progress = file["progress"][()]
        progress[field] = value
        file["progress"][()] = progress

    return change


def epochs(field, *values):
    def change(file):
        rows = file["epochs"][()]
        rows[field] = values
        file["epochs"][()] = rows

    return change


def other(name, **options):
    """Put another dataset in the place of one."""

    def change(file):
        options.setdefault("data", file[name][()]) if "shape" not in options else None
        del file[name]
        file.create_dataset(name, **options)

    return change


def column(values, name="spikes/input/step", **options):
    return other(name, data=values, maxshape=(None,), chunks=(8,), **options)


def link(name, to):
    def change(file):
        del file[name]
        file[name] = to

    return change


def hard(name, to):
    def change(file):
        del file[name]
        file[name] = file[to]

    return change


def claimed(rows, chunk=65536, **options):
    """Claim rows that take no space."""

    def change(file):
        for name in ("step", "node_id"):
            del file[f"spikes/input/{name}"]
            file["spikes/input"].create_dataset(
                name, shape=(rows,), maxshape=(None,), chunks=(chunk,), dtype="u4", fillvalue=1, **options
            )
        record("events", [rows, 8, 8])(file)

    return change


def one_chunk_of_many(file):
    """Claim many chunks, of which one is there, and more than would fit in it."""
    claimed(2**30, 2**20, compression="gzip", shuffle=True)(file)
    for name in ("step", "node_id"):
        file[f"spikes/input/{name}"][:10] = 1


def external(name):
    def change(file):
        secret = file.filename.replace("night.h5", "secret.bin")
        with open(secret, "wb") as raw:  # noqa: PTH123
            raw.write(SECRET.tobytes())
        del file[name]
        file.create_dataset(name, shape=(4,), dtype="<u4", external=[(secret, 0, 16)])

    return change


def virtual(file):
    layout = h5py.VirtualLayout(shape=(8,), dtype="<u4", maxshape=(None,))
    layout[:] = h5py.VirtualSource("secret.h5", "x", shape=(8,))
    del file["spikes/input/step"]
    file.create_virtual_dataset("spikes/input/step", layout)


def unsorted_late(file):
    file["spikes/input/step"][-1] = 0


NAMES = np.array(["input", "hidden1", "output"], dtype=TEXT)
HEADERS = {
    "dt nan": (attribute("dt", np.nan), "dt must be a number, got nan"),
    "dt inf": (attribute("dt", np.inf), "dt must be"),
    "dt negative": (attribute("dt", -1.0), "dt must be"),
    "dt zero": (attribute("dt", 0.0), "dt must be"),
    "dt tiny": (attribute("dt", 1e-320), "dt must be"),
    "dt huge": (attribute("dt", 1e305), "dt must be"),
    "dt empty": (attribute("dt", h5py.Empty("f8")), "'dt' of its root must be one real number"),
    "dt text": (attribute("dt", "0.001"), "'dt' of its root must be one real number, got text"),
    "dt two": (attribute("dt", [0.001, 0.002]), "'dt' of its root must be one real number"),
    "dt complex": (attribute("dt", 1j), "'dt' of its root must be one real number"),
    "seed negative": (attribute("seed", -1), "'seed' of its root must be 0 or more, got -1"),
    "seed real": (attribute("seed", 1.5), "'seed' of its root must be one whole number"),
    "encoding number": (attribute("encoding-type", 5), "'encoding-type' of its root must be text"),
    "encoding bytes": (attribute("encoding-type", np.bytes_("neurosleep-spikes")), "must be text"),
    "config number": (attribute("config", 5), "'config' of its root must be text"),
    "config list": (attribute("config", "[]"), "must be a JSON object, got list"),
    "config cut": (attribute("config", "{"), "'config' is not JSON"),
    "config nan": (attribute("config", '{"a": NaN}'), "'config' is not JSON"),
    "config deep": (attribute("config", '{"a":' + 20_000 * "["), "'config' is not JSON"),
    "config digits": (attribute("config", '{"a": ' + 5000 * "9" + "}"), "'config' is not JSON"),
    "name twice": (attribute("populations", np.array(["a", "a", "b"], TEXT)), "populations must be different names"),
    "name empty": (attribute("populations", np.array(["", "a", "b"], TEXT)), "the name of a population"),
    "name of a path": (attribute("populations", np.array(["a/b", "a", "b"], TEXT)), "the name of a population"),
    "names no UTF-8": (
        attribute("populations", np.array([b"\xff", b"a", b"b"], h5py.string_dtype("ascii"))),
        "must be text in UTF-8",
    ),
    "names numbers": (attribute("populations", [1, 2, 3]), "'populations' of its root must be texts"),
    "names one": (attribute("populations", "input"), "'populations' of its root must be texts"),
    "names fewer": (attribute("populations", NAMES[:2]), "one for each size"),
    "sizes fewer": (attribute("layer_sizes", np.uint64([6, 4])), "one for each size"),
    "size 0": (attribute("layer_sizes", np.uint64([6, 0, 2])), "size of population 'hidden1'"),
    "size negative": (attribute("layer_sizes", [-6, 4, 2]), "must be 0 or more"),
    "size huge": (attribute("layer_sizes", np.uint64([2**31, 4, 2])), "size of population 'input'"),
    "sizes real": (attribute("layer_sizes", [6.0, 4.0, 2.0]), "must be whole numbers"),
    "sizes nan": (attribute("layer_sizes", [6, np.nan, 2]), "must be whole numbers"),
    "size other than its group": (attribute("layer_sizes", np.uint64([7, 4, 2])), "spikes/input has 6 neurons"),
    "layer twice": (attribute("layers", NAMES[[0, 0, 1]]), "layers must be some"),
    "layers out of order": (attribute("layers", NAMES[::-1]), "layers must be some of the populations in their order"),
    "layers fewer": (attribute("layers", NAMES[:2]), "progress must be of the type"),
    "layers none": (attribute("layers", NAMES[:0]), "layers must name at least one"),
    "layers unknown": (attribute("layers", np.array(["x"], TEXT)), "there is no population 'x'"),
    "every negative": (attribute("membranes_every", -5), "must be 0 or more"),
    "every real": (attribute("weights_every", 0.5), "must be one whole number"),
    "every 0, but samples": (
        attribute("weights_every", np.uint64(0)),
        "weights must hold nothing, got hidden1, output",
    ),
    "dtype": (attribute("dtype", "float16"), "dtype must be float32 or float64"),
    "dtype other": (attribute("dtype", "float64"), "must be of the type float64, got float32"),
    "dtype code": (attribute("dtype", "O"), "dtype must be float32 or float64"),
    "group encoding": (attribute("encoding-type", "x", "spikes/input"), "spikes/input must be of encoding"),
    "group version": (attribute("encoding-version", "9", "weights/output"), "weights/output must be of encoding"),
    "group size": (attribute("size", "6", "spikes/input"), "'size' of spikes/input must be one whole number"),
    "windows overlap": (other("windows", data=np.uint64([[0, 4], [3, 9]])), "must be sorted and must not overlap"),
    "windows backwards": (other("windows", data=np.uint64([[4, 0]])), "0 <= start < stop"),
    "windows beyond": (other("windows", data=np.uint64([[0, 2**63]])), "at most 2..32"),
    "windows none": (other("windows", data=np.zeros((0, 2), "<u8")), "at least one of pairs"),
    "windows triples": (other("windows", data=np.zeros((2, 3), "<u8")), "windows must have the shape"),
    "windows real": (other("windows", data=np.array([[0, np.nan]])), "windows must be of the type uint64"),
    "windows claimed": (other("windows", shape=(2**30, 2), dtype="<u8"), "windows claims"),
    "windows in chunks": (other("windows", data=np.uint64([[0, 9]]), chunks=(1, 2)), "must lie in one piece"),
    "windows a group": (lambda file: (file.pop("windows"), file.create_group("windows")), "windows must be a dataset"),
    "progress other": (other("progress", data=np.zeros(3)), "progress must be of the type"),
    "progress in chunks": (other("progress", shape=(0,), maxshape=(None,), dtype="u1"), "progress must be"),
    "events": (record("events", [9, 8, 8]), "spikes/input has 8 rows, fewer than its 9"),
    "events huge": (
        record("events", [2**64 - 1, 8, 8]),
        "spikes/input has 8 rows, fewer than its 18446744073709551615",
    ),
    "samples": (record("membranes", 3), "membranes/hidden1 has 2 rows, fewer than its 3"),
    "epochs": (record("epochs", 3), "epochs has 2 rows, fewer than its 3"),
    "epochs none": (record("epochs", 0), "epochs must begin at step 0"),
    "steps": (record("steps", 2**33), "end by step 2\\*\\*32"),
    "steps fewer": (record("steps", 9), "epochs must begin at step 0, one after the other"),
    "starts": (epochs("start", 12, 10), "epochs must begin at step 0"),
    "starts late": (epochs("start", 1, 10), "epochs must begin at step 0"),
    "samples before": (epochs("weights", 2, 1), "the numbers of weights must grow"),
    "samples before, more": (epochs("membranes", 0, 3), "the numbers of membranes must grow"),
    "epoch no UTF-8": (epochs("name", b"\xff", b"rem"), "the name of an epoch must be UTF-8"),
    "epoch without a name": (epochs("name", b"", b"rem"), "the name of an epoch must be text"),
    "epoch with a zero byte": (epochs("name", b"a\0b", b"rem"), "the name of an epoch must be text"),
    "epochs other": (column(np.zeros(3), "epochs"), "epochs must be of the type"),
    "node_id signed": (
        column(np.int32(8 * [0]), "spikes/input/node_id"),
        "node_id must be of the type uint32, got int32",
    ),
    "node_id real": (column(np.zeros(8), "spikes/input/node_id"), "node_id must be of the type uint32, got float64"),
    "step real": (column(np.full(8, np.nan)), "step must be of the type uint32, got float64"),
    "step big-endian": (column(np.zeros(8, ">u4")), "step must be of the type uint32"),
    "step text": (column(np.array(8 * ["1"], TEXT)), "step must be of the type uint32"),
    "step of rank 2": (other("spikes/input/step", data=np.zeros((8, 1), "<u4"), chunks=True), "must have the shape"),
    "step in one piece": (other("spikes/input/step"), "step must lie in chunks of rows"),
    "step of a fixed length": (other("spikes/input/step", chunks=(8,)), "step must lie in chunks of rows"),
    "step empty": (other("spikes/input/step", data=h5py.Empty("<u4")), "step must be of the type"),
    "step a group": (lambda f: (f.pop("spikes/input/step"), f.create_group("spikes/input/step")), "must be a dataset"),
    "filter": (column(np.zeros(8, "<u4"), fletcher32=True), "step has the filters"),
    "filter scale": (column(np.zeros(8, "<u4"), scaleoffset=4), "step has the filters"),
    "no shuffle": (column(np.zeros(8, "<u4"), compression="gzip"), "step has the filters"),
    "2**34 events": (claimed(2**34, compression="gzip", shuffle=True), "fewer chunks"),
    "2**30 events": (claimed(2**30), "fewer chunks"),
    "a chunk of 2 GB": (claimed(2**29, 2**29, compression="gzip", shuffle=True), "chunks of 2,147,483,648 bytes"),
    "one chunk of many": (one_chunk_of_many, "fewer chunks"),
    "membranes of others": (
        other("membranes/output/value", data=np.zeros((2, 3), "<f4"), maxshape=(None, 3), chunks=(8, 3)),
        r"membranes/output/value must have the shape \(any, 2\), got \(2, 3\)",
    ),
    "another group": (lambda file: file.create_group("spikes/x"), "spikes must hold input, hidden1, output, got"),
    "spikes a dataset": (lambda file: (file.pop("spikes"), file.create_dataset("spikes", data=1)), "must be a group"),
    "soft link": (link("spikes/input/step", h5py.SoftLink("/spikes/output/step")), "spikes/input/step is a link"),
    "soft link of a group": (link("spikes/input", h5py.SoftLink("/spikes/output")), "spikes/input is a link"),
    "external link": (link("spikes", h5py.ExternalLink("other.h5", "/spikes")), "spikes is a link"),
    "external link, record": (link("progress", h5py.ExternalLink("other.h5", "/progress")), "progress is a link"),
    "two names": (hard("spikes/input/step", "spikes/output/step"), "has more than one name"),
    "external": (external("spikes/input/node_id"), "in another file, which is not read"),
    "virtual": (virtual, "in another file, which is not read"),
}
COLUMNS = {
    "neuron beyond": (("input/node_id", 3, 6), "spikes/input has a spike of neuron 6, but the population has only 6"),
    "neuron -1": (("output/node_id", 7, 2**32 - 1), "spikes/output has a spike of neuron 4294967295"),
    "step beyond": (("input/step", 7, 20), "spikes/input/step has step 20, but the last it may have is 19"),
    "step unsorted": (("input/step", 2, 1), "spikes/input/step goes back in row 2, to step 1"),
    "last step unsorted": (("hidden1/step", 7, 0), "spikes/hidden1/step goes back in row 7"),
    "not in a window": (("input/step", 3, 5), "spikes/input has 1 spikes in steps that were not logged"),
    "in no window of the second night": (("input/step", 7, 19), "spikes/input has 1 spikes in steps"),
}


def test_what_is_not_damaged(good):
    read_all(good)


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_not_as_it_must_be(path, name):
    change, told = HEADERS[name]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=told) as error:
        SpikeReader(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=told):
        SpikeLog.resume(path, 10)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_are_not_as_they_must_be(path, name):
    (where, row, value), told = COLUMNS[name]
    with h5py.File(path, "r+") as file:
        file[f"spikes/{where}"][row] = value
    layer = where.partition("/")[0]
    with SpikeReader(path) as reader:
        for ask in (reader.events, reader.spike_counts, reader.rates, lambda x: list(reader.iter_events(x, chunk=1))):
            with pytest.raises(InputError, match=f"night.h5 is damaged: {told}"):
                ask(layer)


@pytest.mark.parametrize("ask", ["events_before", "events", "iter_events", "spike_counts", "raster", "rates"])
def test_steps_out_of_order_are_not_searched(tmp_path, ask, monkeypatch):
    monkeypatch.setattr(table, "_BLOCK", 65_536)
    path, n = tmp_path / "a.h5", 300_000
    with SpikeLog(path, {"input": 2}, dt=0.001) as log:
        log.begin_epoch("night")
        log.append([(np.arange(n, dtype=np.uint32), np.zeros(n, dtype=np.uint32))], n)
    with SpikeReader(path) as reader:
        assert reader.events_before("input", 150_000) == 150_000
        assert [len(step) for step, _ in reader.iter_events("input", 70_000, 150_001)] == [80_001]
        assert reader.events("input", 140_000, 140_002)[0].tolist() == [140_000, 140_001]
    with h5py.File(path, "r+") as file:
        step = file["spikes/input/step"]
        step[65_536:131_072], step[196_608:262_144] = step[196_608:262_144], step[65_536:131_072]
    with SpikeReader(path) as reader, pytest.raises(InputError, match="spikes/input/step goes back in row 131072"):
        list(getattr(reader, ask)("input", *((10,) if ask == "events_before" else (10, 20))) or ())


def test_samples_out_of_order(path):
    with h5py.File(path, "r+") as file:
        file["weights/hidden1/step"][:] = 5, 3
    with SpikeReader(path) as reader, pytest.raises(InputError, match="weights/hidden1/step goes back in row 1"):
        list(reader.weights("hidden1"))


def test_what_hdf5_says_is_told_in_one_line(tmp_path):
    path, n = tmp_path / "a.h5", 70_000  # more than a chunk, which then is compressed
    with SpikeLog(path, {"input": 2}, dt=0.001) as log:
        log.begin_epoch("night")
        log.append([(np.arange(n, dtype=np.uint32), np.zeros(n, dtype=np.uint32))], n)
    with h5py.File(path, "r") as file:
        chunk = file["spikes/input/node_id"].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(chunk.size * b"\xff")
    with (
        SpikeReader(path) as reader,
        pytest.raises(InputError, match=r"a\.h5 is damaged: .*cannot be unpacked") as error,
    ):
        reader.events("input")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("chunk", "mask", "told"),
    [
        (4 * bytes(range(256)), 3, "a chunk has 1024 bytes, not 262144"),
        (zlib.compress(4 * bytes(range(256))), 0, "a chunk has 1024 bytes, not 262144"),
        (zlib.compress(300_000 * b"\0"), 0, "a chunk has more than 262144 bytes"),
        (zlib.compress(262_144 * b"\0")[:-2], 0, "ends before its checksum"),
        (zlib.compress(262_144 * b"\0"), 1, "a chunk has the filter mask 1"),
    ],
    ids=["raw", "short", "long", "cut", "mask"],
)
def test_a_chunk_of_another_size_is_no_part_of_the_memory(path, chunk, mask, told):
    """HDF5 gives whatever lies in memory after a chunk that is too short."""
    with h5py.File(path, "r+") as file:
        file["spikes/input/node_id"].id.write_direct_chunk((0,), chunk, filter_mask=mask)
    with SpikeReader(path) as reader, pytest.raises(InputError, match=f"night.h5 is damaged: .*{told}"):
        reader.events("input")


def test_chunks_of_lzf_are_held_to_their_size(tmp_path):
    path = write(tmp_path / "night.h5", compression="lzf")
    with SpikeReader(path) as reader:
        assert len(reader.events("input")[0]) == 8
    with h5py.File(path, "r+") as file:
        file["spikes/input/node_id"].id.write_direct_chunk((0,), b"\0x\xe0\xff\0" * 99)
    with SpikeReader(path) as reader, pytest.raises(InputError, match=r"unpacks to fewer than its 262144 bytes"):
        reader.events("input")


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "long.h5"
    with SpikeLog(path, {"input": 2**26}, dt=0.001) as log:
        log.begin_epoch("night")
        log.append([(np.uint32([7]), np.uint32([2**26 - 1]))], 2**32 - 1)
    with SpikeReader(path) as reader:
        assert reader.events("input")[1].tolist() == [2**26 - 1]
        assert reader.raster("input", 7, 8).nonzero() == (0, 2**26 - 1)
        with pytest.raises(InputError, match=r"a raster of 4,294,967,295 steps .* ask for fewer steps at a time"):
            reader.raster("input")


def test_a_heap_of_texts_that_has_no_end_is_refused_at_once(path):
    damage = bytearray(path.read_bytes())
    heap = damage.index(b"GCOL")
    free = damage.rindex(b"\0\0\0\0\0\0\0\0", heap, heap + 4096)
    objects = heap + 16
    while (index := int.from_bytes(damage[objects : objects + 2], "little")) and objects < free:
        objects += 16 + -(-int.from_bytes(damage[objects + 8 : objects + 16], "little") // 8) * 8
    assert index == 0
    damage[objects + 8 : objects + 16] = bytes(8)
    path.write_bytes(damage)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the tests, as HDF5 would not let Python do it
    signal.alarm(60)
    with pytest.raises(InputError, match=r"night\.h5 is damaged: OSError, .*heap"):
        SpikeReader(path)
    signal.alarm(0)


def test_a_closed_reader_says_so(good):
    reader = SpikeReader(good)
    reader.close()
    with pytest.raises(InputError, match="is closed"):
        reader.events("input")


def many_chunks(path):
    """Return the bytes of a log that is being written, whose metadata are scattered over the file."""
    with SpikeLog(path, {"input": 2, "output": 2}, dt=0.001, weights_every=1) as log:
        log.begin_epoch("night")
        for step in range(40):
            log.append([(np.uint32([step]), np.uint32([0]))] * 2, step + 1)
            log.snapshot_weights(step + 1, [np.full((2, 2), step, dtype=np.float32)])
            log.flush()
        return path.read_bytes()


def test_a_copy_cut_anywhere_is_read_or_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("neurosleep.sims.spikes.file.CHUNK_BYTES", 16)  # a chunk for each snapshot
    alive, cut, outcomes = many_chunks(tmp_path / "a.h5"), tmp_path / "cut.h5", set()
    monkeypatch.setattr("neurosleep.sims.spikes.look._PAUSE", 0.0)
    ends = [len(alive), *range(len(alive) - 1, 0, -max(1, len(alive) // 16))]
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("HDF5 hangs"))
    for end in ends:
        cut.write_bytes(alive[:end])
        signal.alarm(20)
        began = time.perf_counter()
        try:
            with SpikeReader(cut) as reader:
                assert [len(reader.events(name)[0]) for name in reader.layers] == [40, 40]
                assert [value[0, 0] for _, value in reader.weights("output")] == list(range(40))
            outcomes.add("read")
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017  # or it was read
            outcomes.add("refused")
        finally:
            signal.alarm(0)
        assert time.perf_counter() - began < 5
    assert outcomes == {"read", "refused"}
