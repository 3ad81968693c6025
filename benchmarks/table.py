"""The results of a benchmark as text."""

from itertools import pairwise
from typing import Any

from neurosleep.tables import table

from .machine import one_line


def tables(results: dict[str, Any]) -> str:
    """Return everything that was measured as aligned tables with headings."""
    parts = [one_line(results["machine"])]
    parts += [_contest(contest) for contest in results["contests"]]
    parts += [
        _scaling(results["contests"]),
        _forms(results["forms"]),
        _nights(results["five_nights"]),
        _ensembles(results["ensembles"]),
    ]
    parts += [_logging(logging) for logging in results["logging"]]
    parts += [_gpu(results["gpu"]), _processes(results["processes"])]
    return "\n\n".join(part for part in parts if part)


def _contest(contest: dict[str, Any]) -> str:
    spikes = ", ".join(f"{s:.3g}" for s in contest["spikes_per_step"])
    head = f"{contest['name']}, {contest['regime']}: {contest['steps']} steps with {spikes} spikes each, ms a step"
    bounds = [
        {"": "bound, strided columns", "ms": _short(contest["bound_ms_per_step"]["median"])},
        {"": "bound, contiguous columns", "ms": _short(contest["contiguous_bound_ms_per_step"]["median"])},
    ]
    rows = [
        {
            "": row["name"],
            "ms": _short(row["ms_per_step"]["median"]),
            "quartiles": _quartiles(row["ms_per_step"]),
            "times ours": _short(row["to_first"]["median"]),
            "quartiles ": _quartiles(row["to_first"]),
            "times bound": _short(row["to_bound"]["median"]),
            "checked": row["checked"],
            "float64": row.get("checked_float64", "-"),
            "weights off by": f"{row['largest_weight_difference']:.0e}",
        }
        for row in contest["contestants"]
    ]
    blank = dict.fromkeys(rows[0], "-")
    return head + "\n" + table([{**blank, **bound} for bound in bounds] + rows)


def _scaling(contests: list[dict[str, Any]]) -> str:
    """Say how the cost of the active regime grows with the number of synapses."""
    rows = []
    for contest in contests:
        if contest["regime"] != "active":
            continue
        sizes = [int(n) for n in contest["name"].split("-")]
        synapses = sum(a * b for a, b in pairwise(sizes))
        ours = contest["contestants"][0]["ms_per_step"]["median"]
        rows.append((contest["width"], synapses, sum(contest["spikes_per_step"]), ours))
    first = rows[0]
    return "Active regime by width\n" + table(
        [
            {
                "width": width,
                "synapses": f"{synapses:,}",
                "spikes a step": _short(spikes),
                "ours, ms": _short(ms),
                "times the first": _short(ms / first[3]),
                "synapses, times": _short(synapses / first[1]),
            }
            for width, synapses, spikes, ms in rows
        ]
    )


def _forms(forms: list[dict[str, Any]]) -> str:
    """Say what the engine's forms cost, and what its choice costs beside the better of them."""
    rows = [
        {
            "rule": row["rule"],
            "share firing": f"{row['share']:.2f}",
            **{form: _short(row[form]) for form in ("event-driven", "dense", "chosen")},
            "chosen / better": f"{row['chosen'] / min(row['event-driven'], row['dense']):.2f}",
        }
        for row in forms
    ]
    return "Event-driven or dense: one layer, ms a step\n" + table(rows)


def _nights(nights: dict[str, Any]) -> str:
    rows = [{"": name, "seconds": _short(s["median"])} for name, s in nights["seconds"].items()]
    return f"Nights of the published protocol, {nights['steps']:,} steps in all\n" + table(rows)


def _ensembles(ensembles: dict[str, Any]) -> str:
    rows = [
        {
            "members": row["members"],
            **{f"{way}, s": _short(seconds["median"]) for way, seconds in row["seconds"].items()},
            "checked": row["checked"],
        }
        for row in ensembles["rows"]
    ]
    return f"Ensembles, nights of {ensembles['steps']:,} steps\n" + table(rows)


def _logging(logging: dict[str, Any]) -> str:
    head = f"Logging, {logging['name']}, {logging['regime']}: {logging['events']:,} spikes in {logging['steps']} steps"
    if logging["repeats"] > 1:
        head += f", {logging['repeats']} times into one file"
    rows = [
        {"": f"simulation, {name}", "ms a step": _short(ms["median"]), "million spikes/s": "-", "bytes a spike": "-"}
        for name, ms in logging["simulation_ms_per_step"].items()
    ]
    rows += [
        {
            "": f"writing alone, {name}",
            "ms a step": "-",
            "million spikes/s": _short(rate / 1e6),
            "bytes a spike": _short(logging["bytes_per_event"][name]),
        }
        for name, rate in logging["writing_events_per_second"].items()
    ]
    return head + "\n" + table(rows)


def _gpu(gpu: dict[str, Any]) -> str:
    if "missing" in gpu:
        return f"GPU: {gpu['missing']}"
    names = {"GPU": "gpu", "one core": "one_core", "bound of the GPU's memory": "bound"}
    rows = [
        {"": name, "network-steps a second": f"{gpu[f'{key}_steps_per_second']:,.0f}"} for name, key in names.items()
    ]
    head = f"{gpu['members']:,} networks on a GPU, the first {gpu['steps']} steps of a night, {gpu['checked']}"
    return head + "\n" + table(rows)


def _processes(processes: list[dict[str, Any]]) -> str:
    rows = [
        {
            "width": row["width"],
            "imports, s": _short(row["import_seconds"]["median"]),
            "asleep after, s": _short(row["asleep_seconds"]["median"]),
            "weights, MB": _short(row["weights_bytes"] / 1e6),
            "before the night, MB": _short(row["before_bytes"] / 1e6),
            "most memory, MB": _short(row["peak_bytes"] / 1e6),
        }
        for row in processes
    ]
    return "A fresh process\n" + table(rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _quartiles(spread: dict[str, float]) -> str:
    return f"{_short(spread['q1'])} to {_short(spread['q3'])}"
