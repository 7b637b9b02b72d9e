"""What a sweep has its teacher make, for any task: when a trial needs it, once, mapped from the store."""

import time

import numpy as np
import pytest
import torch

from search.teaching import on_demand
from search.teaching.on_demand import OnDemand
from search.teaching.products import ask_teacher
from spaces import Context
from spaces.architectures import fresh
from studies.known import find_study
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.layers import MIDDLE
from trainables.losses import SoftTargets
from trainables.models import LSTM
from trainables.origins import Fresh
from trainables.quantizers import NoQuantizer
from trainables.recipe import canonical_json
from trainables.schedules import Constant
from trainables.shipping.evaluation import ship
from trainables.tasks import TeacherTranslations
from trainables.trainable import StudentTrial
from trainables.training.trial_metrics import TrialSettings

SETTINGS = TrialSettings(None, teacher_bytes=100_000)


@pytest.fixture(scope="module")
def task_and_arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    task = write_pairs(folder)
    return task, task.load(folder)


@pytest.fixture(scope="module")
def trained(task_and_arrays):
    task, arrays = task_and_arrays
    model = LSTM(depth=1, units=16, embedding=8)
    recipe = methods.full_precision(methods.Setting(task, Fresh(model), epochs=1))
    torch.manual_seed(0)
    file = ship(recipe, compress(model.build(task.input_shape, task.outputs), recipe))
    return recipe, file, task.open(arrays, torch.device("cpu"), 0).fingerprint()


@pytest.fixture
def calls(monkeypatch):
    """What the teacher was asked for, in turn."""
    found = []

    def told(name):
        real = getattr(on_demand, name)

        def ask(*given):
            found.append(name)
            return real(*given)

        monkeypatch.setattr(on_demand, name, ask)

    for name in ("ask_teacher", "ask_features", "make_product"):
        told(name)
    return found


def local(arrays, products, outputs=()):
    class Local(StudentTrial):
        def setup(self, config):
            super().setup(config, arrays, {}, outputs, SETTINGS, products=products)

    return lambda recipe: Local({"recipe": canonical_json(recipe)})


def test_products_are_made_by_the_first_that_needs_them(task_and_arrays, trained, tmp_path, calls):
    task, arrays = task_and_arrays
    recipe, file, fingerprint = trained
    taught = TeacherTranslations(task, recipe.recipe_id)
    context = Context(task, fresh(recipe.model), recipe.recipe_id, epochs=2, teacher_views=1)
    assert find_study("multi30k").space.taught(context) == (taught,)
    assert find_study("phrases").space.taught(context) == ()
    products = OnDemand(recipe, file, fingerprint, tmp_path)

    given = methods.Setting(task, Fresh(STUDENTS[0]), 2, teacher=recipe.recipe_id, teacher_views=1)
    plain = methods.post_training_quantization(given)
    sequence = methods.sequence_level_distillation(given, quantizer=NoQuantizer())
    word = methods.quantized_distillation(given, imitation=SoftTargets(Constant(1.0)))
    made = {}
    for student, asked in (
        (plain, []),
        (sequence, ["make_product"]),
        (word, ["make_product", "ask_teacher"]),
        (sequence, ["make_product", "ask_teacher"]),  # in another process, it is found in the store
    ):
        trial = local(dict(arrays), products)(student)
        assert trial.step()["epoch"] == 0  # of the untrained student
        result = trial.step()
        assert result["epoch"] == 1 and result["loss"] > 0 and "validation_bleu" in result
        assert calls == asked
        assert made.setdefault(student.method, result["loss"]) == result["loss"]
    names = sorted(path.stem.rpartition("-")[0] for path in (tmp_path / "teachers").glob("*.safetensors"))
    assert names == [f"{recipe.recipe_id}-{name}" for name in ("beam5", "top32-1views")]


def test_what_is_mapped_is_what_was_made(task_and_arrays, trained, tmp_path, calls):
    task, arrays = task_and_arrays
    recipe, file, fingerprint = trained
    products = OnDemand(recipe, file, fingerprint, tmp_path)
    asked = ask_teacher(file, arrays, task, 1, "cpu", 1)
    assert asked.fingerprint == fingerprint
    for _ in range(2):
        outputs = products.outputs(1, arrays, "cpu", 1)
        assert outputs.keys() == asked.values.keys()
        for name, values in outputs.items():
            assert values.dtype == asked.values[name].dtype and not values.flags.writeable
            assert np.array_equal(values, asked.values[name])
        (features,) = products.features(1, MIDDLE, arrays, "cpu", 1)
        assert features.shape[:2] == outputs["classes"].shape[:2] and features.dtype == np.float16
    assert calls == ["ask_teacher", "ask_features"]


def test_what_is_damaged_is_made_again(task_and_arrays, trained, tmp_path, calls):
    _, arrays = task_and_arrays
    recipe, file, fingerprint = trained
    products = OnDemand(recipe, file, fingerprint, tmp_path)
    first = products.outputs(1, arrays, "cpu", 1)
    whole = {name: values.copy() for name, values in first.items()}
    del first
    (path,) = (tmp_path / "teachers").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    again = products.outputs(1, arrays, "cpu", 1)
    assert calls == ["ask_teacher", "ask_teacher"]
    assert all(np.array_equal(values, whole[name]) for name, values in again.items())


def test_making_is_no_time_of_the_trial_that_does_it(task_and_arrays, trained, tmp_path, monkeypatch):
    task, arrays = task_and_arrays
    recipe, file, fingerprint = trained
    waited = []

    def slowly(*given):
        time.sleep(1.0)
        waited.append(1.0)
        return ask_teacher(*given)

    monkeypatch.setattr(on_demand, "ask_teacher", slowly)
    given = methods.Setting(task, Fresh(STUDENTS[0]), 2, teacher=recipe.recipe_id, teacher_views=1)
    student = methods.quantized_distillation(given, imitation=SoftTargets(Constant(1.0)))
    began = time.perf_counter()
    trial = local(dict(arrays), OnDemand(recipe, file, fingerprint, tmp_path))(student)
    seconds = trial.step()["seconds"]
    assert waited
    assert seconds <= time.perf_counter() - began - 1.0
