"""Optuna's journal: every line is checked, and a damaged one is made anew from the sweep's log."""

import json
import random

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.state_cases import CONTEXT, JUDGE, SPACE, SWEEP
from search.sampling.continuing import continue_study
from search.sampling.journal import JournalDamaged, open_study, whole_lines
from search.sampling.samplers import SAMPLERS, name_of
from search.sampling.searcher import EARLIER, OptunaSearcher
from search.tracking.record import Record
from trainables.recipe import recipe_from_dict

DIRECTIONS = ("maximize", "minimize")


def searcher_on(study, records=None, trials=100, **options):
    return OptunaSearcher(
        study,
        lambda trial: SPACE(trial, CONTEXT),
        JUDGE,
        trials=trials,
        parameters=SPACE.parameters(CONTEXT),
        recipes={name: record.recipe for name, record in (records or {}).items()},
        **options,
    )


def suggested(searcher, name):
    while (config := searcher.suggest(name)) is None:
        pass
    return config


def swept(journal, states, earlier=(), **options):
    """A journal of trials that ended so, and the records of the log."""
    study = open_study(journal, SWEEP, DIRECTIONS)
    study.add_trials(earlier)
    searcher = searcher_on(study, **options)
    records = {}
    for number, state in enumerate(states):
        config = suggested(searcher, str(number))
        recipe = recipe_from_dict(json.loads(config["recipe"]))
        result = {"validation_accuracy": 0.9 + number / 1000, "packed_bytes": 10_000 + 977 * number}
        records[config["trial"]] = Record(config["trial"], recipe, state, metrics=dict(result))
        searcher.on_trial_complete(str(number), {**result, "state": state})
    return records


def continued(journal, records, earlier=()):
    return continue_study(journal, SWEEP, DIRECTIONS, records, earlier, JUDGE)


def facts(study):
    found = []
    for each in study.get_trials(deepcopy=False):
        found.append((each.number, each.state, each.values, each.params, each.distributions))
        found.append((each.constraints, each.user_attrs))
    return found


STATES = ("finished", "pruned", "failed", "finished", "running")


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "studies" / f"{SWEEP}.journal"


def test_optuna_reads_it_as_any_other(journal):
    swept(journal, STATES)
    study = optuna.load_study(study_name=SWEEP, storage=JournalStorage(JournalFileBackend(str(journal))))
    assert facts(study) == facts(open_study(journal, SWEEP, DIRECTIONS, resume=True))
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    assert [line["line"] for line in lines] == list(range(len(lines)))
    assert len({line["sum"] for line in lines}) == len(lines)


def test_every_changed_byte_is_seen(journal):
    swept(journal, ("finished",))
    data = journal.read_bytes()
    rng = random.Random(0)
    for place in rng.sample(range(len(data) - 1), 200):
        journal.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        with pytest.raises(JournalDamaged, match=r"line \d+ is not what was written there"):
            open_study(journal, SWEEP, DIRECTIONS, resume=True)


def test_a_whole_journal_is_taken_as_it_is(journal):
    records = swept(journal, STATES)
    data = journal.read_bytes()
    found = continued(journal, records)
    assert (found.text, found.lost) == ("", 0)
    assert journal.read_bytes() == data and len(list(journal.parent.iterdir())) == 1


def test_of_a_damaged_line_that_ended_a_trial_nothing_is_lost(journal):
    records = swept(journal, STATES)
    whole = facts(open_study(journal, SWEEP, DIRECTIONS, resume=True))
    lines = journal.read_bytes().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if b'"values":[' in line and b'"op_code":6' in line)
    lines[number] = lines[number].replace(b"0.9", b"0.8")
    journal.write_bytes(b"".join(lines))
    found = continued(journal, records)
    assert facts(found.study) == whole
    aside = journal.with_name(journal.name + ".damaged")
    assert aside.read_bytes() == b"".join(lines)
    assert found.text == (
        f"{journal} was damaged (line {number + 1} is not what was written there) and is made anew from the "
        f"sweep's log; what it was is {aside.name}; what is drawn next may be other than it would have been"
    )
    assert continued(journal, records).text == ""


