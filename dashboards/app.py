"""The live page, for this machine only."""

from __future__ import annotations

import ipaddress
import logging
import socket
from pathlib import Path

from dash import Dash
from flask import Response, abort, request
from werkzeug.serving import BaseWSGIServer, make_server

from dashboards.pages import front
from search.store import Store

# Dash configures its page by inline scripts; nothing comes from, or goes to, another host.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'"
)


class PortInUse(Exception):
    """Another program listens on the port; the message says what to do."""


def create_app(store: Store) -> Dash:
    """The page over ``store``; every refresh reads afresh."""
    app = Dash(
        __name__,
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        title="Rayduce",
        update_title="",
    )
    # The version check is the one thing by which Dash would ask a host outside.
    app.enable_dev_tools(
        debug=False, dev_tools_ui=False, dev_tools_disable_version_check=True, dev_tools_hot_reload=False
    )
    app.layout = front.layout
    front.register(app, store)

    @app.server.before_request
    def refuse_other_names() -> None:
        # A page elsewhere may point its own host name at this machine; the browser still sends that name.
        if not is_loopback(request.host.rpartition(":")[0] or request.host):
            abort(403)

    @app.server.after_request
    def stay_here(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def serve(store: Store, host: str = "127.0.0.1", port: int = 8050) -> None:
    """Serve the page until the process is interrupted.

    Args:
        store: what is shown.
        host: a loopback address; the page has no login.
        port: 1 to 65535.

    Raises:
        PortInUse: another program listens there; nothing was started.
        ValueError: ``host`` would let other machines in.
    """
    server = bind(store, host, port)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def bind(store: Store, host: str = "127.0.0.1", port: int = 8050) -> BaseWSGIServer:
    """The server of :func:`serve`, listening; port 0 takes a free one. Raises as :func:`serve` does."""
    if not is_loopback(host):
        raise ValueError(f"the page has no login, so host must be a loopback address, got {host!r}")
    address = "127.0.0.1" if host == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"Cannot listen on {host}:{port}: {error.strerror}; choose another with --port."
        ) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per refresh is noise
    with listener:  # the server takes its own copy
        return make_server(
            address, listener.getsockname()[1], create_app(store).server, threaded=True, fd=listener.fileno()
        )


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
