"""The ideas that methods stand for: what the documentation groups them by, and a search begins with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Idea:
    """What several methods have in common.

    Attributes:
        title: of its chapter in the documentation.
        text: what it is, and when to use it.
    """

    title: str
    text: str


IDEAS: dict[str, Idea] = {
    "labels": Idea(
        "Training from labels",
        "The mark to compare with, and how teachers are made. A student of another method that is not better "
        "than one of these of the same size has gained nothing.",
    ),
    "answers": Idea(
        "Imitating a teacher's answers",
        "Full-precision students of a better network. Use them where the student is smaller than the teacher "
        "and accuracy is lost by that; remembered answers cost nothing per step. They say little where "
        "teacher and student make the same mistakes, and need no labels.",
    ),
    "features": Idea(
        "Imitating a teacher's inner representations",
        "What is imitated is what the teacher computes on the way. Worth trying where there are few classes, "
        "whose probabilities say little, and where the student is much shallower than the teacher.",
    ),
    "together": Idea(
        "Learning together",
        "Students that teach one another, without a trained network; one run gives several of them. Use them "
        "where there is no teacher, or where several sizes are wanted at once.",
    ),
    "rounding": Idea(
        "Rounding a trained network",
        "No training on the grid: quick, and at 8 bits nearly always enough. Below 5 bits the methods that "
        "train on the grid are better.",
    ),
    "grid": Idea(
        "Training on the grid, from labels",
        "Forward passes see the quantized weights. For 2 to 5 bits, and wherever layers compute in integers.",
    ),
    "distilled grid": Idea(
        "Training on the grid, from a teacher",
        "The same with a teacher's answers beside the labels: what to use first where there is a teacher.",
    ),
    "bits": Idea(
        "Bits that differ within a network",
        "Layers, channels or small groups of weights get as many bits as they are worth. They pay where "
        "layers differ much in size and sensitivity, and ask for more of the search than one width for all.",
    ),
    "pruning": Idea(
        "Pruning",
        "Weights or channels that matter least are left out. Any method prunes by magnitude with `prune`; "
        "these choose by another measure, or train for it.",
    ),
    "exits": Idea(
        "Computing less for easy inputs",
        "Files become larger and the expected computation smaller: for devices on which time or energy "
        "counts and inputs differ in difficulty.",
    ),
    "tasks": Idea(
        "One student of several tasks",
        "One network that answers several questions about the same input, each with a teacher of its own.",
    ),
}
"""By name; the order is that of the documentation."""
