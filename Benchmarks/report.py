"""What the numbers come to: medians, the tables, and the change between two results. No input or output here."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

PROCESSES = ("order", "stock", "payment", "nginx")
DISK_BYTES_TOLD = 100_000  # A second. Less is a page now and then.


# ---------------------------------------------------------------- from runs to a measurement


def spread(values: list[float]) -> float | None:
    """How far apart runs of the same thing lie, as a part of their median: what a change must exceed to mean anything.

    None, for not known, of a single run.
    """
    middle = median(values)
    return (max(values) - min(values)) / middle if len(values) > 1 and middle else None


def against(runs: list[dict], yardsticks: list[dict]) -> dict:
    """The rate of runs in terms of the yardstick, which was measured before, between and after them."""
    rates, requests = ([one["checkoutsPerSecond"] for one in each] for each in (runs, yardsticks))
    # How far the ratio varies is seen when each run is held against the yardsticks next to it.
    pairs = zip(rates, requests, requests[1:], strict=False)
    near = [2 * rate / (before + after) for rate, before, after in pairs if before + after]
    middle = median(requests)
    return {
        "yardstickPerSecond": middle,
        "ratio": median(rates) / middle if middle else 0.0,
        "ratioSpread": spread(near) if near else None,
    }


def medians(parts: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(part[name] for part in parts) for name in parts[0]}


def summarise(runs: list[dict]) -> dict:
    """One measurement of several runs: medians, but the sum of the errors and the highest peak, which no median may hide."""
    errors: dict[str, int] = {}
    for run in runs:
        for name, count in run["errors"].items():
            errors[name] = errors.get(name, 0) + count
    rates = [run["checkoutsPerSecond"] for run in runs]
    summary = {
        "checkoutsPerSecond": median(rates),
        "spread": spread(rates),
        "latencyMs": medians([run["latencyMs"] for run in runs]),
        "errors": errors,
    }
    if "cpuMicros" in runs[0]:
        summary["cpuMicros"] = medians([run["cpuMicros"] for run in runs])
        summary["peakBytes"] = {name: max(run["peakBytes"][name] for run in runs) for name in runs[0]["peakBytes"]}
        summary["diskBytesPerSecond"] = median(run["diskBytesPerSecond"] for run in runs)
    return summary | {"runs": runs}


def per_checkout(before: dict[str, float], after: dict[str, float], checkouts: int) -> dict[str, float]:
    """Microseconds of processor time for a checkout, by process, from seconds before and after."""
    return {name: (after[name] - before[name]) * 1e6 / checkouts if checkouts else 0.0 for name in after}


# ---------------------------------------------------------------- tables


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others, which are numbers, to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def number(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def percent(value: float) -> str:
    return f"{100 * value:+.1f} %"


def joined(values: dict[str, float], scale: float = 1) -> str:
    return "/".join(number(values[name] / scale) for name in PROCESSES)


def errors_in_words(errors: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(errors.items())) or "0"


def measurement_row(one: dict) -> list[str]:
    latency = one["latencyMs"]
    cells = [
        one["route"], str(one["connections"]), number(one["checkoutsPerSecond"]),
        "?" if one["spread"] is None else f"{50 * one['spread']:.0f} %",
        number(latency["p50"], 1), number(latency["p99"], 1), number(latency["p999"], 1), errors_in_words(one["errors"]),
    ]
    if "cpuMicros" in one:
        return [*cells, joined(one["cpuMicros"]), joined(one["peakBytes"], 2**20), f"{one['ratio']:.4f}"]
    return [*cells, "", "", ""]


def disk_in_words(measurements: list[dict]) -> str | None:
    """Where the stores were not in memory: a checkout that waits for the disk says little of anything else."""
    told = [
        f"{one['route']} with {one['connections']} connections {number(one['diskBytesPerSecond'] / 2**20, 1)} MiB/s"
        for one in measurements if one.get("diskBytesPerSecond", 0) >= DISK_BYTES_TOLD
    ]
    return "read from the disk, as it was not in memory: " + ", ".join(told) if told else None


def scenario_report(scenario: dict) -> str:
    header = ["route", "conns", "checkouts/s", "±", "p50 ms", "p99", "p99.9", "errors"]
    header += ["CPU µs O/S/P/n", "peak MiB O/S/P/n", "ratio"]
    lines = [scenario["name"], table(header, map(measurement_row, scenario["measurements"]))]
    lines.append(f"a synchronised write took {scenario['syncMicros']:.0f} µs")
    if disk := disk_in_words(scenario["measurements"]):
        lines.append(disk)
    if startup := scenario.get("startUpSeconds"):
        lines.append("ready after " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in sorted(startup.items())))
    return "\n".join(lines)


def recovery_in_words(recovery: dict) -> str:
    return (
        f"kill -9 of Order with {recovery['unfinished']:,} unfinished orders: ready again {recovery['readySeconds']:.2f} s "
        f"and all ended {recovery['recoveredSeconds']:.2f} s after its new process began")


# ---------------------------------------------------------------- two results


def index(result: dict) -> dict[tuple[str, str, int], dict]:
    return {
        (scenario["name"], one["route"], one["connections"]): one
        for scenario in result["scenarios"]
        for one in scenario["measurements"]
    }


def change(before: float, after: float) -> float:
    return after / before - 1 if before else 0.0


def judged(before: dict, after: dict, what: str, its_spread: str) -> str:
    """A change, with a tilde when it lies within what the runs of either result differ among themselves."""
    moved = change(before[what], after[what])
    spreads = [one[its_spread] for one in (before, after)]
    is_noise = None in spreads or abs(moved) <= max(spreads)
    return ("~" if is_noise else "") + percent(moved)


def comparison_row(where: tuple[str, str, int], before: dict, after: dict) -> list[str]:
    name, route, connections = where
    rates = [one["checkoutsPerSecond"] for one in (before, after)]
    cells = [name, route, str(connections), *map(number, rates), judged(before, after, "checkoutsPerSecond", "spread")]
    has_ratio = "ratio" in before and "ratio" in after
    cells.append(judged(before, after, "ratio", "ratioSpread") if has_ratio else "")
    for quantile in ("p50", "p99", "p999"):
        cells.append(percent(change(before["latencyMs"][quantile], after["latencyMs"][quantile])))
    if "cpuMicros" in before and "cpuMicros" in after:
        cells.append(percent(change(*(sum(one["cpuMicros"].values()) for one in (before, after)))))
    else:
        cells.append("")
    cells.append(f"{sum(before['errors'].values())} > {sum(after['errors'].values())}")
    return cells


def differences(before: dict, after: dict) -> list[str]:
    """What else than the code differs between two results."""
    found = []
    for part in ("environment", "settings"):
        for name in sorted(before[part].keys() | after[part].keys()):
            # What differs between any two results.
            if name in ("date", "commit", "uncommittedChanges", "executable", "loadAverage"):
                continue
            values = [result[part].get(name) for result in (before, after)]
            if values[0] != values[1]:
                found.append(f"{name}: {values[0]} > {values[1]}")
    return found


def compare(before: dict, after: dict) -> str:
    old, new = index(before), index(after)
    rows = [comparison_row(where, old[where], new[where]) for where in old if where in new]
    header = ["scenario", "route", "conns", "A/s", "B/s", "rate", "ratio", "p50", "p99", "p99.9", "CPU", "errors"]
    lines = [f"{name}: {result['environment']['date']}, commit {result['environment']['commit']}"
             for name, result in (("A", before), ("B", after))]
    lines += [table(header, rows) if rows else "The two have no measurement in common."]
    for title, one, other in (("only in A", old, new), ("only in B", new, old)):
        if missing := [where for where in one if where not in other]:
            lines.append(f"{title}: " + "; ".join(f"{name}, {route}, {count}" for name, route, count in missing))
    syncs = [{s["name"]: s["syncMicros"] for s in result["scenarios"]} for result in (before, after)]
    for name in (name for name in syncs[0] if name in syncs[1]):
        lines.append(f"a synchronised write, {name}: {syncs[0][name]:.0f} µs > {syncs[1][name]:.0f} µs")
    recoveries = [{s["name"]: s["recovery"] for s in result["scenarios"] if "recovery" in s} for result in (before, after)]
    for name in (name for name in recoveries[0] if name in recoveries[1]):
        lines += [f"{which}, {name}: {recovery_in_words(each[name])}" for which, each in zip("AB", recoveries, strict=True)]
    lines += [f"not the same: {difference}" for difference in differences(before, after)]
    lines.append(
        "ratio is the rate in terms of the yardstick, which takes out the drift of the processor but not of the disk;\n"
        "~ is within the spread of the runs, or there were too few to tell.")
    return "\n".join(lines)
