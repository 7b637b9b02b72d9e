"""Damages the files that a sweep goes on from, in many ways, and sees what is made of them.

``python -m benchmarks.fuzz_state_files --mutants 1000`` prints a line per file. Whoever reads a damaged file
must tell it in one sentence (:class:`search.problem.Problem`, ``StoreError``) or go on with what is right in
it: any other exception, and any fact that the whole file does not say, is a fault.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from search.log.event_log import START, EventLog, read_log, seal
from search.log.events import KIND_TAG, METRIC_TAG, STUDY_TAG, SWEEP_TAG, TRIAL_TAG
from search.log.folder import DeliveryMark, SweepFolder
from search.problem import Problem
from search.store.mlflow_client import StoreError
from search.store.store import own_database
from search.sweeps.records import records_of, replay
from search.sweeps.resume import find_sweep
from search.tracking.delivery import Delivery
from trainables import methods
from trainables.metrics import quality_of
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import Recipe
from trainables.tasks import Digits

Facts = frozenset[str]
SWEEP_NAME = "digits-1"
TOLD = (StoreError, Problem)


@dataclass(frozen=True)
class Case:
    """One file, or one way to read it.

    Attributes:
        name: to be shown.
        make: makes the whole file, and what it needs beside it, in an empty folder; returns its path.
        use: reads it as a sweep that goes on does, given that folder, and returns what it was told, a text
            for each fact; a damaged file may say fewer, and none that the whole one does not say. It raises
            one of :data:`TOLD` where nothing can go on.
        mend: makes damaged content look whole again, such as by a checksum that fits: what somebody would do
            who means harm. Facts may be others then.
    """

    name: str
    make: Callable[[Path], Path]
    use: Callable[[Path], Facts]
    mend: Callable[[bytes], bytes] | None = None


def mutant(content: bytes, chance: random.Random) -> bytes:
    """``content`` damaged in one of many ways."""
    return chance.choice(WAYS)(content, chance)


def _flip(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 20))):
        if damaged:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randint(0, len(content))]


def _cut_before(content: bytes, chance: random.Random) -> bytes:
    return content[chance.randint(0, len(content)) :]


def _double(content: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.choices(range(len(content) + 1), k=2))
    return content[:end] + content[begin:end] + content[end:]


def _zeros(content: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(content))
    length = chance.choice((1, 16, 512, 4096))
    return content[:begin] + b"\0" * length + content[begin + length :]


def _lines(content: bytes, chance: random.Random) -> bytes:
    """A line lost, doubled, or two of them swapped."""
    lines = content.splitlines(keepends=True) or [b""]
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    how = chance.randrange(3)
    if how == 0:
        del lines[first]
    elif how == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 10**400, 1e308, "", "..", "../x", "a\0b", "\udce9", "x" * 100_000, "%2e%2e", [],
    {}, [[]], {"a": {}}, ["a", 1], {"type": "Recipe"}, "nan", "/etc/passwd", "http://example.org", 
    "\u202e\x1b[2J",
)  # fmt: skip


def _values(content: bytes, chance: random.Random) -> bytes:
    """A value of JSON replaced by one of another kind, a key renamed or taken away; line by line."""
    lines = content.splitlines() or [b""]
    number = chance.randrange(len(lines))
    try:
        data = json.loads(lines[number])
    except ValueError:
        return _flip(content, chance)
    lines[number] = json.dumps(_changed(data, chance)).encode()
    return b"\n".join(lines) + b"\n"


def _changed(data: Any, chance: random.Random) -> Any:
    if not data or not isinstance(data, (dict, list)) or chance.random() < 0.1:
        return chance.choice(STRANGE)
    key = chance.choice(list(data) if isinstance(data, dict) else range(len(data)))
    if isinstance(data, dict) and chance.random() < 0.15:
        rest = {other: value for other, value in data.items() if other != key}
        return rest if chance.random() < 0.5 else {**rest, str(chance.choice(STRANGE)): data[key]}
    data[key] = _changed(data[key], chance)
    return data


def _deep(content: bytes, chance: random.Random) -> bytes:
    begin, levels = chance.randint(0, len(content)), chance.choice((70, 5_000, 200_000))
    bracket = chance.choice((b"[", b'{"a":'))
    return chance.choice((b"", content[:begin])) + bracket * levels


def _foreign(content: bytes, chance: random.Random) -> bytes:
    junk = (b"", b"\n", b"null\n", b"[]\n", b"{}\n", b'"x"\n', b"\xff\xfe\n", b"NaN\n", b'{"a":1,"a":2}\n')
    return chance.choice((*junk, chance.randbytes(200)))


WAYS = (_flip, _flip, _cut, _cut_before, _double, _zeros, _lines, _lines, _values, _values, _deep, _foreign)


@dataclass
class Outcome:
    """What became of a case's mutants.

    Attributes:
        told: how many were told in a sentence.
        used: how many were gone on with.
        faults: what should not have been, with the mutant's number.
    """

    told: int = 0
    used: int = 0
    faults: list[str] | None = None


def run(case: Case, mutants: int, seed: int = 0) -> Outcome:
    """Damage the file of ``case`` so many times."""
    outcome = Outcome(faults=[])
    assert outcome.faults is not None
    with tempfile.TemporaryDirectory(prefix="rayduce-fuzz-") as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        path = case.make(whole)
        content, facts = path.read_bytes(), case.use(whole)
        for number in range(mutants):
            chance = random.Random(f"{case.name} {seed} {number}")
            damaged = mutant(content, chance)
            if case.mend is not None:
                damaged = case.mend(damaged)
            copy = Path(scratch) / "copy"
            shutil.copytree(whole, copy)
            (copy / path.relative_to(whole)).write_bytes(damaged)
            try:
                found = case.use(copy)
            except TOLD as error:
                outcome.told += 1
                if (text := str(error)) and (len(text) > 1500 or not text.isprintable()):
                    outcome.faults.append(f"{number}: no sentence: {text[:300]!r}")
            except Exception as error:  # any other is what is looked for
                outcome.faults.append(f"{number}: {type(error).__name__}: {str(error)[:300]}")
            else:
                outcome.used += 1
                if case.mend is None and not found <= facts:
                    outcome.faults.append(f"{number}: says {sorted(found - facts)[:3]}")
            shutil.rmtree(copy)
    return outcome


def _recipe(bits: int) -> Recipe:
    student = ConvNet(stages=((8,), (16,)), hidden=(16,), kernel_size=3)
    setting = methods.Setting(Digits(), Fresh(student), epochs=2)
    return methods.post_training_quantization(setting, quantizer=Uniform(bits))


def make_log(store: Path) -> Path:
    """The log of a finished sweep of three trials, with the files that it names."""
    folder = SweepFolder(store, SWEEP_NAME)
    log = EventLog(folder.log, SWEEP_NAME)
    tags = {KIND_TAG: "sweep", SWEEP_TAG: SWEEP_NAME, STUDY_TAG: "digits", METRIC_TAG: "accuracy"}
    options = {"name": SWEEP_NAME, "trials": 3, "seed": 0, "tracking_uri": None, "earlier": ["digits-0"]}
    study = {"name": "digits", "epochs": 2}
    settings = {"options": options, "study": study, "data": "00", "teacher": "00", "code": {"rayduce": "0"}}
    events: list[dict[str, Any]] = [
        {"kind": "open", "run": "", "name": SWEEP_NAME, "study": "digits", "params": {"trials": "3"},
         "tags": tags, "settings": settings}
    ]  # fmt: skip
    for number, state in enumerate(("finished", "pruned", "finished")):
        name, recipe = f"{number:05d}", _recipe(2 + number)
        own = {KIND_TAG: "trial", SWEEP_TAG: SWEEP_NAME, TRIAL_TAG: name}
        start = {"name": f"ptq-{number}", "params": {"bits": str(2 + number)}, "tags": own}
        events.append({"kind": "start", "run": name, **start, "recipe": recipe.to_dict()})
        for step in range(3):
            metrics = {"validation_accuracy": 0.5 + step / 10, "packed_bytes": 1000 + number, "loss": "nan"}
            events.append({"kind": "epoch", "run": name, "step": step, "metrics": metrics})
        packed = folder.trials / name / "student.rdz"
        packed.parent.mkdir(parents=True)
        packed.write_bytes(name.encode())
        files = {"student.rdz": f"trials/{SWEEP_NAME}/{name}/student.rdz"} if state == "finished" else {}
        end = {"state": state, "step": 2, "metrics": {"macs": 100}, "tags": {"reason": ""}, "files": files}
        events.append({"kind": "end", "run": name, **end})
    named = {"aliases": {"best": "00000"}, "descriptions": {"00000": "the best"}}
    end = {"state": "finished", "step": 0, "metrics": {}, "tags": {}, "files": {}}
    events.append({"kind": "end", "run": "", **end, **named})
    for time, event in enumerate(events, start=1_700_000_000_000):
        log.append({**event, "time": time})
    log.close()
    return folder.log


class _Heard:
    """A scheduler that only listens."""

    def learn(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        return f"{name} {recipe.recipe_id} {result['epoch']}"

    def begin(self, name: str, recipe: Recipe) -> None:
        """Nothing."""

    def ended(self, name: str, state: str) -> None:
        pass

    def take_up(self, name: str, as_name: str) -> None:
        pass


def use_log(store: Path) -> Facts:
    """What ``resume`` makes of a log, up to the first thing that it does with it."""
    earlier = find_sweep(store, SWEEP_NAME)
    earlier.tracking_uri("resume", None)
    earlier.options("sqlite:////x.db")
    replay(earlier.events, _Heard())
    records = records_of(earlier.events, store, quality_of("accuracy"))
    EventLog(earlier.folder.log, SWEEP_NAME).close()
    assert read_log(earlier.folder.log, SWEEP_NAME).events == earlier.events
    return frozenset(
        [
            *map(json.dumps, earlier.events),
            *(f"{key} {record.recipe.recipe_id}" for key, record in records.items()),
        ]
    )


class _Client:
    """Takes what MLflow takes, and sends it nowhere."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._runs = 0

    def create_run(self, experiment: str, start_time: int, tags: Mapping[str, str], run_name: str) -> Any:
        self._runs += 1
        run_id = f"{self._runs:032x}"
        place = self._store / "artifacts" / "rayduce-digits" / run_id / "artifacts"
        _encode([run_name, *tags, *tags.values()])
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id, artifact_uri=place.as_uri()))

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        _encode([text for each in (*params, *tags) for text in (each.key, each.value)])
        _encode([each.key for each in metrics])
        assert all(type(each.value) is float and type(each.step) is int for each in metrics)

    def set_terminated(self, run_id: str, status: str, end_time: int) -> None:
        assert status in ("FINISHED", "FAILED", "KILLED")

    def update_run(self, run_id: str, status: str) -> None:
        assert status == "RUNNING"


