"""The table, and what became of published orderings."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.method_table.rows import ORDERINGS, ROWS, Ordering

Key = tuple[str, float]


def report(runs: Iterable[Mapping[str, Any]]) -> str:
    """Size and accuracy of each row at each size, mean over the seeds, and the orderings."""
    found: dict[Key, dict[int, Mapping[str, Any]]] = {}
    refused: dict[str, str] = {}
    for run in runs:
        if "test" in run:
            found.setdefault((run["row"], run["size"]), {})[run["seed"]] = run
        else:
            refused[run["row"]] = run["refused"]
    sizes = sorted({size for _, size in found})
    lines = ["| row | origin | " + " | ".join(f"width {size:g}" for size in sizes) + " | seconds |"]
    lines.append("|---|---|" + "---|" * (len(sizes) + 1))
    lines += [_line(name, sizes, found) for name in ROWS if any(key[0] == name for key in found)]
    lines += ["", *(f"- {name}: {reason}" for name, reason in refused.items() if reason)]
    lines += ["", "| more accurate | less accurate | source | " + " | ".join(f"{s:g}" for s in sizes) + " |"]
    lines.append("|---|---|---|" + "---|" * len(sizes))
    for ordering in ORDERINGS:
        told = " | ".join(verdict(ordering, size, found) for size in sizes)
        lines.append(f"| {ordering.better} | {ordering.worse} | {ordering.source} | {told} |")
    return "\n".join(lines)


def _line(name: str, sizes: list[float], found: Mapping[Key, Mapping[int, Mapping[str, Any]]]) -> str:
    cells, seconds, origins = [], [], set()
    for size in sizes:
        runs = list(found.get((name, size), {}).values())
        if not runs:
            cells.append("")
            continue
        tests = [100 * run["test"] for run in runs]
        spread = f" ± {statistics.stdev(tests):.1f}" if len(tests) > 1 else ""
        cells.append(
            f"{statistics.mean(run['bytes'] for run in runs):,.0f} B, {statistics.mean(tests):.1f}{spread}"
        )
        seconds += [run["seconds"] for run in runs]
        origins |= {run["origin"] for run in runs}
    return (
        f"| {name} | {', '.join(sorted(origins))} | {' | '.join(cells)} | {statistics.median(seconds):.1f} |"
    )


def verdict(ordering: Ordering, size: float, found: Mapping[Key, Mapping[int, Mapping[str, Any]]]) -> str:
    """Whether an ordering holds: the mean paired difference in points, against twice its standard error."""
    better, worse = (found.get((name, size), {}) for name in (ordering.better, ordering.worse))
    both = sorted(better.keys() & worse.keys())
    if not both:
        return "not run"
    gains = [100 * (better[seed]["test"] - worse[seed]["test"]) for seed in both]
    mean = statistics.mean(gains)
    if len(gains) < 2:
        return f"{mean:+.1f}"
    error = statistics.stdev(gains) / len(gains) ** 0.5
    word = "cannot be told" if abs(mean) <= 2 * error else "holds" if mean > 0 else "does not hold"
    return f"{mean:+.1f} ± {error:.1f}: {word}"
