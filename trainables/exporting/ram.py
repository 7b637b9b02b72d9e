"""How much memory the activations of an exported network take, which a microcontroller asks first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from trainables.exporting.flat_graph import Step, Way, ways
from trainables.interfaces.base import Interface, Run
from trainables.runtime import load, optimized, values_of

Feed = Mapping[str, NDArray[Any]]
"""What a graph is given, by name."""

SizedWay = tuple[Way, dict[str, int]]
"""A way through a graph as ONNX Runtime runs it, and the bytes of each value on it that is no constant."""


class RamError(Exception):
    """The memory of an export cannot be told; the message is a clause that says why."""


def ram_bytes(files: Mapping[str, bytes], interface: Interface) -> int:
    """The most bytes that activations take at once while one input goes through an export.

    At each node of a graph it is the sum of all tensors that are live: what the graph is given and what its
    nodes have made, from where it is made until its last use, the node's own inputs and outputs among them.
    What the graph returns is live to its end. Nothing is worked on in place, and nothing constant counts:
    weights, and what is made of nothing else, lie in flash. The graph is the one that ONNX Runtime makes of
    the file with its extended optimisations, in the order in which it runs it: there a ReLU is part of the
    convolution before it, and a quantized layer takes and makes integers of one byte. Its further
    optimisations are left out, because they are layouts for the processor of this machine.

    Of a graph with branches it is that of the branch which takes the most; what a branch took from outside
    is kept until its end. Of several graphs, which run one after the other, it is that of the one which
    takes the most; what one hands to the next is among the inputs of the next.

    Args:
        files: ONNX files by name, see :func:`trainables.exporting.export.to_onnx`.
        interface: how the network is used; sizes are those of what ``latency_ms`` is of, such as one input,
            or a sentence of 16 tokens.

    Raises:
        RamError: a graph has a loop, or values that are no tensors of numbers, or does not run with all its
            values as outputs.
    """
    return peak_of(sized_graphs(files, interface))


def sized_graphs(files: Mapping[str, bytes], interface: Interface) -> dict[str, list[SizedWay]]:
    """Every way through each graph of an export that runs, with the bytes of its values.

    Arguments and errors are those of :func:`ram_bytes`.
    """
    return {name: _sized(name, files[name], feed) for name, feed in largest_feeds(files, interface).items()}


def peak_of(graphs: Mapping[str, Iterable[SizedWay]]) -> int:
    """What :func:`ram_bytes` says of the graphs of :func:`sized_graphs`."""
    return max(
        peak_bytes(way.steps, way.inputs, way.outputs, sizes)
        for found in graphs.values()
        for way, sizes in found
    )


def largest_feeds(files: Mapping[str, bytes], interface: Interface) -> dict[str, Feed]:
    """What each graph is given in one use of an export, by the name of the graph.

    Of a graph that runs several times it is the largest; of one that does not run there is none.
    """
    found: dict[str, Feed] = {}

    def watched(name: str, run: Run) -> Run:
        def watch(feed: Feed) -> dict[str, NDArray[Any]]:
            if name not in found or _bytes(feed.values()) > _bytes(found[name].values()):
                found[name] = dict(feed)
            return run(feed)

        return watch

    runs = {name: watched(name, run) for name, run in load(files).items()}
    interface.work()["latency_ms"](runs)
    return found


def peak_bytes(
    steps: Iterable[Step], inputs: Iterable[str], outputs: Iterable[str], sizes: Mapping[str, int]
) -> int:
    """The most bytes that are live at once.

    Args:
        steps: in the order in which they run.
        inputs: live from the beginning to their last use.
        outputs: live from where they are made to the end.
        sizes: bytes by name; what is not among them is constant, and does not count.
    """
    steps = list(steps)
    last = {name: place for place, step in enumerate(steps) for name in (*step.takes, *step.makes)}
    kept = set(outputs)
    live = {name for name in inputs if name in sizes}
    most = now = sum(sizes[name] for name in live)
    for place, step in enumerate(steps):
        made = {name for name in step.makes if name in sizes and name not in live}
        live |= made
        now += sum(sizes[name] for name in made)
        most = max(most, now)
        # The inputs that nobody uses are given, too: they are gone after the first step.
        gone = {name for name in live if last.get(name, 0) <= place and name not in kept}
        live -= gone
        now -= sum(sizes[name] for name in gone)
    return most


def _sized(name: str, data: bytes, feed: Feed) -> list[SizedWay]:
    try:
        return [(way, _sizes(way, feed)) for way in ways(onnx.load_from_string(optimized(data)))]
    except Exception as error:  # ONNX Runtime raises errors of many unrelated classes
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RamError(f"the memory of the graph {name!r} cannot be told: {line}") from error


def _sizes(way: Way, feed: Feed) -> dict[str, int]:
    values = values_of(way.model.SerializeToString(), feed)
    strange = next((name for name, value in values.items() if not _is_numbers(value)), None)
    if strange is not None:
        raise ValueError(f"its value {strange} is no tensor of numbers")
    made = {name: value.nbytes for name, value in values.items() if name not in way.constants}
    return {name: value.nbytes for name, value in feed.items() if name in way.inputs} | made


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype != object


def _bytes(arrays: Iterable[NDArray[Any]]) -> int:
    return sum(array.nbytes for array in arrays)
