"""A user's command: its numbers, its failures, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainables.metrics.asking import LONGEST_OUTPUT, NoAnswer, ask, hidden, read_command, read_numbers


def asked(script: str, tmp_path: Path, *, files: int = 1, seconds: float = 60.0) -> dict[str, float]:
    paths = [tmp_path / f"{number}.onnx" for number in range(files)]
    return ask(("sh", "-c", script, "measure", "{onnx}"), paths, tmp_path, seconds)


def failure(script: str, tmp_path: Path, seconds: float = 60.0) -> str:
    with pytest.raises(NoAnswer) as error:
        asked(script, tmp_path, seconds=seconds)
    return str(error.value)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    """Whether a process ends within a minute."""
    until = time.monotonic() + 60
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def test_numbers_are_what_it_prints(tmp_path: Path) -> None:
    assert asked("""echo '{"latency_ms": 3.25,'; echo ' "energy_mj": 11}'""", tmp_path) == {
        "latency_ms": 3.25,
        "energy_mj": 11.0,
    }


def test_words_are_split_and_no_shell_runs_them(tmp_path: Path) -> None:
    words = read_command('printf \'{"a": %s}\' "$HOME; {onnx}"')
    assert words == ("printf", '{"a": %s}', "$HOME; {onnx}")
    with pytest.raises(NoAnswer, match=r"its command printed no JSON .*\$HOME; /a\.onnx /b\.onnx"):
        ask(words, [Path("/a.onnx"), Path("/b.onnx")], tmp_path, 60)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssh pi 'measure {onnx}", "cannot be split into words"),
        ("  ", "it is empty"),
        ("measure file.onnx", "does not say where the exported file goes: write {onnx} there"),
        ("{onnx}", "does not say where the exported file goes"),
        ("measure a\0b {onnx}", "zero byte"),
    ],
)
def test_commands_that_cannot_be_used(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_command(text)


def test_each_file_is_a_word(tmp_path: Path) -> None:
    found = asked("""printf '{"files": %s, "second": %s}' $# "$(basename "$2" .onnx)" """, tmp_path, files=3)
    assert found == {"files": 3.0, "second": 1.0}


def test_where_and_with_what_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_USER", "7")
    (tmp_path / "here").touch()
    script = """ls here > /dev/null && read nothing; printf '{"mine": %s, "input": %s}' $OF_THE_USER $?"""
    assert asked(script, tmp_path) == {"mine": 7.0, "input": 1.0}


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo one; exit 3", "its command ended with exit code 3: one"),
        (
            "echo out; echo a >&2; echo >&2; echo ' b ' >&2; echo c >&2; echo d >&2; exit 1",
            "its command ended with exit code 1: a | b | c",
        ),
        ("kill -9 $$", "its command ended by the signal 9"),
        ("echo hello", "its command printed no JSON (Expecting value: line 1 column 1 (char 0)): hello"),
        ("true", "its command printed no JSON (Expecting value: line 1 column 1 (char 0))"),
        ("printf '\\377'", "its command printed no JSON ('utf-8' codec"),
    ],
)
def test_failures_are_told_with_the_first_lines(script: str, told: str, tmp_path: Path) -> None:
    assert failure(script, tmp_path).startswith(told)


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match=r"cannot be started.*No such file or directory: no-such-program"):
        ask(("no-such-program", "{onnx}"), [], tmp_path, 60)
    with pytest.raises(NoAnswer, match=r"cannot be started.*: /no/such/folder"):
        ask(("true", "{onnx}"), [], Path("/no/such/folder"), 60)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "no JSON object of 1 to 32 numbers"),
        ("{}", "no JSON object of 1 to 32 numbers"),
        ('{"a": NaN}', r"no JSON \(NaN is no number of JSON\)"),
        ('{"a": 1e999}', r"no JSON \(1e999 is no number of JSON\)"),
        ('{"a": 1, "a": 2}', r"no JSON \(an object has the same key twice\)"),
        ('{"a": "3 ms"}', 'a as "3 ms", which is no number'),
        ('{"a": true}', "a as true, which is no number"),
        ('{"a": null}', "a as null, which is no number"),
        ('{"a": [1]}', r"a as \[1\], which is no number"),
        ('{"Latency (ms)": 1}', r"a number called 'Latency \(ms\)'"),
        ('{"../a": 1}', r"a number called '\.\./a'"),
        ('{"\\u202ea": 1}', r"a number called '\\u202ea'"),
        ('{"' + 41 * "a" + '": 1}', "a number called 'aaa"),
        ('{"a": 1' + 400 * "0" + "}", "a as a number that is too large"),
        ("[" * 5000, "no JSON"),
        ('{"a": 1} {"b": 2}', "no JSON"),
    ],
)
def test_output_that_is_no_numbers(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_numbers(text.encode())


def test_too_many_numbers_and_too_much_output(tmp_path: Path) -> None:
    many = ", ".join(f'"n{number}": 1' for number in range(33))
    with pytest.raises(ValueError, match="1 to 32"):
        read_numbers(f"{{{many}}}".encode())
    assert failure("yes", tmp_path) == f"its command wrote more than {LONGEST_OUTPUT:,} bytes: y | y | y"
    assert "wrote more than" in failure("yes >&2", tmp_path)


def test_one_that_does_not_end_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; echo waiting >&2; wait"
    assert failure(script, tmp_path, 0.5) == ("its command took longer than 0.5 s and was stopped: waiting")
    assert gone(int((tmp_path / "child").read_text()))


def test_what_it_leaves_behind_is_killed_and_not_waited_for(tmp_path: Path) -> None:
    """A process that goes on in the background holds the outputs open."""
    script = f"""sleep 600 & echo $! > {tmp_path}/child; echo '{{"a": 1}}'"""
    assert asked(script, tmp_path) == {"a": 1.0}
    assert gone(int((tmp_path / "child").read_text()))


def test_it_is_killed_when_who_asks_is_killed(tmp_path: Path) -> None:
    """By a signal that nobody can handle, such as Ray's to its workers."""
    script = f"echo $$ > {tmp_path}/new; sleep 1; mv {tmp_path}/new {tmp_path}/child; sleep 600"
    code = (
        "from pathlib import Path; from trainables.metrics.asking import ask; "
        f"ask(('sh', '-c', {script!r}, 'm', '{{onnx}}'), [], Path('/'), 600)"
    )
    asking = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 60
    while not (tmp_path / "child").exists() and time.monotonic() < until:
        time.sleep(0.02)
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    asking.kill()
    asking.wait()
    assert gone(child)


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    # Not at once: who is interrupted while a process is being started knows nothing of it yet.
    script = f"echo $$ > {tmp_path}/child; sleep 1; kill -INT {os.getpid()}; sleep 600"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            asked(script, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert gone(int((tmp_path / "child").read_text()))


def test_nothing_secret_is_told() -> None:
    words = read_command("sshpass -p hunter2 ssh -p 2222 me@board.lan run --token=abcdef {onnx}")
    said = (
        "sshpass: hunter2 refused by board.lan:2222 for me@board.lan, abcdef, "
        "http://user:pass@mlflow/ and tok-123"
    )
    found = hidden(said, words, {"SOME_TOKEN": "tok-123", "PATH": "/bin", "SHORT_KEY": "a"})
    assert found == "sshpass: *** refused by ***:*** for ***, ***, http://***@mlflow/ and ***"
