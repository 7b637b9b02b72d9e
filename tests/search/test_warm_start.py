"""What a sweep takes from earlier ones: trials of its own space, students as they are, nothing foreign."""

import json
import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import TrialState

from rayduce.commands.front_choice import newest_with_students, why_no_front
from rayduce.commands.running import say_front
from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.problem import Problem
from search.sampling.journal import open_study
from search.sampling.samplers import SAMPLERS, TPE, find_sampler
from search.sampling.searcher import EARLIER, Judge, OptunaSearcher
from search.sampling.warm_start import Reading, check_kinds, look_back
from search.store.frames import records
from search.store.store import open_store
from search.tracking.delivery import SWEEP
from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from tests.stores import final, kept, tracker
from trainables.metrics import quality_of
from trainables.metrics.latency import fingerprint
from trainables.models import ConvNet
from trainables.quantizers.base import Dense
from trainables.recipe import recipe_from_dict
from trainables.shipping.packed_file import pack
from trainables.tasks import Digits

images = sized(IMAGES, (1, 2), (0.1, 1.0))
CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=3)
DIRECTIONS = ("maximize", "minimize")
SETTINGS = {
    "study": "digits",
    "metric": "accuracy",
    "teacher": "0" * 16,
    "data": "abc",
    "epochs": 3,
    "own_model": None,
}
ACCURACY = quality_of("accuracy")


def objectives(result):
    return [result.get("validation_accuracy", math.nan), math.log2(result.get("packed_bytes", math.nan))]


def reading(context=CONTEXT, space=images, sampler=TPE, latency=False, budget=Budget({"packed_bytes": 2000})):
    return Reading(
        lambda trial: space(trial, context),
        space.parameters(context),
        sampler,
        Judge(objectives, lambda result: budget.constraints(result, ACCURACY, 0.99)),
        latency,
    )


def packed(recipe, values):
    """A packed file of ``recipe`` with so many numbers in it: 4 bytes each and a header."""
    return pack(recipe, {"weight": Dense(torch.arange(values, dtype=torch.float32).sin())})


def lengths(store):
    return [int(row["packed_bytes"]) for row in records(store.trials("old"))[:3]]


@pytest.fixture
def earlier(folder):
    """A store with the sweep ``old``: two finished trials, one pruned, one failed, one that runs."""
    sweep = tracker(folder, "old")
    sweep.open(SETTINGS, {"rayduce.metric": "accuracy"})
    study = open_study(folder / "studies" / "old.journal", "old", DIRECTIONS)
    searcher = OptunaSearcher(
        study,
        lambda trial: images(trial, CONTEXT),
        Judge(objectives),
        trials=5,
        parameters=images.parameters(CONTEXT),
        starting_points=images.starting_points(CONTEXT),
    )
    machines = (json.dumps(fingerprint()), "another")
    for number, state in enumerate(["finished", "finished", "pruned", "failed", "running"]):
        config = searcher.suggest(str(number))
        recipe = recipe_from_dict(json.loads(config["recipe"]))
        sweep.start_trial(config["trial"], "qd", recipe.to_dict(), {"recipe_id": recipe.recipe_id})
        file = packed(recipe, 220 * (number + 1))
        metrics = final(0.9 + number / 100, len(file))
        searcher.on_trial_complete(str(number), {**metrics, "state": state})
        if number < 4:
            tags = {"latency_machine": machines[number]} if number < 2 else {}
            files = kept(sweep, config["trial"], {"student.rdz": file})
            sweep.finish_trial(config["trial"], state, metrics, tags, files)
    sweep.flush()
    yield folder
    sweep.close()


def test_trials_and_students_are_taken_over(earlier):
    store = open_store(earlier)
    sweeps = [store.sweep("old")]
    check_kinds(sweeps, SETTINGS)
    journal = earlier / "studies" / "old.journal"
    before = journal.read_bytes()
    sizes = lengths(store)
    known = look_back(store, sweeps, earlier / "studies", reading(budget=Budget({"packed_bytes": sizes[1]})))
    assert journal.read_bytes() == before
    assert [trial.user_attrs[EARLIER] for trial in known.trials] == [f"old/0000{n}" for n in range(3)]
    assert [trial.state for trial in known.trials] == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED]
    assert [trial.values for trial in known.trials[:2]] == [
        [0.9, math.log2(sizes[0])],
        [0.91, math.log2(sizes[1])],
    ]
    over = [trial.constraints["packed_bytes"] for trial in known.trials]
    assert over == pytest.approx([math.log2(size / sizes[1]) for size in sizes])  # by the new budget
    assert [copy.source for copy in known.copies.values()] == ["old/00000", "old/00001"]
    copy = known.copies[known.trials[1].user_attrs["recipe_id"]]
    assert len(copy.file) == sizes[1] and copy.result["validation_accuracy"] == 0.91
    assert copy.result["latency_machine"] == "another"
    assert known.text == (
        "learning from 3 earlier trials, with 2 students at hand (left out: 1 failed, 1 running)"
    )


