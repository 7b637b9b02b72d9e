"""What each layer costs adds up to the whole, and stands beside the layer's own name."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from plotly.utils import PlotlyJSONEncoder
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

from dashboards.pages.layers import layers_table as page_table
from rayduce.commands.app import app
from rayduce.commands.layers_table import layers_table
from search.store.frames import layers_of as frame_of_layers
from search.store.store import StoreError
from tests.dashboards.test_app import words
from tests.exports import packed_student
from trainables.exporting.export import to_onnx
from trainables.exporting.layers import GRAPH, Layer, layers_of
from trainables.exporting.ram import sized_graphs
from trainables.interfaces import Classifier, EncoderDecoder
from trainables.interfaces.base import Interface
from trainables.metrics.macs import macs, macs_by_module
from trainables.models import LSTM, Transformer
from trainables.sealed import sealed
from trainables.shipping.contents import contents_json
from trainables.shipping.evaluation import open_student
from trainables.shipping.packed_file import describe, unpack
from trainables.shipping.sizes import parameters
from trainables.training.export_costs import counted_export


@pytest.fixture(scope="module")
def packed() -> bytes:
    return packed_student()


class Net(nn.Module):
    """Nested containers, a module that is called twice, and work outside of any module inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(inner, nn.Conv2d(4, 4, 1))
        self.relu = nn.ReLU()
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.relu(self.body(x) + x)
        flat = y.flatten(2)
        mixed = flat @ flat.transpose(1, 2)
        return self.head(mixed.mean(1))


def table(network: nn.Module, interface: Interface, *, uses: int = 0) -> dict[str, Layer]:
    files = to_onnx(network, interface, {})
    graphs = sized_graphs(files, interface)
    found = layers_of(network, interface, [], files, graphs, uses=uses)
    assert sum(layer.macs for layer in found) == macs(network, interface)
    assert sum(layer.onnx_bytes for layer in found) == sum(map(len, files.values()))
    return {layer.name: layer for layer in found}


def test_costs_stand_beside_the_layers_own_names() -> None:
    found = table(Net().eval(), Classifier((3, 8, 8)), uses=20)
    counts = {name: layer.macs for name, layer in found.items() if layer.macs}
    # Outputs x inputs x kernel x places; 4 x 4 sums over 64 places belong to the network itself.
    assert counts == {
        "stem": 4 * 3 * 9 * 64,
        "body.0.0": 4 * 4 * 9 * 64,
        "body.1": 4 * 4 * 64,
        "head": 40,
        "": 4 * 4 * 64,
    }
    assert {found[name].activation_bytes for name in ("stem", "body.0.0", "body.1")} == {4 * 4 * 64}
    assert found["head"].activation_bytes == 40
    assert 4 * 4 * 9 * 4 <= found["body.0.0"].onnx_bytes < 4 * 4 * 9 * 4 + 200
    shares = [layer.latency_share for layer in found.values()]
    assert sum(cast(float, share) for share in shares) == pytest.approx(1)
    assert {"stem", "body.0.0", "body.1"} <= {n for n, each in found.items() if each.latency_share}


@pytest.mark.parametrize(
    "model", [LSTM(depth=1, units=16, embedding=12), Transformer(depth=1, units=16, heads=2)], ids=str
)
def test_what_modules_do_adds_up_though_the_network_is_never_called(model: Any) -> None:
    network, interface = model.build((64,), 64).eval(), EncoderDecoder(64)
    found = macs_by_module(network, interface)
    assert sum(found.values()) == macs(network, interface) > 0
    assert found.keys() == {name for name, _ in network.named_modules()}
    # Logits of 16 steps are products with the embedding's weights, outside of any module inside.
    logits = 16 * 64 * 16
    assert found[""] == logits if isinstance(model, Transformer) else found[""] > 0
    assert table(network, interface)[GRAPH].onnx_bytes > 0


def test_a_students_layers_add_up_to_its_file(packed: bytes) -> None:
    recipe, student = open_student(packed)
    found = counted_export(recipe, packed, student)
    assert sum(layer.packed_bytes for layer in found.layers) == len(packed)
    assert sum(layer.weights for layer in found.layers) == parameters(unpack(packed).tensors)
    assert sum(layer.onnx_bytes for layer in found.layers) == found.numbers["onnx_bytes"]
    assert sum(layer.macs for layer in found.layers) == macs(student, recipe.task.interface)
    rows = {row["name"]: row["bytes"] for row in describe(packed)}
    assert {layer.name: layer.packed_bytes for layer in found.layers}["(header)"] == rows["(header)"]
    shown = frame_of_layers(contents_json(packed, found.layers), "run")
    assert shown["macs"].sum() == macs(student, recipe.task.interface)
    assert shown["latency_share"].isna().all()
    assert frame_of_layers(contents_json(packed), "run").empty


def test_inspect_tells_the_layers(packed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "student.rdz"
    path.write_bytes(packed)
    done = CliRunner().invoke(app, ["inspect", str(path), "--layers", "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert sum(row["packed_bytes"] for row in rows) == len(packed)
    assert sum(row["latency_share"] for row in rows) == pytest.approx(1)
    both = CliRunner().invoke(app, ["inspect", str(path), "--layers", "--account"])
    assert both.exit_code == 2 and "ask for one of them" in " ".join(both.output.split())


def test_no_number_of_a_layer_is_cut_on_a_narrow_terminal() -> None:
    name = "features.17.conv.0.0.a.long.way.down.in.a.network"
    large = Layer(name, 123_456_789, 12_345_678, 12_345_678, 61_234_567, 1_234_567, 0.123)
    text = StringIO()
    Console(width=80, file=text).print(
        layers_table("student.rdz", [large, Layer("", 0, 0, 0, 0, 512, 0.877)])
    )
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in text.getvalue()
    first = lines[2].split()[1:]
    assert first == ["123,456,789", "12,345,678", "12.3", "MB", "61.2", "MB", "1.23", "MB", "12.3", "%"]
    assert any(line.split() == ["(network)", "512", "B", "87.7", "%"] for line in lines)


def test_a_page_shows_the_columns_that_say_something() -> None:
    layers = [Layer("stem", 100, 20, 30, 40, 50), Layer("", 0, 0, 0, 7, 60)]
    content = sealed({"tensors": [], "layers": [layer.as_row() for layer in layers]})

    def shown(content: bytes) -> str:
        store = SimpleNamespace(layers=lambda run_id: frame_of_layers(content, run_id))
        component = page_table(cast(Any, SimpleNamespace(store=store)), "run")
        return words(json.loads(json.dumps(component, cls=PlotlyJSONEncoder)))

    text = shown(content)
    for part in ("stem", "Multiply-adds", "100", "40 B", "(network)", "60 B", "47 B"):
        assert part in text
    assert "Latency" not in text
    assert "not known" in shown(sealed({"tensors": []}))
    measured = [{**layers[0].as_row(), "latency_share": 0.25}]
    assert "25.0 %" in shown(sealed({"tensors": [], "layers": measured}))
    for odd in ({"macs": -1}, {"macs": 1.5}, {"latency_share": 2.0}, {"weights": "many"}):
        damaged = sealed({"tensors": [], "layers": [{**layers[0].as_row(), **odd}]})
        with pytest.raises(StoreError, match="damaged"):
            frame_of_layers(damaged, "run")
        assert "damaged" in shown(damaged)
