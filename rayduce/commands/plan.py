"""``rayduce plan``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    AsJson,
    Compute,
    Epochs,
    OwnModel,
    StoreDir,
    StudyName,
    Trainings,
    Trials,
    code_option,
    study_of,
)
from rayduce.commands.console import (
    out,
    print_json,
    problems,
)
from rayduce.commands.data_options import DataOptions
from rayduce.commands.groups import with_groups
from rayduce.commands.help import Command
from rayduce.commands.limits import LimitOptions, check_metrics, objectives_of
from rayduce.commands.space_options import SpaceOptions
from search.problem import Problem
from trainables.metrics import quality_of

commands = typer.Typer()


Hours = Annotated[float | None, typer.Option(metavar="H", help="Say how many trials fit in so many hours.")]


Nodes = Annotated[int, typer.Option(metavar="N", min=1, help="Of the cluster, like this machine.")]


NodePrice = Annotated[
    float | None, typer.Option(metavar="EUR", help="Price of a node and hour, for the cost.")
]


NodeConcurrency = Annotated[int | None, typer.Option(metavar="N", min=1, help="Trials at a time on a node.")]


@commands.command(
    cls=Command,
    short_help="Say what a sweep would take, without running it.",
    epilog="Examples:\n\n  rayduce plan digits\n\n  rayduce plan digits --hours 8 --max-bytes 16kB\n\n"
    "  rayduce plan cifar10 --data DIR --trials 200 --nodes 4 --node-price 0.90",
)
@with_groups
def plan(
    study: StudyName,
    *,
    trials: Trials = None,
    trainings: Trainings = None,
    epochs: Epochs = None,
    budget: Compute = None,
    hours: Hours = None,
    nodes: Nodes = 1,
    node_price: NodePrice = None,
    concurrency: NodeConcurrency = None,
    store: StoreDir = DEFAULT_STORE,
    given: DataOptions,
    limits: LimitOptions,
    space: SpaceOptions,
    model: OwnModel = None,
    as_json: AsJson = False,
) -> None:
    """Say what a sweep of STUDY would take: sizes, time, cost, disk and memory.

    A few batches are trained to time them; nothing is written but decoded data, which a sweep uses. Times are
    those of a machine that has nothing else to do. The exit code is 1 where disk or memory is short.
    """
    from search.options import Options, extent

    with problems():
        _check_above_0("--hours", hours)
        _check_above_0("--node-price", node_price)
        allowed = limits.budget()
        check_metrics(allowed, **objectives_of("packed", None))
        asked = {"budget": allowed, **space.wishes()}
        about = given.about()
        own_code = code_option(study, model, given.network)
        chosen = study_of(study, epochs, model, data=given.data, about=about)
        options = Options(
            name="plan",
            **extent(trials, trainings, None, usual=chosen.trials, usual_sampler=chosen.sampler),
            seed=0,
            store=store.absolute(),
            tracking_uri="",
            data=given.data,
            about_data=about,
            download=given.download,
            compute=budget,
            concurrency=concurrency,
            own_model=own_code,
            **asked,
        )
        from rayduce.commands.plan_table import plan_record, plan_table
        from search.planning.plan import make_plan

        made = make_plan(chosen.narrowed(options.methods, options.fixed, options.ranges), options, nodes)
    if as_json:
        print_json(plan_record(made, hours, node_price))
    else:
        judged = quality_of(made.metric)
        out.print(plan_table(made, options.budget, judged, hours, node_price), highlight=False)
    if made.resources.short:
        raise typer.Exit(1)


def _check_above_0(option: str, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise Problem(f"{option} must be above 0, got {value:g}.")
