"""Which channels of a network belong together: all that is asked of Torch-Pruning.

Torch-Pruning (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning") follows a network's gradients
from layer to layer and says which channels meet. What it says is guessed in places, such as where a tensor is
reshaped; :mod:`trainables.slicing.trial` tries it out. Nothing is pruned by it: it sees a copy.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning import ops
from torch_pruning.dependency import index_mapping, shape_infer
from torch_pruning.dependency.node import Node

from trainables.calling import Inputs, call
from trainables.slicing.changes import NotSliceable
from trainables.slicing.slots import Side, channels_of

ROOTS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
"""Layers whose channels can be cut for their own sake."""


@dataclass(frozen=True)
class Member:
    """One side of a layer, or a parameter that no layer of a known kind has.

    Attributes:
        name: of the module or the parameter.
        side: of the module.
        channels: for each channel of the root, its channels here.
        dim: of the parameter, along which they lie; None for a module.
    """

    name: str
    side: Side
    channels: tuple[tuple[int, ...], ...]
    dim: int | None = None


@dataclass
class Family:
    """All that must be cut together.

    Attributes:
        root: the layer by whose output channels the others are counted.
        members: what has these channels.
        parts: for each operation that splits them, the part of each channel of the root; -1 is none.
        operations: names of operations in between.
        is_output: whether the network's output has these channels.
        problem: why it cannot be cut; None where it can.
    """

    root: str
    members: list[Member] = field(default_factory=list)
    parts: list[tuple[int, ...]] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    is_output: bool = False
    problem: str | None = None


def families(network: nn.Module, inputs: Inputs) -> tuple[list[Family], dict[str, int]]:
    """All families of ``network``, and the place of each called module in the order of execution.

    Args:
        network: stays as it is.
        inputs: of a few samples.

    Raises:
        NotSliceable: the network cannot be traced, or none of its layers has a gradient.
    """
    copied = copy.deepcopy(network).eval().requires_grad_(True)
    names = {module: name for name, module in copied.named_modules()}
    order: dict[str, int] = {}

    def seen(module: nn.Module, *_: Any) -> None:
        order.setdefault(names[module], len(order))

    hooks = [module.register_forward_pre_hook(seen) for module in copied.modules()]
    graph = _traced(copied, inputs)
    for hook in hooks:
        hook.remove()
    unknown = _unmapped(graph)
    roots = [m for m in copied.modules() if isinstance(m, ROOTS) and m in getattr(graph, "module2node", ())]
    if not roots:
        raise NotSliceable("no layer of the network can be cut: none is reached by a gradient of its output")
    roots.sort(key=lambda module: order[names[module]])
    found: list[Family] = []
    covered: set[str] = set()
    for root in roots:
        if names[root] not in covered:
            found.append(_family(graph, root, names, unknown))
            covered |= {member.name for member in found[-1].members if member.side == "out"}
            covered.add(names[root])
    return found, order


def _traced(network: nn.Module, inputs: Inputs) -> torch_pruning.DependencyGraph:
    """Torch-Pruning's graph of ``network``, whose recurrent layers and attention are made opaque in place."""
    hidden = [m for m in network.modules() if isinstance(m, (nn.RNNBase, nn.MultiheadAttention))]
    for module in hidden:
        module.forward = partial(_opaque, module, module.forward)  # type: ignore[method-assign]
    graph = torch_pruning.DependencyGraph()
    try:
        # Torch-Pruning tells of parameters that it guesses about; the trial judges the guesses.
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph.build_dependency(
                network,
                inputs,
                forward_fn=call,
                output_transform=_outputs,
                customized_pruners={type(m): _Recurrent() for m in hidden if isinstance(m, nn.RNNBase)},
                verbose=False,
            )
    except ArithmeticError:  # it divides widths where a tensor is reshaped, as shuffled channels are
        pass
    except Exception as error:  # whatever a foreign forward or Torch-Pruning raises, the network is refused
        raise NotSliceable(f"the network cannot be traced: {type(error).__name__}: {error}") from error
    return graph


MAPPINGS = {
    ops.OPTYPE.CONCAT: index_mapping.update_concat_index_mapping,
    ops.OPTYPE.RESHAPE: index_mapping.update_reshape_index_mapping,
    ops.OPTYPE.UNBIND: index_mapping.update_unbind_index_mapping,
    ops.OPTYPE.EXPAND: index_mapping.update_expand_index_mapping,
    ops.OPTYPE.SLICE: index_mapping.update_slice_index_mapping,
}


