"""How a teacher's answers are kept from one process to another: which part of them, in which types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.answers import Answers, Heads, Logits, TopClasses, Values, merge

LOWEST = torch.finfo(torch.float16).min


class Memory(ABC):
    """What is kept of rows of logits; see :mod:`trainables.answers`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """One word that tells apart what differs in form, such as ``top32``."""

    @property
    def distributes(self) -> bool:
        """Whether rows are logits of one distribution over classes; True unless a memory says otherwise."""
        return True

    @property
    @abstractmethod
    def temperature(self) -> float | None:
        """The only temperature that what is kept has soft targets of; None if it has them of any."""

    @abstractmethod
    def keep(self, logits: Tensor) -> dict[str, Tensor]:
        """What is kept of ``logits``, shape (rows, classes): tensors of shape (rows, ...) by name.

        Raises:
            ValueError: a value is not finite in the type it is kept in.
        """

    @abstractmethod
    def recall(self, kept: Mapping[str, Tensor]) -> Answers:
        """The answers, given those rows that are asked for of each tensor."""

    @abstractmethod
    def heard(self, rows: Tensor) -> Answers:
        """The answers of a teacher that is asked while the student trains: nothing of them is left out."""

    @abstractmethod
    def row_bytes(self, classes: int) -> int:
        """Bytes that a row of so many classes takes."""


@dataclass(frozen=True)
class Whole(Memory):
    """All logits in half precision, which moves one by at most 1 part in 2048."""

    @property
    def name(self) -> str:
        """``whole``."""
        return "whole"

    @property
    def temperature(self) -> None:
        """Any."""
        return None

    def keep(self, logits: Tensor) -> dict[str, Tensor]:
        """``outputs``: float16, shape (rows, classes)."""
        return {"outputs": _finite(logits.half())}

    def recall(self, kept: Mapping[str, Tensor]) -> Answers:
        """See the contract."""
        return Logits(kept["outputs"].float())

    def heard(self, rows: Tensor) -> Answers:
        """See the contract."""
        return Logits(rows)

    def row_bytes(self, classes: int) -> int:
        """Two per class."""
        return 2 * classes


@dataclass(frozen=True)
class Outputs(Memory):
    """Outputs that are no classes, in single precision.

    Attributes:
        measure: how far a student's outputs are from them, see :class:`trainables.answers.Values`.
    """

    measure: Callable[[Tensor, Tensor], Tensor]

    @property
    def distributes(self) -> bool:
        """No: outputs are no classes."""
        return False

    @property
    def name(self) -> str:
        """``outputs``."""
        return "outputs"

    @property
    def temperature(self) -> None:
        """Any: it has no meaning here."""
        return None

    def keep(self, logits: Tensor) -> dict[str, Tensor]:
        """``outputs``: float32, shape (n, ...)."""
        return {"outputs": _finite(logits.float())}

    def recall(self, kept: Mapping[str, Tensor]) -> Answers:
        """See the contract."""
        return Values(kept["outputs"], self.measure)

    def heard(self, rows: Tensor) -> Answers:
        """See the contract."""
        return Values(rows, self.measure)

    def row_bytes(self, classes: int) -> int:
        """Four per number."""
        return 4 * classes


