"""The memory of activations equals sums over intervals of what ONNX Runtime says it ran."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.exporting.export import to_onnx
from trainables.exporting.flat_graph import FlatGraphError, ways
from trainables.exporting.ram import RamError, largest_feeds, peak_bytes, ram_bytes
from trainables.interfaces import Classifier, EncoderDecoder
from trainables.interfaces.base import Interface
from trainables.models import LSTM, ConvNet, ResNet, Transformer
from trainables.models.base import Model
from trainables.origins import Fresh
from trainables.shipping.evaluation import open_student, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import CIFAR10, Digits
from trainables.tasks.base import Task
from trainables.torchvision_guard import import_torchvision

BYTES = {"float": 4, "int64": 8, "int32": 4, "bool": 1, "uint8": 1, "int8": 1}
COLOUR = (3, 32, 32)


def of_intervals(data: bytes, feed: Mapping[str, np.ndarray], folder: Path) -> int:
    """The largest sum of what is alive, by what a profile says of each node that ran and of its outputs.

    Nothing of this is shared with what it checks but the file: order and sizes are those of one profiled run,
    and each instant is summed by itself.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    session.run(None, dict(feed))
    events = json.loads(Path(session.end_profiling()).read_text())
    graph = onnx.load(folder / "optimized.onnx").graph
    # Branches here only make what their If returns.
    inner = {each.name for node in graph.node for branch in branches(node) for each in branch.node}
    told = {e["name"].removesuffix("_kernel_time"): e for e in events}
    ran = [e for e in events if e["name"].endswith("_kernel_time") and e not in map(told.get, inner)]
    ran.sort(key=lambda event: event["ts"])
    assert [each.op_type for each in graph.node] == [event["args"]["op_name"] for event in ran]
    named = [(each.name, event["name"]) for each, event in zip(graph.node, ran, strict=True) if each.name]
    assert named and all(f"{name}_kernel_time" == told for name, told in named)
    constant = {tensor.name for tensor in graph.initializer}
    size = {name: value.nbytes for name, value in feed.items()}
    born = dict.fromkeys(size, -1)
    dies = dict.fromkeys(size, 0)
    for place, (node, event) in enumerate(zip(graph.node, ran, strict=True)):
        outputs = [name for name in node.output if name]
        if constant.issuperset(name for name in node.input if name):
            constant.update(outputs)
            continue
        for name, typed in zip(outputs, event["args"]["output_type_shape"], strict=True):
            ((kind, shape),) = typed.items()
            size[name], born[name] = BYTES[kind] * int(np.prod(shape)), place
        captured = [name for branch in branches(node) for each in branch.node for name in each.input]
        for name in (*node.input, *captured, *outputs):
            if name in size:
                dies[name] = place
    dies |= {output.name: len(ran) for output in graph.output}
    return max(sum(size[n] for n in size if born[n] <= t <= dies[n]) for t in range(len(ran)))


def branches(node: NodeProto) -> list[GraphProto]:
    return [each.g for each in node.attribute if each.HasField("g")]


def student(task: Task, model: Model, method: str) -> tuple[dict[str, bytes], Interface]:
    """The export of an untrained student as its file rebuilds it, and how it is used."""
    given = methods.Setting(task, Fresh(model), epochs=1, teacher="0" * 16)
    recipe = methods.METHODS[method](given)
    torch.manual_seed(0)
    network = model.build(task.input_shape, task.outputs)
    data = ship(recipe, compress(network, recipe), lambda: iter([torch.rand(16, *task.input_shape)]))
    _, rebuilt = open_student(data)
    return to_onnx(rebuilt, task.interface, {}, unpack(data).tensors), task.interface


def ours(name: str) -> tuple[dict[str, bytes], Interface]:
    if name in TRANSLATORS:
        return to_onnx(TRANSLATORS[name].build((64,), 64).eval(), EncoderDecoder(64), {}), EncoderDecoder(64)
    if name == "convnet":
        return student(Digits(), ConvNet(stages=((12,), (16,)), hidden=(24,), depth=1), "qd")
    return student(Digits(), ResNet(depth=1, width=0.5), "qd" if name == "resnet" else "int8")


def theirs(name: str) -> tuple[dict[str, bytes], Interface]:
    torchvision = import_torchvision()
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=10).eval()
    return to_onnx(network, Classifier(COLOUR), {}), Classifier(COLOUR)


TRANSLATORS: dict[str, Model] = {
    "lstm": LSTM(depth=1, units=16, embedding=12),
    "transformer": Transformer(depth=1, units=16, heads=2),
}
OURS = ("convnet", "resnet", "int8", "lstm", "transformer")
THEIRS = ("resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small")


