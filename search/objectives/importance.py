"""How much of the spread of a result each parameter explains."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from search.objectives.anova import Encoded, Numbers, encoded, explained, grouped

MOST_TRIALS = 1000
"""One forest is grown on; of more trials it is a sample, drawn at random."""
FEWEST_TRIALS = 8
FORESTS = 4
"""Beside the first, that tell how far importance can be relied on."""
TREES, DEPTH = 10, 6
"""More trees change less than other trials do, deeper ones the second digit at most."""


def free(parameters: pd.DataFrame) -> pd.DataFrame:
    """The columns that are choices of their own.

    Left out are seeds, by which nobody chooses, constants, columns that say the same of every trial as an
    earlier one, and what follows from the column ``method`` alone: of these the method is told.
    """
    names = sorted(
        (name for name in map(str, parameters) if name.rpartition(".")[2] != "seed"),
        key=lambda name: (name != "method", name),
    )
    codes = {
        name: tuple(map(int, pd.factorize(parameters[name], use_na_sentinel=False)[0])) for name in names
    }
    followed = codes.get("method", ())
    kept: dict[tuple[int, ...], str] = {}
    for name in names:
        own = codes[name]
        follows = (
            name != "method" and followed and len(set(zip(followed, own, strict=True))) == len(set(followed))
        )
        if len(set(own)) > 1 and not follows:
            kept.setdefault(own, name)
    return parameters[list(kept.values())]


def importance(parameters: pd.DataFrame, values: pd.Series[float], seed: int = 0) -> pd.Series[float]:
    """Share of the variance of ``values`` that each parameter explains by itself: functional ANOVA.

    After Hutter, Hoos and Leyton-Brown (2014), of a random forest. What a recipe does not have is a choice of
    its own (``none``), so that conditional parameters need not be left out.

    Args:
        parameters: one column per parameter, float or string; missing where a recipe has none.
        values: of the same index; trials without a finite value are left out.
        seed: of forest and sample.

    Returns:
        Parameter -> share, 0 to 1 and 1 in all, largest first; empty with fewer than 8 trials, or if nothing
        varies.
    """
    known = _finite(values)
    data = _encoded(parameters, known)
    if data is None:
        return pd.Series(dtype="float64")
    return _shares(data, np.asarray(known, dtype=np.float64), _sample(len(known), seed), seed)


def _sample(trials: int, seed: int) -> npt.NDArray[np.int64]:
    if trials <= MOST_TRIALS:
        return np.arange(trials)
    return np.random.default_rng(seed).choice(trials, MOST_TRIALS, replace=False)


def importance_spread(
    parameters: pd.DataFrame, values: pd.Series[float], forests: int = FORESTS
) -> pd.DataFrame:
    """The importance of each parameter, and between which values it lies if trials are drawn again.

    Each forest is grown on as many trials, drawn with replacement from all: a share that a handful of trials
    made is another one in each of them.

    Args:
        parameters: as for :func:`importance`.
        values: likewise.
        forests: how many, at least 2.

    Returns:
        Columns share (of all trials; the mean of the forests where each is grown on fewer), low and high (of
        the forests, and the share is between them); index parameter, largest first. Empty where
        :func:`importance` is.
    """
    known = _finite(values)
    data = _encoded(parameters, known)
    if data is None:
        return pd.DataFrame({name: pd.Series(dtype="float64") for name in ("share", "low", "high")})
    results, random = np.asarray(known, dtype=np.float64), np.random.default_rng(0)
    shares = _shares(data, results, _sample(len(known), 0), 0)
    found = [shares]
    for seed in range(1, forests + 1):
        drawn = random.integers(0, len(known), min(len(known), MOST_TRIALS))
        found.append(_shares(data, results, drawn, seed).reindex(shares.index).fillna(0.0))
    table = pd.DataFrame(found)
    if len(known) > MOST_TRIALS:  # the first forest knows no more than the others
        shares = table.mean().sort_values(ascending=False)
    return pd.DataFrame({"share": shares, "low": table.min(), "high": table.max()}).reindex(shares.index)


def _finite(values: pd.Series[float]) -> pd.Series[float]:
    return values[np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))]


def _encoded(parameters: pd.DataFrame, known: pd.Series[float]) -> Encoded | None:
    """The parameters that vary; None where there is too little to tell."""
    rows = parameters.loc[known.index]
    rows = rows.loc[:, rows.nunique(dropna=False) > 1]
    if len(known) < FEWEST_TRIALS or not len(rows.columns) or known.nunique() < 2:
        return None
    return encoded(rows)


def _shares(data: Encoded, values: Numbers, rows: npt.NDArray[np.int64], seed: int) -> pd.Series[float]:
    """Of one forest, grown on ``rows``; empty if it predicts one value."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, max_depth=DEPTH, random_state=seed)
    forest.fit(data.matrix[rows], values[rows])
    found = [explained(tree.tree_, data) for tree in forest.estimators_]
    known = [shares for shares in found if shares is not None]
    if not known:
        return pd.Series(dtype="float64")
    mean = np.mean(known, axis=0)
    shares = pd.Series(mean / (mean.sum() or 1.0), index=data.names, dtype="float64")
    return shares.sort_values(ascending=False)


def ranked(parameters: pd.DataFrame, values: pd.Series[float]) -> list[str]:
    """The parameters in the order in which their groups' means spread ``values``; quick, for menus and axes.

    Numbers are grouped by eighths. How parameters act together is the business of :func:`importance`.
    """
    known = _finite(values)
    spreads = {}
    for name in map(str, parameters):
        groups = grouped(parameters[name].loc[known.index]).astype("string").fillna("none")
        means = known.groupby(groups.to_numpy()).transform("mean")
        spreads[name] = float(means.var()) if len(known) > 1 else 0.0
    return sorted(spreads, key=lambda name: -spreads[name])
