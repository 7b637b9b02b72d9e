"""The log of a sweep: whole lines, whatever cuts it off."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.event_log import EventLog, cut_partial_line, read_events
from search.mlflow_client import StoreError
from search.problem import Problem
from search.sweep_folder import SweepFolder

EVENTS = st.lists(
    st.fixed_dictionaries({"kind": st.sampled_from("abc"), "text": st.text(max_size=30)}), max_size=6
)


@given(EVENTS, st.integers(0, 400), st.dictionaries(st.just("kind"), st.text(max_size=5), min_size=1))
def test_a_log_that_was_cut_off_anywhere_holds_its_whole_lines(tmp_path_factory, events, cut, later):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = EventLog(path)
    for event in events:
        log.append(event)
    log.close()
    path.write_bytes(path.read_bytes()[:cut])
    whole = path.read_bytes().count(b"\n")
    again = EventLog(path)
    assert again.read()[0] == events[:whole]
    again.append(later)
    assert again.read()[0] == [*events[:whole], later]
    assert again.size == path.stat().st_size
    again.close()


@given(EVENTS, st.integers(1, 3))
def test_a_log_is_read_in_portions(tmp_path_factory, events, most):
    log = EventLog(tmp_path_factory.mktemp("log") / "events.jsonl")
    for event in events:
        log.append(event)
    found, start = [], 0
    while start < log.size:
        portion, start = log.read(start, most)
        assert 1 <= len(portion) <= most
        found += portion
    assert found == events
    log.close()


def test_an_event_that_finds_no_room_leaves_no_trace(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append({"kind": "first"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.size + 10, before[1]))  # ten bytes more, and no further
    try:
        with pytest.raises(OSError, match=r"events\.jsonl"):
            log.append({"kind": "second", "text": "x" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.read()[0] == [{"kind": "first"}] and log.path.stat().st_size == log.size
    log.append({"kind": "third"})
    assert [event["kind"] for event in log.read()[0]] == ["first", "third"]
    log.close()


def test_damage_in_the_middle_is_told_with_its_place(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind":"a"}\n{"kind":\n{"kind":"b"}\n')
    with pytest.raises(StoreError, match="damaged at byte 13"):
        read_events(path)
    path.write_text("[1]\n")
    with pytest.raises(StoreError, match="damaged at byte 0"):
        read_events(path)


@pytest.mark.parametrize("content", [b"", b"a", b"a\n", b"a\nb", b"\n" + b"x" * 200_000, b"x" * 200_000])
def test_what_follows_the_last_newline_is_cut_off(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = content[: content.rfind(b"\n") + 1]
    assert cut_partial_line(path) == len(content) - len(expected)
    assert path.read_bytes() == expected


HOLDER = """
import sys
from pathlib import Path
from search.sweep_folder import SweepFolder
with SweepFolder(Path(sys.argv[1]), "s").claimed():
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_sweep_has_one_driver_and_a_dead_one_blocks_nobody(tmp_path):
    folder = SweepFolder(tmp_path, "s")
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
    with pytest.raises(Problem, match=f"running already, by process {holder.pid} on "), folder.claimed():
        pass
    holder.kill()
    holder.communicate()
    with folder.claimed():
        folder.log.write_text(json.dumps({"kind": "open"}) + "\n")
    assert folder.path.exists()
    with SweepFolder(tmp_path, "t").claimed():
        pass
    assert not SweepFolder(tmp_path, "t").path.exists(), "what never began leaves nothing"
