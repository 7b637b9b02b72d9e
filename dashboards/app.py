"""The live pages: one Dash application over one store."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

from dash import Dash
from dash.exceptions import DependencyException
from flask import Response, abort, request

from dashboards import shell
from dashboards.access import guard
from dashboards.callbacks import check_callbacks
from dashboards.live import Live
from dashboards.pages import PAGES, page_at
from dashboards.server import BODY_BYTES, Server
from search.store.store import Store, StoreError

# Dash configures its page by inline scripts, and Plotly makes the code that draws by WebGL as it goes (eval);
# nothing comes from, or goes to, another host.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; form-action 'self'; base-uri 'self'; "
    "frame-ancestors 'none'"
)
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class PortInUse(Exception):
    """Another program listens on the port; the message says what to do."""


def create_app(live: Live, host: str = "127.0.0.1", token: str | None = None) -> Dash:
    """The pages over ``live``, whose reading somebody else starts and stops.

    Args:
        live: what is shown.
        host: the address the pages will be served at.
        token: asked for where ``host`` lets other machines in; see :func:`dashboards.access.guard`.
    """
    app = Dash(
        __name__,
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        suppress_callback_exceptions=True,  # a page's parts exist while it is shown
        title="Rayduce",
        update_title="",
        index_string=shell.INDEX,
    )
    # The version check is the one thing by which Dash would ask a host outside.
    app.enable_dev_tools(
        debug=False, dev_tools_ui=False, dev_tools_disable_version_check=True, dev_tools_hot_reload=False
    )
    app.server.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    guard(app.server, host, token)
    app.layout = lambda: shell.layout(live)
    shell.register(app, live)
    for page in PAGES:
        page.register(app, live)
    check_callbacks(app)
    _offer_students(app, live)
    _finish_answers(app)
    return app


def _offer_students(app: Dash, live: Live) -> None:
    @app.server.get("/student/<run_id>.rdz")
    def student(run_id: str) -> Response:
        """The packed file of a trial, by its run id: the only file that leaves the store."""
        if not _RUN_ID.fullmatch(run_id):
            abort(404)
        try:
            found = live.find(run_id)
            content = None if found is None else live.store.download(run_id, "student.rdz")
        except StoreError:
            content = None
        if content is None:
            abort(404)
        headers = {"Content-Disposition": f'attachment; filename="student-{run_id[:8]}.rdz"'}
        return Response(content, mimetype="application/octet-stream", headers=headers)


def _finish_answers(app: Dash) -> None:
    """Status and headers of what Dash answers."""

    @app.server.errorhandler(DependencyException)
    def no_such_script(_: DependencyException) -> tuple[str, int]:
        return "There is no such script.", 404  # Dash would answer 500, with a list of those there are

    @app.server.after_request
    def finish(response: Response) -> Response:
        # Dash answers every address with the page, which says itself that there is no such view.
        if (
            request.endpoint == "/<path:path>"
            and response.status_code == 200
            and page_at(request.path) is None
        ):
            response.status_code = 404
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 8050,
    token: str | None = None,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Serve the pages until the process is interrupted.

    Args:
        store: what is shown.
        host: the address to listen on.
        port: 1 to 65535.
        token: what visitors must know; may be left out on a loopback address only.
        listening: called once visitors can come.

    Raises:
        PortInUse: another program listens there, or the address is not this machine's; nothing was started.
        ValueError: ``host`` would let other machines in without a token.
    """
    live = Live(store)
    server = bind(live, host, port, token)
    try:
        live.start()
        listening()
        server.run()
    finally:
        server.close()
        live.stop(patience=1)


def bind(live: Live, host: str = "127.0.0.1", port: int = 8050, token: str | None = None) -> Server:
    """The server of :func:`serve`, listening; port 0 takes a free one. Raises as :func:`serve` does."""
    app = create_app(live, host, token)
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except (OSError, UnicodeError) as error:  # the latter of what cannot be a host's name
        listener.close()
        raise PortInUse(
            f"Cannot listen on {host}:{port}: {_why(error)}; choose another with --port or --host."
        ) from error
    return Server(app.server, listener)


def _why(error: OSError | UnicodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "that is no name of a host"
