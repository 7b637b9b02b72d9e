"""``rayduce dashboard`` and the files of ``rayduce front``: where the command line meets the pages."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rayduce.commands.outputs import check_outputs, write_outputs
from search.problem import Problem
from search.store.store import Store, open_store
from search.store.sweep import Sweep

LOOPBACK_HOSTS = "127.0.0.1,127.0.0.1:*,localhost,localhost:*,[::1],[[]::1]:*"
"""Names by which MLflow's server may be asked for; its own list has ``10.*``, and so ``10.evil.example``."""


def serve_pages(
    store: Path, tracking_uri: str | None, host: str, port: int, token: str | None, say: Callable[[str], None]
) -> None:
    """Serve the live pages until the process is interrupted.

    Args:
        store: folder of the store.
        tracking_uri: as for :func:`search.store.store.open_store`.
        host: the address to listen on.
        port: 1 to 65535.
        token: what visitors must know; None makes one where other machines are let in.
        say: tells the user where the pages are.

    Raises:
        Problem: the address cannot be used, or the token is too short.
    """
    from dashboards.access import SHORTEST_TOKEN, is_loopback, new_token
    from dashboards.app import PortInUse, serve

    if token is not None and len(token) < SHORTEST_TOKEN:
        raise Problem(f"--token must have at least {SHORTEST_TOKEN} characters, got {len(token)}.")
    opened = open_store(store, tracking_uri, say)
    # "0.0.0.0" is every address of this machine, and none that could be typed elsewhere.
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    said: list[str] = []
    if not is_loopback(host):
        made = token is None
        token = token or new_token()
        said.append(
            f"Who reaches {shown}:{port} sees every trial and may download every student, "
            "and what is sent is not encrypted; so the pages ask for a token."
        )
        if made:
            said.append(f"The token: {token}")
    said.append(f"The pages are at http://{shown}:{port} (Ctrl-C ends them).")
    # Otherwise a copy of a database that cannot be read in place would outlive this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        serve(opened, host, port, token, lambda: say("\n".join(said)))
    except PortInUse as error:
        raise Problem(str(error)) from error


def write_front(opened: Store, sweep: Sweep, html: Path | None, pictures: Mapping[str, Path]) -> list[Path]:
    """Write the front of a sweep as an offline page and as pictures; files that exist are replaced.

    Args:
        opened: the store.
        sweep: of it.
        html: the page; None for none.
        pictures: kind (``png``, ``svg``, ``pdf``) -> file.

    Returns:
        What was written.

    Raises:
        Problem: a file cannot be written or has another suffix, or nothing here can draw a picture; then none
            is written.
    """
    from dashboards.picture import NoPicture, front_picture
    from dashboards.report import front_html
    from dashboards.where import where

    named = [path for path in (html, *pictures.values()) if path is not None]
    if len(named) > len(set(named)):
        double = next(path for path in named if named.count(path) > 1)
        raise Problem(f"{double} is named twice; name two files.")
    check_outputs(named, force=True)  # before anything is drawn
    for kind, path in pictures.items():
        if path.suffix.lower() != f".{kind}":
            raise Problem(f"--{kind} writes a {kind.upper()}, and {path} has another suffix: use .{kind}.")
    trials, contents = opened.trials(sweep.name), {}
    try:
        if html is not None:
            contents[html] = front_html(trials, sweep, where(opened)).encode()
        for kind, path in pictures.items():
            contents[path] = front_picture(trials, sweep, kind)
    except NoPicture as error:
        raise Problem(str(error)) from error
    write_outputs(contents, force=True)
    return named
