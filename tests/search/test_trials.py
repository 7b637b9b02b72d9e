"""Trials on a real Ray with a real store: true ends, no leaks, nothing left running."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from search.clusters.machine import Machine
from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.options import Options
from search.sampling.journal import open_study
from search.sampling.searcher import Judge, OptunaSearcher
from search.store.store import open_store
from search.sweeps.measuring import choose_front
from search.sweeps.trial_events import TrialEvents
from search.sweeps.trials import TrialInputs, make_scheduler, run_trials
from search.teaching.products import ask_features, ask_teacher
from search.tracking.tracker import SweepTracker
from tests.recipes import STUDENT, TEACHER_ID, every_method
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.layers import LAST_STAGE, MIDDLE, PENULTIMATE, STAGES
from trainables.metrics import quality_of
from trainables.models import Custom
from trainables.models.custom import allow
from trainables.optimizers import SGD
from trainables.origins import Fresh
from trainables.recipe import Phase, canonical_json
from trainables.shipping.evaluation import open_student, ship
from trainables.tasks import Digits
from trainables.teachers import Remembered
from trainables.teachers.sources import LocalSources, NoSources
from trainables.trainable import StudentTrial
from trainables.training.trainer import Trainer
from trainables.training.trial_metrics import TrialSettings
from trainables.training.trial_sources import TrialSources


class Silent:
    def changed(self, records):
        pass


class Kept(TrialEvents):
    """Keeps what Ray keeps of its trials."""

    def on_experiment_end(self, trials, **info):
        self.ray_trials = list(trials)


@pytest.fixture(scope="module")
def teacher_file():
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    torch.manual_seed(0)
    return ship(recipe, compress(STUDENT.build((1, 8, 8), 10), recipe))


KEPT = {"predictions.json", "student.rdz", "tensors.json"}


def outputs_of(teacher_file, views=16, **change):
    """What the sweep would put into the object store; the methods ask for 16 views."""
    asked = ask_teacher(teacher_file, Digits().load(None), Digits(), views, "cpu", 1)
    return replace(asked, **{"recipe_id": TEACHER_ID, **change})


def features_of(teacher_file, views=16):
    """Beside the outputs, what losses look at; the same teacher is asked for each place."""
    given = teacher_file, Digits().load(None), Digits(), views
    places = (PENULTIMATE, MIDDLE, STAGES, LAST_STAGE)
    found = ask_features(*given, places, "cpu", 1)
    return {place: tuple(each.values()) for place, each in found.items()}


def one_of_each_kind(epochs):
    """Recipes that differ in what a sweep has to give them: each method's first among its like."""
    kinds = {}
    for recipe in every_method(epochs):
        looked_at = tuple(sorted({place for loss in recipe.losses for place in loss.looks_at()}))
        kind = type(recipe.origin), type(recipe.teacher), looked_at, type(recipe.activations)
        kinds.setdefault(kind, recipe)
    return list(kinds.values())


