"""Students in the formats of other tools."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables.activations.base import Grid, InputQuantizer
from trainables.activations.functional import on_grid
from trainables.integer_graph import (
    REDUCED,
    Outcome,
    ValueKey,
    has_wide_products,
    integer_weight,
    to_integers,
    value_key,
)
from trainables.quantized_inputs import input_quantizers
from trainables.quantizers.base import Codes, Dense

OPSET = 17
TOLERANCE = 1e-4
CHECKED = 64  # inputs
INPUT, OUTPUT, BATCH = "input", "output", "batch"

WEIGHTS_NOTE = (
    "stored as float32: ONNX has no type for weights of a few bits in buckets with scales or codebooks, "
    "so this file is as large and as fast as an uncompressed network's; the small one is the packed file"
)


class ExportError(Exception):
    """The network cannot be exported, or the export does not do what the network does."""


def to_onnx(
    model: nn.Module,
    input_shape: tuple[int, ...],
    metadata: Mapping[str, str],
    tensors: Mapping[str, Codes | Dense] | None = None,
    *,
    reduced_range: bool | None = None,
) -> bytes:
    """An ONNX file of ``model`` in eval mode, checked against it before it is returned.

    The input ``input`` is float32 of shape (batch, *input_shape), the output ``output`` is (batch, ...);
    the batch is free. The metadata's ``weights`` says beside ``metadata`` how weights are stored and used.

    Layers whose weights have at most 8 bits on an even grid around zero, with one scale per tensor or output
    channel, and whose inputs are quantized, are written as 8-bit integers, see
    :mod:`trainables.integer_graph`. All other weights are float32, with the values they have after decoding;
    their inputs are quantized as in the student.

    The batches of the check differ from that of the export, and one is the negative of another, so that
    control flow which depends on either, and which tracing froze, shows.

    Uses PyTorch's TorchScript exporter: 0.03 to 0.1 s for the networks here, where the newer one takes
    seconds. ONNX Runtime fuses the multiplications and additions that batch normalisation was folded
    into with the convolutions before them, so in float32 nothing is folded here.

    Args:
        model: returns one tensor; it is left as it is.
        input_shape: of one input.
        metadata: stored in the file.
        tensors: of the model as the packed file holds them; None leaves all weights in float32.
        reduced_range: round weights to levels in [-64, 64] where they need more than 7 bits. x86 processors
            without VNNI need that: they saturate, and give wrong sums, without. None (default) does so if
            this machine is one.

    Raises:
        ExportError: an operation without an ONNX form, an output that is not finite, or outputs in ONNX
            Runtime that differ by more than 1e-4 of the largest one. Where inputs are quantized, a sum that
            is rounded otherwise may move a value to the next level: then the root mean square of the
            differences may be three times what it is between the model and itself with the inputs of all its
            quantizers moved by up to 2 % of a step.
    """
    network = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    reduced = not has_wide_products() if reduced_range is None else reduced_range
    quantized = any(quantizer.quantizing for _, quantizer in input_quantizers(network))
    try:
        exported = onnx.load_from_string(_traced(_emitting(network), input_shape))
        note = WEIGHTS_NOTE
        if quantized:
            outcome = to_integers(exported, tensors or {}, reduced_range=reduced)
            note = _note(outcome, reduced)
        data = _annotated(exported, {"weights": note, **metadata})
    except Exception as error:  # exporter and checker raise errors of many unrelated classes
        raise ExportError(f"the network cannot be exported to ONNX: {_first_line(error)}") from error
    if quantized:
        _check_quantized(_with_weights(network, outcome.rounded), data, input_shape)
    else:
        _check(network, data, input_shape)
    return data


def integer_kind(network: nn.Module, tensors: Mapping[str, Codes | Dense]) -> str:
    """What beside the architecture decides the latency of :func:`to_onnx`'s file on this machine.

    Which inputs are quantized to how many bits and which weights can be integers; empty if no input is.
    """
    bits = [(name, q.bits) for name, q in input_quantizers(network) if q.quantizing]
    if not bits:
        return ""
    weights = sorted(name for name, stored in tensors.items() if integer_weight(stored) is not None)
    facts = json.dumps([bits, weights, has_wide_products()])
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def _note(outcome: Outcome, reduced: bool) -> str:
    if not outcome.integer:
        return f"{WEIGHTS_NOTE}; inputs of layers are rounded as in the student"
    span = f"-{REDUCED} to {REDUCED} (for processors without VNNI)" if reduced else "-128 to 127"
    rest = "" if outcome.integer == outcome.layers else "; the other layers multiply in float32"
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


def _traced(network: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Known, and not the reader's business: the exporter is old, and folds no slices of constants.
        for message in (
            "You are using the legacy TorchScript",
            "The feature will be removed",
            "Constant folding",
        ):
            warnings.filterwarnings("ignore", message=message)
        torch.onnx.export(
            network,
            (_inputs(2, input_shape),),
            file,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: BATCH}, OUTPUT: {0: BATCH}},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


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

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.bits = grid.bits
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero", grid.zero.to(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(x, self.scale, self.zero, self.bits)


def _emitting(network: nn.Module) -> nn.Module:
    """A copy whose input quantizers are exported as such."""
    copied = copy.deepcopy(network)
    for name, quantizer in list(input_quantizers(copied)):
        parent, _, child = name.rpartition(".")
        emitted = _EmittedQuantizer(quantizer.grid()) if quantizer.quantizing else nn.Identity()
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


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public base
        raise ExportError(f"ONNX Runtime does not load the export: {_first_line(error)}") from error


def _run(session: onnxruntime.InferenceSession, inputs: Tensor, expected: np.ndarray) -> np.ndarray:
    try:
        (found,) = session.run([OUTPUT], {INPUT: inputs.numpy()})
    except Exception as error:
        raise ExportError(f"the export does not run on {len(inputs)} inputs: {_first_line(error)}") from error
    if found.shape != expected.shape:
        raise ExportError(f"the export returns {found.shape} where the network returns {expected.shape}")
    if not np.isfinite(expected).all():
        raise ExportError("the network's outputs are not finite")
    return np.asarray(found)


def _check(network: nn.Module, data: bytes, input_shape: tuple[int, ...]) -> None:
    session = _session(data)
    for batch, sign in ((1, 1), (1, -1), (5, 1)):
        inputs = sign * _inputs(batch, input_shape)
        with torch.no_grad():
            expected = network(inputs).numpy()
        _compare(expected, _run(session, inputs, expected))


def _compare(expected: np.ndarray, found: np.ndarray) -> None:
    allowed = TOLERANCE * float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(found - expected).max(initial=0.0))
    if not difference <= allowed:
        raise ExportError(f"the export's outputs differ by {difference:.3g} where {allowed:.3g} is allowed")
    chosen = np.take_along_axis(expected, found.argmax(-1)[..., None], -1)[..., 0]
    if (chosen < expected.max(-1) - allowed).any():  # a tie within rounding may fall either way
        raise ExportError("the export chooses another class than the network")


@torch.no_grad()
def _check_quantized(network: nn.Module, data: bytes, input_shape: tuple[int, ...]) -> None:
    """Raise unless the export differs from ``network`` as little as :func:`to_onnx` says."""
    session = _session(data)
    low, high = _input_range(network, _inputs(1, input_shape))
    many = _inputs(CHECKED, input_shape).clamp(low, high)
    expected = network(many).numpy()
    sensitivity = _root_mean_square(_jittered(network)(many).numpy() - expected)
    allowed = 3 * sensitivity + TOLERANCE * float(np.abs(expected).max(initial=0.0))
    for inputs in (many, many[:1], (-many[:1]).clamp(low, high), many[:5]):
        expected = network(inputs).numpy()
        found = _run(session, inputs, expected)
        difference = _root_mean_square(found - expected)
        # One input alone may be among those that move most.
        limit = allowed * np.sqrt(CHECKED / len(inputs))
        if not difference <= limit:
            raise ExportError(
                f"the export's outputs differ by {difference:.3g} where {limit:.3g} is allowed "
                f"(root mean square, {len(inputs)} inputs)"
            )


def _input_range(network: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """Between which values the network's own inputs are told apart, as far as it quantizes them.

    Values beyond would make the check look at nothing but clipping.
    """
    ends = [(-float("inf"), float("inf"))]

    def look(quantizer: InputQuantizer, seen: tuple[Tensor, ...]) -> None:
        if seen[0].data_ptr() == inputs.data_ptr():
            scale, zero, bits = quantizer.grid()
            ends.append((float(-zero * scale), float((2**bits - 1 - zero) * scale)))

    copied = copy.deepcopy(network)
    for _, quantizer in input_quantizers(copied):
        quantizer.register_forward_pre_hook(look)
    copied(inputs)
    return max(low for low, _ in ends), min(high for _, high in ends)


def _jittered(network: nn.Module) -> nn.Module:
    """A copy whose quantizers are given their inputs moved by up to 2 % of a step."""
    generator = torch.Generator().manual_seed(0)

    def move(quantizer: InputQuantizer, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        noise = 2 * torch.rand(seen[0].shape, generator=generator) - 1
        return (seen[0] + 0.02 * quantizer.grid().scale * noise,)

    copied = copy.deepcopy(network)
    for _, quantizer in input_quantizers(copied):
        quantizer.register_forward_pre_hook(move)
    return copied


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _inputs(batch: int, input_shape: tuple[int, ...]) -> Tensor:
    return torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(batch))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
