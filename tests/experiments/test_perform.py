"""A run is a pure function of the experiment, its condition and its seed, and its record says what happened."""

from dataclasses import replace

import msgspec
import pytest

import neurosleep as ns
from neurosleep.continual import Nights, learn, together
from neurosleep.continual.learning import evaluate
from neurosleep.experiments import (
    BlockedPotentiation,
    Condition,
    ConvolutionalNetwork,
    DataStream,
    Experiment,
    GenerativeNetwork,
    ReluNetwork,
    SilencedNeurons,
)
from neurosleep.experiments.loading import load
from neurosleep.experiments.perform import amount, log_path, perform, prepare
from neurosleep.experiments.record import RunId, without_machine
from neurosleep.training import Trainer
from neurosleep.tripartite import NREM, REM

SRC = ns.SpontaneousReplay(
    400, ns.MaskedMeanRate(239.5, 11), ns.GatedHebbian(0.03, 0.003), thresholds=(2.0, 2.0), gain_scale=10.0
)
EXPERIMENT = Experiment(
    "?",
    {
        "awake": Condition(),
        "src": Condition([ns.MagnitudePruning(0.1), SRC], cycles=2, steps_more=10),
        "blocked": Condition([SRC], lesions=[BlockedPotentiation()]),
        "silenced": Condition([SRC], lesions=[SilencedNeurons("hidden1", 0.5)], first_night=False),
        "ewc": Condition([SRC], "ewc"),
        "joint": Condition(method="joint"),
    },
    seeds=[4, 5],
    stream=DataStream(images_per_task=60, classes_per_task=5),
    network=ReluNetwork((40,), init=0.05),
    training=Trainer(epochs=1, batch_size=20),
)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def records(logs):
    return dict(perform(EXPERIMENT, EXPERIMENT.runs, logs=logs))


def test_every_run_has_its_record(records) -> None:
    assert list(records) == EXPERIMENT.runs
    for run, record in records.items():
        assert (record["condition"], record["seed"]) == run
        assert msgspec.json.decode(msgspec.json.encode(record)) == record  # plain values
        assert record["accuracy"] == record["checkpoints"][-1]["accuracy"]
        assert sum(len(task["classes"]) for task in record["tasks"]) == 10


def test_runs_do_not_depend_on_their_company(records) -> None:
    for run in (RunId("src", 5), RunId("ewc", 4)):
        ((_, alone),) = perform(EXPERIMENT, [run])
        kept = {key: value for key, value in records[run].items() if key != "weights"}  # only where there are logs
        assert without_machine(alone) == without_machine({**kept, "log": False, "specific": None})


def test_runs_on_a_gpu_sleep_together(records, monkeypatch) -> None:
    """Here the GPU is a CPU."""
    sizes = []

    def ensemble(members, steps, *, backend, **how):
        sizes.append((len(members), steps))
        return ns.simulate_ensemble(members, steps, **how)

    monkeypatch.setattr(together, "simulate_ensemble", ensemble)
    runs = [RunId("joint", 4), RunId("src", 4), RunId("blocked", 4), RunId("ewc", 5)]
    for run, record in perform(replace(EXPERIMENT, backend="cuda"), runs):
        for stage in record["stages"]:
            assert stage.pop("backend") == "cuda"
        expected = without_machine(records[run])["stages"]
        assert without_machine(record)["stages"] == [{k: v for k, v in s.items() if k != "backend"} for s in expected]
        assert record["checkpoints"] == records[run]["checkpoints"]
    assert sizes == [(3, 400), (3, 400), (1, 410), (1, 410)]


def test_a_run_is_what_learn_does(records) -> None:
    stream = EXPERIMENT.stream.make(5)
    model = EXPERIMENT.network.make(784, 10, 5)
    stages = EXPERIMENT.conditions["blocked"].stages(1, {"input": 784, "hidden1": 40, "output": 10}, 5)
    assert stages[0].plasticity.inc == 0
    nights = Nights(lambda task: stages, ns.Memory())
    history = learn(model, stream, EXPERIMENT.training, nights=nights, seed=5)
    assert records["blocked", 5]["checkpoints"] == [vars(point) for point in history.checkpoints]
    spikes = [stage["spikes"] for stage in records["blocked", 5]["stages"]]
    assert spikes == [night.spikes for night in history.nights]
    assert sum(spikes[0].values()) > 1000