@dataclass(frozen=True)
class Top(Memory):
    """The most probable classes at temperature 1, in half precision, with what is left for all others.

    Where classes are many, as tokens are, nearly all that a teacher says lies in a few of them: 32 of a
    vocabulary of 8,000 take 130 bytes in place of 16,000.

    Attributes:
        count: how many classes, at least 1; all, where a task has no more.
    """

    count: int = 32

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count must be at least 1, got count={self.count}")

    @property
    def name(self) -> str:
        """Such as ``top32``."""
        return f"top{self.count}"

    @property
    def temperature(self) -> float:
        """1: softening would need every class that was left out."""
        return 1.0

    def keep(self, logits: Tensor) -> dict[str, Tensor]:
        """``log_probabilities``: float16, the others' last; ``classes``: the smallest sufficient integers."""
        classes = logits.topk(min(self.count, logits.shape[1]), 1).indices
        # Others that have nothing at all, not even in single precision, keep the least that is finite.
        log_probabilities = merge(logits, classes).clamp(min=LOWEST).half()
        return {
            "log_probabilities": _finite(log_probabilities),
            "classes": classes.to(_numbers_below(logits.shape[1])),
        }

    def recall(self, kept: Mapping[str, Tensor]) -> Answers:
        """See the contract; what rounding took from the sum or added to it is shared out by probability."""
        bits = 8 * kept["classes"].itemsize
        classes = kept["classes"].long() & (2**bits - 1)
        return TopClasses(F.log_softmax(kept["log_probabilities"].float(), 1), classes)

    def heard(self, rows: Tensor) -> Answers:
        """See the contract."""
        return Logits(rows)

    def row_bytes(self, classes: int) -> int:
        """Two per class that is kept and for the others, and what the classes' numbers take."""
        count = min(self.count, classes)
        return 2 * (count + (count < classes)) + count * _numbers_below(classes).itemsize


@dataclass(frozen=True)
class SideBySide(Memory):
    """The answers to several tasks in one row, each kept as its task does.

    Attributes:
        memories: of the tasks.
        widths: how many numbers of a row each has.
    """

    memories: tuple[Memory, ...]
    widths: tuple[int, ...]

    @property
    def distributes(self) -> bool:
        """No: there are several, one of each task."""
        return False

    @property
    def name(self) -> str:
        """Such as ``whole-outputs``."""
        return "-".join(memory.name for memory in self.memories)

    @property
    def temperature(self) -> float | None:
        """That of the first that has only one."""
        return next((each for each in (memory.temperature for memory in self.memories) if each), None)

    def keep(self, logits: Tensor) -> dict[str, Tensor]:
        """What each keeps of its numbers, with the task's number before the name."""
        parts = zip(self.memories, logits.split(self.widths, -1), strict=True)
        return {
            f"task{number}_{name}": tensor
            for number, (memory, part) in enumerate(parts)
            for name, tensor in memory.keep(part).items()
        }

    def recall(self, kept: Mapping[str, Tensor]) -> Answers:
        """See the contract."""
        found = []
        for number, memory in enumerate(self.memories):
            start = f"task{number}_"
            own = {name.removeprefix(start): kept[name] for name in kept if name.startswith(start)}
            found.append(memory.recall(own))
        return Heads(tuple(found), self.widths)

    def heard(self, rows: Tensor) -> Answers:
        """See the contract."""
        parts = zip(self.memories, rows.split(self.widths, -1), strict=True)
        return Heads(tuple(memory.heard(part) for memory, part in parts), self.widths)

    def heard_of(self, task: int, rows: Tensor) -> Answers:
        """The answers of a teacher to one task alone.

        Args:
            task: its number.
            rows: what the teacher says to the task, or, of a teacher of all of them, to all.
        """
        if rows.shape[-1] != self.widths[task]:
            rows = rows.split(self.widths, -1)[task]
        told = tuple(memory.heard(rows) if n == task else None for n, memory in enumerate(self.memories))
        return Heads(told, self.widths)

    def row_bytes(self, classes: int) -> int:
        """Those of all."""
        return sum(memory.row_bytes(width) for memory, width in zip(self.memories, self.widths, strict=True))


def _numbers_below(count: int) -> torch.dtype:
    """The smallest integers whose bits tell apart the numbers below ``count``.

    Those of 16 bits are signed, and from 32,768 on stand for negative numbers: PyTorch has unsigned ones, but
    not all of its releases look up rows of them on all devices.
    """
    kinds = (torch.uint8, torch.int16, torch.int32)
    return next(kind for kind in kinds if count <= 2 ** (8 * kind.itemsize))


def _finite(kept: Tensor) -> Tensor:
    if not bool(torch.isfinite(kept).all()):
        kind = str(kept.dtype).removeprefix("torch.")
        raise ValueError(
            f"the teacher's outputs must lie in {kind}'s range to be remembered, got {kept.abs().max()}"
        )
    return kept
