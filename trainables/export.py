"""Students in the formats of other tools."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch
from torch import Tensor, nn

OPSET = 17
TOLERANCE = 1e-4
INPUT, OUTPUT, BATCH = "input", "output", "batch"

WEIGHTS_NOTE = (
    "stored as float32: ONNX has no type for weights of a few bits in buckets with scales or codebooks, "
    "so this file is as large and as fast as an uncompressed network's; the small one is the packed file"
)


class ExportError(Exception):
    """The network cannot be exported, or the export does not do what the network does."""


def to_onnx(model: nn.Module, input_shape: tuple[int, ...], metadata: Mapping[str, str]) -> bytes:
    """An ONNX file of ``model`` in eval mode, checked against it before it is returned.

    The input ``input`` is float32 of shape (batch, *input_shape), the output ``output`` is (batch, ...);
    the batch is free. Weights are inside, as float32, which the metadata's ``weights`` says beside
    ``metadata``. The batches of the check differ from that of the export, and one is the negative of
    another, so that control flow which depends on either, and which tracing froze, shows.

    Uses PyTorch's TorchScript exporter: 0.03 to 0.1 s for the networks here, where the newer one takes
    seconds. ONNX Runtime fuses the multiplications and additions that batch normalisation was folded
    into with the convolutions before them, so nothing is folded here.

    Args:
        model: returns one tensor; it is left as it is.
        input_shape: of one input.
        metadata: stored in the file.

    Raises:
        ExportError: an operation without an ONNX form, an output that is not finite, or outputs in ONNX
            Runtime that differ by more than 1e-4 of the largest one.
    """
    network = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    try:
        data = _annotated(_traced(network, input_shape), {"weights": WEIGHTS_NOTE, **metadata})
    except Exception as error:  # exporter and checker raise errors of many unrelated classes
        raise ExportError(f"the network cannot be exported to ONNX: {_first_line(error)}") from error
    _check(network, data, input_shape)
    return data


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


def _annotated(data: bytes, metadata: Mapping[str, str]) -> bytes:
    exported = onnx.load_from_string(data)
    exported.producer_name = "rayduce"
    onnx.helper.set_model_props(exported, dict(metadata))
    onnx.checker.check_model(exported, full_check=True)
    return exported.SerializeToString()


def _check(network: nn.Module, data: bytes, input_shape: tuple[int, ...]) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public base
        raise ExportError(f"ONNX Runtime does not load the export: {_first_line(error)}") from error
    for batch, sign in ((1, 1), (1, -1), (5, 1)):
        inputs = sign * _inputs(batch, input_shape)
        with torch.no_grad():
            expected = network(inputs).numpy()
        try:
            (found,) = session.run([OUTPUT], {INPUT: inputs.numpy()})
        except Exception as error:
            raise ExportError(f"the export does not run on {batch} inputs: {_first_line(error)}") from error
        _compare(expected, found)


def _compare(expected: np.ndarray, found: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise ExportError(f"the export returns {found.shape} where the network returns {expected.shape}")
    if not np.isfinite(expected).all():
        raise ExportError("the network's outputs are not finite")
    allowed = TOLERANCE * float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(found - expected).max(initial=0.0))
    if not difference <= allowed:
        raise ExportError(f"the export's outputs differ by {difference:.3g} where {allowed:.3g} is allowed")
    chosen = np.take_along_axis(expected, found.argmax(-1)[..., None], -1)[..., 0]
    if (chosen < expected.max(-1) - allowed).any():  # a tie within rounding may fall either way
        raise ExportError("the export chooses another class than the network")


def _inputs(batch: int, input_shape: tuple[int, ...]) -> Tensor:
    return torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(batch))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
