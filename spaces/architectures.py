"""How students come to be: new, as the trained network is, or a slice of it; and what decides their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from spaces.arguments import Handle, Search, handles_in, turned
from trainables.layers import RULES, STAGES
from trainables.models import (
    DSCNN,
    GRU,
    ConvNet,
    DenseNet,
    GhostNet,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ResNet,
    ShuffleNetV1,
    ShuffleNetV2,
    SqueezeNet,
    TCResNet,
    TextBag,
    TextCNN,
    TextGRU,
    TextLSTM,
    TextTransformer,
    TimeCNN,
    WideResNet,
)
from trainables.models.base import Model
from trainables.origins import Fresh, Trained
from trainables.origins.base import Origin

FRESH, TEACHER, SLICE = "fresh", "teacher", "slice"
STARTS = (FRESH, TEACHER, SLICE)
"""All values of ``start``; which a study has, its context says."""

FAMILIES: Mapping[str, Model] = {
    "resnet": ResNet(depth=1),
    "convnet": ConvNet(depth=1, width=0.35, stages=((64, 64), (128, 128)), hidden=(128,), kernel_size=3),
    "mobilenet_v1": MobileNetV1(depth=3, width=0.25),
    "mobilenet_v2": MobileNetV2(depth=2, width=0.35, last=320),
    "mobilenet_v3_small": MobileNetV3(kind="small", depth=2, width=0.35, last=256),
    "mobilenet_v3_large": MobileNetV3(kind="large", depth=2, width=0.35, last=256),
    "shufflenet_v1": ShuffleNetV1(depth=4, width=0.25),
    "shufflenet_v2": ShuffleNetV2(depth=4, width=0.5, last=256),
    "ghostnet": GhostNet(depth=3, width=0.35, last=256),
    "wide_resnet": WideResNet(depth=1),
    "densenet": DenseNet(depth=4),
    "squeezenet": SqueezeNet(depth=2, width=0.5, dropout=0.0),
    "time_cnn": TimeCNN(depth=3, width=0.5),
    "ds_cnn": DSCNN(depth=3, width=0.5),
    "tc_resnet": TCResNet(depth=1, width=0.5),
    "gru": GRU(depth=1, width=0.5),
    "text_cnn": TextCNN(depth=2, width=0.3, dropout=0.2),
    "text_bag": TextBag(width=0.3),
    "text_gru": TextGRU(width=0.3, dropout=0.2),
    "text_lstm": TextLSTM(width=0.3, dropout=0.2),
    "text_transformer": TextTransformer(depth=1, width=0.3, dropout=0.1),
}
"""Architectures that users name, by the value of ``start``, at the size of first students."""

FAMILY_RANGES: Mapping[str, Search] = {
    "resnet.depth": (1, 3),
    "resnet.width": (0.25, 2.0),
    "convnet.depth": (1, 3),
    "convnet.width": (0.1, 1.0),
}
"""What is searched of those whose own ranges do not say it."""

LACKING: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("gru", "text_bag", "text_gru", "text_lstm"), tuple(RULES)),
    "text_transformer": (STAGES,),
}
"""Places that networks of an architecture do not have, which a test finds in them; most lack none."""

Origins = tuple[tuple[str, Origin], ...]
"""Origins by the value of ``start``, the first trials' first."""


def fresh(student: Model, teacher: Model | None = None, teacher_id: str = "") -> Origins:
    """New networks of the architecture of ``student``, and the trained teacher if it is given."""
    new: Origins = ((FRESH, Fresh(student)),)
    return new if teacher is None else (*new, (TEACHER, Trained(teacher, teacher_id)))


def families(names: Sequence[str], own: Model) -> Origins:
    """New networks of several architectures, which are searched together.

    Args:
        names: of :data:`FAMILIES`, the first trials' first.
        own: the student of the study, which stands for its family.
    """
    return tuple(
        (name, Fresh(own if type(own) is type(FAMILIES[name]) else FAMILIES[name])) for name in names
    )


def sizes_of(start: str, origin: Origin) -> tuple[Handle, ...]:
    """What can be turned of the size of an origin's students.

    Of architectures that are searched together each has its own, such as ``mobilenet_v2.width``.

    Args:
        start: the value of ``start`` that the origin has.
        origin: of the students.
    """
    if origin.sizes is None:
        return ()
    handles = handles_in("student", origin.sizes)
    if start not in FAMILIES:
        return handles
    return tuple(_of_family(start, handle) for handle in handles)


def _of_family(name: str, handle: Handle) -> Handle:
    search = FAMILY_RANGES.get(f"{name}.{handle.field}", handle.range.search)
    return replace(handle, argument=name, range=replace(handle.range, name=None, search=search))


def resized(origin: Origin, sizes: Mapping[str, float]) -> Origin:
    """``origin`` with these ``sizes``, by field."""
    return origin.resized(turned(origin.sizes, sizes)) if origin.sizes is not None and sizes else origin
