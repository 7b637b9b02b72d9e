import numpy as np
import pandas as pd

from search.objectives.importance import FEWEST_TRIALS, free, importance, ranked


def table(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "strong": random.uniform(0, 1, n),
            "weak": random.uniform(0, 1, n),
            "choice": pd.Series(random.choice(["a", "b"], n), dtype="string").values,
            "sometimes": np.where(random.random(n) < 0.5, random.choice([2.0, 4.0], n), np.nan),
        },
        index=[f"run{i}" for i in range(n)],
    )
    values = 3 * frame["strong"] + 0.2 * frame["weak"] + frame["sometimes"].isna()
    return frame, values


def test_shares_follow_the_function_that_was_sampled() -> None:
    frame, values = table(300)
    shares = importance(frame, values)
    assert abs(shares.sum() - 1) < 1e-6
    assert list(shares.index[:2]) == ["strong", "sometimes"]
    # Of the variance 9/12, 1/4 and 0.04/12.
    assert 0.55 < shares["strong"] < 0.9 and 0.1 < shares["sometimes"] < 0.4 and shares["choice"] < 0.05
    assert ranked(frame, values)[:2] == ["strong", "sometimes"]
    pd.testing.assert_series_equal(shares, importance(frame, values))


def test_too_little_to_tell_is_empty() -> None:
    frame, values = table(FEWEST_TRIALS - 1)
    assert importance(frame, values).empty
    frame, values = table(20)
    assert importance(frame, values * 0).empty
    assert importance(frame[[]], values).empty
    assert importance(frame, values * np.nan).empty


def test_what_says_the_same_is_told_once() -> None:
    frame = pd.DataFrame(
        {
            "z.copy": [1.0, 2.0, 3.0, 1.0],
            "bits": [2.0, 4.0, 8.0, 2.0],
            "method": ["a", "b", "b", "a"],
            "loss.of_method": [0.1, 0.2, 0.2, 0.1],
            "constant": [1.0] * 4,
        }
    )
    assert list(free(frame)) == ["method", "bits"]
