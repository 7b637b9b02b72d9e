"""Options about the data and the network that a study is of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from search.problem import Problem


def _named_path(text: str) -> Path:
    if not text:  # which would be the folder one stands in, though nobody named it
        raise typer.BadParameter("the name is empty; give a directory, or . for this one")
    return Path(text)


DataDir = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Directory of the data set.", parser=_named_path),
]


NetworkName = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="NAME",
        help="Of image_folder: your trained network, FILE.py:function, torchvision:NAME or timm:NAME.",
    ),
]


WeightsFile = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Its weights: safetensors, or a state_dict.")
]


Mean = Annotated[
    str | None,
    typer.Option("--mean", metavar="R,G,B", help="Subtracted from an image folder's pixels in [0, 1]."),
]


Std = Annotated[str | None, typer.Option("--std", metavar="R,G,B", help="By what they are divided then.")]


BatchSize = Annotated[
    int | None, typer.Option(metavar="N", min=2, max=65536, help="Images of a step; default by their size.")
]


Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Whether training flips images of a folder at random.")
]


Crop = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", min=0, max=64, help="Random shift of a folder's images, at most."),
]


TeacherEpochs = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of the teacher of a folder's images.")
]


ImageSize = Annotated[
    int | None, typer.Option(metavar="PIXELS", min=4, max=1024, help="Resize a folder's images.")
]


SourceLanguage = Annotated[
    str | None, typer.Option(metavar="LANG", help="Of text_pairs: translate from, as files are named.")
]


TargetLanguage = Annotated[str | None, typer.Option(metavar="LANG", help="Of text_pairs: translate to.")]


TestName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which test files, such as test_2017_flickr.")
]


VocabularySize = Annotated[
    int | None, typer.Option(metavar="N", min=32, max=65536, help="Tokens of a translator's vocabulary.")
]


Download = Annotated[bool, typer.Option("--download", help="Fetch a published data set into --data.")]


Architectures = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Make students of these architectures, searched together, such as resnet,mobilenet_v2.",
    ),
]


QualityName = Annotated[
    str | None,
    typer.Option(
        "--quality",
        metavar="NAME",
        help="Of your own images, recordings or sentences: accuracy (default), macro_f1, balanced_accuracy "
        "or area_under_curve.",
    ),
]


SplitWay = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Of recordings without splits: draw them along speakers (default, where names tell) or "
        "recordings.",
    ),
]


Seconds = Annotated[
    float | None, typer.Option(metavar="S", min=0.1, max=10, help="Length of your recordings; default 1.")
]


SkipUnreadable = Annotated[
    bool | None,
    typer.Option("--skip-unreadable", help="Leave out recordings and sentences that are of no use."),
]


LabelShare = Annotated[
    float | None,
    typer.Option(
        "--labels",
        metavar="SHARE",
        min=0.0001,
        max=1,
        help="Use the labels of so many of your training sentences; default 1, all of them.",
    ),
]


DataSetName = Annotated[
    str | None,
    typer.Option("--set", metavar="NAME", help="Which sentences, of NAME.train.tsv and NAME.test.tsv."),
]


@dataclass(frozen=True)
class DataOptions:
    """What a command is told of the data, and of the network that is trained on them."""

    data: DataDir = None
    image_size: ImageSize = None
    network: NetworkName = None
    weights: WeightsFile = None
    mean: Mean = None
    std: Std = None
    batch_size: BatchSize = None
    flip: Flip = None
    crop: Crop = None
    teacher_epochs: TeacherEpochs = None
    source: SourceLanguage = None
    target: TargetLanguage = None
    test: TestName = None
    vocabulary: VocabularySize = None
    architectures: Architectures = None
    quality: QualityName = None
    split: SplitWay = None
    seconds: Seconds = None
    skip_unreadable: SkipUnreadable = None
    labels: LabelShare = None
    set: DataSetName = None
    download: Download = False

    def about(self) -> dict[str, Any]:
        """Those that were given and are no matter of where the data are, as studies take them.

        Raises:
            Problem: a mean or a standard deviation is no list of numbers.
        """
        elsewhere = ("data", "download")
        given = {name: value for name, value in asdict(self).items() if name not in elsewhere}
        found = {name: value for name, value in given.items() if value is not None}
        for name in ("mean", "std"):
            if name in found:
                found[name] = _numbers(name, found[name])
        if "weights" in found:  # it is looked for again where the sweep goes on
            found["weights"] = str(found["weights"].absolute())
        return found


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise Problem(f"--{name} must be numbers like 0.485,0.456,0.406, one per channel, got {text!r}.")
    return values
