"""The contract of formats, and how a student's graphs are checked and named in all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NamedTuple, final

import numpy as np
from torch import nn

from trainables.exporting.checking import ExportError, check_runs
from trainables.exporting.refusals import explained
from trainables.interfaces.base import Graph, Interface, Run
from trainables.quantizers.base import Stored
from trainables.recipe import Recipe


class NotInstalled(ExportError):
    """A library is missing that the format's files are written with."""


@dataclass(frozen=True)
class Shipped:
    """A student that is exported.

    Attributes:
        recipe: of the student.
        tensors: as the packed file holds them.
        content: the packed file.
        facts: what is told in the files: which student it is, its task with the class names, preprocessing.
        companions: files that belong beside its graphs, such as a vocabulary, by name.
        build: makes the network, in eval mode on the CPU.
    """

    recipe: Recipe
    tensors: Mapping[str, Stored]
    content: bytes
    facts: Mapping[str, str]
    companions: Mapping[str, bytes]
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class Wishes:
    """What a user asks for of an export; None where nothing is said.

    Attributes:
        reduced_range: whether int8 weights have 7 bits, for processors without VNNI.
        weights: ``stored``, in the bits of the packed file, or ``float32``.
    """

    reduced_range: bool | None = None
    weights: str | None = None


@dataclass(frozen=True)
class Export:
    """Files to be written.

    Attributes:
        files: path -> content.
        checked: those that were run and compared with the student.
        note: how numbers are stored, as words that follow the name of the file; empty: nothing to say.
    """

    files: Mapping[Path, bytes]
    checked: frozenset[Path] = frozenset()
    note: str = ""


class Format(ABC):
    """One kind of file.

    Attributes:
        name: what ``--format`` takes.
        suffix: what its files end in.
        title: what people call it.
        extra: the extra of ``rayduce`` that its libraries come with; None needs none.
        modules: what of them must be there.
        wishes: the fields of :class:`Wishes` that it heeds.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    title: ClassVar[str]
    extra: ClassVar[str | None] = None
    modules: ClassVar[tuple[str, ...]] = ()
    wishes: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def write(self, student: Shipped, target: Path, wishes: Wishes) -> Export:
        """The files of ``student``; nothing is written to the disk.

        Raises:
            ExportError: the student cannot be one, or the files do not do what it does.
            NotInstalled: a library is missing.
        """

    def lacking(self) -> list[str]:
        """Modules that are not installed."""
        found = []
        for module in self.modules:
            try:
                there = find_spec(module) is not None
            except ModuleNotFoundError:  # of the package that it is in
                there = False
            if not there:
                found.append(module)
        return found

    def check_installed(self) -> None:
        """Raise :class:`NotInstalled`, with the command that mends it, if a library is missing."""
        if missing := self.lacking():
            raise NotInstalled(
                f"{self.suffix} files are written with {missing[0].partition('.')[0]}, which is not "
                f"installed: pip install 'rayduce[{self.extra}]'."
            )


class Made(NamedTuple):
    """One graph in a format.

    Attributes:
        files: suffix -> content.
        run: the content, loaded and ready to be run.
        note: see :class:`Export`.
    """

    files: Mapping[str, bytes]
    run: Run
    note: str = ""


class GraphFormat(Format):
    """A format of networks that can be run, each graph of a student in files of its own.

    Attributes:
        changing_sizes: whether axes other than the batch may have any size.
        parts: what the files of a graph end in, where it is more than one.
        described: those of ``parts`` that tell people about the graph, and no runtime reads.
    """

    changing_sizes: ClassVar[bool] = False
    parts: ClassVar[tuple[str, ...]] = ()
    described: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def make(self, student: Shipped, network: nn.Module, wishes: Wishes) -> dict[str, Made]:
        """The graphs of ``network`` by name, and each ready to be run; checked by who calls.

        Raises:
            Exception: whatever the libraries raise at what they cannot write.
        """

    @final
    def write(self, student: Shipped, target: Path, wishes: Wishes) -> Export:
        """See :meth:`Format.write`; every graph is run on inputs it was not made with."""
        self.check_installed()
        if self.parts and target.suffix != self.suffix:
            raise ExportError(
                f"{self.title} reads {' and '.join(self.parts)} together: end {target.name} in {self.suffix}."
            )
        network, interface = student.build(), student.recipe.task.interface
        if not self.changing_sizes:
            self._check_sizes(interface, network)
        try:
            made = self.make(student, network, wishes)
        except ExportError:
            raise
        except Exception as error:  # exporters raise errors of many unrelated classes
            graphs = interface.graphs(network)
            # Without the cause, which another process may be unable to build again.
            raise ExportError(explained(error, self.suffix, graphs)) from None
        try:
            check_runs(network, interface, {name: each.run for name, each in made.items()})
        except ExportError as error:
            raise ExportError(f"{target.name} is not written: {error}") from error
        files: dict[Path, bytes] = {}
        for suffix in self.parts or (self.suffix,):
            place = target.with_suffix(suffix) if self.parts else target
            files |= named(place, {name: each.files[suffix] for name, each in made.items()})
        notes = {each.note: None for each in made.values() if each.note}
        checked = frozenset(path for path in files if path.suffix not in self.described)
        return Export({**files, **beside(target, student)}, checked, "; ".join(notes))

    def _check_sizes(self, interface: Interface, network: nn.Module) -> None:
        for graph in interface.graphs(network).values():
            for name, axes in graph.inputs.items():
                if free := [axis for number, axis in axes.items() if number]:
                    raise ExportError(
                        f"The student cannot be a {self.suffix} file, whose sizes are fixed: its input "
                        f"{name} has any {free[0]}; .onnx and .pt2 have sizes that change."
                    )


def named(target: Path, graphs: Mapping[str, bytes]) -> dict[Path, bytes]:
    """A lone graph is ``target`` itself; several are named after it, as in ``student-encoder.onnx``."""
    if len(graphs) == 1:
        (data,) = graphs.values()
        return {target: data}
    return {target.with_name(f"{target.stem}-{name}{target.suffix}"): data for name, data in graphs.items()}


def beside(target: Path, student: Shipped) -> dict[Path, bytes]:
    """The student's companions, named after ``target``, as in ``student-vocabulary.model``."""
    return {target.with_name(f"{target.stem}-{name}"): data for name, data in student.companions.items()}


def one_by_one(run: Callable[[list[np.ndarray]], list[np.ndarray]], graph: Graph) -> Run:
    """Any batch through a graph that takes one row.

    Args:
        run: the inputs, in the graph's order and of one row each, to the outputs.
        graph: whose names they have.
    """

    def all_rows(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = [feed[name] for name in graph.inputs]
        rows = [run([values[row : row + 1] for values in given]) for row in range(len(given[0]))]
        return {
            name: np.concatenate(columns)
            for name, columns in zip(graph.outputs, zip(*rows, strict=True), strict=True)
        }

    return all_rows
