"""Whether an export does what the network does."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.activations.base import InputQuantizer
from trainables.compression.quantized_inputs import input_quantizers
from trainables.interfaces.base import Graph, Inputs, Interface, Run, Runs

TOLERANCE = 1e-4
LARGEST_DISTANCE = 0.25
"""Of the outputs' root mean square; an integer export farther from the network is another network."""

CHECKED = 64  # inputs


class ExportError(Exception):
    """The network cannot be exported, or the export does not do what the network does."""


def check_runs(network: nn.Module, interface: Interface, runs: Runs) -> None:
    """Compare graphs in a runtime with ``network`` as :func:`trainables.exporting.export.to_onnx` does.

    Args:
        network: in eval mode on the CPU.
        interface: how it is used.
        runs: its graphs, as they were exported, in a runtime; any batch goes.

    Raises:
        ExportError: they do something else.
    """
    if any(quantizer.quantizing for _, quantizer in input_quantizers(network)):
        _check_quantized(network, interface, runs)
    else:
        _check(network, interface, runs)


def _check(network: nn.Module, interface: Interface, runs: Runs) -> None:
    """Raise unless the export does what ``network`` does, graph by graph and as a whole."""
    for name, graph in interface.graphs(network).items():
        for inputs in graph.cases:
            expected = outputs_of(graph, graph.module, inputs)
            found = _run(graph, runs[name], inputs, expected)
            for output, values in expected.items():
                allowed = TOLERANCE * _largest(values)
                difference = _largest(found[output].astype(np.float64) - values)
                if not difference <= allowed:
                    raise ExportError(
                        f"{output} of the export and of the network differ by {difference:.3g} "
                        f"where {allowed:.3g} is allowed"
                    )
    if not interface.agrees(network, runs, 2 * TOLERANCE):  # each of two logits may be off
        raise ExportError("the export decides otherwise than the network")


def _check_quantized(network: nn.Module, interface: Interface, runs: Runs) -> None:
    """Raise unless the export differs from ``network`` as little as :func:`to_onnx` says."""
    for name, graph in interface.graphs(network).items():
        ends = _input_range(graph.module, graph.draw(1))
        many = _clamped(graph.draw(CHECKED), ends)
        expected = outputs_of(graph, graph.module, many)
        moved = outputs_of(graph, _jittered(graph.module), many)
        allowed = {
            output: min(
                3 * _distance(moved[output], values),
                LARGEST_DISTANCE * _distance(values, np.zeros_like(values)),
            )
            + TOLERANCE * _largest(values)
            for output, values in expected.items()
        }
        for inputs in (many, *(_clamped(case, ends) for case in graph.cases)):
            expected = outputs_of(graph, graph.module, inputs)
            found = _run(graph, runs[name], inputs, expected)
            for output, values in expected.items():
                difference = _distance(found[output], values)
                # One input alone may be among those that move most.
                limit = allowed[output] * np.sqrt(CHECKED / len(inputs[0]))
                if not difference <= limit:
                    raise ExportError(
                        f"{output} of the export and of the network differ by {difference:.3g} where "
                        f"{limit:.3g} is allowed (root mean square, {len(inputs[0])} inputs)"
                    )


@torch.no_grad()
def outputs_of(graph: Graph, module: nn.Module, inputs: Inputs) -> dict[str, np.ndarray]:
    """What ``module`` makes of ``inputs``, under the names of the graph's outputs."""
    made = module(*(each.clone() for each in inputs))  # a network may write into what it is given
    values = (made,) if isinstance(made, Tensor) else made
    return {name: value.numpy() for name, value in zip(graph.outputs, values, strict=True)}


def _run(
    graph: Graph, run: Run, inputs: Inputs, expected: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """What the export makes of ``inputs``, of the shapes and types of the finite ``expected``."""
    feed = {name: values.numpy() for name, values in zip(graph.inputs, inputs, strict=True)}
    try:
        found = run(feed)
    except Exception as error:
        raise ExportError(
            f"the export does not run on {len(inputs[0])} inputs: {first_line(error)}"
        ) from error
    for name, values in expected.items():
        ours, theirs = (found[name].shape, found[name].dtype), (values.shape, values.dtype)
        if ours != theirs:
            raise ExportError(f"{name} of the export is {ours} where the network's is {theirs}")
        if not np.isfinite(values).all():
            raise ExportError(f"{name} of the network is not finite")
    return found


def _input_range(module: nn.Module, inputs: Inputs) -> tuple[float, float]:
    """Between which values the network's own inputs are told apart, as far as it quantizes them.

    Values beyond would make the check look at nothing but clipping.
    """
    ends = [(-float("inf"), float("inf"))]
    given = {values.data_ptr() for values in inputs}

    def look(quantizer: InputQuantizer, seen: tuple[Tensor, ...]) -> None:
        if seen[0].data_ptr() in given:
            scale, zero, bits = quantizer.grid()
            ends.append((float(-zero * scale), float((2**bits - 1 - zero) * scale)))

    copied = copy.deepcopy(module)
    for _, quantizer in input_quantizers(copied):
        quantizer.register_forward_pre_hook(look)
    # Behind hooks that give the network copies of its inputs: then those are its inputs.
    copied.register_forward_pre_hook(lambda _, args: given.update(each.data_ptr() for each in args))
    copied(*inputs)
    return max(low for low, _ in ends), min(high for _, high in ends)


def _clamped(inputs: Inputs, ends: tuple[float, float]) -> Inputs:
    return tuple(values.clamp(*ends) if values.is_floating_point() else values for values in inputs)


def _jittered(module: nn.Module) -> nn.Module:
    """A copy whose quantizers are given their inputs moved by up to 2 % of a step."""
    generator = torch.Generator().manual_seed(0)

    def move(quantizer: InputQuantizer, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        noise = 2 * torch.rand(seen[0].shape, generator=generator) - 1
        return (seen[0] + 0.02 * quantizer.grid().scale * noise,)

    copied = copy.deepcopy(module)
    for _, quantizer in input_quantizers(copied):
        quantizer.register_forward_pre_hook(move)
    return copied


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0))


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the differences."""
    return float(np.sqrt(np.mean(np.square(ours.astype(np.float64) - theirs))))


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
