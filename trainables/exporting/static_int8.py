"""What ONNX Runtime's own quantization makes of a network: the mark that students are measured against.

The ten lines that everybody can write, with the settings that its documentation gives: integers in 8 bits
after training. It is no way of ours to compress, and so no method.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from trainables.calibration import CALIBRATION_INPUTS
from trainables.calling import Inputs, call, samples_of
from trainables.exporting.checking import ExportError
from trainables.exporting.export import to_onnx
from trainables.exporting.integer_weight import has_wide_products
from trainables.foreign import shown
from trainables.interfaces.base import Interface, Run
from trainables.routes import routes_of
from trainables.runtime import load, quantization, quiet
from trainables.tasks.base import LoadedTask

STATIC, DYNAMIC = "static", "dynamic"
"""With ranges of activations that were measured before, and with ranges measured in every run."""

RECURRENT = frozenset({"GRU", "LSTM", "Loop", "RNN", "Scan"})
INTEGER = frozenset({"ConvInteger", "DynamicQuantizeLSTM", "DequantizeLinear", "MatMulInteger"})
"""Operators of which a quantized graph has at least one."""

SEED = 0
"""Draws the inputs that ranges are measured on."""

Feed = Mapping[str, np.ndarray]


class NotQuantized(Exception):
    """ONNX Runtime has no 8-bit form of the network; the message says why, as a clause."""


@dataclass(frozen=True)
class RuntimeInt8:
    """A network as ONNX Runtime quantizes it.

    Attributes:
        graphs: ONNX files by name, as :func:`trainables.exporting.export.to_onnx` names them.
        way: :data:`STATIC` or :data:`DYNAMIC`.
    """

    graphs: Mapping[str, bytes]
    way: str

    @property
    def onnx_bytes(self) -> int:
        """Length of all files."""
        return sum(map(len, self.graphs.values()))


def calibration_inputs(task: LoadedTask, count: int = CALIBRATION_INPUTS) -> Iterator[Inputs]:
    """``count`` inputs of the training split as they are, drawn at random but always the same ones.

    Args:
        task: with its data, on the CPU.
        count: how many, at least 1; default 512. Of a smaller split all are taken.
    """
    drawn = np.random.default_rng(SEED).permutation(task.samples("train"))[:count]
    for batch in task.chosen("train", torch.from_numpy(np.sort(drawn))):
        yield batch.inputs


def runtime_int8(
    network: nn.Module,
    interface: Interface,
    inputs: Callable[[], Iterable[Inputs]],
    *,
    reduced_range: bool | None = None,
) -> RuntimeInt8:
    """Quantize ``network`` after training by :mod:`onnxruntime.quantization`.

    Statically where the graphs allow it: quantize and dequantize nodes, activations in uint8, weights in int8
    with a scale per output channel, ranges as the extremes over ``inputs``. Networks with recurrent layers or
    attention dynamically, as the runtime's documentation recommends for them, with its default settings.

    Args:
        network: in eval mode on the CPU; it is left as it is.
        interface: how it is used.
        inputs: gives the inputs that ranges are measured on, see :func:`calibration_inputs`; asked only for
            static quantization.
        reduced_range: use 7 bits for weights, as x86 processors without VNNI need it, which saturate without.
            None (default) does so if this machine is one.

    Raises:
        NotQuantized: it cannot be exported, or ONNX Runtime cannot quantize it or run what came of it.
    """
    reduced = not has_wide_products() if reduced_range is None else reduced_range
    routes = routes_of(network)
    if len(routes) > 1:
        raise NotQuantized(f"it leaves at one of {len(routes)} exits, each with a graph of its own")
    try:
        exported = to_onnx(network, interface, {}, weights="float32")
    except ExportError as error:
        raise NotQuantized(str(error)) from None
    way = DYNAMIC if any(map(_needs_dynamic, map(onnx.load_from_string, exported.values()))) else STATIC
    feeds = _feeds(network, interface, exported, inputs()) if way == STATIC else {}
    graphs = {}
    for name, graph in exported.items():
        try:
            graphs[name] = _quantized(graph, feeds.get(name), reduced)
            load({name: graphs[name]})
        except Exception as error:  # its tools raise errors of many unrelated classes
            raise NotQuantized(f"ONNX Runtime cannot quantize it: {_first_line(error)}") from None
    if not any(_is_integer(onnx.load_from_string(graph)) for graph in graphs.values()):
        raise NotQuantized("ONNX Runtime quantizes none of its layers")
    return RuntimeInt8(graphs, way)


def evaluate_graphs(
    graphs: Mapping[str, bytes], network: nn.Module, interface: Interface, task: LoadedTask, split: str
) -> dict[str, float]:
    """Quality of exported ``graphs`` in ONNX Runtime on ``split``, as ``task`` measures it of a network.

    Args:
        graphs: ONNX files by name.
        network: whose graphs they are.
        interface: how it is used.
        task: with its data, on the CPU.
        split: of the data.
    """
    return task.evaluate(interface.exported(network, load(graphs)), split)


def _feeds(
    network: nn.Module, interface: Interface, exported: Mapping[str, bytes], inputs: Iterable[Inputs]
) -> dict[str, list[Feed]]:
    """What each graph is given while the network is used on ``inputs``."""
    found: dict[str, list[Feed]] = {name: [] for name in exported}

    def watched(name: str, run: Run) -> Run:
        def watch(feed: Feed) -> dict[str, np.ndarray]:
            found[name].append(dict(feed))
            return run(feed)

        return watch

    used = interface.exported(network, {name: watched(name, run) for name, run in load(exported).items()})
    with torch.no_grad():
        for each in inputs:
            if samples_of(each):
                call(used, each)
    return found


def _quantized(graph: bytes, feeds: list[Feed] | None, reduced: bool) -> bytes:
    """One file, statically with the ranges of ``feeds``, dynamically without."""
    tools = quantization()
    with tempfile.TemporaryDirectory(prefix="rayduce-") as folder, _silence():
        given, prepared, made = (Path(folder) / name for name in ("given.onnx", "prepared.onnx", "made.onnx"))
        given.write_bytes(_bare(graph))
        tools.shape_inference.quant_pre_process(str(given), str(prepared))
        if feeds is None:
            tools.quantize_dynamic(str(prepared), str(made), weight_type=tools.QuantType.QInt8)
        else:
            tools.quantize_static(
                str(prepared),
                str(made),
                _Reader(feeds),
                quant_format=tools.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduced,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                calibrate_method=tools.CalibrationMethod.MinMax,
            )
        return made.read_bytes()


def _bare(graph: bytes) -> bytes:
    """``graph`` without what an export of ours says of its weights, which would be untrue and take bytes."""
    model = onnx.load_from_string(graph)
    del model.metadata_props[:]
    return model.SerializeToString()


class _Reader:
    """A ``CalibrationDataReader``, by its methods: whoever inherits from that imports its module."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._left, None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let the tools say nothing: what they advise is done, and what fails is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), quiet():
            yield
    finally:
        logging.disable(before)


def _needs_dynamic(model: onnx.ModelProto) -> bool:
    """Whether a graph is recurrent or multiplies two computed matrices, as attention does."""
    known = {each.name for each in model.graph.initializer}
    known |= {output for node in model.graph.node if node.op_type == "Constant" for output in node.output}
    return any(
        node.op_type in RECURRENT or (node.op_type == "MatMul" and known.isdisjoint(node.input))
        for node in model.graph.node
    )


def _is_integer(model: onnx.ModelProto) -> bool:
    return any(node.op_type in INTEGER for node in model.graph.node)


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return shown(text, 200)
