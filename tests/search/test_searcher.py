"""Our searcher on Optuna's ask and tell: true states, starting points, constraints, reopening."""

import json
import math

import optuna
import pytest
from optuna.trial import TrialState

from search.searcher import OptunaSearcher, open_study
from spaces import Context, images
from trainables.models import ConvNet
from trainables.recipe import recipe_from_dict
from trainables.tasks import Digits

CONTEXT = Context(Digits(), ConvNet(), "0" * 16, epochs=3)
DIRECTIONS = ("maximize", "minimize")


def objectives(result):
    return [result["validation_accuracy"], math.log2(result["packed_bytes"])]


def searcher_on(study, **options):
    return OptunaSearcher(study, lambda trial: images(trial, CONTEXT), objectives, **options)


def finished(accuracy=0.9, size=1024):
    return {"state": "finished", "validation_accuracy": accuracy, "packed_bytes": size}


@pytest.fixture
def study(tmp_path):
    return open_study(tmp_path / "studies" / "s.journal", "s", DIRECTIONS, seed=0)


def test_states_are_true(study):
    searcher = searcher_on(study)
    ends = {
        "good": (finished(), False),
        "raised": (finished(), True),
        "diverged": ({"state": "failed", "reason": "nan"}, False),
        "nan": (finished(accuracy=float("nan")), False),
        "nothing": (None, False),
        "stopped": ({**finished(), "state": "running"}, False),
    }
    for trial_id, (result, error) in ends.items():
        searcher.suggest(trial_id)
        searcher.on_trial_complete(trial_id, result, error)
        searcher.on_trial_complete(trial_id, result, error)  # told twice, nothing happens
    states = dict(zip(ends, (t.state for t in study.trials), strict=True))
    assert states.pop("good") == TrialState.COMPLETE
    assert set(states.values()) == {TrialState.FAIL}
    assert study.trials[0].values == [0.9, 10.0]


def test_the_config_is_the_recipe(study):
    config = searcher_on(study).suggest("a")
    recipe = recipe_from_dict(json.loads(config["recipe"]))
    assert recipe.recipe_id == study.trials[0].user_attrs["recipe_id"]
    assert config["trial"] == "00000"


def test_starting_points_come_first(study):
    points = images.starting_points(CONTEXT)
    searcher = searcher_on(study, starting_points=points)
    for number, point in enumerate(points):
        searcher.suggest(str(number))
        assert study.trials[number].params == point


def test_constraints_reach_optuna(study):
    searcher = searcher_on(study, constraints=lambda result: {"packed_bytes": result["packed_bytes"] - 1000})
    for trial_id, size in (("large", 4000), ("small", 500)):
        searcher.suggest(trial_id)
        searcher.on_trial_complete(trial_id, finished(0.9 if size > 1000 else 0.5, size))
    assert [t.values[1] for t in study.best_trials] == [math.log2(500)]


def test_a_study_is_never_continued(tmp_path):
    journal = tmp_path / "s.journal"
    open_study(journal, "s", DIRECTIONS, seed=0)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        open_study(journal, "s", DIRECTIONS, seed=0)


def test_the_same_seed_draws_the_same_points(tmp_path):
    drawn = []
    for folder in ("a", "b"):
        searcher = searcher_on(open_study(tmp_path / folder / "s.journal", "s", DIRECTIONS, seed=3))
        drawn.append([searcher.suggest(str(n))["recipe"] for n in range(4)])
    assert drawn[0] == drawn[1]


def test_ray_may_ask_for_the_state(study, tmp_path):
    searcher_on(study).save(str(tmp_path / "state"))
    assert json.loads((tmp_path / "state").read_text()) == {"study": "s"}


def test_it_learns_from_what_it_is_told(tmp_path):
    """With a known best region (width as small as possible), later trials are smaller than random ones."""
    study = open_study(tmp_path / "s.journal", "s", DIRECTIONS, seed=1)
    searcher = searcher_on(study)
    widths = []
    for number in range(60):
        recipe = recipe_from_dict(json.loads(searcher.suggest(str(number))["recipe"]))
        widths.append(recipe.model.width)
        searcher.on_trial_complete(str(number), finished(0.5, round(1e5 * recipe.model.width)))
    assert sum(widths[40:]) < 0.7 * sum(widths[:20])
    assert isinstance(study.sampler, optuna.samplers.TPESampler)