def test_good_diverging_and_raising_trials_end_as_what_they_are(ray_session, tmp_path, teacher_file):
    good = one_of_each_kind(2)
    assert len(good) > 10 and good[0].losses == ()
    diverging = replace(good[0], phases=(Phase(3, SGD(100.0, weight_decay=1.0)),))
    raising = replace(good[0], origin=Fresh(Custom(target="nobody:Allowed", depth=1, width=1.0)))
    recipes = [good[0], diverging, raising, *good[1:]]
    order = iter(recipes)

    options = Options("s", len(recipes), 0, tmp_path, f"sqlite:///{tmp_path}/mlflow.db", concurrency=2)
    tracker = SweepTracker(options.tracking_uri, tmp_path, "digits", "s")
    tracker.open({}, {"rayduce.metric": "accuracy"})
    study = open_study(tmp_path / "s.journal", "s", ("maximize", "minimize"))
    searcher = OptunaSearcher(
        study,
        lambda trial: next(order),
        Judge(lambda r: [r["validation_accuracy"], r["packed_bytes"]]),
        trials=len(recipes),
        parameters={},
    )
    events = Kept(tracker, Silent(), Yardstick(quality_of("accuracy")))
    settings = TrialSettings(tmp_path / "latency", teacher_bytes=100_000, trials=tracker.folder.trials)
    arrays, outputs = Digits().load(None), outputs_of(teacher_file, features=features_of(teacher_file))
    run_trials(
        searcher,
        make_scheduler(options.yardstick(quality_of("accuracy")), replace(options, scheduler="none")),
        events,
        TrialInputs(
            ray.put(arrays),
            settings,
            {TEACHER_ID: teacher_file},
            ray.put((outputs,)),
            routes={TEACHER_ID: {1: np.frombuffer(teacher_file, np.uint8)}},
        ),
        options,
        Machine("cpu", 2, 1.0, 0.0),
    )
    tracker.finish_sweep("finished", {}, {}, {})
    tracker.close()

    # Or the driver would grow by 26 kB with every trial.
    assert len(events.ray_trials) == len(recipes)
    assert not any(trial.metric_analysis or trial.metric_n_steps for trial in events.ray_trials)

    ends = {record.recipe.recipe_id: record for record in events.records.values()}
    for recipe in good:
        record = ends[recipe.recipe_id]
        assert record.state == "finished", record
        packed = record.packed_file.read_bytes()
        assert len(packed) == record.metrics["packed_bytes"]
        assert record.metrics["compression_ratio"] == pytest.approx(100_000 / len(packed))
        assert record.metrics["latency_ms"] > 0 and record.metrics["macs"] > 0
    assert ends[diverging.recipe_id].state == "failed"
    assert "epoch" in ends[diverging.recipe_id].reason
    assert ends[raising.recipe_id].state == "failed"
    assert "--model" in ends[raising.recipe_id].reason

    trials = open_store(tmp_path, options.tracking_uri).trials("s")
    students = sum(len(recipe.students) for recipe in good)  # of some trials several
    assert sorted(trials["state"]) == ["failed"] * 2 + ["finished"] * students
    assert trials.loc[trials["state"] == "failed", "reason"].notna().all()
    assert sorted(t.state.name for t in study.trials) == ["COMPLETE"] * len(good) + ["FAIL"] * 2

    quality = quality_of("accuracy")
    yardstick = Yardstick(quality, {"validation_accuracy": 1.0})
    front = choose_front(events.records, yardstick)
    assert front and all(events.records[t].state == "finished" for t in front)
    sizes = [events.records[t].metrics["packed_bytes"] for t in front]
    assert sizes == sorted(sizes)
    tight = replace(yardstick, budget=Budget({"packed_bytes": int(sizes[0])}))
    assert choose_front(events.records, tight) == front[:1]
    better = Yardstick(quality, {"validation_accuracy": 1.1}, Budget(max_drop=0))
    assert choose_front(events.records, better) == []
    smallest = events.records[front[0]]
    smallest.metrics["validation_accuracy"] = 0.0  # nothing learnt
    assert smallest.trial_id not in choose_front(events.records, yardstick)


def recipe_of(method, epochs):
    (recipe,) = (recipe for recipe in every_method(epochs) if recipe.method == method)
    return recipe


def local_trial(recipe, tmp_path, teacher_file, outputs=None, trials=None, **config):
    class Local(StudentTrial):
        def setup(self, config):
            super().setup(
                config,
                arrays=Digits().load(None),
                teachers={TEACHER_ID: teacher_file},
                outputs=[outputs_of(teacher_file)] if outputs is None else outputs,
                settings=TrialSettings(tmp_path / "latency", 100_000, trials=trials),
            )

    return Local({"recipe": canonical_json(recipe), "trial": "00000", **config})


def first_epoch(trial):
    """The result of one epoch; that of the untrained student comes before."""
    assert trial.step()["epoch"] == 0
    return trial.step()