def test_runs_of_one_seed_differ_by_their_condition_alone(records) -> None:
    for seed in EXPERIMENT.seeds:
        first = [records[name, seed]["checkpoints"][0] for name in ("awake", "src", "blocked", "silenced", "ewc")]
        assert all(point == first[0] for point in first)
        assert len({str(records[name, seed]["tasks"]) for name in EXPERIMENT.conditions}) == 1
    assert records["awake", 4]["checkpoints"][0] != records["awake", 5]["checkpoints"][0]
    ends = [records[name, 4]["checkpoints"][-1]["task_accuracies"] for name in ("awake", "src", "blocked", "ewc")]
    assert len({str(end) for end in ends}) == 4


def test_stages_and_checkpoints(records) -> None:
    def stages(name):
        return [(stage["task"], stage["index"], stage["kind"]) for stage in records[name, 4]["stages"]]

    night = ["MagnitudePruning", "SpontaneousReplay"] * 2
    assert stages("src") == [(task, index, kind) for task in (1, 2) for index, kind in enumerate(night)]
    replayed = [stage for stage in records["src", 4]["stages"] if stage["kind"] == "SpontaneousReplay"]
    assert [(stage["begin"], stage["steps"]) for stage in replayed] == [(0, 400), (400, 400), (800, 410), (1210, 410)]
    assert {stage["stage"] for stage in replayed} == {"spontaneous-replay"}
    assert stages("silenced") == [(2, 0, "SpontaneousReplay")]
    assert records["silenced", 4]["stages"][0]["silenced"] == {"hidden1": 20}
    assert stages("awake") == stages("joint") == []
    names = {name: [point["name"] for point in records[name, 4]["checkpoints"]] for name in EXPERIMENT.conditions}
    assert names["awake"] == ["T1", "T2"]
    assert names["src"] == ["T1", "S1", "T2", "S2"]
    assert names["joint"] == ["T1"]
    for name in ("src", "blocked"):
        for stage in records[name, 4]["stages"]:
            if stage["kind"] == "SpontaneousReplay":
                grown = [change["potentiated"] for change in stage["weight_changes"]]
                assert (sum(grown) > 0) == (name == "src")


def test_logs_of_the_first_seed(records, logs) -> None:
    for run, record in records.items():
        slept = run.condition not in ("awake", "joint")
        assert record["log"] == log_path(logs, run).exists() == (slept and run.seed == 4)
    with ns.SpikeReader(log_path(logs, RunId("src", 4))) as reader:
        assert reader.complete
        replayed = [stage for stage in records["src", 4]["stages"] if stage["kind"] == "SpontaneousReplay"]
        assert [epoch.start for epoch in reader.epochs] == [stage["begin"] for stage in replayed]
        total = sum(stage["spikes"]["hidden1"] for stage in replayed)
        assert int(reader.spike_counts("hidden1").sum()) == total > 0


def test_specific_neurons(records) -> None:
    nights = records["ewc", 4]["specific"]
    assert [night["task"] for night in nights] == [1, 2]
    assert [len(night["classes"]) for night in nights] == [5, 10]
    for night in nights:
        groups = night["neurons"]["hidden1"]
        assert [int(c) for c in groups] == night["classes"]
        chosen = [neuron for group in groups.values() for neuron in group]
        assert len(chosen) == len(set(chosen)) > 0
        assert max(chosen) < 40
    assert records["ewc", 5]["specific"] is None


def test_progress_is_the_amount() -> None:
    for name in ("src", "silenced", "joint", "awake"):
        done: list[float] = []
        list(perform(EXPERIMENT, [RunId(name, 4)], on_progress=done.append))
        assert sum(done) == pytest.approx(amount(EXPERIMENT, name)), name


