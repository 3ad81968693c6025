"""Opening a network runs none of its code: each file here would make a marker if anything in it were run."""

import io
import json
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from neurosleep.converters.checkpoint import load_weights, read_tensors
from neurosleep.converters.errors import ConversionError
from neurosleep.converters.graph.programs import read_program
from neurosleep.sims.errors import InputError
from neurosleep.sims.packed import VARIABLE

Files = dict[str, bytes]
MODEL, WEIGHTS, CONSTANTS = (
    "net/models/model.json",
    "net/data/weights/model_weights_config.json",
    "net/data/constants/model_constants_config.json",
)


class Evil:
    """Makes a marker when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 4)
        self.constant = torch.ones(4)

    def forward(self, x):
        return torch.relu(self.last(x.view(x.size(0), -1)) + self.constant)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Files:
    path = tmp_path_factory.mktemp("good") / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = ({0: torch.export.Dim("n", min=1)},)
        torch.export.save(torch.export.export(Small().eval(), (torch.rand(2, 12),), dynamic_shapes=rows), path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def written(path: Path, files: Files, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pickled(thing: object) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


def changed(files: Files, name: str, change: Callable[[dict], object]) -> Files:
    content = json.loads(files[name])
    change(content)
    return {**files, name: json.dumps(content).encode()}


def opaque(files: Files, mark: Path) -> Files:
    """Add an object to the constants, said not to be pickled."""
    meta = json.loads(files[CONSTANTS])["config"]["constant"]["tensor_meta"]
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": meta}
    files = changed(files, CONSTANTS, lambda c: c["config"].update(x=entry))
    return {**files, "net/data/constants/opaque_obj_0": pickle.dumps(Evil(mark))}


def hidden_object(files: Files, mark: Path) -> Files:
    """Let an entry of the constants be an object under a tensor's name."""
    files = changed(files, CONSTANTS, lambda c: c["config"]["constant"].update(use_pickle=True))
    return {**files, "net/data/constants/tensor_0": pickled(Evil(mark))}


def scripted_object(files: Files, mark: Path) -> Files:
    files = changed(files, CONSTANTS, lambda c: c["config"]["constant"].update(path_name="custom_obj_0"))
    return {**files, "net/data/constants/custom_obj_0": pickled(Evil(mark))}


def weights_of_2_8(files: Files, mark: Path) -> Files:
    return {**files, "net/data/weights/model.pt": pickled({"a": Evil(mark)})}


def format_of_2_7(files: Files, mark: Path) -> Files:
    others = {
        f"serialized_{key}.pt": pickled({"a": Evil(mark)}) for key in ("state_dict", "constants", "example_inputs")
    }
    return {
        "archive_format": b"pt2",
        "version": b"8.8",
        "serialized_exported_program.json": files[MODEL],
        **others,
    }


def two_tops(files: Files, mark: Path) -> Files:
    samples = [name for name in files if "/sample_inputs/" in name]
    evil = {name: pickled((Evil(mark),)) if name in samples else content for name, content in files.items()}
    return evil | {name.replace("net/", "zz/"): files[name] for name in samples}


def sample_inputs(files: Files, mark: Path) -> Files:
    return {**files, "net/data/sample_inputs/model.pt": pickled((Evil(mark),))}


def pickle_for_json(files: Files, mark: Path) -> Files:
    return {**files, MODEL: pickled(Evil(mark))}


def compiled(files: Files, mark: Path) -> Files:
    return {**files, "net/data/aotinductor/model/model.so": pickled(Evil(mark))}


def second_model(files: Files, mark: Path) -> Files:
    return {**files, "net/models/other.json": files[MODEL], "net/data/weights/other.pt": pickled(Evil(mark))}


def outside(files: Files, mark: Path) -> Files:
    """Name a file of weights beside the archive."""
    mark.with_name("weight_0").write_bytes(pickled(Evil(mark)))
    return changed(files, WEIGHTS, lambda c: c["config"]["last.weight"].update(path_name="../../../weight_0"))


def imported(files: Files, mark: Path) -> Files:
    """Call an operator that would have to be imported, or reads a file."""
    return changed(files, MODEL, lambda c: node(c, "relu").update(target="torch.utils.cpp_extension.load"))


OBJECTS = [
    *(opaque, hidden_object, scripted_object, weights_of_2_8, format_of_2_7, two_tops, sample_inputs),
    *(pickle_for_json, compiled, second_model, outside, imported),
]


@pytest.mark.parametrize("hide", OBJECTS, ids=lambda hide: hide.__name__)
@pytest.mark.parametrize("trust", [False, True])
def test_hidden_objects_are_refused(good: Files, tmp_path: Path, mark: Path, hide: Callable, trust: bool) -> None:
    path = written(tmp_path / "net.pt2", hide(good, mark))
    with pytest.raises(InputError) as refused:
        read_program(path, trust=trust)
    assert not mark.exists()
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)
    pickle.loads(pickle.dumps(Evil(mark)))  # noqa: S301 - so that the test could fail
    assert mark.exists()


