"""Every method on a user's trained network, as it is and as a slice of it."""

import math
from dataclasses import replace

import pytest
import torch

from search.teaching.given import packed_as_given
from spaces.architectures import SLICE, TEACHER
from studies.job import study_of_file
from tests.studies.own_files import write
from trainables import methods
from trainables.pruners import Magnitude
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.slicing.cut import Cut
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 3
METHODS = {short: each for short, each in methods.METHODS.items() if short not in ("seqkd", "bam")}


class Case:
    """A user's network, opened, and its teacher."""

    def __init__(self, path):
        self.study = study_of_file(path)
        self.task = self.study.make_task(None, {})
        recipe = self.study.teacher_recipe(self.task)
        loaded = self.opened()
        teacher = open_student(packed_as_given(recipe, loaded, self.study.given))[1]
        self.sources = LocalSources(
            lambda recipe_id: teacher, self.study.given, lambda recipe_id: {1: teacher, 2: teacher}
        )
        self.teacher_id = recipe.recipe_id

    def opened(self):
        return self.task.open(self.study.arrays, CPU, 0)

    def origin(self, start):
        found = dict(self.study.students)[start]
        return replace(found, cut=Cut(width=0.5, last=0.5)) if start == SLICE else found


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return Case(write(tmp_path_factory.mktemp("own"), name="own_net_of_all_methods"))


@pytest.mark.parametrize("start", [TEACHER, SLICE])
@pytest.mark.parametrize("short", METHODS)
def test_it_trains_stops_goes_on_and_measures_what_it_ships(case, short, start, tmp_path):
    pruner = Magnitude(0.4) if short in ("qd", "lsq", "rtn") else methods.Setting.pruner
    given = methods.Setting(case.task, case.origin(start), EPOCHS, case.teacher_id, 1, pruner)
    if start == TEACHER and short in ("scr-e", "scr-b"):
        with pytest.raises(ValueError, match="the shape of a slice"):
            METHODS[short](given)
        return
    recipe = METHODS[short](given)
    whole = Trainer(recipe, case.opened(), case.sources, CPU)
    if not whole.finished:
        whole.train_epoch()
        whole.save(tmp_path / "kept")
        other = Trainer(recipe, case.opened(), case.sources, CPU)
        other.load(tmp_path / "kept")
        while not whole.finished:
            assert math.isfinite(whole.train_epoch()["loss"])
            other.train_epoch()
        assert other.ship() == whole.ship()
    data = whole.ship()
    packed = evaluate_file(data, case.opened(), "validation")
    _, student = open_student(data)
    assert case.opened().evaluate(student, "validation") == packed
    student = getattr(student, "backbone", student)  # behind the exits, if it has any
    assert student.get_submodule("0").weight.shape[0] == (8 if start == TEACHER else 4)