def _unmapped(graph: torch_pruning.DependencyGraph) -> set[Node]:
    """Set the mapping of indices at every node; those at which Torch-Pruning cannot."""
    unknown = set()
    nodes = list(getattr(graph, "module2node", {}).values())
    nodes.sort(key=lambda node: node.type != ops.OPTYPE.SPLIT)  # the others are inferred from their sizes
    for node in nodes:
        try:
            if node.type == ops.OPTYPE.SPLIT:
                _map_split(node)
            elif node.type == ops.OPTYPE.RESHAPE and _map_flatten(graph, node):
                continue
            elif node.type in MAPPINGS:
                MAPPINGS[node.type](graph, node)
        except (ArithmeticError, AttributeError, IndexError):  # an operation that is not as it was known
            unknown.add(node)
    return unknown


def _map_flatten(graph: torch_pruning.DependencyGraph, node: Node) -> bool:
    """Map channels to all their places where a tensor is flattened; whether it is.

    Torch-Pruning knows that of four dimensions only.
    """
    sizes = tuple(getattr(node.grad_fn, "_saved_self_sym_sizes", ()))
    if len(sizes) < 3 or sizes[1] == math.prod(sizes[1:]):
        return False
    read = [shape_infer.infer_in_channels_recursively(graph, each, [0]) for each in node.outputs]
    if not read or any(each != math.prod(sizes[1:]) for each in read):
        return False
    for given in node.inputs:
        for one, other, back in ((node, given, True), (given, node, False)):
            for dependency in one.dependencies:
                if dependency.target is other:
                    mapping = index_mapping._FlattenIndexMapping(math.prod(sizes[2:]), back)
                    dependency.index_mapping[0] = mapping
    return True


def _map_split(node: Node) -> None:
    """Map the channels of a split to its parts, by the sizes that autograd keeps.

    Torch-Pruning infers the sizes from the layers behind, and knows the second dimension only.
    """
    step = node.grad_fn
    sizes = tuple(step._saved_self_sym_sizes)
    dim = step._saved_dim if step._saved_dim < len(sizes) else step._saved_dim - 2**64 + len(sizes)
    if dim != 1 and not (dim == len(sizes) - 1 and len(sizes) <= 3):
        return  # of no channels
    if hasattr(step, "_saved_split_sizes"):
        ends = list(accumulate(step._saved_split_sizes))
    else:
        ends = [*range(step._saved_split_size, sizes[dim], step._saved_split_size), sizes[dim]]
    node.module.split_sizes = [end - start for start, end in pairwise([0, *ends])]
    node.module.offsets = [0, *ends]
    if len(set(node.outputs)) < len(node.outputs):
        raise ArithmeticError("several parts of a split go into one operation")
    # Outputs are in the order in which the trace found them; autograd numbers the parts.
    for part in node.outputs:
        numbers = [number for fn, number in part.grad_fn.next_functions if fn is step]
        start, end = [0, *ends][numbers[0]], ends[numbers[0]]
        for one, other, back in ((node, part, False), (part, node, True)):
            for dependency in one.dependencies:
                if dependency.target is other:
                    mapping = index_mapping._SplitIndexMapping(offset=[start, end], reverse=back)
                    dependency.index_mapping[0] = mapping


def _family(
    graph: torch_pruning.DependencyGraph, root: nn.Module, names: dict[nn.Module, str], unknown: set[Node]
) -> Family:
    """What belongs to the output channels of ``root``."""
    family = Family(names[root])
    count = channels_of(root, "out")
    try:
        reached, parts = _spread(graph, root, count, unknown)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Torch-Pruning's mapping of indices knows shapes that it was written for.
        family.problem = f"its channels cannot be followed ({type(error).__name__})"
        return family
    family.parts = parts
    for (node, fn), pairs in reached.items():
        module = node.module
        channels: list[list[int]] = [[] for _ in range(count)]
        for index, origin in sorted(pairs):
            channels[origin].append(index)
        placed = tuple(map(tuple, channels))
        if node.type == ops.OPTYPE.OUTPUT:
            family.is_output = True
        elif isinstance(module, nn.Parameter):
            dim = node.pruning_dim % module.dim()
            family.members.append(Member(graph._param_to_name[module], "out", placed, dim))
        elif module in names and not isinstance(module, ops._ElementWiseOp):
            side: Side = "in" if fn == graph.get_pruner_of_module(module).prune_in_channels else "out"
            if graph.get_pruner_of_module(module).prune_out_channels == fn:
                side = "out"  # where both are one, as of normalisation
            family.members.append(Member(names[module], side, placed))
        else:
            family.operations.add(getattr(module, "_grad_fn", None) or type(module).__name__)
    return family


