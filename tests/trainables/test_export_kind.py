"""Which exports count as one kind: those that differ in the values of weights alone."""

from __future__ import annotations

from dataclasses import replace

import onnx
import torch
from torch import nn

from tests.recipes import STUDENT
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.exporting.export import to_onnx
from trainables.exporting.kind import kind_of
from trainables.interfaces import Classifier
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.shipping.evaluation import open_student, ship
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits


def exported(
    seed: int = 0, model: ConvNet = STUDENT, quantizer: Uniform | None = None, recipe_id: str = ""
) -> dict[str, bytes]:
    """The files of an untrained student, with full-precision weights unless a ``quantizer`` is given."""
    given = methods.Setting(Digits(), Fresh(model), epochs=1)
    recipe = methods.full_precision(given)
    if quantizer is not None:
        recipe = methods.post_training_quantization(given, quantizer=quantizer)
    torch.manual_seed(seed)
    data = ship(recipe, compress(model.build((1, 8, 8), 10), recipe))
    _, student = open_student(data)
    return to_onnx(student, recipe.task.interface, {"recipe_id": recipe_id}, unpack(data).tensors)


def test_weights_and_what_a_file_says_of_itself_do_not_count() -> None:
    first, second = exported(0, recipe_id="one"), exported(1, recipe_id="another")
    assert first != second
    assert kind_of(first) == kind_of(second)
    few = Uniform(4, 256)
    assert kind_of(exported(0, quantizer=few)) == kind_of(exported(1, quantizer=few))


def test_architecture_and_stored_types_count() -> None:
    kinds = [
        kind_of(exported()),
        kind_of(exported(model=replace(STUDENT, width=STUDENT.width / 2))),
        kind_of(exported(quantizer=Uniform(4, 256))),
        kind_of(exported(quantizer=Uniform(8, 256))),
        kind_of(exported(quantizer=Uniform(4, 64))),
    ]
    assert len({*kinds}) == len(kinds)


class Scaled(nn.Module):
    """Rows cut after ``size`` columns, and multiplied."""

    def __init__(self, size: int, factor: float) -> None:
        super().__init__()
        self.size = size
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, self.size : self.size + 2] * self.factor


def test_sizes_that_operators_take_count() -> None:
    interface = Classifier((1, 2, 4))
    kinds = [kind_of(to_onnx(Scaled(*each), interface, {})) for each in ((1, 2.0), (1, 3.0), (2, 2.0))]
    assert kinds[0] == kinds[1] != kinds[2]


def test_graphs_within_graphs_and_constants_are_looked_at() -> None:
    def kind(value: float, size: int) -> str:
        def constant(name: str, tensor: onnx.TensorProto) -> onnx.NodeProto:
            return onnx.helper.make_node("Constant", [], [name], value=tensor)

        out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [size])
        inner = onnx.helper.make_graph(
            [constant("y", onnx.helper.make_tensor("v", onnx.TensorProto.FLOAT, [size], size * [value]))],
            "inner",
            [],
            [out],
        )
        condition = onnx.helper.make_tensor("c", onnx.TensorProto.BOOL, [], [True])
        choice = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        graph = onnx.helper.make_graph([constant("c", condition), choice], "outer", [], [out])
        return kind_of({"network": onnx.helper.make_model(graph).SerializeToString()})

    assert kind(1.0, 3) == kind(2.0, 3) != kind(1.0, 4)
