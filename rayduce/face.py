"""Sweeps as Python objects."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rayduce.fronts import DEFAULT_STORE, Front
from rayduce.functions import sorted_out, study_of_functions
from rayduce.measuring import asking, measuring

if TYPE_CHECKING:
    from torch import nn

    from search.options import Options
    from search.tracking.record import Record
    from studies.study import Study


class Sweep:
    """A search for the front of a network's students; what ``rayduce sweep`` does.

    Of your own network: ``Sweep("net.py")``, a file with ``network()`` and ``data(split)``, or
    ``Sweep(network=..., data=...)`` with functions of one file, which each process imports: what else the
    file does belongs under ``if __name__ == "__main__":``.

    Args:
        study: your own file, such as ``net.py``; or the name of a study, such as ``digits``
            (``rayduce sweep --help`` lists them), or a :class:`studies.study.Study`.
        network: a function that returns your trained network; in place of ``study``. Or of ``image_folder``
            your trained network's name: ``FILE.py:function``, ``torchvision:NAME`` or ``timm:NAME``.
        weights: file of the trained weights of a network that is named so.
        functions: your other functions, by the names that a file has for them: ``augment``, ``loss``,
            ``quality`` and ``imitate``; of the same file as ``network``.
        store: folder of teachers, trials and MLflow's database; default ``rayduce-store``.
        name: of the sweep, unique in the store; None (default) is STUDY-1, STUDY-2, ...
        trials: how many students to train, at least 1; None (default) is the study's number, with
            ``trainings`` ten for each.
        trainings: the compute of the sweep, as that of so many whole students, at least 1: each counts the
            share of its training that it does by itself, at least a tenth. None (default) counts trials; with
            ``sampler="freeze-thaw"``, without ``trials``, it is three for ten of the study's trials, and
            twelve of a study with fewer.
        epochs: of each student, at least 2; None (default) is the study's number.
        budget: compute of each student that begins with trained weights, in epochs of the whole network, at
            least 0: smaller ones train more epochs, at most ``epochs``; 0 gives each all of them. None
            (default) is the study's number.
        seed: of the search and of every training, at least 0; default 0.
        data: directory of the data set; None (default) where the study needs none. Beside functions of your
            own it is one, of a split.
        about_data: what else the study can be told of its data, such as ``{"image_size": 32}``: of
            ``image_folder`` also ``mean``, ``std`` (a number per channel), ``batch_size``, ``flip``, ``crop``
            and ``teacher_epochs``.
        max_bytes: limit of the packed file in bytes; None (default) is none, as with the next three.
        max_latency_ms: limit of the latency in milliseconds.
        max_ram: limit of the peak memory of one input in bytes.
        max_drop: points of quality that a student may lose to the teacher on validation: percent of an
            accuracy, else units of the quality times its scale.
        limits: of any other cost, by the name of its metric, such as ``{"macs": 2e6}``; default none.
        minimize: metrics that are objectives beside quality and size, such as ``("latency_ms",)``; default
            none.
        size_of: whose size is minimised: of the ``packed`` file (default), or of the ``onnx`` export.
        measure: command that is run on each exported architecture, such as ``"ssh pi measure {onnx}"``, and
            prints JSON such as ``{"latency_ms": 3.2}``, whose numbers can be limited and minimised; None
            (default) runs none.
        device: name of what it asks; its answers are kept by that. Default ``device``.
        measure_seconds: when that command is stopped; default 120.
        methods: short names of methods to search; none (default) are the study's own.
        fixed: parameters that have one value, such as ``{"bits": 4}``.
        ranges: bounds of parameters, such as ``{"bits": (2, 4)}``.
        sampler: ``tpe``, ``freeze-thaw``, ``gp``, ``nsga2``, ``random``, ``qmc`` or ``reinforce``; None
            (default) is ``freeze-thaw`` of the digits and of a network and data of your own that tells
            classes, but for less than 24 trials or 12 trainings, and ``tpe`` of other studies.
        scheduler: ``pareto`` (default) ends students early that have no prospect of the front, ``revive``
            also takes them up again, ``none`` trains all. ``freeze-thaw`` ends students with ``revive``
            alone, and only the hopeless.
        phase_bytes: of the store, for first phases that students share, at least 0; 0 trains each anew.
            Default 1 GB.
        learn_from: names of earlier sweeps of the store.
        concurrency: trials at a time; None (default) is one per processor, or two per GPU.
        address: of a running Ray cluster; None (default) starts Ray on this machine.
        tracking_uri: MLflow's store, if it is not the one in ``store``.
        model: your own student as ``module:Class``, which is imported; None (default) is the study's.

    Raises:
        search.problem.Problem: a value that cannot be used; the message is one sentence.
        studies.names.StudyError: no such study, or a space that cannot be narrowed so.
        ValueError: a name or number out of range.
    """

    def __init__(
        self,
        study: str | Study | None = None,
        *,
        network: Callable[[], nn.Module] | str | None = None,
        weights: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] = DEFAULT_STORE,
        name: str | None = None,
        trials: int | None = None,
        trainings: int | None = None,
        epochs: int | None = None,
        budget: float | None = None,
        seed: int = 0,
        data: str | os.PathLike[str] | Callable[[str], Any] | None = None,
        about_data: Mapping[str, Any] | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
        max_ram: int | None = None,
        max_drop: float | None = None,
        limits: Mapping[str, float] | None = None,
        minimize: Sequence[str] = (),
        size_of: Literal["packed", "onnx"] = "packed",
        measure: str | None = None,
        device: str | None = None,
        measure_seconds: float | None = None,
        methods: Sequence[str] = (),
        fixed: Mapping[str, Any] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        sampler: str | None = None,
        scheduler: Literal["pareto", "revive", "none"] = "pareto",
        phase_bytes: int = 1_000_000_000,
        learn_from: Sequence[str] = (),
        concurrency: int | None = None,
        address: str | None = None,
        tracking_uri: str | None = None,
        model: str | None = None,
        **functions: Callable[..., Any] | None,
    ) -> None:
        from search.clusters.environment import prepare_environment

        prepare_environment(address)
        from search.objectives.budget import Budget
        from search.objectives.costs import SIZES
        from search.options import Options, extent
        from search.store.store import default_tracking_uri, next_name
        from studies.job import study_of_file
        from studies.known import find_study

        named = {"packed_bytes": max_bytes, "latency_ms": max_latency_ms, "ram_bytes": max_ram}
        budgeted = _together({name: limit for name, limit in named.items() if limit is not None}, limits)
        if size_of not in SIZES:
            raise ValueError(f"size_of must be one of {', '.join(SIZES)}, got {size_of!r}")
        folder = Path(store).absolute()
        about = dict(about_data or {})
        if weights is not None:
            about["weights"] = str(Path(weights).absolute())
        if isinstance(network, str):
            from studies.own_images import file_of_network

            about["network"], model, network = network, file_of_network(network), None
        place, own = sorted_out(network, data, functions)
        if own:
            chosen, model = study_of_functions(study, own, folder)
        elif isinstance(study, str) and study.endswith(".py"):
            chosen, model = study_of_file(Path(study), store=folder), study
        elif isinstance(study, str):
            chosen = find_study(study, own_model=model, data=place, about_data=about)
        elif study is None:
            raise TypeError("Sweep needs a study, or your own network and data: Sweep(network=..., data=...)")
        else:
            chosen = study
        chosen = chosen if epochs is None else replace(chosen, epochs=epochs)
        uri = default_tracking_uri(folder, tracking_uri)
        options = Options(
            name=next_name(folder, uri, chosen.name) if name is None else name,
            **extent(trials, trainings, sampler, usual=chosen.trials, usual_sampler=chosen.sampler),
            seed=seed,
            store=folder,
            tracking_uri=uri,
            data=place,
            about_data=about,
            budget=Budget(budgeted, max_drop),
            compute=budget,
            earlier=tuple(learn_from),
            size=SIZES[size_of],
            minimized=tuple(minimize),
            **measuring(measure, device, measure_seconds),
            concurrency=concurrency,
            address=address,
            own_model=model,
            methods=tuple(methods),
            fixed=tuple(f"{key}={value}" for key, value in (fixed or {}).items()),
            ranges=tuple(f"{key}={low}:{high}" for key, (low, high) in (ranges or {}).items()),
            scheduler=scheduler,
            phase_bytes=phase_bytes,
        )
        self._begin(chosen, options, resume=False)

    def _begin(self, study: Study, options: Options, *, resume: bool) -> None:
        self._study = study.narrowed(options.methods, options.fixed, options.ranges)
        self._options = options
        self._resume = resume

    @classmethod
    def resume(
        cls,
        name: str,
        *,
        store: str | os.PathLike[str] = DEFAULT_STORE,
        tracking_uri: str | None = None,
        data: str | os.PathLike[str] | Callable[[str], Any] | None = None,
        concurrency: int | None = None,
        address: str | None = None,
        model: str | None = None,
        measure: str | None = None,
        network: Callable[[], nn.Module] | None = None,
        **functions: Callable[..., Any] | None,
    ) -> Sweep:
        """A sweep that was stopped, failed or killed; :meth:`run` goes on with it.

        Arguments are those of the class; what is given replaces what the sweep had. Your own functions, or
        your file as ``model``, and the command that measures are to be given again, since nothing that only
        the store names is imported or run.

        Raises:
            search.problem.Problem: there is no such sweep, it ran on a cluster or a server that only its log
                names, or its students are of a class that ``model`` does not name.
            search.store.mlflow_client.StoreError: its log is damaged.
        """
        from search.clusters.environment import prepare_environment
        from search.sweeps.resume import find_sweep

        found = find_sweep(Path(store), name)
        folder = Path(store).absolute()
        place, own = sorted_out(network, data, functions)
        study = None
        if own:
            study, model = study_of_functions(model, own, folder)
        how = {} if measure is None else asking(measure, None)
        options = found.going_on(tracking_uri, address=address, model=model, measured=bool(how))
        prepare_environment(address)
        from studies.known import find_study

        given: dict[str, Any] = {
            "data": place,
            "concurrency": concurrency,
            "address": address,
        }
        given = {key: value for key, value in given.items() if value is not None}
        options = replace(options, **given, **how)
        sweep = cls.__new__(cls)
        about = options.about_data
        if study is None and model is not None and model.endswith(".py") and "network" not in about:
            from studies.job import study_of_file

            study = study_of_file(Path(model), store=folder)
        elif study is None:
            study = find_study(found.study, own_model=model, data=options.data, about_data=about)
        study = replace(study, epochs=found.epochs)
        sweep._begin(study, options, resume=True)
        return sweep

    @property
    def name(self) -> str:
        """Of the sweep, unique in the store."""
        return self._options.name

    @property
    def front(self) -> Front:
        """The front as it is now; also of a sweep that runs in another process.

        Raises:
            search.store.mlflow_client.StoreError: the sweep has not begun, or the store cannot be read.
        """
        return Front.read(self.name, store=self._options.store, tracking_uri=self._options.tracking_uri)

    def run(self, say: Callable[[str], None] | None = None) -> Front:
        """Search, wait until the end, and return the front.

        Call it in the main thread: Ctrl-C ends the sweep between two events, and it can be resumed.

        Args:
            say: gets a few words on what is happening; None (default) prints them on stderr.

        Raises:
            search.problem.Problem: something that you can put right.
            search.store.mlflow_client.StoreError: the store cannot be written, or MLflow lacks a part of
                the sweep.
            trainables.tasks.base.DataError: the data is not usable.
            KeyboardInterrupt: Ctrl-C; the sweep can be resumed.
        """
        from dashboards.report import front_html
        from dashboards.where import where
        from search.store.mlflow_client import StoreError
        from search.store.store import open_store
        from search.sweeps.sweep import run_sweep

        def report(name: str) -> str:
            opened = open_store(self._options.store, self._options.tracking_uri)
            return front_html(opened.trials(name), opened.sweep(name), where(opened))

        if self._study.code is not None:
            self._study.code.allow()  # of another Sweep, a file of the same name may have come meanwhile
        outcome = run_sweep(self._study, self._options, _Teller(say), report, resume=self._resume)
        self._resume = True
        if outcome.undelivered:
            raise StoreError(outcome.undelivered)
        return self.front


def _together(named: Mapping[str, float], limits: Mapping[str, float] | None) -> dict[str, float]:
    """Limits that have an argument of their own, and those by name.

    Raises:
        ValueError: one is said twice.
    """
    for name in limits or {}:
        if name in named:
            raise ValueError(f"limits must not limit {name} again, which another argument limits already")
    return {**named, **(limits or {})}


class _Teller:
    """Hands on what a sweep says."""

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say or (lambda text: print(text, file=sys.stderr))

    def say(self, text: str) -> None:
        self._say(text)

    def remark(self, text: str) -> None:
        self._say(text)

    def changed(self, records: Mapping[str, Record]) -> None:
        """Trials are not told one by one."""