Pairs = set[tuple[int, int]]
"""(channel of a node, channel of the root)"""


def _spread(
    graph: torch_pruning.DependencyGraph, root: nn.Module, count: int, unknown: set[Node]
) -> tuple[dict[tuple[Node, Callable[..., Any]], Pairs], list[tuple[int, ...]]]:
    """All that is reached from the output channels of ``root``, along Torch-Pruning's dependencies.

    Its own walk merges indices on the way and forgets which of the root's they came from.
    """
    start = (graph.module2node[root], graph.get_pruner_of_module(root).prune_out_channels)
    reached: dict[tuple[Node, Callable[..., Any]], Pairs] = {start: {(i, i) for i in range(count)}}
    splits: dict[Node, dict[int, int]] = {}
    waiting = [(start, reached[start])]
    while waiting:
        (node, fn), pairs = waiting.pop()
        for number, dependency in enumerate(node.dependencies):
            if not dependency.is_triggered_by(fn):
                continue
            new = _mapped(pairs, [mapping for mapping in dependency.index_mapping if mapping is not None])
            if node.type in (ops.OPTYPE.SPLIT, ops.OPTYPE.UNBIND) and dependency.target in node.outputs:
                splits.setdefault(node, {}).update({origin: number for _, origin in new})
            if dependency.target in unknown:
                raise LookupError("the channels are reshaped in a way that Torch-Pruning does not know")
            key = (dependency.target, dependency.handler)
            new -= reached.get(key, set())
            if new:
                reached.setdefault(key, set()).update(new)
                waiting.append((key, new))
    return reached, [tuple(found.get(i, -1) for i in range(count)) for found in splits.values()]


def _mapped(pairs: Pairs, mappings: list[Callable[..., Any]]) -> Pairs:
    if not mappings:
        return set(pairs)
    indices = [torch_pruning._helpers._HybridIndex(idx=i, root_idx=j) for i, j in sorted(pairs)]
    for mapping in mappings:
        indices = mapping(indices)
    return {(each.idx, each.root_idx) for each in indices}


class _Recurrent(torch_pruning.BasePruningFunc):
    """Tells Torch-Pruning how wide a recurrent layer is."""

    def prune_out_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
        raise NotImplementedError("only a marker: layers are cut by trainables.slicing.removal")

    def prune_in_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
        raise NotImplementedError("only a marker: layers are cut by trainables.slicing.removal")

    def get_out_channels(self, layer: nn.Module) -> int:
        return channels_of(layer, "out")

    def get_in_channels(self, layer: nn.Module) -> int:
        return channels_of(layer, "in")


class _Joined(torch.autograd.Function):
    """Gives the first ``count`` tensors and depends on the others."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        raise NotImplementedError("only its place in the graph is looked at")


def _opaque(module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``forward`` gives, all of it by one step of the graph, whatever happens inside."""
    with torch.no_grad():
        output = forward(*args, **kwargs)
    given = [tensor for tensor in _tensors((args, tuple(kwargs.values()))) if tensor.requires_grad]
    outputs = _tensors(output)
    joined = iter(_Joined.apply(len(outputs), *outputs, *given, next(module.parameters())))
    return _replaced(output, joined)


def _tensors(value: Any) -> list[Tensor]:
    """The floating tensors in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, dict):
        value = tuple(value.values())
    return [each for item in value for each in _tensors(item)] if isinstance(value, (tuple, list)) else []


def _replaced(value: Any, tensors: Any) -> Any:
    if isinstance(value, Tensor):
        return next(tensors) if value.is_floating_point() else value
    if isinstance(value, tuple):
        items = [_replaced(item, tensors) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def _outputs(output: Any) -> list[Tensor]:
    # One more operation, so that no layer is the last one: only then is the output seen as such.
    return [tensor * 1 for tensor in _tensors(output)]
