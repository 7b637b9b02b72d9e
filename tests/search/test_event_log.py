"""The log of a sweep: whole lines, whatever cuts it off."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.log.event_log import START, EventLog, Place, cut_partial_line, holds, read_log
from search.log.folder import SweepFolder
from search.problem import Problem
from search.store.mlflow_client import StoreError

TEXTS = st.lists(st.text(max_size=30), max_size=6)


def event(number, text=""):
    """The event of that number in a log: first how the sweep was asked for, then notes."""
    if number:
        content = {"step": 0, "metrics": {}, "tags": {"reason": text}, "files": {}}
        return {"kind": "note", "run": "", "time": number, **content}
    tags = {
        "rayduce.kind": "sweep",
        "sweep": "s",
        "study": "digits",
        "rayduce.metric": "accuracy",
        "text": text,
    }
    return {
        "kind": "open", "run": "", "time": 0, "name": "s", "study": "digits", "params": {}, "tags": tags,
        "settings": {},
    }  # fmt: skip


def written(path, texts=("",) * 3):
    """A log of one event for each text, closed again; and its events."""
    events = [event(number, text) for number, text in enumerate(texts)]
    log = EventLog(path, "s")
    for each in events:
        log.append(each)
    log.close()
    return events


@given(TEXTS, st.integers(0, 900), st.text(max_size=5), st.booleans())
def test_a_log_that_was_cut_off_anywhere_holds_its_whole_lines(tmp_path_factory, texts, cut, later, zeros):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    events = written(path, texts)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:cut])
    whole = path.read_bytes().count(b"\n")
    if zeros:  # what a power cut leaves where the disk had not come yet
        os.truncate(path, max(size, cut))
    again = EventLog(path, "s")
    assert again.read()[0] == events[:whole] == read_log(path, "s").events
    again.append(event(whole, later))
    assert again.read()[0] == [*events[:whole], event(whole, later)]
    assert again.end.bytes == path.stat().st_size
    again.close()


@given(TEXTS, st.integers(1, 3))
def test_a_log_is_read_in_portions(tmp_path_factory, texts, most):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    events = written(path, texts)
    log = EventLog(path, "s")
    found, place = [], START
    while place.bytes < log.end.bytes:
        portion, place = log.read(place, most)
        assert 1 <= len(portion) <= most and holds(path, place)
        found += portion
    assert found == events and place == log.end
    log.close()


def test_a_place_is_of_one_log_alone(tmp_path):
    written(tmp_path / "a", ["1", "2", "3"])
    written(tmp_path / "b", ["1", "x", "3"])
    first, end = read_log(tmp_path / "a", "s"), read_log(tmp_path / "b", "s").end
    assert holds(tmp_path / "a", first.end) and end.bytes == first.end.bytes
    assert not holds(tmp_path / "b", first.end), "one of its lines is another"
    assert not holds(tmp_path / "a", Place(first.end.bytes - 1, first.end.check))
    assert not holds(tmp_path / "a", Place(first.end.bytes + 1000, first.end.check))
    assert not holds(tmp_path / "none", first.end) and holds(tmp_path / "a", START)


def test_an_event_that_finds_no_room_leaves_no_trace(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", "s")
    log.append(event(0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.end.bytes + 10, before[1]))  # ten bytes more, no further
    try:
        with pytest.raises(OSError, match=r"events\.jsonl"):
            log.append(event(1, "x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert log.read()[0] == [event(0)] and log.path.stat().st_size == log.end.bytes
    log.append(event(2))
    assert log.read()[0] == [event(0), event(2)]
    log.close()


def edited(path, edit):
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))


EDITS = {
    "a digit": lambda lines: lines.__setitem__(1, lines[1].replace(b'"step":0', b'"step":7')),
    "half a line": lambda lines: lines.__setitem__(1, lines[1][:20] + b"\n"),
    "a line lost": lambda lines: lines.pop(1),
    "a line twice": lambda lines: lines.insert(1, lines[1]),
    "two lines swapped": lambda lines: lines.insert(1, lines.pop(2)),
    "no event": lambda lines: lines.__setitem__(1, b"[1]\n"),
    "depth": lambda lines: lines.__setitem__(1, b"[" * 100_000 + b"\n"),
}


@pytest.mark.parametrize("name", EDITS)
def test_damage_in_the_middle_is_told_with_its_place(tmp_path, name):
    path = tmp_path / "events.jsonl"
    written(path)
    first = path.read_bytes().index(b"\n") + 1
    edited(path, EDITS[name])
    told = r"^The log \S+events\.jsonl is damaged at byte \d+: .*; put back a copy of the file, or start"
    with pytest.raises(StoreError, match=told) as caught:
        read_log(path, "s")
    place = int(str(caught.value).split("at byte ")[1].split(":")[0])
    assert place in (first, first + len(path.read_bytes().splitlines()[1]) + 1)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=told):
        EventLog(path, "s")
    assert path.read_bytes() == before, "what is damaged is left as it is"


def test_zeros_before_an_end_are_no_torn_tail(tmp_path):
    """An end had waited for the disk, and so for all before it: the disk lost what it had."""
    path = tmp_path / "events.jsonl"
    written(path)
    end = {**event(3), "kind": "end", "state": "stopped"}
    log = EventLog(path, "s")
    log.append(end, durable=True)
    log.close()
    edited(path, lambda lines: lines.__setitem__(1, b"\0" * (len(lines[1]) - 1) + b"\n"))
    with pytest.raises(StoreError, match="damaged at byte"):
        read_log(path, "s")


def test_a_log_is_no_link_and_no_pipe(tmp_path):
    written(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(StoreError, match="cannot be read"):
            read_log(tmp_path / name, "s")


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
from search.log.folder import SweepFolder
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
        folder.log.write_text("an event\n")
    assert folder.path.exists()
    with SweepFolder(tmp_path, "t").claimed():
        pass
    assert not SweepFolder(tmp_path, "t").path.exists(), "what never began leaves nothing"