def next_epoch(trial):
    """The result of one epoch, of a trial that may have a checkpoint to go on from."""
    standing = trial.step()
    return standing if standing["done"] else trial.step()


def test_the_first_result_is_of_the_untrained_student(tmp_path, teacher_file):
    recipe = recipe_of("post_training_quantization", 2)
    trial = local_trial(recipe, tmp_path, teacher_file)
    first = trial.step()
    cpu = torch.device("cpu")
    alone = Trainer(recipe, recipe.task.open(Digits().load(None), cpu, recipe.seed), NoSources(), cpu)
    assert first["packed_bytes"] == len(alone.ship())
    assert first["epoch"] == 0 and first["state"] == "running" and not first["done"]
    assert 0 <= first["validation_accuracy"] <= 1
    assert not {"loss", "latency_ms"} & first.keys()  # nothing was trained, the table is empty
    trial.step()
    assert trial.step()["latency_ms"] == local_trial(recipe, tmp_path, teacher_file).step()["latency_ms"]


def test_latency_is_measured_first_where_it_decides(tmp_path, teacher_file):
    recipe = recipe_of("full_precision", 2)
    trial = local_trial(recipe, tmp_path, teacher_file)
    trial._settings = replace(trial._settings, first=frozenset({"latency_ms"}))
    assert trial.step()["latency_ms"] > 0


def test_a_reset_keeps_nothing_of_the_trial_before(tmp_path, teacher_file):
    first, second = recipe_of("knowledge_distillation", 2), recipe_of("quantized_distillation", 2)
    trial = local_trial(first, tmp_path, teacher_file)
    trial.step()
    old = [
        weakref.ref(part)
        for part in (trial._trainer.student, trial._trainer.learners[0].policy, trial._trainer.task)
    ]
    assert trial.reset_config({"recipe": canonical_json(second), "trial": "00001"})
    gc.collect()
    assert [part() for part in old] == [None] * 3
    after_another = first_epoch(trial)
    alone = first_epoch(local_trial(second, tmp_path, teacher_file))
    for key in ("loss", "validation_accuracy", "packed_bytes"):
        assert after_another[key] == alone[key]


def test_a_trial_goes_on_from_its_own_folder(tmp_path, teacher_file, monkeypatch):
    """Wherever it is started again, and as often; trained anew are only epochs without a checkpoint."""
    monkeypatch.setattr("trainables.training.trial_folder.LEAST_RATIO", 0.0)  # a checkpoint after every epoch
    recipe = recipe_of("quantized_distillation", 3)
    straight = local_trial(recipe, tmp_path, teacher_file)
    for _ in range(4):
        end = straight.step()
    trained = []
    real = Trainer.train_epoch
    monkeypatch.setattr(Trainer, "train_epoch", lambda self: (trained.append(self.epoch), real(self))[1])
    trials = tmp_path / "trials"
    for epoch in (1, 2, 3):  # three processes, an epoch each
        result = next_epoch(local_trial(recipe, tmp_path, teacher_file, trials=trials))
        assert result["epoch"] == epoch and result["done"] == (epoch == 3)
        assert (trials / "00000" / "state.safetensors").exists() == (epoch < 3)
    assert trained == [0, 1, 2]
    unequal = {"seconds", "latency_ms", "loss"}
    assert {k: v for k, v in result.items() if k not in unequal} == {
        k: v for k, v in end.items() if k not in unequal
    }
    assert result["loss"] == end["loss"] and result["seconds"] > 0
    assert {path.name for path in (trials / "00000").iterdir()} == KEPT
    assert len((trials / "00000" / "student.rdz").read_bytes()) == end["packed_bytes"]

    again = local_trial(recipe, tmp_path, teacher_file, trials=trials).step()  # nobody had heard of its end
    assert trained == [0, 1, 2] and again["state"] == "finished"
    assert {again[k] == result[k] for k in ("epoch", "packed_bytes", "validation_accuracy", "macs")} == {True}
    assert {path.name for path in (trials / "00000").iterdir()} == KEPT


