"""What goes from a network: chosen family by family, and tried out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from trainables.calling import Inputs
from trainables.slicing.attention import Heads, readings
from trainables.slicing.choice import Scores, least_important, least_important_heads, removal_of
from trainables.slicing.cut import Cut
from trainables.slicing.graph import Family
from trainables.slicing.removal import Removal
from trainables.slicing.sizes import guessed_sizes, head_counts, head_sizes, sizes_without_tensors
from trainables.slicing.sound import check_family
from trainables.slicing.trial import fault

MHA = nn.MultiheadAttention


@dataclass(frozen=True)
class Planner:
    """Plans what goes from ``network``, which is in eval mode and stays as it is.

    Attributes:
        network: the network.
        example: inputs of a few samples.
        cut: what is asked for.
        scores: the importance of all channels.
        order: the place of each module in the order of execution.
        kept: names of modules and parameters whose channels stay.
    """

    network: nn.Module
    example: Inputs
    cut: Cut
    scores: Scores
    order: dict[str, int]
    kept: set[str]

    def plan(self, families: list[Family]) -> tuple[Removal, tuple[str, ...]]:
        """What goes, and the names of the layers that are left alone because they cannot be cut."""
        left: list[str] = []
        plain: list[tuple[Family, Removal]] = []
        attention: list[Heads] = []
        for family in families:
            if family.is_output or self._is_kept(family):
                continue
            heads = list(readings(self.network, family))
            if heads:
                attention += heads
                continue
            if (family.problem or check_family(self.network, family)) is None:
                plain.append((family, Removal()))
            else:
                left.append(family.root)
        streams = [(family, self._removal(family, attention)) for family, _ in plain]
        streams = [(family, removal) for family, removal in streams if removal.layers]
        good = self._tried(streams, left)
        return self._with_heads(good, attention, left), tuple(left)

    def _is_kept(self, family: Family) -> bool:
        return any(member.name in self.kept and member.side == "out" for member in family.members)

    def _share(self, family: Family) -> float:
        places = [self.order[m.name] for m in family.members if m.side == "out" and m.name in self.order]
        return self.cut.share(sum(places) / len(places) / max(*self.order.values(), 1))

    def _removal(self, family: Family, attention: Iterable[Heads] = ()) -> Removal:
        """What goes with the least important channels of ``family``."""
        names = {member.name for member in family.members}
        inside = [(m.num_heads, m.embed_dim) for n in names if isinstance(m := self._module(n), MHA)]
        # The inside of attention often is as wide as the stream it writes to, and then stays so.
        inside += [
            (each.heads, len(each.family.members[0].channels)) for each in attention if each.output in names
        ]
        size = len(family.members[0].channels)
        whole = self.cut.heads == "remove"
        together = math.lcm(*(width // heads if whole else heads for heads, width in inside))
        of = together if size % together == 0 else 1
        gone = least_important(self.network, family, self.cut, self._share(family), self.scores, of)
        if not gone:
            return Removal()
        removal = removal_of(self.network, family, gone, self.scores, self.cut.heads)
        removal.sizes.update(sizes_without_tensors(self.network, removal))
        return removal

    def _module(self, name: str) -> nn.Module | None:
        return dict(self.network.named_modules()).get(name)

    def _tried(self, wanted: list[tuple[Family, Removal]], left: list[str]) -> Removal:
        """What of ``wanted`` can be taken out; the roots of the others are added to ``left``."""
        everything = self._passing(_together(removal for _, removal in wanted))
        if everything is not None:
            return everything
        good = Removal()
        for family, removal in wanted:
            alone = self._passing(removal)
            both = None if alone is None else self._passing(_together((good, alone)))
            if both is None:
                left.append(family.root)
            else:
                good = both
        return good

    def _passing(self, removal: Removal, *, same: bool = True) -> Removal | None:
        """``removal``, with sizes guessed if it needs them; None if it cannot be taken out."""
        if fault(self.network, removal, self.example, same=same) is None:
            return removal
        guessed = guessed_sizes(self.network, removal)
        if not guessed.keys() - removal.sizes.keys():
            return None
        more = replace(removal, sizes={**guessed, **removal.sizes})
        return more if fault(self.network, more, self.example, same=same) is None else None

    def _with_heads(self, good: Removal, attention: list[Heads], left: list[str]) -> Removal:
        """``good`` and what goes from inside of attention, in the first of its readings that passes."""
        roots = dict.fromkeys(reading.family.root for reading in attention)
        for root in roots:
            here = [reading for reading in attention if reading.family.root == root]
            tried = (self._passing(_together((good, each))) for h in here for each in self._of_heads(h, good))
            passing = next((each for each in tried if each is not None), None)
            if passing is None:
                left.append(root)
            else:
                good = passing
        return good

    def _of_heads(self, reading: Heads, good: Removal) -> Iterator[Removal]:
        """What may go from inside of attention, as it may divide its queries."""
        family, cut = reading.family, self.cut
        size = len(family.members[0].channels)
        shares = [self._share(family)]
        stream = good.layers.get((reading.output, "out"))
        if stream and self.network.get_submodule(reading.output).out_features == size:
            shares.insert(0, 1 - len(stream) / size)
        if cut.heads == "remove":
            yield from self._without_heads(reading, shares)
        for share in dict.fromkeys(shares):
            exact = replace(cut, round_to=1) if len(shares) > 1 and share == shares[0] else cut
            gone = least_important(self.network, family, exact, share, self.scores)
            if not gone:
                continue
            removal = removal_of(self.network, family, gone, self.scores)
            old, new = size // reading.heads, (size - len(gone)) // reading.heads
            for sizes in ({}, head_sizes(self.network, reading.queries[0], old, new)):
                for factor in (math.sqrt(old / new), 1.0):
                    name, channels = reading.queries
                    yield replace(removal, sizes=sizes, queries={name: (channels, factor)})

    def _without_heads(self, reading: Heads, shares: Iterable[float]) -> Iterator[Removal]:
        """What may go from inside of attention as whole heads."""
        for share in dict.fromkeys(shares):
            gone = least_important_heads(reading.family, reading.heads, share, self.scores)
            if gone:
                removal = removal_of(self.network, reading.family, gone, self.scores)
                left = reading.heads - len(gone) * reading.heads // len(reading.family.members[0].channels)
                sizes = head_counts(self.network, reading.queries[0], reading.heads, left)
                yield replace(removal, sizes=sizes)


def _together(removals: Iterable[Removal]) -> Removal:
    total = Removal()
    for removal in removals:
        total.add(removal)
    return total
