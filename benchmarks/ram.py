"""What runtimes really take for activations beside ``ram_bytes``, which counts them by the graph alone.

Of ONNX Runtime it is the most that its arena has in use while the nodes of one run are computed, as its
profile says, without what was in use before the run; once as it optimises the graph for ``ram_bytes``, once
with all it does on this machine. Of ExecuTorch, where it is installed, it is the memory that it plans ahead
for its portable operators, which work on inputs and outputs that it owns. It plans float32 only: of int8
students there is none.

    python benchmarks/ram.py
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.exporting.export import to_onnx
from trainables.exporting.ram import largest_feeds, ram_bytes
from trainables.interfaces import Classifier
from trainables.models import ResNet
from trainables.origins import Fresh
from trainables.quantizers.base import Stored
from trainables.runtime import onnxruntime
from trainables.shipping.evaluation import rebuild, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import CIFAR10
from trainables.torchvision_guard import import_torchvision

COLOUR = (3, 32, 32)
RUN = 3
"""Which run counts: by then patterns of memory are known."""


def networks() -> Iterator[tuple[str, nn.Module, dict[str, Stored]]]:
    """A name, a network and, of an int8 student, its tensors."""
    torch.manual_seed(0)
    yield "ResNet-20", ResNet(depth=3, width=1.0).build(COLOUR, 10).eval(), {}
    recipe = methods.int8_post_training_quantization(
        methods.Setting(CIFAR10(), Fresh(ResNet(depth=3, width=1.0)), epochs=1)
    )
    network = recipe.model.build(COLOUR, 10)
    packed = unpack(ship(recipe, compress(network, recipe), lambda: iter([torch.rand(64, *COLOUR)])))
    yield "ResNet-20, int8", rebuild(*packed), dict(packed.tensors)
    torchvision = import_torchvision()
    for name in ("resnet18", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"):
        yield name, torchvision.models.get_model(name, num_classes=10).eval(), {}


def arena_peak(data: bytes, feed: dict[str, Any], level: str) -> int:
    """The most bytes in use in ONNX Runtime's arena during one run, less those before it."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # else it takes all at once, and says nothing about nodes
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for _ in range(RUN):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    nodes = nodes[-len(nodes) // RUN :]
    after = [int(node["mem_bytes_requested_in_use"]) for node in nodes]
    before = after[0] - int(nodes[0]["mem_requested_in_use_delta"])
    return max(after) - before


def planned(network: nn.Module) -> int | None:
    """What ExecuTorch plans for one input; None where it is not installed."""
    if importlib.util.find_spec("executorch") is None:
        return None
    exir = importlib.import_module("executorch.exir")
    program = exir.to_edge(torch.export.export(network, (torch.zeros(1, *COLOUR),))).to_executorch()
    return int(sum(program.executorch_program.execution_plan[0].non_const_buffer_sizes))


def main() -> None:
    """Print a row for each network."""
    torch.set_num_threads(1)
    names = ("onnxruntime", "onnx", "torch", *(["executorch"] if planned(nn.ReLU()) is not None else []))
    print(", ".join(f"{name} {version(name)}" for name in names))
    print(
        f"{'':<20}{'ram_bytes':>10}{'extended':>10}{'ratio':>7}{'all':>10}{'ratio':>7}{'planned':>10}{'ratio':>7}"
    )
    for name, network, tensors in networks():
        interface = Classifier(COLOUR)
        files = to_onnx(network, interface, {}, tensors)
        own = ram_bytes(files, interface)
        ((_, feed),) = largest_feeds(files, interface).items()
        fed = {key: np.asarray(value) for key, value in feed.items()}
        (data,) = files.values()
        found = [arena_peak(data, fed, f"ORT_ENABLE_{level}") for level in ("EXTENDED", "ALL")]
        ahead = None if tensors else planned(network)
        cells = "".join(
            f"{'':>17}" if each is None else f"{each:>10,}{each / own:>7.2f}" for each in (*found, ahead)
        )
        print(f"{name:<20}{own:>10,}{cells}")


if __name__ == "__main__":
    main()