def _encode(texts: list[str]) -> None:
    for text in texts:
        text.encode()


def use_in_delivery(store: Path) -> Facts:
    """What ``deliver`` makes of a log, up to MLflow's client; nothing may leave the store's folder."""
    earlier = find_sweep(store, SWEEP_NAME)
    outside = sorted(path for path in store.parent.rglob("*") if not path.is_relative_to(store))
    delivery = Delivery(own_database(store), store, earlier.study, SWEEP_NAME)
    vars(delivery).update(_client=_Client(store), _experiment="1")
    steps = delivery.steps(earlier.events)
    while steps and steps[-1].what.startswith("its students'"):  # MLflow's registry is not played
        steps.pop()
    refused: list[tuple[str, str]] = []
    delivery.deliver(steps, refused)
    assert sorted(path for path in store.parent.rglob("*") if not path.is_relative_to(store)) == outside
    return frozenset(f"{key} {text}" for key, text in refused)


def make_mark(store: Path) -> Path:
    """``delivered.json`` of the log, delivered whole."""
    folder = SweepFolder(store, SWEEP_NAME)
    end = read_log(make_log(store), SWEEP_NAME).end
    DeliveryMark(folder, "sqlite:////x.db").write(end, whole=True)
    return folder.delivered


def use_mark(store: Path) -> Facts:
    """Where ``deliver`` goes on, and whether ``resume`` takes the sweep for delivered."""
    earlier = find_sweep(store, SWEEP_NAME)
    earlier.has_arrived(None)
    place = DeliveryMark(earlier.folder, "sqlite:////x.db").read()
    return frozenset() if place == START else frozenset([f"delivered {place.bytes} {place.check}"])