def test_a_latency_of_another_machine_is_of_no_use_where_latency_counts(earlier):
    store = open_store(earlier)
    sweeps = [store.sweep("old")]
    known = look_back(store, sweeps, earlier / "studies", reading(latency=True))
    assert [trial.user_attrs[EARLIER] for trial in known.trials] == ["old/00000"]
    assert known.left["timed on another machine"] == 2


def test_students_of_another_seed_teach_but_are_not_taken(earlier):
    store = open_store(earlier)
    known = look_back(
        store,
        [store.sweep("old")],
        earlier / "studies",
        reading(replace(CONTEXT, seed=1)),
    )
    assert len(known.trials) == 3 and not known.copies


def test_trials_outside_the_new_space_are_left_out(earlier):
    store = open_store(earlier)
    known = look_back(
        store,
        [store.sweep("old")],
        earlier / "studies",
        reading(space=sized(IMAGES, (1, 2), (0.1, 0.2))),
    )
    assert not known.trials and known.left["outside this space"] == 3


def test_students_without_a_number_of_what_is_minimised_are_told(earlier):
    store, sweeps = open_store(earlier), [open_store(earlier).sweep("old")]
    aims = Yardstick(ACCURACY, minimized=("ram_bytes",))
    read = replace(reading(), judge=Judge(aims.objectives, aims.constraints))
    known = look_back(store, sweeps, earlier / "studies", read)
    assert known.left["without a number of what this sweep minimises"] == 2
    assert not any(trial.state == TrialState.COMPLETE for trial in known.trials) and not known.copies


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_sampler_goes_on_from_earlier_trials(earlier, sampler):
    store = open_store(earlier)
    sweeps = [store.sweep("old")]
    known = look_back(store, sweeps, earlier / "studies", reading(sampler=sampler))
    study = open_study(earlier / "studies" / "new.journal", "new", DIRECTIONS)
    study.add_trials(known.trials * 8)  # more than each of them draws at random at first
    searcher = OptunaSearcher(
        study,
        lambda trial: images(trial, CONTEXT),
        Judge(objectives),
        trials=1,
        parameters=images.parameters(CONTEXT),
        sampler=sampler,
    )
    while (config := searcher.suggest("a")) is None:
        pass
    assert config["trial"] == "00024"
    if sampler == find_sampler("nsga2"):
        generation = study.trials[24].system_attrs["GeneticSampler:generation"]
        assert generation == 0  # 16 of 20 are there; with four more they have children
        study.add_trials(known.trials[:2] * 2)
        again = open_study(earlier / "studies" / "new.journal", "new", DIRECTIONS, resume=True)
        more = OptunaSearcher(
            again,
            lambda trial: images(trial, CONTEXT),
            Judge(objectives),
            trials=2,
            parameters=images.parameters(CONTEXT),
            sampler=sampler,
        )
        more.suggest("a")
        more.suggest("b")
        assert again.trials[-1].system_attrs["GeneticSampler:generation"] == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"study": "cifar10"}, "searched the study digits, not cifar10"),
        ({"metric": "bleu"}, "selected by accuracy, not by bleu"),
        ({"teacher": "1" * 16}, "another teacher"),
        ({"data": "xyz"}, "on other data"),
        ({"epochs": 9}, "without --epochs 3"),
        ({"own_model": "m:Net"}, r"students of another class \(none, not m:Net\)"),
    ],
)
def test_sweeps_of_another_kind_are_refused(earlier, change, text):
    with pytest.raises(Problem, match=f"^The sweep old .*{text}.*; leave out --from old\\.$"):
        check_kinds([open_store(earlier).sweep("old")], {**SETTINGS, **change})


