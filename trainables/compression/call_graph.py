"""Which calls a network's forward pass makes, and which reads what: found by tracing it, without any input.

Tracing is :mod:`torch.fx`'s. It cannot follow a forward pass that decides by the values or sizes of tensors;
such a module counts as one unknown call, and its children are traced by themselves.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from trainables.folding import ChannelAffine, is_foldable

OPERANDS = 2
"""Of an addition or a product that is one of two tensors."""

Key = tuple[str, str, int]
"""A call of a function: the module in whose forward pass it is, its name, its number among those there."""

_IN_PLACE_TOO = (
    *("sigmoid", "tanh", "leaky_relu", "relu", "clamp", "hardtanh", "sub", "div"),
    *("square", "sqrt", "exp", "abs", "pow", "neg"),
)
FUNCTIONS = {
    **dict.fromkeys(("add", "add_", "iadd", "__radd__", "__iadd__"), "add"),
    **dict.fromkeys(("mul", "mul_", "imul", "multiply", "__rmul__", "__imul__"), "mul"),
    **dict.fromkeys(("isub", "subtract", "rsub", "__rsub__", "__isub__"), "sub"),
    **dict.fromkeys(
        ("truediv", "itruediv", "true_divide", "divide", "__rtruediv__", "__rdiv__", "__idiv__"), "div"
    ),
    **dict.fromkeys(("matmul", "__matmul__", "__rmatmul__", "bmm"), "matmul"),
    **dict.fromkeys(("cat", "concat", "concatenate"), "cat"),
    **{f"{kind}_pool{n}d": f"{kind}_pool" for kind in ("avg", "adaptive_avg") for n in (1, 2, 3)},
    **{kind: kind for kind in _IN_PLACE_TOO},
    **{f"{kind}_": kind for kind in _IN_PLACE_TOO},
    **{kind: kind for kind in ("silu", "hardswish", "hardsigmoid", "gelu", "elu", "mish", "relu6")},
    **{kind: kind for kind in ("softmax", "log_softmax", "softplus", "mean", "sum", "amax")},
    **{kind: kind for kind in ("interpolate", "pixel_shuffle", "repeat", "expand", "flip", "roll")},
}
"""Functions whose operands can be told from their call, by the names that PyTorch calls them by."""

TWO_OPERANDS = ("add", "mul", "sub", "div", "matmul")
SAME = (
    *("flatten", "unflatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze"),
    *("contiguous", "detach", "clone", "dropout", "dropout2d", "feature_dropout", "stochastic_depth"),
    *("getitem", "chunk", "split", "narrow", "pad", "max_pool1d", "max_pool2d", "max_pool3d"),
)
"""Functions that pass values on as they are, some of them, or zeros."""

SAME_MODULES = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._MaxPoolNd,
)
CLAMPS = ("relu", "relu6", "clamp", "hardtanh")
CLAMP_MODULES = (nn.ReLU, nn.Hardtanh)  # ReLU6 is a Hardtanh
NUMBERS = ("size", "dim", "numel", "__len__", "shape", "ndim", "len", "int")


class Unfollowed(Exception):
    """The calls of a module cannot be told; the message says why."""


@dataclass
class CallGraph:
    """What was found of one network.

    Attributes:
        graphs: of the network, or of those parts of it that can be traced by themselves; the target of a
            module's node is the module's first name in the network.
        keys: of calls of :data:`FUNCTIONS`, in order.
        numbers: nodes that are sizes and what is computed of them, and no tensors.
        unfollowed: paths of modules whose calls cannot be told, and why.
    """

    graphs: list[fx.Graph] = field(default_factory=list)
    keys: dict[fx.Node, Key] = field(default_factory=dict)
    numbers: set[fx.Node] = field(default_factory=set)
    unfollowed: dict[str, str] = field(default_factory=dict)


def call_graph(network: nn.Module) -> CallGraph:
    """The calls of ``network`` in eval mode, which stays as it is.

    What it does otherwise in training mode, within one module, makes that module an unfollowed one.
    """
    network = _outline(network)
    unfollowed: dict[str, str] = {}
    with torch.random.fork_rng(devices=[]):
        for training in (True, False):
            found = CallGraph(unfollowed=unfollowed)
            _trace(network.train(training), "", found)
            if training:
                trained = _counts(found)
        evaluated = _counts(found)
        odd = {path for path, counts in evaluated.items() if trained.get(path) != counts}
        if odd:
            unfollowed |= dict.fromkeys(odd, "it computes otherwise in training than in use")
            found = CallGraph(unfollowed=unfollowed)
            _trace(network, "", found)
    return found


def _outline(network: nn.Module) -> nn.Module:
    """A copy whose tensors have no values, and take no memory."""
    outlines: dict[int, Any] = {
        id(each): nn.Parameter(each.detach().to("meta"), each.requires_grad) for each in network.parameters()
    }
    outlines |= {id(each): each.detach().to("meta") for each in network.buffers()}
    return copy.deepcopy(network, outlines)


def _counts(found: CallGraph) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for path, kind, _ in set(found.keys.values()):
        counts.setdefault(path, Counter())[kind] += 1
    return counts


class _Tracer(fx.Tracer):
    """Leaves PyTorch's own layers and what cannot be followed as they are."""

    proxy_buffer_attributes = True

    def __init__(self, names: dict[nn.Module, str], unfollowed: dict[str, str]) -> None:
        super().__init__()
        self.names = names
        self.unfollowed = unfollowed
        self.failed: str | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, ChannelAffine) or is_foldable(m):
            return True
        if self.names[m] in self.unfollowed:
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            if self.failed is None:
                self.failed = self.names[m]
            raise

    def inside(self, name: str) -> str:
        """A name within the traced module as the first one within the network."""
        return self.names[self.root.get_submodule(name)]


