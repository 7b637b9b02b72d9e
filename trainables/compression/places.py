"""Where a network's tensors have to be on few levels, so that it can be computed in integers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from trainables.compression.call_graph import (
    CLAMP_MODULES,
    CLAMPS,
    CallGraph,
    Key,
    call_graph,
    clamps,
    nodes_of,
    operands,
    passes_on,
)
from trainables.folding import ChannelAffine, is_foldable

INTEGER_FUNCTIONS = ("add", "mul", "cat", "avg_pool", "adaptive_avg_pool", "leaky_relu", "sigmoid")
INTEGER_MODULES = (
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.LeakyReLU,
    nn.Sigmoid,
)
JOINING = ("add", "mul", "cat")


@dataclass(frozen=True)
class Place:
    """One tensor that is read, and has to be on few levels there.

    Attributes:
        where: the layer that reads it, or the function: the module that calls it, its name and number.
        operand: which one of those that it reads.
        key: of the function; None for a layer.
        beside: whether no weights are multiplied there.
        source: the tensor itself, or those that one layer reads at its calls: places of equal sources can
            share a quantizer. None where nothing is known of it.
        distance: how many steps what it reads is behind ``source``: at 0 it is all of it; -1 for a layer
            that is called more than once.
        last: when it reads for the last time, to be compared with others'.
        joint: whether all that read ``source`` have to read one and the same quantizer.
    """

    where: str
    operand: int
    key: Key | None
    beside: bool
    source: int | None = None
    distance: int = 0
    last: int = 0
    joint: bool = False


@dataclass
class Layout:
    """What was found in a network.

    Attributes:
        places: in the order of execution, layers that were not found in a graph last.
        norms: by the name of a convolution, the batch normalisation that alone reads it.
        calls: by module and function, how many calls of it there are, where one of them is a place.
        unfollowed: modules that could not be looked into, and why.
    """

    places: list[Place] = field(default_factory=list)
    norms: dict[str, str] = field(default_factory=dict)
    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    unfollowed: dict[str, str] = field(default_factory=dict)


def layers_of(network: nn.Module, compressed: Collection[str]) -> dict[str, nn.Module]:
    """The convolutions (also transposed ones) and linear layers whose ``weight`` is compressed, by name.

    The output projection of PyTorch's attention is none of them: attention reads its weights and never
    calls it.
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd | nn.Linear)
        and not isinstance(module, NonDynamicallyQuantizableLinear)
        and f"{name}.weight".removeprefix(".") in compressed
    }


def layout(network: nn.Module, compressed: Collection[str]) -> Layout:
    """The places of a plain ``network``.

    They are the inputs of the layers of :func:`layers_of`; the operands of what ONNX Runtime computes in
    integers behind them (sums, products, concatenations, average pooling, leaky ReLU, sigmoid); and the
    inputs of whatever else reads what these compute, since a runtime computes in integers only what also
    ends in them. What a network answers is no place. What cannot be followed has the first ones alone.

    Args:
        network: batch normalisation may be folded already.
        compressed: names of its compressed parameters.
    """
    layers = layers_of(network, compressed)
    if not layers:
        return Layout()
    graph = call_graph(network)
    found = Layout(unfollowed=graph.unfollowed)
    search = _Search(network, layers, graph)
    found.places = list(search.places())
    known = {place.where for place in found.places}
    found.places += [Place(name, 0, None, False) for name in layers if name not in known]
    found.norms = search.norms()
    asked = {place.key[:2] for place in found.places if place.key is not None}
    for path, kind, number in graph.keys.values():
        if (path, kind) in asked:
            counts = found.calls.setdefault(path, {})
            counts[kind] = max(counts.get(kind, 0), number + 1)
    return found


