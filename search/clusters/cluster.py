"""A Ray cluster that a sweep joins: whether it lets us in, what its nodes get and what they must see."""

from __future__ import annotations

import importlib.util
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.services import canonicalize_bootstrap_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.clusters import ray_probe
from search.clusters.environment import QUIET, own_token
from search.problem import Problem
from trainables.store_mark import StoreMark, StoreNotShared, leave_mark

PACKAGES = ("rayduce_reader", "search", "spaces", "studies", "trainables")
"""What a worker imports."""

ANSWER_S = 120.0
"""For so long a node may take to start a worker with the sweep's code."""


LAST_PORT = 65_535


def check_reachable(address: str) -> str:
    """The cluster's address as HOST:PORT, if it lets us in; asked before Ray, which is silent for 20 seconds.

    Raises:
        Problem: not an address, nobody answers, or our token is not the cluster's.
    """
    where = _resolved(address)
    host, _, port = where.rpartition(":")
    try:
        answer = ray_probe.ask(host.strip("[]"), int(port), own_token(address))
    except OSError as error:
        raise Problem(
            f"No Ray cluster answers at {where} ({error}); check the head node's address."
        ) from error
    if answer == "refused":
        token = "another token than ours" if own_token(address) else "a token (RAY_AUTH_MODE=token)"
        raise Problem(
            f"The cluster at {where} refused us: it asks for {token}. Copy ~/.ray/auth_token of the head "
            "node to the same place here, or set RAY_AUTH_TOKEN to what it holds."
        )
    if answer == "unknown":
        raise Problem(
            f"What answers at {where} is no Ray cluster; the head node's port is 6379 unless changed."
        )
    return where


def _resolved(address: str) -> str:
    if address == "auto":
        try:
            return str(canonicalize_bootstrap_address(address))
        except ConnectionError as error:
            raise Problem(
                "This machine is a node of no Ray cluster; start one with `ray start`, or write HOST:PORT of "
                "a head node in place of auto."
            ) from error
    host, _, port = address.rpartition(":")
    # The system takes a port that is too large modulo 65,536: it would ask somebody else.
    if not host or not port.isdigit() or not 0 < int(port) <= LAST_PORT or "/" in host:
        raise Problem(
            f"{address!r} is no cluster address; write HOST:PORT of the head node, a port up to {LAST_PORT}, "
            "or auto."
        )
    return address


@contextmanager
def workers_environment(own_model: str | None) -> Iterator[dict[str, Any]]:
    """Ray's ``runtime_env`` for a cluster: our code as it is here, and the settings of the processes.

    The folder that holds the code lasts as long as the context; Ray copies it when it connects.

    Args:
        own_model: ``module:Class`` of the user's student, whose module (or the package it is in) goes too
            unless it is installed.
    """
    with tempfile.TemporaryDirectory(prefix="rayduce-code-") as folder:
        for package in PACKAGES:
            _copy(_place(package), Path(folder))
        if own_model is not None and not own_model.endswith(".py"):  # files go with settings
            place = _place(own_model.partition(":")[0].partition(".")[0])
            if not _installed(place) and place.name not in PACKAGES:
                _copy(place, Path(folder))
        yield {"working_dir": folder, "env_vars": dict(QUIET)}


def _place(module: str) -> Path:
    """The folder of a package, with ``__init__.py`` or without, or the file of a module.

    Raises:
        Problem: it has neither, as what is built into Python.
    """
    spec = importlib.util.find_spec(module)
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin]
    if not places or places[0] is None or not Path(places[0]).exists():
        raise Problem(f"The module {module} cannot be sent to the cluster: it is not a file here.")
    return Path(places[0])


def _copy(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, folder)


def _installed(place: Path) -> bool:
    """Whether ``place`` is among the installed packages, which every node has of its own."""
    return any(place.is_relative_to(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))


def share_store(store: Path, name: str) -> StoreMark:
    """Make sure that every node sees the ``store`` of the sweep ``name``; trials check nodes that join later.

    Raises:
        Problem: a node does not; the message says which, and what to do.
        OSError: the store cannot be written here.
    """
    mark = leave_mark(store, name)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    asked = {
        _look.options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(mark): str(node["NodeManagerAddress"])
        for node in nodes
    }
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    troubles = [f"{asked[each]}: {trouble}" for each in done if (trouble := ray.get(each))]
    troubles += [f"{asked[each]} started no worker within {ANSWER_S:.0f} s" for each in late]
    if troubles:
        mark.path.unlink(missing_ok=True)
        raise Problem(_not_shared(store, troubles))
    return mark


@ray.remote(max_retries=0)
def _look(mark: StoreMark) -> str:
    """What is wrong with the store on this node; empty if nothing is."""
    try:
        mark.check()
    except StoreNotShared as error:
        return str(error)
    return ""


def _not_shared(store: Path, troubles: Sequence[str]) -> str:
    return (
        f"The store {store} is not shared by all nodes of the cluster ({'; '.join(troubles)}). Trials leave "
        "their files there: give --store a folder that is mounted at the same path on every node."
    )
