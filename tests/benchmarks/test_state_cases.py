"""Damaged state files: one sentence or the right numbers, and never a traceback."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmarks.mutants import attempts
from benchmarks.state_cases import CASES
from search.problem import Problem
from search.store.mlflow_client import StoreError
from trainables.training.checkpoint import CheckpointError

MUTANTS = int(os.environ.get("RAYDUCE_MUTANTS", "100"))

SENTENCES = (Problem, StoreError, CheckpointError)


def faults(case, folder, count, seed):
    """What is wrong with how ``case`` takes ``count`` mutants."""
    folder.mkdir()
    path = case.make(folder)
    whole = folder.with_name("whole")
    shutil.copytree(folder, whole)
    case.use(whole)
    found = []
    for attempt in attempts(folder, path, case.use, count, seed):
        error, what = attempt.error, attempt.mutant.what
        if error is None:
            continue
        if not isinstance(error, SENTENCES):
            found.append(f"{what}: {type(error).__name__}: {error}"[:300])
        elif "\n" in str(error) or len(str(error)) > 700 or not str(error):
            found.append(f"{what}: no sentence: {error}"[:1000])
        elif path.name not in str(error) and str(path.parent) not in str(error):
            found.append(f"{what}: names no file: {error}"[:300])
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_damaged_files_give_a_sentence_or_the_right_numbers(case, tmp_path):
    assert faults(case, tmp_path / "store", MUTANTS, seed=0) == []
