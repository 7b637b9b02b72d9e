"""Steps and probes for losses and teachers that are tried without a trainer."""

import torch
from torch import nn

from trainables.lesson import Lesson, Step
from trainables.probe import Features, Probe

NO_FEATURES = Probe(Features(nn.Identity(), lambda: torch.zeros(1)), None)
STUDENT = nn.Identity()


def step_of(logits, batch=None, progress=0.0, peers=()):
    return Step(batch, logits, logits if batch is None else batch.rows(logits), tuple(peers), progress)


def imitation(part, student, answers, progress=0.0):
    """The loss ``part`` of a student's logits beside a teacher's answers."""
    return part.build(NO_FEATURES)(step_of(student, progress=progress), Lesson(answers))