def test_nights_left_out_and_nights_with_a_cue() -> None:
    conditions = {
        "first": Condition([SRC], sleep_after=[1]),
        "last": Condition([SRC], sleep_after=[2]),
        "no first": Condition([SRC], first_night=False),
        "plain": Condition([replace(SRC, drive=ns.MeanRate(60.0))]),
        "always cued": Condition([replace(SRC, drive=ns.CuedReplay(ns.MeanRate(60.0), 1, share=1.0))]),
    }
    experiment = replace(EXPERIMENT, conditions=conditions, seeds=1)
    prepare(experiment)
    found = {run.condition: record for run, record in perform(experiment, experiment.runs)}
    assert [[stage["task"] for stage in found[name]["stages"]] for name in ("first", "last")] == [[1], [2]]
    assert found["last"]["checkpoints"] == found["no first"]["checkpoints"]
    for name in ("first", "last"):
        done: list[float] = []
        list(perform(experiment, [RunId(name, 0)], on_progress=done.append))
        assert sum(done) == pytest.approx(amount(experiment, name)), name
    first, second = ([stage["spikes"]["input"] for stage in found[name]["stages"]] for name in ("plain", "always cued"))
    assert first[0] == second[0]  # the mean of the first task is that of all so far
    assert first[1] != second[1]


def test_a_failed_run_does_not_sink_the_others() -> None:
    broken = replace(EXPERIMENT, conditions={"bad": Condition([replace(SRC, thresholds=(1.0,))]), "awake": Condition()})
    (bad, error), (good, record) = perform(broken, [RunId("bad", 4), RunId("awake", 4)])
    assert (bad, good) == (("bad", 4), ("awake", 4))
    assert isinstance(error, ns.InputError)
    assert record["accuracy"] > 0


