"""Brings the folder of a run into one plain form, whichever version of neurosleep wrote it.

`python plain.py FOLDER` prints JSON: ``{"conditions": {CONDITION: {SEED: record}}, "spikes": {CONDITION: epochs}}``. Of
a record only seconds, versions, machine and paths are left out. Of a spike log there is a digest of every event, by
epoch and population.
"""

import argparse
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

import neurosleep as ns

LEFT_OUT = {
    *("seconds", "sleep_seconds"),  # how fast it was
    *("versions", "machine"),  # where it was
    *("format", "condition", "seed", "log"),  # of the file, not of the run
}
STUDY = "study"
"""The condition of a run that compares none."""


def plain(folder: Path, study: bool = False) -> dict[str, Any]:
    """Return what a folder holds; a study's record counts as that of one condition."""
    if (folder / "plain.json").exists():  # a Python case writes the plain form itself
        found: dict[str, Any] = json.loads((folder / "plain.json").read_text(encoding="utf-8"))
        return found
    if (folder / "results.json").exists():
        return _methods(folder)
    conditions: dict[str, Any] = {}
    spikes = {}
    for file in sorted(folder.glob("runs/*/seed-*.json")):
        name = STUDY if study else unquote(file.parent.name)
        record = json.loads(file.read_text(encoding="utf-8"))
        conditions.setdefault(name, {})[file.stem.removeprefix("seed-")] = _clean(_learned(record))
        if file.with_suffix(".h5").exists() and name not in spikes:
            spikes[name] = digest(file.with_suffix(".h5"))
    return {"conditions": conditions, "spikes": spikes}


def _methods(folder: Path) -> dict[str, Any]:
    """Return what is in a folder that has one file for all conditions of a seed."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    conditions: dict[str, Any] = {}
    for run in results["runs"]:
        kind = next((kind for kind in ("methods", "conditions") if kind in run), None)
        of_all = {key: run[key] for key in ("tasks", "task_names", "class_order") if key in run}
        for name, record in run[kind].items() if kind else [(STUDY, run)]:
            if kind:
                record = _learned({**record, **of_all})
                if name == "src":
                    record["weight_histograms"] = run.get("weights")
            conditions.setdefault(name, {})[str(run["seed"])] = _clean(record)
    log = folder / "spikes.h5"
    sleeping = [name for name in conditions if name == "src"] or [name for name in conditions if name.endswith("+src")]
    return {"conditions": conditions, "spikes": {(sleeping or [STUDY])[0]: digest(log)} if log.exists() else {}}


def _learned(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a condition with its stages as nights (which have spikes or prune) and trainings."""
    found = dict(record)
    stages = found.pop("stages", found.get("nights"))
    if stages is not None:
        found["nights"] = [stage for stage in stages if "weight_changes" in stage]
        found["trainings"] = [stage for stage in stages if "weight_changes" not in stage]
    if "tasks" in found:
        found["tasks"] = [task["classes"] if isinstance(task, dict) else task for task in found["tasks"]]
    return found


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if key not in LEFT_OUT}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def digest(path: Path) -> list[dict[str, str]]:
    """Return one digest an epoch and population, of every event's step (from the epoch's begin) and neuron."""
    with ns.SpikeReader(path) as log:
        return [
            {name: _events(log, name, epoch.start, epoch.stop) for name in log.layers}
            | {"steps": epoch.stop - epoch.start}
            for epoch in log.epochs
        ]


def _events(log: Any, population: str, start: int, stop: int) -> str:
    step, neuron = log.events(population, start, stop)
    events = np.stack([step - np.uint32(start), neuron]).astype("<u4")
    return f"{events.shape[1]} events, {blake2b(events.tobytes(), digest_size=16).hexdigest()}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", action="store_true", help="the run compares no conditions")
    asked = parser.parse_args()
    print(json.dumps(plain(asked.folder, asked.study)))
