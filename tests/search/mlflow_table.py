"""The tables of docs/mlflow.md, as a test reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mlflow.md"


@dataclass(frozen=True)
class Row:
    """One name.

    Attributes:
        name: as logged; ``<metric>`` stands for any quality's name.
        where: kinds of runs that have it.
        unit: of a metric.
        below: whether names that begin with it and a dot are meant too.
    """

    name: str
    where: frozenset[str]
    unit: str
    below: bool

    def matches(self, name: str) -> bool:
        """Whether ``name`` is what the row is about."""
        pattern = re.escape(self.name).replace("<metric>", r"[a-z]+")
        if self.below:
            # A list's items are numbered: losses.0 stands for losses.1 too.
            pattern = pattern.replace(r"\.0", r"\.\d+") + r"(\..+)?"
        return re.fullmatch(pattern, name) is not None


def rows(section: str) -> list[Row]:
    """The table under the heading ``section``, one row per name."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([^`]+)`", cells[0])
        if line.startswith("| ") and names:
            where = frozenset(cells[1].split(", "))
            unit = cells[2] if section == "Metrics" else ""
            found += [Row(name, where, unit, "and below" in cells[0]) for name in names]
    return found
