"""Who may see the pages: everybody on this machine, and elsewhere who has the token."""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, abort, make_response, redirect, request

COOKIE = "rayduce"
SHORTEST_TOKEN = 16


def new_token() -> str:
    """A token that nobody guesses: 256 random bits."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def guard(server: Flask, host: str, token: str | None) -> None:
    """Refuse who may not look.

    Without a token only requests that name this machine are answered: a page elsewhere may point its own host
    name at it, and the browser still sends that name. With a token a browser shows it once, at
    ``/?token=...`` or in a form, and gets a cookie that no other site can make it send.

    Args:
        server: whose requests are checked.
        host: the address it listens on.
        token: None only for a loopback address.

    Raises:
        ValueError: ``host`` lets other machines in and there is no token, or the token is too short.
    """
    if token is None and not is_loopback(host):
        raise ValueError(f"without a token host must be a loopback address, got {host!r}")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ValueError(f"a token must have at least {SHORTEST_TOKEN} characters, got {len(token)}")
    names = _own_names(host)
    pass_key = secrets.token_urlsafe(32)

    @server.before_request
    def check() -> Response | None:
        if not _named(request.host, names):
            abort(403)
        if token is None or _equal(request.cookies.get(COOKIE, ""), pass_key):
            return None
        shown = request.args.get("token") or (request.form.get("token") if request.method == "POST" else None)
        if shown and _equal(shown, token):
            answer = make_response(redirect("/", 303))
            answer.set_cookie(COOKIE, pass_key, httponly=True, samesite="Strict", path="/")
            return answer
        return make_response(_form(bool(shown)), 401)


def _named(header: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine, by a name of its own or by an address."""
    try:
        host = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    address = _address(host)
    if address is not None:
        # An address cannot be pointed elsewhere, but only with a token does another than loopback come here.
        return address.is_loopback or "*" in names or host in names
    return host in names


def _own_names(host: str) -> frozenset[str]:
    if is_loopback(host):
        return frozenset({"localhost"})
    names = {"localhost", host.strip("[]").lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    address = _address(host)
    return frozenset({*names, "*"} if address is not None and address.is_unspecified else names)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _equal(first: str, second: str) -> bool:
    """In a time that tells nothing of where, or in what length, the two differ."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (first, second))
    return hmac.compare_digest(*digests)


def _form(wrong: bool) -> str:
    note = (
        "That is not the token."
        if wrong
        else "These pages are open to other machines, so they ask for a token."
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Rayduce</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 30em; margin: 15vh auto; padding: 0 1em }}
input, button {{ font: inherit; padding: .4em .7em }}</style></head>
<body><h1>Rayduce</h1>
<p>{html.escape(note)} It is in the terminal in which <code>rayduce dashboard</code> was started.</p>
<form method="post" action="/"><label>Token <input name="token" type="password" autofocus required></label>
<button>Open</button></form></body></html>"""
