"""What a sweep has its teacher make, for any task: once, kept on disk, shared through the object store."""

import numpy as np
import pytest
import ray
import torch

from search.clusters.machine import Machine
from search.teaching.made import TeacherJobs
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
MACHINE = Machine("cpu", 1, 1.0, 0.0)


class Said(list):
    """A reporter that keeps what it hears."""

    say = list.append


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


def test_products_are_made_once_and_trials_train_on_them(ray_session, task_and_arrays, trained, tmp_path):
    task, arrays = task_and_arrays
    recipe, file, fingerprint = trained
    said, data = Said(), ray.put(dict(arrays))
    taught = TeacherTranslations(task, recipe.recipe_id)
    context = Context(task, fresh(recipe.model), recipe.recipe_id, epochs=2, teacher_views=1)
    assert find_study("multi30k").space.taught(context) == (taught,)
    assert find_study("phrases").space.taught(context) == ()
    jobs = TeacherJobs(recipe, fingerprint, data, tmp_path, MACHINE, said, threads=1)
    made, outputs = jobs.product(file, taught), jobs.outputs(file, 1)
    assert len(said) == 2 and "beam5" in said[0]
    again, outputs_again = jobs.product(file, taught), jobs.outputs(file, 1)
    assert len(said) == 2, "asked again"
    names = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "teachers").iterdir())
    assert names == [f"{recipe.recipe_id}-{name}" for name in ("beam5", "top32-1views")]
    assert made.keys() == again.keys() and all(np.array_equal(made[k], again[k]) for k in made)
    assert outputs.values.keys() == outputs_again.values.keys()
    for name, values in outputs.values.items():
        assert values.dtype == outputs_again.values[name].dtype
        assert np.array_equal(values, outputs_again.values[name])

    (features,) = jobs.features(file, 1, (MIDDLE,))[MIDDLE]
    assert features.shape[:2] == outputs.values["classes"].shape[:2]
    assert len(said) == 3 and features.dtype == np.float16
    assert np.array_equal(jobs.features(file, 1, (MIDDLE,))[MIDDLE][0], features) and len(said) == 3

    # A trial of each kind, with the teacher's file out of reach: none of them asks it anything.
    given = methods.Setting(task, Fresh(STUDENTS[0]), 2, teacher=recipe.recipe_id, teacher_views=1)
    sequence = methods.sequence_level_distillation(given, quantizer=NoQuantizer())
    word = methods.quantized_distillation(given, imitation=SoftTargets(Constant(1.0)))

    class Local(StudentTrial):
        def setup(self, config):
            super().setup(
                config,
                arrays={**arrays, **again},
                teachers={},
                outputs=(outputs_again,),
                settings=SETTINGS,
            )

    for student in (sequence, word):
        trial = Local({"recipe": canonical_json(student)})
        assert trial.step()["epoch"] == 0  # of the untrained student
        result = trial.step()
        assert result["epoch"] == 1 and result["loss"] > 0 and "validation_bleu" in result
