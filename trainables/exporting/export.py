"""Students in the formats of other tools."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables.activations.base import Grid
from trainables.activations.functional import on_grid
from trainables.compression.quantized_inputs import input_quantizers, unfollowed
from trainables.exporting.branches import branched
from trainables.exporting.checking import ExportError, check_runs, first_line, outputs_of
from trainables.exporting.integer_graph import Outcome, to_integers
from trainables.exporting.integer_weight import (
    REDUCED,
    ValueKey,
    has_wide_products,
    integer_weight,
    value_key,
)
from trainables.exporting.stored_weights import Kept, store_weights
from trainables.exporting.symbolics import own_forms
from trainables.exporting.tidying import shortened
from trainables.interfaces.base import Graph, Interface, Runs
from trainables.modes import without_fused_attention
from trainables.quantizers.base import Stored
from trainables.runtime import load

OPSET = 17
NARROW_OPSET = 20
"""Traced in where weights are stored in few bits: the last one that the exporter knows."""

Weights = Literal["stored", "float32"]
"""How an export stores weights: in the bits of the packed file, or decoded."""


def to_onnx(
    model: nn.Module,
    interface: Interface,
    metadata: Mapping[str, str],
    tensors: Mapping[str, Stored] | None = None,
    *,
    reduced_range: bool | None = None,
    weights: Weights = "stored",
) -> dict[str, bytes]:
    """The ONNX files of ``model`` in eval mode, by name, checked against it before they are returned.

    What they take and return, and how many there are, is what ``interface`` says; the batch is free. Their
    metadata hold, beside ``metadata`` and the interface's, ``graph``, the name, and ``weights``: how weights
    are stored and used.

    Layers whose weights have at most 8 bits on an even grid around zero, with one scale per tensor or output
    channel, and whose inputs are quantized, are written as 8-bit integers, see
    :mod:`trainables.exporting.integer_graph`. All other weights keep the bits of the packed file, see
    :mod:`trainables.exporting.stored_weights`; a runtime makes float32 of them as it loads the file, with the
    values they have after decoding. Their inputs are quantized as in the student.

    Each file is checked on inputs of other sizes and values than it was traced on, and then all of them
    together, as a whole, see :meth:`Interface.agrees`.

    Uses PyTorch's TorchScript exporter: 0.03 to 0.1 s for the networks here, where the newer one takes
    seconds. ONNX Runtime fuses the multiplications and additions that batch normalisation was folded
    into with the convolutions before them, so in float32 nothing is folded here.

    Args:
        model: has what the interface asks for; it is left as it is.
        interface: how it is used.
        metadata: stored in the files.
        tensors: of the model as the packed file holds them; None leaves all weights in float32.
        reduced_range: round weights to levels in [-64, 64] where they need more than 7 bits. x86 processors
            without VNNI need that: they saturate, and give wrong sums, without. None (default) does so if
            this machine is one.
        weights: ``stored`` (default) keeps the bits of ``tensors``; ``float32`` stores what they decode to,
            in a file of opset 17 for older runtimes.

    Raises:
        ExportError: an operation without an ONNX form, an output that is not finite, outputs in ONNX
            Runtime that differ by more than 1e-4 of the largest one, or another decision. Where inputs are
            quantized, a sum that is rounded otherwise may move a value to the next level. Then close
            decisions may differ, and the root mean square of the differences may be three times what it
            is between the model and itself with the inputs of all its quantizers moved by up to 2 % of a
            step, but not more than a quarter of that of the outputs.
    """
    network = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    reduced = not has_wide_products() if reduced_range is None else reduced_range
    quantized = any(quantizer.quantizing for _, quantizer in input_quantizers(network))
    files: dict[str, bytes] = {}
    rounded: dict[ValueKey, np.ndarray] = {}
    try:
        for name, graph in interface.graphs(_emitting(network)).items():
            few_bits = weights == "stored" and tensors is not None
            exported = _sized(
                onnx.load_from_string(_traced(graph, NARROW_OPSET if few_bits else OPSET)), graph
            )
            outcome = None
            if quantized:
                outcome = to_integers(exported, tensors or {}, reduced_range=reduced)
                rounded |= outcome.rounded
            kept = store_weights(exported, tensors) if few_bits and tensors is not None else None
            note = _note(outcome, reduced, kept) + (unfollowed(network) if quantized else "")
            facts = {"weights": note, "graph": name, **interface.metadata(), **metadata}
            files[name] = _annotated(shortened(branched(exported)), facts)
    except Exception as error:  # exporter and checker raise errors of many unrelated classes
        # Without the cause, which another process may be unable to build again.
        raise ExportError(f"the network cannot be exported to ONNX: {first_line(error)}") from None
    check_runs(_with_weights(network, rounded), interface, _load(files))
    return files


def integer_kind(network: nn.Module, tensors: Mapping[str, Stored]) -> str:
    """What beside the architecture decides the latency of :func:`to_onnx`'s file on this machine.

    Which inputs are quantized to how many bits and which weights can be integers; empty if no input is.
    """
    bits = [(name, q.bits) for name, q in input_quantizers(network) if q.quantizing]
    if not bits:
        return ""
    weights = sorted(name for name, stored in tensors.items() if integer_weight(stored) is not None)
    facts = json.dumps([bits, weights, has_wide_products()])
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def _note(outcome: Outcome | None, reduced: bool, kept: Kept | None) -> str:
    """How weights are stored and used, for the file's metadata."""
    floats = "float32"
    if kept is not None and kept.few:
        floats = (
            f"in the bits of the packed file ({len(kept.few)} of {len(kept.few) + len(kept.wide)} tensors), "
            "float32 once loaded"
        )
    if outcome is None:
        return floats
    if not outcome.integer:
        return f"{floats}; inputs of layers are rounded as in the student"
    span = f"-{REDUCED} to {REDUCED} (for processors without VNNI)" if reduced else "-128 to 127"
    rest = "" if outcome.integer == outcome.layers else f"; the other layers multiply in float32, {floats}"
    return (
        f"int8, {span}, one scale per output channel, in {outcome.integer} of {outcome.layers} convolutions "
        f"and linear layers; their inputs are uint8 and biases int32{rest}"
    )


