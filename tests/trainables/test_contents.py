"""What a student's file holds, for those without torch."""

import numpy as np
import pytest
import torch

from trainables.quantizers.base import Dense
from trainables.shipping.contents import BINS, _levels


def test_values_are_counted_in_bins_of_equal_width():
    values = torch.linspace(0, 32, 3200)
    levels = _levels(Dense(values))
    assert len(levels) == BINS
    assert sum(count for _, count in levels) == 3200
    assert [value for value, _ in levels] == pytest.approx(np.arange(0.5, 32, 1.0))


@pytest.mark.parametrize("values", [[1e30, 1e30], [-1e30], [1e30, float(np.float32(1e30) * 1.0000002)]])
def test_values_too_close_for_bins_are_counted_one_by_one(values):
    levels = _levels(Dense(torch.tensor(values)))
    assert sum(count for _, count in levels) == len(values)
    assert levels[0][0] == pytest.approx(values[0], rel=1e-5)
