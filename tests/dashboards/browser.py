"""The pages in a real browser: Playwright with the system's Chromium, or a reason why not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dashboards.app import bind
from dashboards.live import Live
from dashboards.picture import find_browser
from search.store.store import Store

ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 60_000
"""How long is waited for what must come; the machine may be busy."""
SETTLED = """() => {
    const state = window.store?.getState();
    const idle = Boolean(state?.layout) && !state.isLoading;
    window.idleSince = idle ? window.idleSince ?? performance.now() : undefined;
    return idle && performance.now() - window.idleSince > 100;
}"""
"""Whether no answer of the server has been awaited for a tenth of a second, so nothing moves any more."""


def launched() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: make browser"
    )
    path = find_browser()
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def served(store: Store) -> Iterator[str]:
    """The pages over ``store``; gives their address."""
    live = Live(store)
    live.start()
    server = bind(live, port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()
        server.close()
        thread.join(30)
        live.stop()


def opened(browser: Any, address: str, **settings: Any) -> tuple[Any, list[str]]:
    """A page of its own, and what went wrong on it so far."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True, **settings)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    # Nothing may be asked of another host.
    page.on("request", lambda request: _check(request.url, wrong))
    page.goto(address)
    return page, wrong


def settled(page: Any) -> None:
    """Wait until the page has all its answers.

    What is clicked earlier may move while its menu opens, since each part of a view comes by its own answer.
    """
    page.evaluate("window.idleSince = undefined")
    page.wait_for_function(SETTLED)


def pick(page: Any, menu: str, option: str) -> None:
    """Choose an option of one of the menus, once the menu stands still."""
    settled(page)
    page.locator(menu).click()
    page.get_by_role("option", name=option).click()


def _check(url: str, wrong: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:", "blob:", "file:")):
        wrong.append(f"asked for {url}")
