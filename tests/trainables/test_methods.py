"""What methods write into recipes, and what they refuse."""

import math

import pytest

from tests.recipes import STUDENT, TEACHER_ID
from trainables import methods
from trainables.quantizers import LearnedPoints
from trainables.tasks import Digits


def alternating(epochs, **settings):
    return methods.alternating_quantization(
        Digits(), STUDENT, teacher_id=TEACHER_ID, epochs=epochs, learning_rate=1e-2, **settings
    )


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
        methods.full_precision(Digits(), STUDENT, epochs=1, sparsity=sparsity)


def test_no_weight_turns_the_labels_against_the_student():
    with pytest.raises(ValueError, match="task_weight"):
        methods.knowledge_distillation(
            Digits(), STUDENT, teacher_id=TEACHER_ID, epochs=1, distillation_weight=1.5
        )
