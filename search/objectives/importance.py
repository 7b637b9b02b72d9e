"""How much of the spread of a result each parameter explains."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

MOST_TRIALS = 1000
"""Of more trials an even sample is used."""
FEWEST_TRIALS = 8
FORESTS = 4
"""That tell how far importance can be relied on; each costs as much as importance itself."""
TREES, DEPTH = 24, 6
"""Deeper trees change the second digit at most, and the time grows with their leaves squared."""


def free(parameters: pd.DataFrame) -> pd.DataFrame:
    """The columns that are choices of their own.

    Left out are constants, columns that say the same of every trial as an earlier one, and what follows from
    the column ``method`` alone: of these the method is told.
    """
    names = sorted(map(str, parameters), key=lambda name: (name != "method", name))
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

    After Hutter, Hoos and Leyton-Brown (2014), as Optuna computes it over a random forest. What a recipe does
    not have is a choice of its own (``none``), so that conditional parameters need not be left out.

    Args:
        parameters: one column per parameter, float or string; missing where a recipe has none.
        values: of the same index; trials without a finite value are left out.
        seed: of forest and sample.

    Returns:
        Parameter -> share, 0 to 1 and 1 in all, largest first; empty with fewer than 8 trials, or if nothing
        varies.
    """
    import optuna

    known = values[np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))]
    if len(known) > MOST_TRIALS:
        known = known.iloc[np.linspace(0, len(known) - 1, MOST_TRIALS).astype(int)]
    rows = parameters.loc[known.index]
    columns = {str(name): _choices(rows[name]) for name in rows}
    columns = {name: column for name, column in columns.items() if len(set(column)) > 1}
    if len(known) < FEWEST_TRIALS or not columns or known.nunique() < 2:
        return pd.Series(dtype="float64")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {name: _distribution(column) for name, column in columns.items()}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: columns[name][i] for name in columns},
                distributions=distributions,
                value=float(value),
            )
            for i, value in enumerate(known)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the forest's own, about constant features
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return pd.Series(shares, dtype="float64").sort_values(ascending=False)


def importance_spread(
    parameters: pd.DataFrame, values: pd.Series[float], forests: int = FORESTS
) -> pd.DataFrame:
    """The importance of each parameter, and between which values it lies if trials are drawn again.

    Each forest is grown on as many trials, drawn with replacement: a share that a handful of trials made is
    another one in each of them.

    Args:
        parameters: as for :func:`importance`.
        values: likewise.
        forests: how many, at least 2.

    Returns:
        Columns share (of all trials), low and high (of the forests, and the share is between them); index
        parameter, largest first. Empty where :func:`importance` is.
    """
    shares = importance(parameters, values)
    random, found = np.random.default_rng(0), []
    known = values[np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))]
    for seed in range(1, forests + 1) if len(shares) else ():
        drawn = random.integers(0, len(known), len(known))
        again = known.iloc[drawn].reset_index(drop=True)
        rows = parameters.loc[known.index].iloc[drawn].reset_index(drop=True)
        found.append(importance(rows, again, seed).reindex(shares.index).fillna(0.0))
    table = pd.DataFrame([shares, *found]) if len(shares) else pd.DataFrame(columns=shares.index)
    return pd.DataFrame({"share": shares, "low": table.min(), "high": table.max()}).reindex(shares.index)


def ranked(parameters: pd.DataFrame, values: pd.Series[float]) -> list[str]:
    """The parameters in the order in which their groups' means spread ``values``; quick, for menus and axes.

    Numbers are grouped by eighths. How parameters act together is the business of :func:`importance`.
    """
    known = values[np.isfinite(values.to_numpy(dtype=float, na_value=np.nan))]
    spreads = {}
    for name in map(str, parameters):
        groups = _groups(parameters[name].loc[known.index])
        means = known.groupby(groups.to_numpy()).transform("mean")
        spreads[name] = float(means.var()) if len(known) > 1 else 0.0
    return sorted(spreads, key=lambda name: -spreads[name])


def _groups(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.dtype == "float64" and column.nunique() > 16:
        column = pd.qcut(column, 8, duplicates="drop").astype("string")
    return column.astype("string").fillna("none")


def _choices(column: pd.Series[Any]) -> list[Any]:
    """Numbers as they are if all are there, else text with ``none``."""
    if column.dtype == "float64" and column.notna().all():
        return [float(value) for value in column]
    return [str(value) for value in _groups(column)]


def _distribution(column: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if isinstance(column[0], float):
        low, high = min(column), max(column)
        return FloatDistribution(low, high, log=low > 0 and high / low > 50)
    return CategoricalDistribution(sorted(set(column)))
