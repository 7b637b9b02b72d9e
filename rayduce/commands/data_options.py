"""Options about recordings, sentences and what students of any data are made of."""

from __future__ import annotations

from typing import Annotated

import typer

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
