"""How the quality of students at their ends falls with the size of their files, in the recorded tables.

    python -m benchmarks.quality_by_size

Shares of the way from guessing to the teacher, on the scale on which freeze-thaw search expects qualities
(the arcsine of the root), by halvings of the teacher's packed file: their mean and deviation in each seventh
of a table, and the straight line through all; what is never trained is left out. What the search expects of
a recipe before trials tell is the mean of the lines of digits, own network, spoken digits and CIFAR-10 slices
(``search/sampling/freezing/process.py``).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.grids import GRIDS, RECORDED
from benchmarks.recorded_table import Table, load_table
from search.sampling.freezing.gain import scale

Array = NDArray[np.float64]

PARTS = 7


def shares_and_halvings(table: Table, guessing: float) -> tuple[Array, Array]:
    """How far the students of recipes that train get, and their halvings, shape (n,) each.

    Args:
        table: of what recipes do.
        guessing: quality of who knows nothing, as a share of its range.
    """
    start, end = scale(np.array([guessing, table.teacher_quality]))
    shares = (scale(table.validation[:, -1]) - start) / (end - start)
    trained = table.epochs > 0
    return shares[trained], np.log2(table.teacher_bytes / table.packed_bytes[trained, -1])


def line(shares: Array, halvings: Array) -> tuple[float, float, float]:
    """Least squares: the share without a halving, what each takes, and the deviation from that."""
    slope, start = np.polyfit(halvings, shares, 1)
    return float(start), float(-slope), float((shares - start - slope * halvings).std())


def main() -> None:
    lines = []
    for name in RECORDED:
        shares, halvings = shares_and_halvings(load_table(GRIDS[name].path), GRIDS[name].guessing)
        lines.append(line(shares, halvings))
        print(f"{name}: {lines[-1][0]:.2f} less {lines[-1][1]:.3f} for each halving, ± {lines[-1][2]:.2f}")
        for low, high in pairwise(np.quantile(halvings, np.linspace(0, 1, PARTS + 1))):
            own = shares[(halvings >= low) & (halvings <= high)]
            print(f"  {low:4.1f} to {high:4.1f} halvings: {own.mean():.2f} ± {own.std():.2f}")
    start, each, _ = np.mean(lines, axis=0)
    print(f"mean of the tables: {start:.2f} less {each:.3f} for each halving")


if __name__ == "__main__":
    main()
