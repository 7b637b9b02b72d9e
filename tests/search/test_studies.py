"""Studies as the command line asks for them, and what is refused before anything is trained."""

from pathlib import Path

import optuna
import pytest
import torch

from search.budget import Budget
from search.limits import check_students, smallest_student
from search.problem import Problem
from search.studies import find_study
from tests.trainables.translation import write_pairs
from trainables.compressed_weight import compress
from trainables.evaluation import ship
from trainables.models import Custom


def test_what_ships_with_every_student_counts_in_the_smallest_size(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    study = find_study("text_pairs")
    task = study.make_task(tmp_path, {"vocabulary": 64})
    opened = task.open(task.load(tmp_path), torch.device("cpu"), 0)
    context = study.context(task, "0" * 16, 0)
    recipe, _ = smallest_student(study.space, context, opened)
    sizes = [
        len(ship(recipe, compress(recipe.build(), recipe), assets=each)) for each in ({}, opened.assets())
    ]
    assert sizes[1] > sizes[0] + 100
    # How well fresh weights pack varies.
    check_students(study.space, context, opened, Budget(sizes[1] + 100))
    for bytes_ in (sizes[0] + 10, sizes[0] - 100):
        with pytest.raises(Problem, match=f"No student of this study fits in {bytes_:,} bytes"):
            check_students(study.space, context, opened, Budget(bytes_))


@pytest.mark.parametrize("name", ["digits", "phrases", "multi30k"])
def test_with_a_model_of_ones_own_every_student_is_of_it(name: str) -> None:
    own = "examples.own_translator:Translator"
    study = find_study(name, own_model=own)
    task = study.make_task(None, {})
    context = study.context(task, "0" * 16, 0)
    sampled = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [*map(optuna.trial.FixedTrial, study.space.starting_points(context))]
    for trial in (*trials, *(sampled.ask() for _ in range(20))):
        model = study.space(trial, context).model
        assert isinstance(model, Custom) and model.target == own