def test_a_generative_network_learns_by_its_nights(tmp_path) -> None:
    dreams = Experiment(
        "?",
        {
            "one": Condition([NREM(30, 32), REM(30, 32)]),
            "other": Condition(
                [REM(10, 32), NREM(10, 32), SRC], cycles=3, lesions=[SilencedNeurons("hidden1", neurons=(0,))]
            ),
        },
        seeds=1,
        stream=DataStream(images_per_task=60, classes_per_task=5),
        network=GenerativeNetwork((40,), latents=8),
    )
    prepare(dreams)
    done: list[float] = []
    found = dict(perform(dreams, dreams.runs, logs=tmp_path, on_progress=done.append))
    one, other = found["one", 0], found["other", 0]
    assert [(s["task"], s["index"], s["kind"]) for s in one["stages"]] == [
        (task, index, kind) for task in (1, 2) for index, kind in enumerate(["NREM", "REM"])
    ]
    assert [s["kind"] for s in other["stages"]] == ["REM", "NREM", "SpontaneousReplay"] * 6
    assert {s["silenced"]["hidden1"] for s in other["stages"] if s["kind"] == "SpontaneousReplay"} == {1}
    assert [point["name"] for point in one["checkpoints"]] == ["T1", "T2"]
    assert one["checkpoints"][0]["task_accuracies"][0] > 0.4  # of five classes
    assert one["checkpoints"][0]["task_accuracies"][1] == 0
    assert other["log"]
    again = dict(perform(dreams, [RunId("other", 0)], logs=tmp_path))
    assert sum(done) == pytest.approx(sum(amount(dreams, name) for name in dreams.conditions))
    assert without_machine(again["other", 0]) == without_machine(other)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition([replace(SRC, thresholds=(1.0, 2.0, 3.0))]), "condition 'c': .*thresholds"),
        (Condition([replace(SRC, drive=ns.MaskedMeanRate(10.0, 2, (2, 2)))]), "condition 'c': .*image_shape"),
        (Condition([SRC], lesions=[SilencedNeurons("hidden2", 0.5)]), "no population 'hidden2'"),
        (Condition([SRC], lesions=[SilencedNeurons("hidden1", neurons=(40,))]), "40"),
        (Condition([SRC], sleep_after=[1, 3]), "condition 'c': sleep_after names task 3, but there are 2"),
        (Condition([replace(SRC, drive=ns.CuedReplay(ns.MeanRate(9.0), 3))]), "a cue is of task 3, but there are 2"),
        (Condition(method="icarl:9"), "condition 'c': .*at least 1 exemplar for each of 10 classes"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(condition, message) -> None:
    with pytest.raises(ns.InputError, match=message):
        prepare(replace(EXPERIMENT, conditions={"c": condition}))


def test_missing_data_is_refused(tmp_path, monkeypatch) -> None:
    with pytest.raises(ns.InputError, match=r"none\.npz"):
        prepare(replace(EXPERIMENT, stream=DataStream(str(tmp_path / "none.npz"))))


def test_prepare_accepts_what_runs() -> None:
    prepare(EXPERIMENT)


def test_the_last_task_alone() -> None:
    """A network that has learned nothing but the last task: as one whose stream has no other."""
    experiment = replace(EXPERIMENT, conditions={"last": Condition(method="last-task")}, seeds=1)
    done: list[float] = []
    ((_, record),) = perform(experiment, experiment.runs, on_progress=done.append)
    stream = experiment.stream.make(0)
    model = experiment.network.make(784, 10, 0)
    learn(model, replace(stream, tasks=stream.tasks[-1:]), experiment.training, seed=0)
    accuracies = record["checkpoints"][-1]["task_accuracies"]
    assert accuracies == evaluate(model, stream).task_accuracies
    assert accuracies[0] < 0.1 < accuracies[1]
    assert sum(done) == amount(experiment, "last") == 60


def test_options_of_a_method() -> None:
    options = ({}, {"selection": "random"}, {"loss": "sigmoid"})
    conditions = {str(i): Condition(method="icarl:20", method_options=given) for i, given in enumerate(options)}
    found = dict(perform(replace(EXPERIMENT, conditions=conditions, seeds=1), [RunId(name, 0) for name in conditions]))
    assert len({str(record["checkpoints"]) for record in found.values()}) == 3
    for given, message in (
        ({"los": "sigmoid"}, "no option 'los'; did you mean 'loss'"),
        ({"loss": "sum"}, "loss must"),
    ):
        with pytest.raises(ns.InputError, match=message):
            Condition(method="icarl:20", method_options=given)


def test_a_later_learning_rate_is_that_of_all_tasks_but_the_first() -> None:
    def record(**training):
        experiment = replace(EXPERIMENT, training=Trainer(1, 20, **training), seeds=1)
        ((_, found),) = perform(experiment, [RunId("awake", 0)])
        return found["checkpoints"]

    same, later, slower = record(), record(later_learning_rate=0.02), record(learning_rate=0.02)
    assert later[0] == same[0] != slower[0]
    assert later[1] != same[1]
    assert record(later_learning_rate=0.1) == same
    with pytest.raises(ns.InputError, match="later_learning_rate must be positive, or left out, got 0"):
        Trainer(later_learning_rate=0.0)


def test_the_order_of_dealt_classes_is_kept() -> None:
    dealt = replace(EXPERIMENT, stream=replace(EXPERIMENT.stream, order="dealt"), seeds=1)
    ((_, record),) = perform(dealt, [RunId("awake", 0)])
    assert record["class_order"] == dealt.stream.class_order(10, 0)
    assert [task["classes"] for task in record["tasks"]] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_method_that_a_network_cannot_have_is_refused_before_anything_runs() -> None:
    network = ConvolutionalNetwork((2,), hidden=())
    with pytest.raises(
        ns.InputError, match=r"condition 'c': OWM projects the weights of torch\.nn\.Linear layers only"
    ):
        prepare(replace(EXPERIMENT, network=network, conditions={"c": Condition(method="owm")}))
    prepare(replace(EXPERIMENT, network=network, conditions={"c": Condition(method="ewc")}))


def test_convolutions_sleep_with_their_spikes_kept(tmp_path) -> None:
    small = ("dataset=mnist-small", "images_per_task=40", "channels=[2, 4]", "hidden=[20]", "epochs=1", "steps=50")
    experiment = load("conv-sleep", [*small, "seeds=1", 'conditions=["plastic", "frozen"]'])
    records = dict(perform(experiment, experiment.runs, logs=tmp_path))
    for run, record in records.items():
        assert not isinstance(record, Exception), record
        with ns.SpikeReader(log_path(tmp_path, run)) as spikes:
            assert spikes.populations["hidden1"] == 2 * 12 * 12
        layers = [change["layer"] for change in record["stages"][-1]["weight_changes"]]
        assert [histogram["layer"] for histogram in record["weights"]["T1"]] == layers == ["0", "2", "5", "8"]
    changed = [c["potentiated"] + c["depressed"] for c in records[RunId("frozen", 0)]["stages"][0]["weight_changes"]]
    assert changed[:2] == [0, 0]
    assert sum(changed[2:]) > 0
