"""Options about a device of the user's."""

from __future__ import annotations

from typing import Annotated

import typer

Measure = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Run it on each exported architecture, whose file is {onnx}; it prints JSON such as "
        '{"latency_ms": 3.2, "energy_mj": 11}, and these numbers can be limited and minimised.',
    ),
]


DeviceName = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="What --measure asks; its answers are kept by this name."),
]


MeasureTimeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="When --measure's command is stopped; default 120.")
]
