"""Ray, started or joined, and what it offers to trials."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
import torch
from ray._private import services

from search.clusters.cluster import check_reachable, share_store, workers_environment
from search.clusters.temporary import RAY
from search.options import Options
from search.problem import Problem
from trainables.store_mark import StoreMark


@dataclass(frozen=True)
class Machine:
    """What the cluster offers to trials.

    Attributes:
        device: that they train on, ``cpu`` or ``cuda``.
        concurrency: how many at a time.
        cpus_per_trial: as Ray counts them.
        gpus_per_trial: likewise.
        store_mark: by which nodes know the store; None on this machine alone.
    """

    device: str
    concurrency: int
    cpus_per_trial: float
    gpus_per_trial: float
    store_mark: StoreMark | None = None


def start_ray(options: Options, folder: Path | None) -> Machine:
    """Start Ray on this machine, or join the cluster at ``options.address``.

    Args:
        options: the sweep's.
        folder: of this user alone, for the files and sockets of a Ray on this machine
            (:func:`search.clusters.temporary.own_folder`); None to join a cluster.

    Raises:
        Problem: it does not start, cannot be joined, has no processor, or does not see the store.
    """
    processors = os.cpu_count() or 1
    connect = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if folder is not None:
        wanted = options.concurrency or processors
        # Ray counts the GPUs it sees, torch the ones it can use.
        gpus_here = torch.cuda.device_count() if torch.cuda.is_available() else 0
        try:
            with _without_api_server():
                connect(
                    "local",
                    num_cpus=max(processors, wanted),
                    num_gpus=gpus_here,
                    include_dashboard=False,
                    _temp_dir=str(folder / RAY),
                )
        except Exception as error:  # it has no class of its own for processes that do not come up
            text = str(error).strip().splitlines()[0]
            raise Problem(
                f"Ray did not start on this machine ({text}). If the machine is only busy, try again later."
            ) from error
    else:
        assert options.address is not None
        with workers_environment(options.own_model) as runtime_env:
            try:
                connect(check_reachable(options.address), runtime_env=runtime_env)
            except ConnectionError as error:
                raise Problem(f"The cluster at {options.address} cannot be joined: {error}.") from error
    resources = ray.cluster_resources()
    gpus, cpus = resources.get("GPU", 0.0), resources.get("CPU", 0.0)
    if cpus < 1:
        raise Problem(
            f"The cluster at {options.address} has no processor to train on yet: let it keep a worker "
            "(min_workers in its file), since trials are sized by what is there at the start."
        )
    concurrency = options.concurrency or int(2 * gpus if gpus else cpus)
    mark = None if options.address is None else share_store(options.store, options.name)
    return Machine(
        device="cuda" if gpus else "cpu",
        concurrency=concurrency,
        cpus_per_trial=1.0,
        gpus_per_trial=1.0 / math.ceil(concurrency / gpus) if gpus else 0.0,
        store_mark=mark,
    )


@contextmanager
def _without_api_server() -> Iterator[None]:
    """Let Ray start without the process that, when there is no dashboard, does nothing but report usage.

    With reports switched off, it still asks the metadata addresses of three clouds where it runs.
    """
    start = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)  # what it returns when it does not start
    try:
        yield
    finally:
        services.start_api_server = start


def smallest_object_store() -> float:
    """Bytes; trials run on every node, and each keeps a copy of what they share."""
    return min(node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"])