def test_a_trial_goes_on_where_another_was_ended(tmp_path, teacher_file, monkeypatch):
    """Its process may be killed at any moment of taking over; each epoch is trained once."""
    monkeypatch.setattr("trainables.training.trial_folder.LEAST_RATIO", 0.0)
    recipe, trials = recipe_of("quantized_distillation", 3), tmp_path / "trials"
    straight = local_trial(recipe, tmp_path, teacher_file)
    for _ in range(4):
        end = straight.step()
    old = local_trial(recipe, tmp_path, teacher_file, trials=trials)
    for _ in range(3):
        shown = old.step()
    assert shown["epoch"] == 2  # there it was ended

    def new():
        return local_trial(recipe, tmp_path, teacher_file, trials=trials, trial="00007", continues="00000")

    states = [trials / name / "state.safetensors" for name in ("00000", "00007")]
    whole = states[0].read_bytes()
    with monkeypatch.context() as killed:
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):  # after the copy was written, before the other went
            new().step()
    assert all(state.exists() for state in states)
    states[0].write_bytes(b"is not looked at any more")
    standing = new().step()
    assert standing["seconds"] < shown["seconds"], "what it took before is the other trial's"
    for key in ("epoch", "validation_accuracy", "packed_bytes"):
        assert standing[key] == shown[key]
    states[1].unlink()
    states[0].write_bytes(whole)  # killed before the copy was written
    again = new()
    assert again.step()["epoch"] == 2
    assert [state.exists() for state in states] == [False, True]
    last = again.step()
    assert last["state"] == "finished" and last["loss"] == end["loss"]
    assert {last[key] == end[key] for key in ("epoch", "packed_bytes", "validation_accuracy")} == {True}

    states[0].write_bytes(whole[:-1])
    damaged = local_trial(recipe, tmp_path, teacher_file, trials=trials, trial="00008", continues="00000")
    assert [damaged.step()["epoch"] for _ in range(2)] == [0, 1]
    assert not states[0].exists() and Path(f"{states[0]}.damaged").read_bytes() == whole[:-1]
    none = local_trial(recipe, tmp_path, teacher_file, trials=trials, trial="00009", continues="00005")
    assert none.step()["epoch"] == 0  # ended before it trained, or before a checkpoint was worth its time


def test_what_is_damaged_or_anothers_in_a_trials_folder_is_set_aside(tmp_path, teacher_file, monkeypatch):
    """The trial begins from its beginning, to the same end, which says so."""
    monkeypatch.setattr("trainables.training.trial_folder.LEAST_RATIO", 0.0)
    recipe, other = recipe_of("quantized_distillation", 2), recipe_of("knowledge_distillation", 2)

    def start(recipe):
        return local_trial(recipe, tmp_path, teacher_file, trials=tmp_path / "trials")

    def end(trial):
        while not (result := trial.step())["done"]:
            pass
        return result

    straight = end(start(recipe))
    folder = tmp_path / "trials" / "00000"
    state, student = folder / "state.safetensors", folder / "student.rdz"
    file = student.read_bytes()
    student.unlink()
    assert next_epoch(start(other))["epoch"] == 1
    theirs = state.read_bytes()
    state.unlink()
    assert next_epoch(start(recipe))["epoch"] == 1
    whole = state.read_bytes()
    assert start(recipe).step()["epoch"] == 1, "a whole one is gone on from"
    cases = {
        state: (whole[:-1], b"", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], theirs),
        student: (b"no student", file[:-1], b""),
    }
    number = 0
    for path, contents in cases.items():
        for content in contents:
            student.unlink(missing_ok=True)
            path.write_bytes(content)
            trial = start(recipe)
            assert trial.step()["epoch"] == 0
            result = end(trial)
            number += path == state
            aside = f"{path.name}.damaged" + (f"-{number}" if path == state and number > 1 else "")
            assert (folder / f"{path.name}.damaged").exists()
            assert result["state"] == "finished" and student.read_bytes() == file
            assert result["validation_accuracy"] == straight["validation_accuracy"]
            assert result["reason"].startswith("begun anew, as ") and str(folder) in result["reason"]
            if path == state:
                assert (folder / aside).read_bytes() == content
                assert f"it is {aside} now" in result["reason"]