def to_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of decoded ``tensors``, in their own dtypes, with ``metadata`` in its header."""
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(copies, dict(metadata))


def _traced(graph: Graph, opset: int = OPSET) -> bytes:
    file = io.BytesIO()
    # The exporter prints graphs on errors, and has no form for attention's fused kernels.
    silent = contextlib.redirect_stdout(io.StringIO())
    with warnings.catch_warnings(), silent, without_fused_attention(), own_forms(opset):
        warnings.simplefilter("ignore")  # what the exporter suspects, the checks of what it made find out
        torch.onnx.export(
            graph.module,
            graph.draw(2),
            file,  # type: ignore[arg-type]
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in {**graph.inputs, **graph.outputs}.items()},
            opset_version=opset,
            dynamo=False,
        )
    return file.getvalue()


def _sized(exported: onnx.ModelProto, graph: Graph) -> onnx.ModelProto:
    """``exported`` with the sizes of all axes of its outputs but the free ones; it knows only some."""
    sizes = outputs_of(graph, graph.module, graph.draw(2))
    for output in exported.graph.output:
        free = graph.outputs[output.name]
        for axis, dimension in enumerate(output.type.tensor_type.shape.dim):
            if axis not in free:
                dimension.dim_value = sizes[output.name].shape[axis]
    return exported


class _Rounded(torch.autograd.Function):
    """Values on a grid, which an export writes as ONNX's own quantization."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
        # A copy: what is done here is traced, and "x as float32", being x itself, would be taken for x.
        return on_grid(x.clone(), Grid(scale, zero.float(), bits))

    @staticmethod
    def symbolic(g: Any, x: Any, scale: Any, zero: Any, bits: int) -> Any:
        level = g.op("QuantizeLinear", x, scale, zero)
        if bits < 8:  # QuantizeLinear saturates at 255
            ends = [torch.tensor(end, dtype=torch.uint8) for end in (0, 2**bits - 1)]
            level = g.op("Clip", level, *(g.op("Constant", value_t=end) for end in ends))
        return g.op("DequantizeLinear", level, scale, zero).setType(x.type())


class _EmittedQuantizer(nn.Module):
    scale: Tensor
    zero: Tensor

    def __init__(self, grid: Grid | None) -> None:
        super().__init__()
        self.bits = 0 if grid is None else grid.bits
        if grid is None:
            return
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero", grid.zero.to(torch.uint8))

    def forward(self, x: Tensor, again: bool = False, part: bool = False) -> Tensor:
        return _Rounded.apply(x, self.scale, self.zero, self.bits) if self.bits else x


def _emitting(network: nn.Module) -> nn.Module:
    """A copy whose input quantizers are exported as such."""
    copied = copy.deepcopy(network)
    for name, quantizer in list(input_quantizers(copied)):
        parent, _, child = name.rpartition(".")
        emitted = _EmittedQuantizer(quantizer.grid() if quantizer.quantizing else None)
        setattr(copied.get_submodule(parent), child, emitted)
    return copied


def _with_weights(network: nn.Module, replaced: Mapping[ValueKey, np.ndarray]) -> nn.Module:
    """A copy in which weights of the values ``replaced`` names have others."""
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        values = replaced.get(value_key(parameter.numpy()))
        if values is not None:
            parameter.copy_(torch.from_numpy(values))
    return copied


def _annotated(exported: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    exported.producer_name = "rayduce"
    onnx.helper.set_model_props(exported, dict(metadata))
    onnx.checker.check_model(exported, full_check=True)
    return exported.SerializeToString()


def _load(graphs: Mapping[str, bytes]) -> Runs:
    try:
        return load(graphs)
    except Exception as error:
        raise ExportError(f"ONNX Runtime does not load the export: {first_line(error)}") from error
