"""How quality falls with size, of a table whose law is known."""

import numpy as np
import pytest

from benchmarks.quality_by_size import line, shares_and_halvings
from benchmarks.recorded_table import Table
from search.sampling.freezing.gain import scale, unscaled


def test_the_line_of_a_table_is_found_without_what_is_never_trained():
    halvings = np.array([0.0, 2.0, 4.0, 6.0, 3.0])
    start, teacher = scale(np.array([0.1, 0.95]))
    ends = unscaled(start + (0.9 - 0.1 * halvings) * (teacher - start))
    ends[-1] = 0.1  # rounded, without training
    table = Table(
        points=({},) * 5,
        epochs=np.array([3, 3, 3, 3, 0]),
        packed_bytes=np.tile(2.0 ** (20 - halvings), (2, 1)).T,
        validation=np.column_stack([np.full(5, 0.1), ends]),
        seconds=np.ones((5, 2)),
        test=ends,
        teacher_bytes=2**20,
        teacher_quality=0.95,
    )
    shares, found = shares_and_halvings(table, 0.1)
    assert found == pytest.approx(halvings[:4])
    assert line(shares, found) == pytest.approx((0.9, 0.1, 0.0))