def test_a_trial_without_memory_fails_with_its_reason(tmp_path, teacher_file):
    recipe = recipe_of("post_training_quantization", 2)
    allow("tests.search.dying:Hungry")
    huge = replace(recipe, origin=Fresh(Custom(target="tests.search.dying:Hungry", depth=1, width=1.0)))
    trial = local_trial(huge, tmp_path, teacher_file)
    result = trial.step()
    assert result["state"] == "failed" and result["done"], result
    assert result["reason"].startswith("memory ran out at an allocation") and "smaller" in result["reason"]
    assert trial.reset_config({"recipe": canonical_json(recipe), "trial": "00001"})
    assert first_epoch(trial)["epoch"] == 1, "the process serves the next trial"


def test_an_epoch_reports_what_would_be_shipped(tmp_path, teacher_file):
    """A quantizing method that has not switched quantization on yet reports the quantized size already."""
    full, quantized = recipe_of("full_precision", 3), recipe_of("post_training_quantization", 3)
    sizes = [local_trial(r, tmp_path, teacher_file).step()["packed_bytes"] for r in (full, quantized)]
    assert sizes[1] < sizes[0] / 2


def test_outputs_lie_in_the_object_store_once_and_are_not_copied(ray_session, teacher_file):
    reference = ray.put((outputs_of(teacher_file),))

    @ray.remote
    def look(outputs):
        (kept,) = outputs
        sources = TrialSources({}, outputs, {})
        task = Digits().open(Digits().load(None), torch.device("cpu"), 3)
        served = sources.outputs(TEACHER_ID, 16, task)
        policy = Remembered(TEACHER_ID).build(sources, task, torch.nn.Identity())
        array, served = kept.values["outputs"], served["outputs"]
        same = served.data_ptr() == policy.to("cpu").outputs.data_ptr() == array.ctypes.data
        return same, array.flags.writeable, served.sum(dtype=torch.float64).item()

    same, writeable, total = ray.get(look.remote(reference))
    assert same and not writeable
    assert total == ray.get(reference)[0].values["outputs"].sum(dtype=np.float64)


def test_a_trial_is_never_served_the_outputs_of_others(tmp_path, teacher_file):
    recipe = recipe_of("knowledge_distillation", 2)
    assert isinstance(recipe.teacher, Remembered)
    for wrong, text in (
        ([], f"no outputs of recipe {TEACHER_ID} in 16 views"),
        ([outputs_of(teacher_file, views=3)], "in 16 views"),
        ([outputs_of(teacher_file, recipe_id="f" * 16)], f"no outputs of recipe {TEACHER_ID}"),
        ([outputs_of(teacher_file, fingerprint="abc")], "of the inputs abc"),
    ):
        assert text in local_trial(recipe, tmp_path, teacher_file, wrong).step()["reason"]
    other_augmentation = replace(recipe, task=replace(recipe.task, padding=2))
    result = local_trial(other_augmentation, tmp_path, teacher_file).step()
    assert result["state"] == "failed" and "but the trial trains on" in result["reason"]
    moved = replace(recipe, seed=9, task=replace(recipe.task, batch_size=200))
    assert first_epoch(local_trial(moved, tmp_path, teacher_file))["epoch"] == 1


def test_a_trials_outputs_are_those_of_a_trainer_without_a_sweep(tmp_path, teacher_file):
    recipe = recipe_of("knowledge_distillation", 2)
    task = recipe.task.open(Digits().load(None), torch.device("cpu"), recipe.seed)
    alone = Trainer(recipe, task, LocalSources(lambda _: open_student(teacher_file)[1]), task.device)
    assert first_epoch(local_trial(recipe, tmp_path, teacher_file))["loss"] == alone.train_epoch()["loss"]