@pytest.mark.parametrize("name", OURS)
def test_memory_is_that_of_the_nodes_that_onnx_runtime_ran(name, tmp_path) -> None:
    check(*ours(name), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", THEIRS)
def test_memory_of_published_networks(name, tmp_path) -> None:
    check(*theirs(name), tmp_path)


def check(files: dict[str, bytes], interface: Interface, folder: Path) -> None:
    feeds = largest_feeds(files, interface)
    assert feeds.keys() == files.keys()
    expected = {name: of_intervals(files[name], feeds[name], folder) for name in files}
    assert ram_bytes(files, interface) == max(expected.values()) > 0


@pytest.mark.parametrize(("method", "expected"), [("qd", 196_608), ("int8", 49_152)])
def test_memory_of_a_resnet_20_is_three_tensors_of_its_first_stage(method, expected, tmp_path) -> None:
    """16 channels of 32 x 32: what a block was given, what its second layer takes, and what that makes."""
    files, interface = student(CIFAR10(), ResNet(depth=3, width=1.0), method)
    assert ram_bytes(files, interface) == expected
    check(files, interface, tmp_path)


def test_memory_of_a_branch_is_that_of_the_larger_one_with_what_was_kept_for_it() -> None:
    data = with_branch().SerializeToString()
    feed = {"x": np.ones((1, 8), np.float32)}
    # The larger branch: a (32) and the condition (1) are kept; 4 times a, and its exponential.
    assert ram_bytes({"network": data}, Fed(feed)) == 32 + 1 + 128 + 128
    found = [[step.makes for step in way.steps] for way in ways(with_branch())]
    before = [("a",), ("s",), ("c",)]
    assert sorted(found, key=len) == [[*before, ("y",), ()], [*before, ("w",), ("v",), ("y",), ()]]


def test_values_made_of_nothing_but_constants_do_not_count() -> None:
    """What a runtime computes once, such as weights of few bits, is no activation."""
    weight = numpy_helper.from_array(np.ones((64, 64), np.int8), "w")
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["d"], name="d"),
        helper.make_node("MatMul", ["x", "d"], ["y"], name="y"),
    ]
    model = graph_of(nodes, [("x", (1, 64))], [("y", (1, 64))], [weight, scale])
    assert ram_bytes({"network": model.SerializeToString()}, Fed({"x": np.ones((1, 64), np.float32)})) == 512


def test_outputs_stay_and_unused_inputs_are_given() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"], name="y"), helper.make_node("Abs", ["x"], ["z"], name="z")]
    model = graph_of(nodes, [("x", (2,)), ("unused", (5,))], [("y", (2,)), ("z", (2,))], [])
    (way,) = ways(model)
    sizes = {"x": 8, "unused": 20, "y": 8, "z": 8}
    assert peak_bytes(way.steps, way.inputs, way.outputs, sizes) == 36  # x, unused, y
    assert peak_bytes(way.steps, way.inputs, way.outputs, {**sizes, "unused": 1}) == 24  # x, y, z


def test_a_loop_is_refused() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Neg", ["v"], ["n"])],
        "body",
        [value("i", (), TensorProto.INT64), value("on", (), TensorProto.BOOL), value("v", (2,))],
        [value("still", (), TensorProto.BOOL), value("n", (2,))],
    )
    times = numpy_helper.from_array(np.array(3, np.int64), "times")
    nodes = [helper.make_node("Loop", ["times", "", "x"], ["y"], name="y", body=body)]
    model = graph_of(nodes, [("x", (2,))], [("y", (2,))], [times])
    with pytest.raises(FlatGraphError, match="Loop"):
        ways(model)
    with pytest.raises(RamError, match="graph 'network' cannot be told: it has a Loop"):
        ram_bytes({"network": model.SerializeToString()}, Fed({"x": np.ones(2, np.float32)}))


class Fed(Classifier):
    """An interface whose one use is a run of the graph on what it was given."""

    def __init__(self, feed: Mapping[str, np.ndarray]) -> None:
        object.__setattr__(self, "feed", feed)

    def work(self):
        """See :meth:`Interface.work`."""
        return {"latency_ms": lambda runs: runs["network"](self.feed)}


def value(name: str, shape: tuple[int, ...], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph_of(nodes, inputs, outputs, stored) -> ModelProto:
    graph = helper.make_graph(
        nodes, "g", [value(*each) for each in inputs], [value(*each) for each in outputs], stored
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_branch() -> ModelProto:
    small = helper.make_graph(
        [helper.make_node("Abs", ["a"], ["small"], name="small")], "then", [], [value("small", (1, 8))]
    )
    nodes = [
        helper.make_node("Concat", ["a", "a", "a", "a"], ["w"], name="w", axis=1),
        helper.make_node("Exp", ["w"], ["v"], name="v"),
        helper.make_node("ReduceMean", ["v"], ["large"], name="large", axes=[1], keepdims=1),
    ]
    large = helper.make_graph(nodes, "else", [], [value("large", (1, 1))])
    outer = [
        helper.make_node("Neg", ["x"], ["a"], name="a"),
        helper.make_node("ReduceMax", ["a"], ["s"], name="s", keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"], name="c"),
        helper.make_node("If", ["c"], ["y"], name="y", then_branch=small, else_branch=large),
    ]
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None])
    model = graph_of(outer, [("x", (1, 8))], [], [zero])
    model.graph.output.append(output)
    return model