def sealed(content: bytes) -> bytes:
    """A log whose lines have the checks that belong there, whatever they say."""
    check, lines = "", []
    for line in content.splitlines(keepends=True):
        try:
            event = json.loads(line)
            line, check = seal({key: event[key] for key in event if key != "check"}, check)
        except (ValueError, TypeError, RecursionError):
            pass
        lines.append(line)
    return b"".join(lines)


CASES: tuple[Case, ...] = (
    Case("events.jsonl", make_log, use_log),
    Case("events.jsonl, delivered", make_log, use_in_delivery),
    Case("events.jsonl, sealed again", make_log, use_log, sealed),
    Case("events.jsonl, sealed again and delivered", make_log, use_in_delivery, sealed),
    Case("delivered.json", make_mark, use_mark),
)
"""The files that a sweep goes on from. A new one is a line here."""


def main() -> int:
    """Print a line per case; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=1000, help="of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a case's name")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    for case in CASES:
        if given.only not in case.name:
            continue
        outcome = run(case, given.mutants, given.seed)
        faults = outcome.faults or []
        print(f"{case.name}: {outcome.told} told, {outcome.used} gone on with, {len(faults)} faults")
        for fault in faults[:10]:
            print(f"  {fault}")
        counts["faults"] += len(faults)
    return min(counts["faults"], 1)


if __name__ == "__main__":
    sys.exit(main())
