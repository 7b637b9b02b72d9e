"""Trials begin where others' first phases ended, and their students are what they would have been."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from tests.recipes import STUDENT, setting
from trainables import methods
from trainables.quantizers import Symmetric, Uniform
from trainables.recipe import canonical_json
from trainables.tasks import Digits
from trainables.trainable import StudentTrial
from trainables.training.prefixes import Prefix, prefixes
from trainables.training.shared_phases import PARTIAL, PhaseFolder, SharedPhases
from trainables.training.trial_metrics import TrialSettings

GIVEN = replace(setting(Digits(batch_size=128), STUDENT, 2), teacher=None)
ROUNDED = [methods.post_training_quantization(GIVEN, quantizer=Uniform(bits)) for bits in (2, 4, 8)]
LATE = [methods.quantization_aware_training(GIVEN, quantizer=Symmetric(bits)) for bits in (3, 5)]


@pytest.fixture(scope="module")
def arrays():
    return {name: values[:128] for name, values in Digits().load(None).items()}


@pytest.fixture
def begin(arrays, tmp_path):
    """Makes the trial of a recipe, in a process that may share phases in the folder ``phases``."""

    class Local(StudentTrial):
        def setup(self, config):
            super().setup(config, arrays, {}, [], config.pop("settings"))

    def make(recipe, name, *, limit=10**6, basis="", folder=tmp_path / "phases"):
        torch.set_num_threads(1)
        phases = PhaseFolder(folder, limit, basis)
        settings = TrialSettings(None, teacher_bytes=1000, trials=tmp_path / "trials", phases=phases)
        return Local({"recipe": canonical_json(recipe), "trial": name, "settings": settings})

    return make


def results_of(trial):
    results = [trial.step()]
    while not results[-1]["done"]:
        results.append(trial.step())
    return results


def student(tmp_path, name):
    return (tmp_path / "trials" / name / "student.rdz").read_bytes()


def test_one_training_gives_students_of_all_bits(begin, tmp_path):
    own, *others = [results_of(begin(recipe, f"0000{n}")) for n, recipe in enumerate(ROUNDED)]
    assert [result["epoch"] for result in own] == [0, 1, 2]
    assert "shared_epochs" not in own[-1]
    for number, results in enumerate(others, 1):
        untrained, last = results  # no epoch was trained
        assert (untrained["epoch"], last["epoch"], last["state"]) == (0, 2, "finished")
        assert last["shared_epochs"] == 2
        assert 0 < last["shared_seconds"] < own[-1]["seconds"]
        assert last["loss"] == own[-1]["loss"]
        alone = results_of(begin(ROUNDED[number], f"alone{number}", limit=0, folder=tmp_path / "none"))
        assert student(tmp_path, f"0000{number}") == student(tmp_path, f"alone{number}")
        told = {"seconds", "shared_epochs", "shared_seconds"}
        assert {k: v for k, v in last.items() if k not in told} == {
            k: v for k, v in alone[-1].items() if k not in told
        }


def test_a_sibling_that_is_killed_goes_on_to_the_same_student(begin, tmp_path):
    results_of(begin(LATE[0], "00000"))
    killed = begin(LATE[1], "00001")
    assert [killed.step()["epoch"], killed.step()["epoch"]] == [0, 1]
    again = results_of(begin(LATE[1], "00001"))
    assert [result["epoch"] for result in again] == [1, 2]
    results_of(begin(LATE[1], "alone", limit=0))
    assert student(tmp_path, "00001") == student(tmp_path, "alone")


def test_other_data_other_code_and_other_machines_share_nothing(begin, tmp_path, monkeypatch):
    results_of(begin(ROUNDED[0], "00000"))
    assert len(results_of(begin(ROUNDED[1], "00001", basis="other"))) == 3
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    assert len(results_of(begin(ROUNDED[1], "00002"))) == 3
    assert len(list((tmp_path / "phases").iterdir())) == 3


def test_another_teacher_under_the_same_recipe_shares_nothing(tmp_path):
    recipe = methods.differentiable_quantization(setting(Digits(), STUDENT, 2))
    (prefix,) = prefixes(recipe)
    name = recipe.teacher.recipe_id
    folder = PhaseFolder(tmp_path, 10**6, "")
    first, other, beside = (
        SharedPhases(folder, "cpu", 1, {name: file, "f" * 16: more})
        for file, more in ((b"a", b""), (b"b", b""), (b"a", b"c"))
    )
    first.keep(recipe, prefix, {"a": torch.zeros(3)}, 0.5, 1.0)
    assert other.find(recipe) is None
    assert beside.find(recipe).loss == 0.5  # of a network that this recipe does not ask


def test_damaged_phases_are_trained_anew_and_told(begin, tmp_path):
    results_of(begin(ROUNDED[0], "00000"))
    (kept,) = (tmp_path / "phases").iterdir()
    data = bytearray(kept.read_bytes())
    data[-1] ^= 1
    kept.write_bytes(data)
    results = results_of(begin(ROUNDED[1], "00001"))
    assert len(results) == 3
    assert "first phases are trained anew" in results[-1]["reason"]
    assert "checksum" in results[-1]["reason"]
    assert results_of(begin(ROUNDED[2], "00002"))[-1]["shared_epochs"] == 2  # those are whole again


def test_a_store_that_takes_no_phases_fails_no_trial(begin, tmp_path):
    (tmp_path / "file").write_text("")
    last = results_of(begin(ROUNDED[0], "00000", folder=tmp_path / "file" / "phases"))[-1]
    assert last["state"] == "finished"
    assert "not kept for others" in last["reason"]


def kept_in(path, *, limit):
    return SharedPhases(PhaseFolder(path, limit, ""), "cpu", 1, {})


def prefix_of(recipe) -> Prefix:
    return prefixes(recipe)[-1]


def seeded(seed):
    return methods.full_precision(replace(GIVEN, seed=seed))


def test_what_was_not_used_for_the_longest_makes_room(tmp_path):
    shared = kept_in(tmp_path, limit=12_000)
    content = {"a": torch.arange(800.0)}  # 3.2 kB: three fit

    def keep(seed, age):
        before = set(tmp_path.iterdir()) if tmp_path.exists() else set()
        shared.keep(seeded(seed), prefix_of(seeded(seed)), content, 0.1, 1.0)
        (new,) = set(tmp_path.iterdir()) - before
        os.utime(new, (time.time() - age,) * 2)

    for seed in range(3):
        keep(seed, age=100 - seed)
    abandoned = tmp_path / f".half{PARTIAL}"
    abandoned.write_bytes(b"x" * 9000)
    os.utime(abandoned, (0, 0))
    assert shared.find(seeded(0)) is not None  # used just now, so the second is the oldest
    shared.keep(seeded(3), prefix_of(seeded(3)), content, 0.1, 1.0)
    assert [shared.find(seeded(seed)) is not None for seed in range(4)] == [True, False, True, True]
    assert not abandoned.exists()
    shared.keep(seeded(4), prefix_of(seeded(4)), {"a": torch.zeros(5000)}, 0.1, 1.0)  # more than all
    assert [shared.find(seeded(seed)) is not None for seed in range(5)] == [True, False, True, True, False]
    assert not shared.told


def test_many_at_once_find_whole_phases_or_none(tmp_path):
    recipes = [seeded(seed) for seed in range(6)]

    def work(number):
        shared = kept_in(tmp_path, limit=8000)  # two of six fit, so there is no end of removing
        found = 0
        for turn in range(12):
            seed = (number + turn) % 6
            content = {"a": torch.full((800,), float(seed))}
            shared.keep(recipes[seed], prefix_of(recipes[seed]), content, seed, 1.0)
            if (kept := shared.find(recipes[(seed + turn) % 6])) is not None:
                assert torch.equal(kept.tensors["a"], torch.full((800,), kept.loss))
                found += 1
        return found, shared.told

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(work, range(4)))
    assert sum(found for found, _ in ends) > 0
    assert all(not told for _, told in ends)