def _trace(root: nn.Module, path: str, found: CallGraph) -> None:
    """Add the graph of the module at ``path``, and those of what it holds that have to be traced apart."""
    module, names = root.get_submodule(path), {module: name for name, module in root.named_modules()}
    while path not in found.unfollowed:
        tracer = _Tracer(names, found.unfollowed)
        try:
            graph = tracer.trace(module)
            numbers = _numbers(graph)
            keys = _keys(graph, numbers, tracer)
        except Exception as error:  # what tracing makes a user's code raise may be anything
            failed = tracer.failed
            place = path if failed is None or failed in found.unfollowed else failed
            found.unfollowed[place] = str(error).strip().partition("\n")[0] or type(error).__name__
            continue
        for node in graph.nodes:
            if node.op == "call_module":
                node.target = tracer.inside(str(node.target))
        found.graphs.append(graph)
        found.keys |= keys
        found.numbers |= numbers
        inside = [str(node.target) for node in graph.nodes if node.op == "call_module"]
        for name in dict.fromkeys(inside):
            if name in found.unfollowed:
                _trace_children(root, name, found)
        return
    _trace_children(root, path, found)


def _trace_children(root: nn.Module, path: str, found: CallGraph) -> None:
    names = {module: name for name, module in root.named_modules()}
    called = {str(node.target) for node in nodes_of(found) if node.op == "call_module"}
    for child in root.get_submodule(path).children():
        name = names[child]
        elsewhere = any(each.startswith(f"{name}.") for each in called)  # it has another name there
        if any(True for _ in child.children()) and not elsewhere:
            _trace(root, name, found)


def _keys(graph: fx.Graph, numbers: set[fx.Node], tracer: _Tracer) -> dict[fx.Node, Key]:
    """The calls of functions in ``graph``.

    Raises:
        Unfollowed: a tensor is written into and read by its old name.
    """
    counts: dict[tuple[str, str], int] = {}
    keys: dict[fx.Node, Key] = {}
    for node in graph.nodes:
        frame, path = next(
            ((key, at) for key, (at, _) in reversed(node.meta.get("nn_module_stack", {}).items())), ("", "")
        )
        if not node.users and _writes(node, tracer.root):
            tracer.failed = tracer.inside(path)
            raise Unfollowed(f"{node.target} writes into a tensor that is read by its old name")
        kind = function_of(node)
        if kind is None or node in numbers:
            continue
        kind = with_numbers(kind, len(operands(node, numbers)))
        number = counts[frame, kind] = counts.get((frame, kind), -1) + 1
        keys[node] = (tracer.inside(path), kind, number)
    return keys


def _writes(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = name_of(node)
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def name_of(node: fx.Node) -> str:
    """Of the function or method that ``node`` calls; empty for others."""
    if node.op == "call_method":
        return str(node.target)
    return str(getattr(node.target, "__name__", "")) if node.op == "call_function" else ""


def function_of(node: fx.Node) -> str | None:
    """The one of :data:`FUNCTIONS` that ``node`` calls."""
    return FUNCTIONS.get(name_of(node))


def _numbers(graph: fx.Graph) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in graph.nodes:
        given = node.all_input_nodes
        asks = name_of(node) in NUMBERS or (node.target is getattr and node.args[1] in NUMBERS)
        if asks or (given and node.op == "call_function" and all(each in found for each in given)):
            found.add(node)
    return found


def operands(node: fx.Node, numbers: set[fx.Node]) -> list[fx.Node]:
    """The nodes that give the tensors that a call of a function or a layer works on.

    Args:
        node: the call.
        numbers: nodes that are no tensors.
    """
    kind = function_of(node)
    if kind == "cat":
        listed = node.args[0] if node.args else node.kwargs.get("tensors", ())
        found = listed if isinstance(listed, list | tuple) else ()
    else:
        found = tuple(each for _, each in worked_on(kind, node.args, node.kwargs))
    return [each for each in found if isinstance(each, fx.Node) and each not in numbers]


def with_numbers(kind: str, tensors: int) -> str:
    """``kind``, or, where only one of two operands is a tensor, that of a call with a number."""
    return f"{kind}_number" if kind in TWO_OPERANDS and tensors < OPERANDS else kind


def worked_on(
    kind: str | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[int | str, Any]]:
    """What a call of ``kind`` works on, as far as its arguments can be tensors, by position or name."""
    named = [(name, kwargs[name]) for name in ("input", "other") if name in kwargs]
    found: list[tuple[int | str, Any]] = [*enumerate(args), *named]
    return found[: OPERANDS if kind in TWO_OPERANDS else 1]


def passes_on(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether ``node``, a call of ``module`` or of a function, gives values that it was given, or zeros."""
    if module is not None:
        return isinstance(module, SAME_MODULES)
    if name_of(node) == "pad":
        options = dict(zip(("mode", "value"), node.args[2:], strict=False)) | node.kwargs
        return options.get("mode", "constant") == "constant" and not options.get("value")
    return name_of(node) in SAME or node.target is operator.getitem


def clamps(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether ``node``, a call of ``module`` or of a function, cuts values off at constants."""
    if module is not None:
        return isinstance(module, CLAMP_MODULES)
    return name_of(node).removesuffix("_") in CLAMPS


def nodes_of(found: CallGraph) -> Iterator[fx.Node]:
    """All nodes, graph by graph, in the order of execution."""
    for graph in found.graphs:
        yield from graph.nodes
