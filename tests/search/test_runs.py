import sqlite3
from pathlib import Path
from typing import Any

import pytest

from search.store.client_runs import ClientRuns
from search.store.frames import records
from search.store.mlflow_client import StoreError, connect
from search.store.runs import RunSource
from search.store.sqlite_runs import SqliteRuns
from search.store.store import open_store
from search.tracking.tracker import SweepTracker
from tests.stores import FACTS, RECIPE, add_trial, final, tracker


def opened(sweep: SweepTracker, folder: Path, params: dict[str, Any]) -> str:
    """Open the sweep; the id of its run."""
    sweep.open(params, {"rayduce.metric": "accuracy"})
    sweep.flush()
    return open_store(folder).sweep("digits-1").run_id


@pytest.fixture(params=["sqlite", "client"])
def source(request: pytest.FixtureRequest, folder: Path) -> RunSource:
    """Both ways to read one store; the second as a server would be read."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return SqliteRuns(uri) if request.param == "sqlite" else ClientRuns(connect(uri, create=False))


def by_trial(rows: list[Any]) -> dict[str, Any]:
    return {row.tags["rayduce.trial_id"]: row for row in rows}


def test_what_changes_is_read_whichever_way(source: RunSource, folder: Path) -> None:
    sweep = tracker(folder)
    parent = opened(sweep, folder, {"trials": 3})
    assert source.trials(parent) == (1, [])
    add_trial(sweep, "00000", final(0.9, 1_000))
    sweep.start_trial("00001", "first", RECIPE, FACTS)
    sweep.log_epoch("00001", 1, {"validation_accuracy": 0.5})
    sweep.flush()
    changes, rows = source.trials(parent)
    assert [row.tags["rayduce.trial_id"] for row in rows] == ["00000", "00001"]
    assert rows[0].metrics["packed_bytes"] == 1_000 and rows[0].status == "FINISHED"
    assert rows[1].metrics == {"validation_accuracy": 0.5} and rows[1].end_time is None
    assert source.trials(parent) == (changes, rows), "nothing new"

    sweep.log_epoch("00001", 2, {"validation_accuracy": 0.7})
    sweep.flush()
    more, rows = source.trials(parent)
    assert more > changes and by_trial(rows)["00001"].metrics == {"validation_accuracy": 0.7}

    sweep.finish_trial("00001", "finished", final(0.8, 2_000), {}, {})
    sweep.annotate("00000", {"accuracy": 0.88}, {"front": "true"})
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    _, rows = source.trials(parent)
    assert by_trial(rows)["00001"].status == "FINISHED"
    assert (
        by_trial(rows)["00000"].tags["front"] == "true"
        and by_trial(rows)["00000"].metrics["accuracy"] == 0.88
    )
    [(above, params)] = source.sweeps()
    assert (above.run_id, above.status, params) == (parent, "FINISHED", {"trials": "3"})
    assert source.params(parent)[rows[0].run_id]["quantizer.bits"] == "4"


def test_both_ways_read_the_same(folder: Path) -> None:
    sweep = tracker(folder)
    parent = opened(sweep, folder, {"trials": 3})
    add_trial(sweep, "00000", {**final(0.9, 1_000), "loss": float("nan")})
    add_trial(sweep, "00001", {}, state="failed", tags={"reason": "no"})
    sweep.close()
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    ways: list[RunSource] = [SqliteRuns(uri), ClientRuns(connect(uri, create=False))]
    one, other = (
        [
            (row.run_id, row.name, row.status, row.end_time, dict(row.tags), str(row.metrics))
            for row in way.trials(parent)[1]
        ]
        for way in ways
    )
    assert [row[:5] for row in one] == [row[:5] for row in other]
    assert sorted(one[0][5]) == sorted(other[0][5])
    assert ways[0].params(parent) == ways[1].params(parent)
    assert ways[0].sweeps() == ways[1].sweeps()


def test_what_a_user_edits_in_place_is_seen(folder: Path) -> None:
    sweep = tracker(folder)
    parent = opened(sweep, folder, {})
    add_trial(sweep, "00000", final(0.9, 1_000), tags={"front": "true"})
    add_trial(sweep, "00001", final(0.9, 1_000))
    sweep.close()
    runs = SqliteRuns(f"sqlite:///{folder / 'mlflow.db'}")
    before = runs.trials(parent)[1]
    client = connect(f"sqlite:///{folder / 'mlflow.db'}", create=False)
    client.set_tag(before[0].run_id, "front", "false")
    client.set_tag(before[0].run_id, "mlflow.runName", "renamed")
    client.delete_run(before[1].run_id)
    [row] = runs.trials(parent)[1]
    assert (row.tags["front"], row.name) == ("false", "renamed")


def test_a_compacted_database_is_read_again(folder: Path) -> None:
    sweep = tracker(folder)
    parent = opened(sweep, folder, {})
    for i in range(3):
        add_trial(sweep, f"{i:05d}", final(0.9, 1_000))
    sweep.close()
    runs = SqliteRuns(f"sqlite:///{folder / 'mlflow.db'}")
    gone = runs.trials(parent)[1][0].run_id
    database = sqlite3.connect(folder / "mlflow.db")
    for table in ("tags", "metrics", "latest_metrics", "params", "runs"):
        database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (gone,))
    database.commit()
    database.execute("VACUUM")
    database.close()
    kept = runs.trials(parent)[1]
    assert gone not in {row.run_id for row in kept} and len(kept) == 2
    assert all(row.metrics["packed_bytes"] == 1_000 for row in kept)


def test_a_database_that_goes_away_is_told_and_comes_back(folder: Path) -> None:
    sweep = tracker(folder)
    parent = opened(sweep, folder, {})
    add_trial(sweep, "00000", final(0.9, 1_000))
    sweep.close()
    runs = SqliteRuns(f"sqlite:///{folder / 'mlflow.db'}")
    known = runs.trials(parent)[1]
    (folder / "mlflow.db").rename(folder / "away.db")
    with pytest.raises(StoreError, match="Cannot read the MLflow store"):
        runs.trials(parent)
    (folder / "away.db").rename(folder / "mlflow.db")
    assert runs.trials(parent)[1] == known


def test_parameters_are_what_differs(folder: Path) -> None:
    sweep = tracker(folder)
    sweep.open({}, {"rayduce.metric": "accuracy"})
    for i, bits in enumerate((2, 4, None)):
        quantizer = {"type": "NoQuantizer"} if bits is None else {"type": "Uniform", "bits": bits}
        sweep.start_trial(f"{i:05d}", "x", {**RECIPE, "quantizer": quantizer}, FACTS)
    sweep.close()
    store = open_store(folder)
    frame = store.parameters(store.sweep())
    assert list(frame) == ["quantizer", "quantizer.bits"]
    # By trial: those that start within one millisecond have no order of their own.
    frame = frame.loc[store.trials().set_index("trial_id")["run_id"].sort_index()]
    assert frame["quantizer.bits"].tolist()[:2] == [2.0, 4.0] and frame["quantizer.bits"].isna().iloc[2]
    assert frame["quantizer"].tolist() == ["Uniform", "Uniform", "NoQuantizer"]


@pytest.mark.parametrize(
    ("table", "change", "expected"),
    [
        ("latest_metrics", "value = 1e308 WHERE key = 'packed_bytes'", {"packed_bytes": None}),
        ("latest_metrics", "value = 'many' WHERE key = 'packed_bytes'", {"packed_bytes": None}),
        ("latest_metrics", "value = 812.5 WHERE key = 'packed_bytes'", {"packed_bytes": None}),
        ("latest_metrics", "is_nan = 1 WHERE key = 'validation_accuracy'", {"validation_accuracy": None}),
        ("tags", "value = 'four' WHERE key = 'bits'", {"bits": None}),
        ("tags", "value = NULL WHERE key = 'bits'", {"bits": None}),
        ("tags", "value = x'ff' WHERE key = 'bits'", {"bits": None}),
        ("tags", "value = 'eaten' WHERE key = 'rayduce.state'", {"state": "finished"}),
        ("runs", "status = 'UNKNOWN'", {"state": "running"}),
        ("runs", "end_time = 'later'", {"seconds": 1.5}),
        ("runs", "start_time = 9223372036854775807", {"start_time": "1970-01-01T00:00:00+00:00"}),
        ("runs", "start_time = -1", {"start_time": "1970-01-01T00:00:00+00:00"}),
    ],
)
def test_odd_values_in_the_database_are_missing_ones(
    folder: Path, table: str, change: str, expected: dict[str, Any]
) -> None:
    sweep = tracker(folder)
    opened(sweep, folder, {})
    add_trial(sweep, "00000", final(0.9, 800), tags={"bits": "4"})
    sweep.flush()
    sweep.close()
    database = sqlite3.connect(folder / "mlflow.db")
    database.execute("PRAGMA ignore_check_constraints = 1")
    database.execute(f"UPDATE {table} SET {change}")
    database.commit()
    database.close()
    (row,) = records(open_store(folder).trials("digits-1"))
    assert {key: row[key] for key in expected} == expected
