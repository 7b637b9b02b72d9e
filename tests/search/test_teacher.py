"""The teacher's outputs: kept by all they depend on, refused when damaged, asked live when too large."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.problem import Problem
from search.teacher import (
    SHARE_OF_OBJECT_STORE,
    ask_teacher,
    cached_outputs,
    keep_outputs,
    outputs_bytes,
    outputs_path,
    views_that_fit,
)
from tests.recipes import STUDENT
from trainables import methods
from trainables.compressed_weight import compress
from trainables.evaluation import open_student, ship
from trainables.tasks import Digits

VIEWS = 2
RECIPE = methods.full_precision(Digits(), STUDENT, epochs=1)


def packed(seed=0):
    torch.manual_seed(seed)
    return ship(RECIPE, compress(STUDENT.build((1, 8, 8), 10), RECIPE))


@pytest.fixture(scope="module")
def asked():
    return ask_teacher(packed(), Digits().load(None), Digits(), VIEWS, "cpu", 1)


def test_the_teacher_of_the_file_is_asked(asked):
    task = Digits().open(Digits().load(None), torch.device("cpu"), 8)
    assert (asked.recipe_id, asked.fingerprint, asked.views) == (
        RECIPE.recipe_id,
        task.fingerprint(),
        VIEWS,
    )
    assert asked.values.shape == (VIEWS, 1077, 10)
    _, network = open_student(packed())
    batch = next(task.batches("train", 4, 1))
    live = network(batch.inputs).numpy()
    np.testing.assert_allclose(asked.values[1][batch.index.numpy()], live, rtol=1e-3, atol=1e-4)


def test_outputs_are_kept_by_all_they_depend_on(asked, tmp_path):
    file = packed()
    assert cached_outputs(tmp_path, RECIPE, file, asked.fingerprint, VIEWS) is None
    keep_outputs(tmp_path, RECIPE, file, asked)
    again = cached_outputs(tmp_path, RECIPE, file, asked.fingerprint, VIEWS)
    assert again is not None and (again.recipe_id, again.fingerprint) == (asked.recipe_id, asked.fingerprint)
    assert again.values.dtype == np.float16 and np.array_equal(again.values, asked.values)
    for other in (
        (RECIPE, packed(seed=1), asked.fingerprint, VIEWS),
        (RECIPE, file, "0" * 16, VIEWS),
        (RECIPE, file, asked.fingerprint, VIEWS + 1),
        (replace(RECIPE, seed=1), file, asked.fingerprint, VIEWS),
    ):
        assert cached_outputs(tmp_path, *other) is None


def test_damaged_outputs_are_refused(asked, tmp_path):
    file = packed()
    keep_outputs(tmp_path, RECIPE, file, asked)
    path = outputs_path(tmp_path, RECIPE, file, asked.fingerprint, VIEWS)
    whole = path.read_bytes()
    for position in range(0, len(whole), len(whole) // 40):
        broken = bytearray(whole)
        broken[position] ^= 4
        path.write_bytes(bytes(broken))
        with pytest.raises(Problem, match="remove it to ask the teacher again"):
            cached_outputs(tmp_path, RECIPE, file, asked.fingerprint, VIEWS)
    path.write_bytes(whole[:-10])
    with pytest.raises(Problem, match="remove it"):
        cached_outputs(tmp_path, RECIPE, file, asked.fingerprint, VIEWS)


@given(st.integers(1, 1024), st.integers(1, 10**7), st.integers(1, 10**4), st.floats(0, 1e12))
def test_outputs_are_remembered_where_they_fit(views, samples, outputs, store_bytes):
    fit = views_that_fit(views, samples, outputs, store_bytes)
    size = np.zeros(views, dtype=np.float16).nbytes * samples * outputs
    assert size == outputs_bytes(views, samples, outputs)
    assert fit == (views if size <= SHARE_OF_OBJECT_STORE * store_bytes else None)
    assert views_that_fit(None, samples, outputs, store_bytes) is None