def test_a_sweep_of_another_folder_is_refused(earlier, tmp_path):
    store = open_store(earlier)
    with pytest.raises(Problem, match="no journal"):
        look_back(store, [store.sweep("old")], tmp_path / "elsewhere", reading())
    assert not (tmp_path / "elsewhere").exists()


def test_the_front_is_of_the_newest_sweep_with_students(earlier, capsys):
    new = tracker(earlier, "new")
    new.open(Budget({"packed_bytes": 10}).params(), {"rayduce.metric": "accuracy"})
    new.flush()
    store = open_store(earlier)
    assert newest_with_students(store).name == "old"
    assert "waits for its teacher" in why_no_front(store, store.sweep("new"))
    new.annotate(SWEEP, {"teacher_validation_accuracy": 0.98}, {})
    recipe = {"type": "Recipe", "method": "x"}
    new.start_trial("00000", "qd", recipe, {})
    new.flush()
    assert "waits for the first of 1 trial in training" in why_no_front(store, store.sweep("new"))
    new.finish_trial("00000", "finished", final(0.9, 100), {}, kept(new, "00000", {"student.rdz": b"x"}))
    new.flush()
    assert newest_with_students(store).name == "new"
    assert why_no_front(store, store.sweep("new")) == (
        "None of the 1 student of the sweep new is within its budget, at most 10 B packed size."
    )
    say_front(store, store.sweep("new"), " --store here")
    said = capsys.readouterr().out
    assert "None of the 1 student" in said and "rayduce choose new --store here" in said
    assert "Take away" not in said and "Front, smallest first" not in said
    new.close()
    empty = tracker(earlier, "empty")
    empty.open({}, {"rayduce.metric": "accuracy"})
    empty.close()
    assert why_no_front(store, store.sweep("empty")) == "The sweep empty has stopped without a student."


def test_optuna_counts_what_was_added(earlier):
    """What is added to a study is a trial to Optuna: its own front holds it, if it is within the limits."""
    store = open_store(earlier)
    known = look_back(
        store,
        [store.sweep("old")],
        earlier / "studies",
        reading(budget=Budget({"packed_bytes": lengths(store)[0]})),
    )
    study = optuna.create_study(directions=DIRECTIONS)
    study.add_trials(known.trials)
    assert [trial.user_attrs[EARLIER] for trial in study.best_trials] == ["old/00000"]


def test_students_whose_files_are_not_what_was_recorded_are_trained_anew(earlier):
    store = open_store(earlier)
    first, second = (
        Path(store.artifact_location(run_id, "student.rdz")) for run_id in store.trials("old")["run_id"][:2]
    )
    whole = first.read_bytes()
    for wrong in (second.read_bytes(), whole[:-1], b"", whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        first.write_bytes(wrong)
        known = look_back(store, [store.sweep("old")], earlier / "studies", reading())
        assert [copy.source for copy in known.copies.values()] == ["old/00001"]
        assert known.left["without the student that was recorded, to be trained anew"] == 1
        assert len(known.trials) == 3


def test_of_a_damaged_journal_the_whole_lines_are_used(earlier):
    """Numbers come from the store, so that none can be wrong; what its line was is lost."""
    store = open_store(earlier)
    journal = earlier / "studies" / "old.journal"
    whole = look_back(store, [store.sweep("old")], earlier / "studies", reading())
    lines = journal.read_bytes().splitlines(keepends=True)
    created = [number for number, line in enumerate(lines) if b'"op_code":4' in line]
    lines[created[0]] = lines[created[0]].replace(b'"params"', b'"porams"')
    journal.write_bytes(b"".join(lines))
    before = journal.read_bytes()
    known = look_back(store, [store.sweep("old")], earlier / "studies", reading())
    assert [trial.user_attrs[EARLIER] for trial in known.trials] == ["old/00001", "old/00002"]
    assert [trial.params for trial in known.trials] == [trial.params for trial in whole.trials[1:]]
    assert [trial.values for trial in known.trials] == [trial.values for trial in whole.trials[1:]]
    assert [copy.source for copy in known.copies.values()] == ["old/00001"]
    wrong = f"{journal} is damaged (line {created[0] + 1} is not what was written there)"
    assert known.text.endswith(f"; {wrong}, and what is whole of it is used")
    assert journal.read_bytes() == before