def node(program: dict, name: str) -> dict:
    return next(n for n in program["graph_module"]["graph"]["nodes"] if name in n["target"])


def expressions(program: dict, code: str) -> None:
    """Put code wherever torch's own loader evaluates text: sizes, their ranges, guards, structure."""
    graph = program["graph_module"]["graph"]
    evil = {"as_expr": {"expr_str": code, "hint": None}}
    for size in (size for meta in graph["tensor_values"].values() for size in meta["sizes"] if "as_expr" in size):
        size.update(evil)
    for name in graph["sym_int_values"]:
        graph["sym_int_values"][name] = evil
    program["range_constraints"] = {code: {"min_val": 0, "max_val": None}}
    program["guards_code"] = [code]
    program["verifiers"] = [code]
    for entry in program["graph_module"]["module_call_graph"]:
        if entry["signature"]:
            entry["signature"].update(in_spec=code, out_spec=code)
    for call in graph["nodes"]:
        call["metadata"] = {"torch_fn": code, "nn_module_stack": code, "stack_trace": code}


def test_text_in_a_program_is_not_evaluated(good: Files, tmp_path: Path, mark: Path) -> None:
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    files = changed(good, MODEL, lambda program: expressions(program, code))
    assert files[MODEL].count(b"__import__") > 10
    x = torch.rand(5, 12)
    network = read_program(written(tmp_path / "net.pt2", files))
    right = read_program(written(tmp_path / "good.pt2", good))(x)
    assert torch.equal(network(x), right)
    assert not mark.exists()
    exec(code)  # noqa: S102 - so that the test could fail
    assert mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        *("torch.ops.aten.from_file.default", "torch.ops.aten.relu.out", "torch.ops.aten.__class__.mro"),
        *("torch.os.system", "torch.load", "torch.ops.load_library", "torch.ops.prim.device.default", "math.exp"),
        *("_operator.attrgetter", "_operator.call", "torch.ops.higher_order.cond", "#ext:op", "os.system", 3, None),
    ],
)
def test_only_named_operators_are_run(good: Files, tmp_path: Path, target: object) -> None:
    files = changed(good, MODEL, lambda program: node(program, "relu").update(target=target))
    with pytest.raises(ConversionError, match=r"not supported|does not take"):
        read_program(written(tmp_path / "net.pt2", files))


def argument(kind: str, value: object) -> Callable[[dict], None]:
    def change(program: dict) -> None:
        node(program, "view")["inputs"][1]["arg"] = {kind: value}

    return change


def constant(program: dict) -> None:
    """Add a million rows of a million values to what is computed."""
    made = {"name": "size", "arg": {"as_ints": [10**6, 10**6]}, "kind": 1}
    full = {"name": "fill_value", "arg": {"as_float": 1.0}, "kind": 1}
    outputs = [{"as_tensor": {"name": "large"}}]
    program["graph_module"]["graph"]["nodes"].insert(
        0, {"target": "torch.ops.aten.full.default", "inputs": [made, full], "outputs": outputs, "metadata": {}}
    )
    node(program, "add")["inputs"][1]["arg"] = {"as_tensor": {"name": "large"}}


def many(program: dict) -> None:
    """Multiply a list of numbers."""
    inputs = [{"name": "", "arg": {"as_ints": [1]}}, {"name": "", "arg": {"as_int": 2**40}}]
    node(program, "sym_size").update(target="_operator.mul", inputs=inputs)


def input_shape(sizes: list) -> Callable[[dict], None]:
    def change(program: dict) -> None:
        program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"] = [{"as_int": n} for n in sizes]

    return change


def twice(program: dict) -> None:
    node(program, "relu")["outputs"] = node(program, "linear")["outputs"]


def missing(program: dict) -> None:
    node(program, "relu")["inputs"][0]["arg"] = {"as_tensor": {"name": "nothing"}}


def deep(program: dict) -> None:
    program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = ".".join("a" * 60)


