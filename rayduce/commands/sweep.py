"""Commands that search: sweep, resume, deliver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    Address,
    Compute,
    Concurrency,
    Epochs,
    OwnModel,
    StoreDir,
    StudyName,
    TrackingUri,
    Trainings,
    Trials,
    check_writable,
    checked_name,
    code_option,
    study_of,
)
from rayduce.commands.console import (
    out,
    problems,
    tell,
    whole_line,
)
from rayduce.commands.data_options import DataDir, DataOptions, WeightsFile
from rayduce.commands.device import DeviceName, Measure, MeasureTimeout
from rayduce.commands.groups import with_groups
from rayduce.commands.help import SAMPLERS, Command
from rayduce.commands.limits import (
    LimitOptions,
    Minimized,
    SizeOf,
    check_metrics,
    objectives_of,
    size_of_option,
)
from rayduce.commands.results import where_store_is
from rayduce.commands.running import page_of, run
from rayduce.commands.space_options import SpaceOptions
from rayduce.measuring import asking, measuring
from search.problem import Problem
from search.sampling.names import check_name as check_sampler

if TYPE_CHECKING:
    from search.sweeps.resume import Earlier


commands = typer.Typer()


DELIVERY_SECONDS = 600.0


SweepName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the sweep; default STUDY-1, STUDY-2, ...")
]


Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of the search and of every training.")]


Sampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"How recipes are drawn: {SAMPLERS}. Default freeze-thaw of the digits and of FILE.py that "
        "tells classes, from 24 trials or 12 trainings on, else tpe.",
    ),
]


EarlierSweeps = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="SWEEP", help="Learn from an earlier sweep of the store; repeatable."),
]


Scheduler = Annotated[
    Literal["pareto", "revive", "none"],
    typer.Option(
        metavar="NAME",
        help="pareto: end students early that have no prospect of the front; revive: the same, and take "
        "them up again once they have one; none: train all to the end. freeze-thaw ends students with revive "
        "alone, and only the hopeless.",
    ),
]


PhaseBytes = Annotated[
    str,
    typer.Option(
        metavar="SIZE", help="Of the store, for first phases that students share; 0 trains each anew."
    ),
]


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce sweep digits\n\n"
    "  rayduce sweep digits --trials 100 --max-bytes 16kB --max-drop 1 --name tiny\n\n"
    "  rayduce sweep digits --from digits-1 --sampler gp\n\n"
    "  rayduce sweep digits --trainings 20\n\n"
    "  rayduce sweep image_folder --data photos --image-size 32\n\n"
    "  rayduce sweep image_folder --data photos --architectures resnet,mobilenet_v2,ghostnet\n\n"
    "  rayduce sweep image_folder --data photos --network torchvision:mobilenet_v2 --weights net.pt\n\n"
    "  rayduce sweep phrases --trials 16\n\n"
    "  rayduce sweep text_pairs --data corpus\n\n"
    "  rayduce sweep digits --methods qd,lsq --fix prune=no --range bits=2:4 --range symmetric_bits=2:4\n\n"
    "  rayduce sweep net.py --max-drop 1\n\n"
    "  rayduce sweep digits --model examples.own_model:SeparableNet\n\n"
    "  rayduce sweep digits --minimize latency_ms --max macs=2e6 --concurrency 1\n\n"
    "  rayduce sweep digits --measure './ask-pi {onnx}' --device pi --minimize latency_ms\n\n"
    "  rayduce sweep cifar10 --data DIR --address auto --store /shared/store",
)
@with_groups
def sweep(
    study: StudyName,
    *,
    trials: Trials = None,
    trainings: Trainings = None,
    epochs: Epochs = None,
    budget: Compute = None,
    name: SweepName = None,
    seed: Seed = 0,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    given: DataOptions,
    limits: LimitOptions,
    sampler: Sampler = None,
    earlier: EarlierSweeps = None,
    space: SpaceOptions,
    minimize: Minimized = None,
    size_of: SizeOf = "packed",
    measure: Measure = None,
    device: DeviceName = None,
    measure_timeout: MeasureTimeout = None,
    scheduler: Scheduler = "pareto",
    phase_bytes: PhaseBytes = "1GB",
    concurrency: Concurrency = None,
    address: Address = None,
    model: OwnModel = None,
) -> None:
    """Search for the quality-size front of STUDY's students."""
    from search.clusters.environment import prepare_environment

    with problems():
        prepare_environment(address)
    from search.options import Options, extent

    with problems():
        if sampler is not None:
            check_sampler(sampler)
        # What can be wrong in a word is told before anything large is imported.
        check_writable(store)
        allowed, objectives = limits.budget(), objectives_of(size_of, minimize)
        if measure is None:
            check_metrics(allowed, **objectives)
        asked = {
            "budget": allowed,
            **objectives,
            **measuring(measure, device, measure_timeout),
            **space.wishes(),
            "phase_bytes": 0 if phase_bytes == "0" else size_of_option("--phase-bytes", phase_bytes),
        }
        about = given.about()
        own_code = code_option(study, model, given.network)
        chosen = study_of(study, epochs, model, store, data=given.data, about=about)
        name, uri = named(name, chosen.name, store, tracking_uri)
        options = Options(
            name=name,
            **extent(trials, trainings, sampler, usual=chosen.trials, usual_sampler=chosen.sampler),
            seed=seed,
            store=store.absolute(),
            tracking_uri=uri,
            data=given.data,
            about_data=about,
            download=given.download,
            earlier=tuple(earlier or ()),
            compute=budget,
            concurrency=concurrency,
            address=address,
            own_model=own_code,
            scheduler=scheduler,
            **asked,
        )
        run(chosen.narrowed(options.methods, options.fixed, options.ranges), options)


