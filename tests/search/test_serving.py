"""What is served, and the files of ``rayduce front``."""

from pathlib import Path

import pytest
from mlflow.server.security_utils import get_default_allowed_hosts, is_allowed_host_header

from dashboards.picture import KINDS, NoPicture
from rayduce.commands.serve import LOOPBACK_HOSTS, write_front
from search.problem import Problem
from search.store.store import Store, open_store
from tests.stores import add_trial, copy_blank, final, tracker


@pytest.fixture
def store(blank: Path, tmp_path: Path) -> Store:
    """A sweep of one student."""
    made = tracker(copy_blank(blank, tmp_path / "store"))
    made.open({}, {"rayduce.metric": "accuracy"})
    add_trial(made, "t1", final(0.9, 1_000), name="evil\u202ename")
    made.finish_sweep("finished", {}, {}, {})
    made.close()
    return open_store(tmp_path / "store")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5000", "localhost:5000", "localhost", "[::1]:5000", "127.0.0.1:6"]
)
def test_mlflows_server_may_be_asked_for_by_this_machines_names(host: str) -> None:
    assert is_allowed_host_header(LOOPBACK_HOSTS.split(","), host)


@pytest.mark.parametrize(
    "host", ["10.evil.example", "192.168.evil.example:5000", "evil.example", "0.0.0.0:5000"]
)
def test_mlflows_server_may_not_be_asked_for_by_other_names(host: str) -> None:
    assert not is_allowed_host_header(LOOPBACK_HOSTS.split(","), host)


def test_the_list_is_needed_for_as_long_as_mlflows_own_is_wider() -> None:
    assert is_allowed_host_header(get_default_allowed_hosts(), "10.evil.example")


def test_the_page_of_a_front_goes_through_a_link(store: Store, tmp_path: Path) -> None:
    link = tmp_path / "latest.html"
    link.symlink_to("front.html")
    for _ in range(2):
        assert write_front(store, store.sweep(), link, {}) == [link]
        text = (tmp_path / "front.html").read_text(encoding="utf-8")
        assert link.is_symlink() and "Rayduce" in text and "\u202e" not in text.partition("<body>")[2]


def test_neither_file_of_a_front_is_written_if_one_cannot_be(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, sweep = tmp_path / "front.html", store.sweep()
    for png, why in ((Path("/dev/null"), "is a device"), (tmp_path / "no" / "x.png", "does not exist")):
        with pytest.raises(Problem, match=why):
            write_front(store, sweep, page, {"png": png})
    with pytest.raises(Problem, match="named twice"):
        write_front(store, sweep, page, {"png": page})
    for kind in KINDS:
        with pytest.raises(Problem, match=f"has another suffix: use .{kind}"):
            write_front(store, sweep, page, {kind: tmp_path / "front.jpeg"})

    def no_browser(*_: object) -> bytes:
        raise NoPicture("There is no browser.")

    monkeypatch.setattr("dashboards.picture.front_picture", no_browser)
    with pytest.raises(Problem, match="no browser"):
        write_front(store, sweep, page, {"pdf": tmp_path / "front.pdf"})
    assert not page.exists()