class _Search:
    """The rules of :func:`layout`, over one network's graphs."""

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Module], graph: CallGraph) -> None:
        modules = dict(network.named_modules(remove_duplicate=False))
        self._layers = layers
        self._graph = graph
        self._nodes = list(nodes_of(graph))
        self._modules = {n: modules[str(n.target)] for n in self._nodes if n.op == "call_module"}
        self._order = {node: number for number, node in enumerate(self._nodes)}
        self._calls: dict[str, list[fx.Node]] = {}
        for node in self._nodes:
            if (where := self._where(node)) is not None:
                self._calls.setdefault(where, []).append(node)
        self._integer: set[fx.Node] = set()
        for node in self._nodes:
            if self._is_integer(node):
                self._integer.add(node)

    def places(self) -> Iterator[Place]:
        """In the order of execution; a layer that is called twice has one."""
        joint = self._joint()
        asked: dict[tuple[fx.Node, int], bool] = dict.fromkeys(joint, True)
        for node in self._nodes:
            if self._layer(node) is not None:
                asked[node, 0] = False
            elif node in self._integer:
                asked |= {(node, number): True for number in range(len(self._operands(node)))}
        places: dict[tuple[str, int], None] = {}
        for node, number in sorted(asked, key=lambda each: (self._order[each[0]], each[1])):
            where = self._where(node)
            assert where is not None  # others are never asked for
            places[where, number] = None
        same = _Same()
        for where, number in places:
            same.join(
                self._order[self._source(self._operands(node)[number])[0]] for node in self._calls[where]
            )
        for where, number in places:
            nodes = self._calls[where]
            sources = [self._source(self._operands(node)[number]) for node in nodes]
            yield Place(
                where,
                number,
                self._graph.keys.get(nodes[0]),
                all(asked.get((node, number), True) for node in nodes),
                same.first(self._order[sources[0][0]]),
                max(steps for _, steps in sources) if len(nodes) == 1 else -1,
                self._order[nodes[-1]],
                any((node, number) in joint for node in nodes),
            )

    def norms(self) -> dict[str, str]:
        """By convolution, the normalisation that alone reads it; both are called once."""
        pairs = {}
        for node in self._nodes:
            after = next(iter(node.users), None)
            layer = self._layer(node)
            # What a matrix product gives may be normalised along another axis than that of its outputs.
            if not isinstance(layer, _ConvNd) or isinstance(layer, _ConvTransposeNd):
                continue
            if after is None or len(node.users) > 1:
                continue
            names = (str(node.target), str(after.target))
            if self._normalises(after) and all(len(self._calls[name]) == 1 for name in names):
                pairs[names[0]] = names[1]
        return pairs

    def _joint(self) -> set[tuple[fx.Node, int]]:
        """All that reads what is computed in integers, where it can be made to read few levels."""
        return {
            (reader, number)
            for node in self._nodes
            if self._ends_in_levels(node) and self._can_end(node)
            for reader, number in self._readers(self._end(node))
            if reader.op != "output"
        }

    def _where(self, node: fx.Node) -> str | None:
        if node.op == "call_module":
            return str(node.target)
        key = self._graph.keys.get(node)
        return None if key is None else f"{key[0]}.{key[1]}{key[2]}".removeprefix(".")

    def _layer(self, node: fx.Node) -> nn.Module | None:
        return self._layers.get(str(node.target)) if node.op == "call_module" else None

    def _is_read_by_integers(self, node: fx.Node) -> bool:
        """Whether nothing reads it that computes in floating point: so not the sums of transformers, which
        are normalised there and would lose their precision for nothing."""
        return all(
            self._layer(reader) is not None
            or self._kind(reader) in (*INTEGER_FUNCTIONS, *CLAMPS)
            or isinstance(self._modules.get(reader), INTEGER_MODULES + CLAMP_MODULES)
            for reader, _ in self._readers(self._end(node))
        )

    def _operands(self, node: fx.Node) -> list[fx.Node]:
        return operands(node, self._graph.numbers)

    def _kind(self, node: fx.Node) -> str | None:
        key = self._graph.keys.get(node)
        return None if key is None else key[1]

    def _passes_on(self, node: fx.Node) -> bool:
        return passes_on(node, self._modules.get(node))

    def _clamps(self, node: fx.Node) -> bool:
        return clamps(node, self._modules.get(node))

    def _normalises(self, node: fx.Node) -> bool:
        module = self._modules.get(node)
        return module is not None and (isinstance(module, ChannelAffine) or is_foldable(module))

    def _ends_in_levels(self, node: fx.Node) -> bool:
        """Whether it runs in integers only where its output is on few levels: all but a matrix product."""
        return node in self._integer and not isinstance(self._layer(node), nn.Linear | _ConvTransposeNd)

    def _is_integer(self, node: fx.Node) -> bool:
        """Whether it can be computed in integers, given those before it."""
        if self._layer(node) is not None:
            return True
        kind = self._kind(node)
        module = self._modules.get(node)
        if kind not in INTEGER_FUNCTIONS and not isinstance(module, INTEGER_MODULES):
            return False
        given = self._operands(node)
        sources = [self._source(each)[0] for each in given]
        if not given or any(each.op == "get_attr" for each in sources) or not self._can_end(node):
            return False
        made = [self._made_by(each) for each in given]
        if kind in JOINING:
            return any(map(self._ends_in_levels, made)) or (
                not self._integer.isdisjoint(made) and self._is_read_by_integers(node)
            )
        return self._ends_in_levels(made[0])

    def _source(self, node: fx.Node) -> tuple[fx.Node, int]:
        """The tensor whose values these are, and how many steps before."""
        steps = 0
        while self._passes_on(node) and self._operands(node):
            node, steps = self._operands(node)[0], steps + 1
        return node, steps

    def _made_by(self, node: fx.Node) -> fx.Node:
        """What computed a tensor, before it was normalised and cut off."""
        node = self._source(node)[0]
        while self._operands(node):
            before = self._source(self._operands(node)[0])[0]
            if not self._clamps(node) and not (self._normalises(node) and self._layer(before) is not None):
                break
            node = before
        return node

    def _readers(self, node: fx.Node) -> list[tuple[fx.Node, int]]:
        """What works on the values of a tensor, and as which operand; the end of the network with -1."""
        found = []
        for user in node.users:
            if user in self._graph.numbers:
                continue
            if user.op == "output":
                found.append((user, -1))
            elif self._passes_on(user):
                found += self._readers(user)
            else:
                given = self._operands(user)
                found += [(user, number) for number, each in enumerate(given) if each is node]
                if _times_read(user, node) > given.count(node):
                    found.append((user, -1))
        return found

    def _end(self, node: fx.Node) -> fx.Node:
        """The tensor that a runtime's kernel for ``node`` gives, with what it takes along."""
        if self._layer(node) is not None and len(node.users) == 1:
            after = next(iter(node.users))
            node = after if self._normalises(after) else node
        while True:
            readers = self._readers(node)
            if len(readers) != 1 or not self._clamps(readers[0][0]):
                return node
            node = readers[0][0]

    def _can_end(self, node: fx.Node) -> bool:
        """Whether all that reads it can be given few levels."""
        return all(
            number >= 0 and self._where(reader) is not None and self._is_open(reader)
            for reader, number in self._readers(self._end(node))
        )

    def _is_open(self, node: fx.Node) -> bool:
        """Whether a quantizer can stand before it: functions, and layers of PyTorch's own."""
        if node.op != "call_module":
            return True
        module = self._modules[node]
        return isinstance(module, ChannelAffine) or type(module).__module__.startswith("torch.nn.")


def _times_read(reader: fx.Node, node: fx.Node) -> int:
    """How many of the arguments of ``reader`` are ``node``."""
    seen: list[fx.Node] = []
    fx.map_arg((reader.args, reader.kwargs), seen.append)
    return seen.count(node)


class _Same:
    """Numbers that stand for one another."""

    def __init__(self) -> None:
        self._of: dict[int, int] = {}

    def first(self, number: int) -> int:
        """The one that stands for ``number``."""
        while number in self._of:
            number = self._of[number]
        return number

    def join(self, numbers: Iterable[int]) -> None:
        """From now on these are the same."""
        found = sorted({self.first(number) for number in numbers})
        self._of |= dict.fromkeys(found[1:], found[0])
