"""A real driver of a small sweep, to be killed: ``python -m tests.search.driver STORE NAME [--resume]``.

``--hold`` lets it stand still with the end in its log and nothing of it in MLflow, until it is killed.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.clusters.environment import prepare_environment

prepare_environment(None)

from dashboards.report import front_html  # noqa: E402
from rayduce.commands.console import err  # noqa: E402
from search.options import Options  # noqa: E402
from search.problem import Problem  # noqa: E402
from search.store.mlflow_client import StoreError  # noqa: E402
from search.store.store import open_store, own_database  # noqa: E402
from search.sweeps.resume import deliver, find_sweep  # noqa: E402
from search.sweeps.sweep import run_sweep  # noqa: E402
from search.tracking.delivery import SWEEP, Delivery  # noqa: E402
from search.tracking.record import Record  # noqa: E402
from spaces.architectures import fresh  # noqa: E402
from studies.images import IMAGES, sized  # noqa: E402
from studies.known import find_study  # noqa: E402
from trainables.models import ConvNet  # noqa: E402
from trainables.origins import Fresh  # noqa: E402

NET = ConvNet(stages=((8,), (16,)), hidden=(16,), kernel_size=3)
STUDY = replace(
    find_study("digits"),
    teacher=Fresh(NET),
    students=fresh(NET.scaled(depth=1, width=0.5)),
    teacher_epochs=1,
    epochs=4,
    teacher_views=2,
    space=sized(IMAGES, (1, 1), (0.5, 1.0)),
)


class Told:
    """Prints what happens, a line each, so that a test can wait for it."""

    def say(self, text: str) -> None:
        print(f"say {text}", flush=True)

    def remark(self, text: str) -> None:
        print(f"remark {text}", flush=True)

    def changed(self, records: Mapping[str, Record]) -> None:
        newest = [f"{r.trial_id}:{r.state}:{r.metrics.get('epoch', 0):.0f}" for r in records.values()]
        print(f"trials {' '.join(newest)}", flush=True)


_end = Delivery._end


def _hold(self: Delivery, key: str, update: Any) -> None:
    if key != SWEEP or update.status != "FINISHED":
        return _end(self, key, update)
    print("held", flush=True)
    threading.Event().wait()
    raise AssertionError("nobody wakes it")


def main() -> int:
    """Run or resume the sweep; the exit code is the command line's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("name")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--tracking-uri")
    parser.add_argument("--hold", action="store_true")
    given = parser.parse_args()
    store = given.store.absolute()
    uri = given.tracking_uri or own_database(store)
    # Neither draws by, nor ends trials by, what happens to have finished: the front is that of any other run.
    options = Options(
        given.name,
        given.trials,
        7,
        store,
        uri,
        concurrency=given.concurrency,
        sampler="random",
        scheduler="none",
    )

    if given.hold:
        Delivery._end = _hold  # type: ignore[method-assign]

    def report(name: str) -> str:
        opened = open_store(store, uri)
        return front_html(opened.trials(name), opened.sweep(name))

    try:
        if given.resume and (found := find_sweep(store, given.name)).finished:
            print(f"undelivered {deliver(found, uri, report, 60)}", flush=True)
            return 0
        study = replace(STUDY, epochs=given.epochs)
        outcome = run_sweep(study, options, Told(), report, resume=given.resume)
    except (Problem, StoreError) as error:
        err.print(f"Error: {error}", soft_wrap=True, markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"undelivered {outcome.undelivered}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