DAMAGED = {
    "a huge constant": (constant, "would take 4000000000000 bytes"),
    "a list many times": (many, "something else than numbers"),
    "a huge input": (input_shape([2, 2**40]), "its input would take"),
    "an input beyond numbers": (input_shape([2, 2**62, 12]), "expected a whole number"),
    "text for a size": (argument("as_int", "12"), "not whole"),
    "a number beyond 64 bits": (argument("as_ints", [10**30]), "not whole"),
    "a graph": (argument("as_graph", {}), "something else than tensors and numbers"),
    "an object": (argument("as_custom_obj", {"name": "x", "class_fqn": "y"}), "something else than tensors"),
    "a name twice": (twice, "two values"),
    "a value that is not there": (missing, "there is no value 'nothing'"),
    "a path without end": (deep, "a path that no module has"),
    "another schema": (
        lambda program: program.update(schema_version={"major": 9, "minor": 0}),
        "another schema than 8",
    ),
    "no graph": (lambda program: program.pop("graph_module"), "not whole"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_programs_that_are_not_whole(good: Files, tmp_path: Path, damage: str) -> None:
    change, says = DAMAGED[damage]
    with pytest.raises(InputError, match=says) as refused:
        read_program(written(tmp_path / "net.pt2", changed(good, MODEL, change)))
    assert "\n" not in str(refused.value)


def meta(**values: object) -> Callable[[dict], None]:
    return lambda config: config["config"]["last.weight"]["tensor_meta"].update(values)


STRIDED = {"sizes": [{"as_int": 2**20}, {"as_int": 2**20}], "strides": [{"as_int": 0}, {"as_int": 0}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (meta(**STRIDED), "unpacks to 4398046511104 bytes"),
        (meta(storage_offset={"as_int": 1}), "has 192 bytes, fewer than"),
        (meta(storage_offset={"as_int": -1}), "no tensor that can be read"),
        (meta(dtype=99), "no tensor that can be read"),
        (meta(layout=1), "not stored as rows of numbers"),
        (lambda config: config["config"].update(constant=config["config"]["last.bias"]), "twice"),
        (lambda config: config.update(config=[]), "lists no tensors"),
    ],
)
def test_tensors_that_are_not_there(good: Files, tmp_path: Path, change: Callable, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_program(written(tmp_path / "net.pt2", changed(good, WEIGHTS, change)))


def test_bombs_of_programs(good: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = {**good, MODEL: b"[" * 100_000}
    with pytest.raises(InputError, match=r"model.json' is damaged \(RecursionError\)"):
        read_program(written(tmp_path / "nested.pt2", nested))
    large = {**good, MODEL: good[MODEL] + b" " * 16_000_000}
    with pytest.raises(InputError, match="no program takes more than"):
        read_program(written(tmp_path / "large.pt2", large, zipfile.ZIP_DEFLATED))
    monkeypatch.setenv(VARIABLE, "1000000")
    with pytest.raises(InputError, match=r"large.pt2: it unpacks to .* bytes, and 1000000 are allowed"):
        read_program(tmp_path / "large.pt2")


class Writes(nn.Module):
    """Writes a file when TorchScript opens it."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()

    @torch.jit.export
    def __getstate__(self) -> str:
        return self.mark

    @torch.jit.export
    def __setstate__(self, state: str) -> None:
        self.mark = state
        self.training = False
        torch.save(1, state)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_opened_only_if_it_is_trusted(tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.script(nn.Sequential(nn.Linear(3, 2), Writes(str(mark))).eval()).save(path)
    with pytest.raises(InputError, match=r"net.pt is a file of TorchScript, which runs code .*trust=True"):
        read_program(path)
    for read in (lambda: load_weights(nn.Linear(3, 2), path), lambda: read_tensors(path)):
        with pytest.raises(InputError, match="TorchScript"):
            read()
    assert not mark.exists()
    assert read_program(path, trust=True)(torch.rand(2, 3)).shape == (2, 2)
    assert mark.exists()


def as_tar(state: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("pickle")
        entry.size = len(state)
        archive.addfile(entry, io.BytesIO(state))
    return file.getvalue()


@pytest.mark.parametrize("way", ["zip", "before 1.6", "bare", "tar"])
def test_weights_run_nothing(tmp_path: Path, mark: Path, way: str) -> None:
    state, path, file = {**nn.Linear(3, 2).state_dict(), "x": Evil(mark)}, tmp_path / "weights.pt", io.BytesIO()
    if way == "bare":
        file.write(pickle.dumps(state))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=way == "zip")
    path.write_bytes(as_tar(pickle.dumps(state)) if way == "tar" else file.getvalue())
    with pytest.raises(InputError, match="whole models and other objects are not read") as refused:
        load_weights(nn.Linear(3, 2), path)
    assert not mark.exists()
    assert "\n" not in str(refused.value)


def test_a_flipped_byte_of_weights_is_found(tmp_path: Path) -> None:
    layer, path = nn.Linear(3, 2), tmp_path / "weights.pt"
    torch.save(layer.state_dict(), path)
    load_weights(layer, path)
    content, values = path.read_bytes(), layer.weight.detach().numpy().tobytes()
    at = content.index(values)
    path.write_bytes(content[:at] + bytes([content[at] ^ 64]) + content[at + 1 :])
    with pytest.raises(InputError, match=r"Bad CRC"):
        load_weights(layer, path)
    torch.save(layer.state_dict(), path, _use_new_zipfile_serialization=False)
    load_weights(layer, path)


def test_a_member_that_is_marked_as_a_folder_keeps_its_content(tmp_path: Path) -> None:
    """Torch itself gives what was in memory for it."""
    layer, path = nn.Linear(3, 2), tmp_path / "weights.pt"
    torch.save(layer.state_dict(), path)
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0x10
            file.writestr(info, content)
    found = read_tensors(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in layer.state_dict().items())
