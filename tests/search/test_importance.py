import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from search.objectives import importance as module
from search.objectives.anova import encoded, explained
from search.objectives.importance import FEWEST_TRIALS, free, importance, importance_spread, ranked


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


def test_numbers_are_explained_as_optuna_explains_them() -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({name: random.uniform(1, 5, 200) for name in "abc"})
    values = frame["a"] ** 2 + 3 * frame["b"] * frame["c"]
    study = optuna.create_study()
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(frame[name].min(), frame[name].max()) for name in "abc"
    }
    for i, value in enumerate(values):
        params = {name: float(frame[name][i]) for name in "abc"}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(
        n_trees=module.TREES, max_depth=module.DEPTH, seed=5
    )
    theirs = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert importance(frame, values, seed=5).to_dict() == pytest.approx(theirs)


def test_a_tree_without_noise_explains_what_its_function_does() -> None:
    # All nine cells of two parameters with three values each; 2 for one choice, 1 more for large numbers.
    frame = pd.DataFrame([(name, x) for name in "abc" for x in (1.0, 2.0, 3.0)], columns=["choice", "number"])
    values = 2.0 * (frame["choice"] == "b") + (frame["number"] > 2)
    data = encoded(frame)
    forest = RandomForestRegressor(1, bootstrap=False, random_state=0).fit(data.matrix, values)
    found = explained(forest.estimators_[0].tree_, data)
    # Variances 4 * 1/3 * 2/3, and 1/4 * 3/4 of a range of 1 to 3 that is split at 2.5.
    choice, number = 8 / 9, 3 / 16
    assert found is not None
    np.testing.assert_allclose(found, np.array([choice, number]) / (choice + number))
    constant = RandomForestRegressor(1).fit(data.matrix, np.ones(9))
    assert explained(constant.estimators_[0].tree_, data) is None


def test_a_sample_tells_what_all_trials_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, values = table(3000)
    monkeypatch.setattr(module, "MOST_TRIALS", 3000)
    everything = importance(frame, values)
    monkeypatch.setattr(module, "MOST_TRIALS", 300)
    spread = importance_spread(frame, values)
    assert list(spread.index[:2]) == list(everything.index[:2])
    assert (spread["share"] - everything).abs().max() < 0.08
    assert (spread["low"] < spread["high"]).all()
    pd.testing.assert_frame_equal(spread, importance_spread(frame, values))


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
    seeded = frame.assign(
        seed=range(len(frame)), **{"data.seed": range(len(frame), 0, -1)}, seeding=range(len(frame))
    )
    assert list(free(seeded)) == ["method", "bits", "seeding"], "nobody chooses by a seed"