def named(name: str | None, study: str, store: Path, tracking_uri: str | None) -> tuple[str, str]:
    """The sweep's name, which may be the study's next, and the address of MLflow, a moved store put right."""
    from search.store.mlflow_client import settle
    from search.store.store import default_tracking_uri, next_name

    uri = default_tracking_uri(store, tracking_uri)
    settle(uri, tell)
    return next_name(store, uri, study) if name is None else checked_name(name), uri


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce resume digits-1\n\n"
    "  rayduce resume photos-2 --data /mnt/photos --store /shared/store",
)
def resume(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    data: DataDir = None,
    weights: WeightsFile = None,
    concurrency: Concurrency = None,
    address: Address = None,
    model: OwnModel = None,
    measure: Measure = None,
    measure_timeout: MeasureTimeout = None,
) -> None:
    """Go on with a sweep that was stopped, failed or killed.

    Settings are those that it was started with; what is given here replaces them. Trials go on from their
    checkpoints.
    """
    from search.clusters.environment import prepare_environment
    from search.sweeps.resume import find_sweep

    with problems():
        found = find_sweep(store, checked_name(name))
        if found.finished and found.has_arrived(tracking_uri):
            said = f"The sweep {name} has finished: rayduce front {name}{where_store_is(store, tracking_uri)}"
            out.print(whole_line(said), highlight=False, soft_wrap=True)
            return
        uri = found.tracking_uri("resume", tracking_uri)
        if found.finished:
            out.print(f"The sweep {name} has finished; MLflow gets what it lacks.", highlight=False)
            _deliver(found, uri, DELIVERY_SECONDS)
            return
        how = {} if measure is None else asking(measure, measure_timeout)
        options = found.going_on(tracking_uri, address=address, model=model, measured=bool(how))
        prepare_environment(address)
        from search.store.mlflow_client import settle

        settle(uri, tell)
    with problems():
        given: dict[str, Any] = {"data": data, "concurrency": concurrency, "address": address}
        given = {key: value for key, value in given.items() if value is not None}
        options = replace(options, **given, **how)
        if weights is not None:
            told = {**options.about_data, **DataOptions(weights=weights).about()}
            options = replace(options, about_data=told)
        job = model is not None and model.endswith(".py") and "network" not in options.about_data
        named, about = str(model) if job else found.study, options.about_data
        study = study_of(named, found.epochs, model, store, data=options.data, about=about)
        run(study.narrowed(options.methods, options.fixed, options.ranges), options, resume=True)


@commands.command(cls=Command, epilog="Examples:\n\n  rayduce deliver digits-1 --store /shared/store")
def deliver(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Its name.")],
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for MLflow.")
    ] = DELIVERY_SECONDS,
) -> None:
    """Send MLflow what it lacks of a sweep.

    A sweep keeps everything in the store and delivers it while it runs; this is for what MLflow could not
    take. Whatever is delivered twice is there once.
    """
    from search.sweeps.resume import find_sweep

    with problems():
        found = find_sweep(store, checked_name(name))
        _deliver(found, found.tracking_uri("deliver", tracking_uri), seconds)


def _deliver(found: Earlier, tracking_uri: str, seconds: float) -> None:
    """Send MLflow what it lacks, and say so."""
    from search.store.mlflow_client import settle
    from search.sweeps.resume import deliver

    settle(tracking_uri, tell)
    problem = deliver(found, tracking_uri, page_of(found.folder.store, tracking_uri), seconds)
    if problem:
        raise Problem(problem)
    out.print(f"MLflow has everything of {found.folder.name}.", highlight=False)
