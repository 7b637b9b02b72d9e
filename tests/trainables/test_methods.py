"""What methods write into recipes, and what they refuse."""

import math

import pytest

from tests.recipes import IMAGE_METHODS, STUDENT, TEACHER_ID
from trainables import methods
from trainables.losses import SoftTargets
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude
from trainables.quantizers import LearnedPoints
from trainables.schedules import Constant
from trainables.tasks import Digits


def alternating(epochs):
    given = methods.Setting(Digits(), Fresh(STUDENT), epochs, teacher=TEACHER_ID)
    return methods.alternating_quantization(given, optimizer=AdamW(1e-2))


def test_alternation_puts_points_between_epochs_of_quantized_distillation():
    for epochs, kinds in ((3, "wpw"), (4, "wpww"), (7, "wpwpwpw"), (8, "wpwpwpww")):
        phases = alternating(epochs).phases
        assert "".join("p" if phase.train == "quantizer" else "w" for phase in phases) == kinds
        assert all(phase.quantize and phase.epochs == 1 for phase in phases)
        for number, phase in enumerate(phases):
            if phase.train == "quantizer":
                assert isinstance(phase.quantizer, LearnedPoints) and phase.quantizer.share
            else:
                expected = 1e-2 * 0.5 * (1 + math.cos(math.pi * number / epochs))
                assert phase.quantizer is None and phase.optimizer.learning_rate == pytest.approx(expected)
                assert phase.optimizer.decay(0.9) == 1.0


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_alternation_needs_three_epochs(epochs):
    with pytest.raises(ValueError, match=f"epochs={epochs}"):
        alternating(epochs)


@pytest.mark.parametrize("sparsity", [-0.5, 1.0, math.nan])
def test_no_sparsity_is_taken_for_another(sparsity):
    with pytest.raises(ValueError, match="sparsity"):
        methods.full_precision(
            methods.Setting(Digits(), Fresh(STUDENT), epochs=1, pruner=Magnitude(sparsity))
        )


def test_no_weight_turns_the_labels_against_the_student():
    with pytest.raises(ValueError, match="task_weight"):
        methods.knowledge_distillation(
            methods.Setting(Digits(), Fresh(STUDENT), epochs=1, teacher=TEACHER_ID),
            imitation=SoftTargets(weight=Constant(1.5)),
        )


def test_a_setting_says_what_is_missing():
    with pytest.raises(ValueError, match=r"give Fresh\(ConvNet\("):
        methods.Setting(Digits(), STUDENT, epochs=1)
    alone = methods.Setting(Digits(), Fresh(STUDENT), epochs=1)
    with pytest.raises(ValueError, match=r"give Setting\(\.\.\., teacher=its recipe_id\)"):
        methods.knowledge_distillation(alone)
    with pytest.raises(ValueError, match="16 hex digits"):
        methods.knowledge_distillation(methods.Setting(Digits(), Fresh(STUDENT), epochs=1, teacher="zz"))


def test_recipes_bear_the_names_of_their_methods():
    given = methods.Setting(Digits(), Fresh(STUDENT), epochs=4, teacher=TEACHER_ID)
    for method in IMAGE_METHODS:
        assert method(given).method == method.name == method.function.__name__
    assert len({method.name for method in methods.METHODS.values()}) == len(methods.METHODS) == 15
