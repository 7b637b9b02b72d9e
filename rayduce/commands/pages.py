"""``rayduce dashboard`` and ``rayduce mlflow``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    Port,
    StoreDir,
    TrackingUri,
)
from rayduce.commands.console import (
    out,
    problems,
    tell,
    whole_line,
)
from rayduce.commands.help import Command
from search.problem import Problem

commands = typer.Typer()


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce dashboard --port 8050\n\n  rayduce dashboard --host 0.0.0.0",
)
def dashboard(
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    port: Port = 8050,
    host: Annotated[
        str,
        typer.Option(
            metavar="HOST", help="Address to listen on; another than this machine's own asks for a token."
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="What visitors must know; default a new one, printed.")
    ] = None,
) -> None:
    """Serve the pages of fronts, trials and sweeps."""
    from rayduce.commands.serve import serve_pages

    with problems():
        serve_pages(
            store,
            tracking_uri,
            host,
            port,
            token,
            lambda text: out.print(
                "\n".join(map(whole_line, text.split("\n"))), highlight=False, soft_wrap=True
            ),
        )


@commands.command(cls=Command, epilog="Example:\n\n  rayduce mlflow --port 5000")
def mlflow(store: StoreDir = DEFAULT_STORE, tracking_uri: TrackingUri = None, port: Port = 5000) -> None:
    """Serve MLflow's pages over this store on 127.0.0.1."""
    from search.store.mlflow_client import masked
    from search.store.store import default_tracking_uri, open_store

    with problems():
        _check_port(port)
        uri = default_tracking_uri(store, tracking_uri)
        opened = open_store(
            store, uri, tell
        )  # refuses a store that is not there, where MLflow would make one
        if uri.startswith(("http://", "https://")):
            raise Problem(f"The store is an MLflow server already; open {masked(uri)} in a browser.")
        sweeps = opened.all_sweeps()
        # MLflow's own front page, and its page of an experiment, are about chat models.
        runs = f"experiments/{opened.experiment_of(sweeps[0])}/runs" if sweeps else "experiments"
        runs += f"?{front_query(sweeps[0].name, sweeps[0].size)}" if sweeps else "?"
        with opened.served() as served:
            _serve_mlflow(served, store, port, runs, copied=served != opened.tracking_uri)


def _serve_mlflow(uri: str, store: Path, port: int, runs: str, *, copied: bool) -> None:
    """Run MLflow's server until it ends; ``runs`` is its page to begin with.

    A copy of the database is removed when this process ends, which therefore must not become the server.
    """
    from rayduce.commands.serve import LOOPBACK_HOSTS

    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # ten processes of 240 MB that nothing here uses
        "PYTHONWARNINGS": "ignore",  # its dependencies' business
        "MLFLOW_BACKEND_STORE_URI": uri,  # not on the command line, where everybody sees its password
    }
    address = f"http://127.0.0.1:{port}/#/{runs}&workflowType=machine_learning"
    out.print(
        f"MLflow is starting at {whole_line(address)} (Ctrl-C ends it).", highlight=False, soft_wrap=True
    )
    arguments = [
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--allowed-hosts",
        LOOPBACK_HOSTS,
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level warning",
    ]
    arguments += ["--default-artifact-root", (store / "artifacts").absolute().as_uri()]
    command = [sys.executable, "-m", "mlflow", *arguments]
    if not copied:
        os.execve(sys.executable, command, environment)
    child = subprocess.Popen(command, env=environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
    raise typer.Exit(child.wait())


def front_query(sweep: str, size: str) -> str:
    """What MLflow's page of runs shows at first: the front of a sweep, smallest first."""
    wanted = {
        "searchFilter": f"tags.sweep = '{sweep}' and tags.front = 'true'",
        "orderByKey": f"metrics.`{size}`",
        "orderByAsc": "true",
    }
    return urlencode(wanted, quote_via=quote)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Problem(f"Port {port} is taken; give another with --port.") from None