def test_lost_parameters_leave_the_trial_its_number_and_its_recipe(journal):
    records = swept(journal, STATES)
    journal.write_bytes(b"\x00" * 500)
    found = continued(journal, records)
    assert "the parameters of 5 trials are lost to the sampler" in found.text
    fail = [TrialState.FAIL] * 4
    assert [trial.state for trial in found.study.trials] == [*fail, TrialState.RUNNING]
    searcher = searcher_on(found.study, records)
    again = suggested(searcher, "again")
    assert again["trial"] == "00004"
    assert recipe_from_dict(json.loads(again["recipe"])) == records["00004"].recipe
    searcher.on_trial_complete("again", {"validation_accuracy": 0.5, "packed_bytes": 9, "state": "finished"})
    new = suggested(searcher, "new")
    assert new["trial"] == "00005"
    assert recipe_from_dict(json.loads(new["recipe"])) not in [each.recipe for each in records.values()]
    records["00004"].state = "finished"
    records["00004"].metrics = {"validation_accuracy": 0.5, "packed_bytes": 9}
    assert continued(journal, records).text == ""


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_sampler_goes_on_with_a_journal_made_anew(journal, sampler):
    records = swept(journal, ("finished", "pruned", "finished") * 4, sampler=sampler)
    lines = journal.read_bytes().splitlines(keepends=True)
    half = len(lines) // 2
    journal.write_bytes(b"".join(lines[:half]) + bytes(1000) + b"\n" + b"".join(lines[half + 3 :]))
    found = continued(journal, records)
    assert "damaged" in found.text
    assert 0 < sum(not trial.params for trial in found.study.trials) < 4
    config = suggested(searcher_on(found.study, records, sampler=sampler), "new")
    assert config["trial"] == "00012"
    assert recipe_from_dict(json.loads(config["recipe"])) not in [each.recipe for each in records.values()]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda record: setattr(record, "state", "running"), "ended in another way"),
        (lambda record: setattr(record, "state", "failed"), "ended in another way"),
        (lambda record: record.metrics.update(validation_accuracy=0.1), "other values"),
        (lambda record: record.metrics.update(packed_bytes=9_999), "other values"),
    ],
)
def test_the_log_is_the_truth(journal, change, text):
    records = swept(journal, STATES)
    change(records["00000"])
    found = continued(journal, records)
    assert f"its trial 00000 {text}" in found.text or f"trial 00000 has {text}" in found.text
    ending = JUDGE.ending({**records["00000"].metrics, "state": records["00000"].state})
    expected = TrialState.RUNNING if records["00000"].state == "running" else ending.state
    trial = found.study.trials[0]
    assert trial.state == expected
    assert trial.values == (ending.values if expected == TrialState.COMPLETE else None)


def test_a_journal_of_another_sweep_is_not_taken(journal, tmp_path):
    records = swept(journal, STATES)
    other = tmp_path / "other.journal"
    study = open_study(other, "other", DIRECTIONS)
    searcher_on(study, seed=1).suggest("a")
    journal.write_bytes(other.read_bytes())
    found = continued(journal, records)
    assert "line 1 is not what was written there" in found.text
    assert [trial.user_attrs["recipe_id"] for trial in found.study.trials] == [
        record.recipe.recipe_id for record in records.values()
    ]


def test_a_missing_journal_is_made_anew(journal):
    records = swept(journal, STATES)
    journal.unlink()
    found = continued(journal, records)
    assert f"{journal} was damaged (it is missing)" in found.text
    assert len(found.study.trials) == 5 and not list(journal.parent.glob("*.damaged*"))


def test_trials_of_earlier_sweeps_stay_where_they_were(journal, tmp_path):
    swept(tmp_path / "old.journal", STATES)
    old = open_study(tmp_path / "old.journal", SWEEP, DIRECTIONS, resume=True).trials[:2]
    for trial in old:
        trial.set_user_attr(EARLIER, f"old/{name_of(trial.number)}")
    records = swept(journal, STATES, earlier=old, seed=5)
    assert list(records) == [name_of(number) for number in range(2, 7)]
    whole = facts(open_study(journal, SWEEP, DIRECTIONS, resume=True))
    lines = journal.read_bytes().splitlines(keepends=True)
    for damaged, given in ((lines[1], old), (lines[-1], ())):
        journal.write_bytes(b"".join(lines).replace(damaged, damaged.replace(b":", b";")))
        found = continued(journal, records, given)
        assert facts(found.study) == whole and found.lost == 0
    journal.write_bytes(b"")
    found = continued(journal, records, old[:1])  # the earlier sweep lacks one now
    assert [trial.number for trial in found.study.trials] == list(range(7))
    assert sum(EARLIER in trial.user_attrs for trial in found.study.trials) == 2


def test_a_driver_that_died_before_its_first_trial_begins_anew(journal, tmp_path):
    swept(tmp_path / "old.journal", STATES)
    old = open_study(tmp_path / "old.journal", SWEEP, DIRECTIONS, resume=True).trials[:3]
    for trial in old:
        trial.set_user_attr(EARLIER, f"old/{name_of(trial.number)}")
    study = open_study(journal, SWEEP, DIRECTIONS)
    study.add_trials(old[:1])  # killed in the middle
    found = continued(journal, {}, old)
    assert found.text == "" and len(found.study.trials) == 3


def test_a_full_disk_loses_nothing(journal, monkeypatch):
    records = swept(journal, STATES)
    journal.write_bytes(journal.read_bytes()[:300] + b"\x00" * 10 + b"\n")
    damaged = journal.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device", str(journal))

    monkeypatch.setattr("search.sampling.journal.JournalFileBackend.append_logs", full)
    with pytest.raises(OSError, match="No space"):
        continued(journal, records)
    assert journal.read_bytes() == damaged
    assert [path.name for path in journal.parent.iterdir()] == [journal.name]


def test_lines_that_are_being_written_are_none_yet(journal):
    swept(journal, ("finished",))
    count = len(whole_lines(journal, SWEEP)[0])
    with open(journal, "ab") as file:
        file.write(b'{"op_code":')
    assert whole_lines(journal, SWEEP)[1] == "" and len(whole_lines(journal, SWEEP)[0]) == count
