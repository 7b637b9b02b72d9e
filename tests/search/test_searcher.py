"""Our searcher on Optuna's ask and tell: true states, starting points, constraints, going on after a kill."""

import json
import math
import threading
import time

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search.sampling.journal import JournalDamaged, open_study
from search.sampling.samplers import SAMPLERS, Sampler, find_sampler
from search.sampling.searcher import EARLIER, Judge, OptunaSearcher
from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from trainables import methods
from trainables.models import ConvNet
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.recipe import recipe_from_dict
from trainables.tasks import Digits

images = sized(IMAGES, (1, 2), (0.1, 1.0))
CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=3)
DIRECTIONS = ("maximize", "minimize")


def objectives(result):
    return [result.get("validation_accuracy", math.nan), math.log2(result.get("packed_bytes", math.nan))]


def space(trial):
    return images(trial, CONTEXT)


def searcher_on(study, trials=1000, judge=Judge(objectives), **options):
    return OptunaSearcher(
        study, space, judge, trials=trials, parameters=images.parameters(CONTEXT), **options
    )


def finished(accuracy=0.9, size=1024):
    return {"state": "finished", "validation_accuracy": accuracy, "packed_bytes": size}


def suggested(searcher, trial_id):
    """What is suggested, asked again as Ray asks again."""
    while (config := searcher.suggest(trial_id)) is None:
        time.sleep(0.01)
    return config


def of_recipe(config):
    """A result that is a function of the recipe."""
    recipe = recipe_from_dict(json.loads(config["recipe"]))
    size = round(1e5 * recipe.model.width * recipe.model.depth)
    return finished(1 - 1 / math.log(size), size)


@pytest.fixture
def study(tmp_path):
    return open_study(tmp_path / "studies" / "s.journal", "s", DIRECTIONS)


def test_states_are_true(study):
    searcher = searcher_on(study)
    seen = {**finished(0.5), "state": "pruned", "reason": "dominated", "epoch": 1}
    ends = {
        "good": (finished(), False, TrialState.COMPLETE),
        "raised": (finished(), True, TrialState.FAIL),
        "diverged": ({"state": "failed", "reason": "nan"}, False, TrialState.FAIL),
        "nan": (finished(accuracy=float("nan")), False, TrialState.FAIL),
        "nothing": (None, False, TrialState.FAIL),
        "pruned": (seen, False, TrialState.PRUNED),
        "pruned unmeasured": ({"state": "pruned", "packed_bytes": 8}, False, TrialState.PRUNED),
        "ended from outside": ({**finished(), "state": "running"}, False, TrialState.RUNNING),
    }
    for trial_id, (result, error, _) in ends.items():
        searcher.suggest(trial_id)
        searcher.on_trial_complete(trial_id, result, error)
        searcher.on_trial_complete(trial_id, result, error)  # told twice, nothing happens
    assert [trial.state for trial in study.trials] == [state for _, _, state in ends.values()]
    assert study.trials[0].values == [0.9, 10.0]
    pruned, unmeasured = study.trials[5:7]
    assert pruned.user_attrs["seen"] == {"validation_accuracy": 0.5, "packed_bytes": 1024, "epoch": 1}
    assert pruned.user_attrs["seen_values"] == [0.5, 10.0]
    assert "seen_values" not in unmeasured.user_attrs and unmeasured.user_attrs["seen"] == {"packed_bytes": 8}


def test_the_config_is_the_recipe(study):
    config = searcher_on(study).suggest("a")
    recipe = recipe_from_dict(json.loads(config["recipe"]))
    assert recipe.recipe_id == study.trials[0].user_attrs["recipe_id"]
    assert config["trial"] == "00000"


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_starting_points_come_first(study, sampler):
    points = images.starting_points(CONTEXT)
    searcher = searcher_on(study, starting_points=points, sampler=sampler)
    for number, point in enumerate(points):
        recipe = recipe_from_dict(json.loads(searcher.suggest(str(number))["recipe"]))
        assert recipe == space(optuna.trial.FixedTrial(point))
        assert study.trials[number].params.items() >= point.items()


def test_it_ends_with_the_last_trial(study):
    searcher = searcher_on(study, trials=2)
    assert [isinstance(searcher.suggest(str(n)), dict) for n in range(2)] == [True, True]
    assert searcher.suggest("2") == Searcher.FINISHED


def test_constraints_reach_optuna(study):
    searcher = searcher_on(
        study, judge=Judge(objectives, lambda result: {"packed_bytes": result["packed_bytes"] - 1000})
    )
    for trial_id, size in (("large", 4000), ("small", 500)):
        searcher.suggest(trial_id)
        searcher.on_trial_complete(trial_id, finished(0.9 if size > 1000 else 0.5, size))
    assert [t.values[1] for t in study.best_trials] == [math.log2(500)]
    searcher.suggest("pruned")
    searcher.on_trial_complete("pruned", {"state": "pruned", "packed_bytes": 3000})
    assert study.trials[2].constraints == {"packed_bytes": 2000}


def test_a_study_is_continued_only_on_purpose(tmp_path):
    journal = tmp_path / "s.journal"
    with pytest.raises(JournalDamaged, match="missing"):
        open_study(journal, "s", DIRECTIONS, resume=True)
    open_study(journal, "s", DIRECTIONS)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        open_study(journal, "s", DIRECTIONS)
    with pytest.raises(JournalDamaged, match="directions"):
        open_study(journal, "s", ("maximize",), resume=True)


def swept(journal, sampler, trials, kill=None):
    """Recipe ids of a sweep of one trial at a time; ``kill`` names the suggestion after which it is killed.

    Every fifth trial is pruned and every seventh fails.
    """
    study = open_study(journal, "s", DIRECTIONS, resume=journal.exists())
    points = images.starting_points(CONTEXT)
    searcher = searcher_on(study, trials, sampler=sampler, seed=3, starting_points=points)
    while (config := suggested(searcher, "t")) != Searcher.FINISHED:
        number = int(config["trial"])
        if number == kill:
            break
        result = of_recipe(config)
        result["state"] = "pruned" if number % 5 == 4 else "failed" if number % 7 == 6 else "finished"
        searcher.on_trial_complete("t", result)
    return [trial.user_attrs["recipe_id"] for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", "qmc", "reinforce"])
def test_a_killed_sweep_goes_on_as_if_it_had_not_been(tmp_path, name):
    sampler = find_sampler(name)
    trials = 46 if name == "nsga2" else 24  # its second generation begins late
    straight = swept(tmp_path / "a.journal", sampler, trials)
    assert len(straight) == len(set(straight)) == trials
    for kill in (3, trials - 5):
        swept(tmp_path / "b.journal", sampler, trials, kill)
    assert swept(tmp_path / "b.journal", sampler, trials) == straight
    other = searcher_on(open_study(tmp_path / "c.journal", "s", DIRECTIONS), seed=4, sampler=sampler)
    first = searcher_on(open_study(tmp_path / "d.journal", "s", DIRECTIONS), seed=3, sampler=sampler)
    assert other.suggest("t")["recipe"] != first.suggest("t")["recipe"]


def test_a_killed_sweep_of_gaussian_processes_goes_on_as_if_it_had_not_been(tmp_path):
    gp = find_sampler("gp")
    straight = swept(tmp_path / "a.journal", gp, 14)
    swept(tmp_path / "b.journal", gp, 14, kill=12)
    assert swept(tmp_path / "b.journal", gp, 14) == straight
    study = open_study(tmp_path / "b.journal", "s", DIRECTIONS, resume=True)
    for trial in study.trials:  # it learns from all parameters, but only those in use are facts
        fixed = optuna.trial.FixedTrial(trial.params)
        space(fixed)
        assert fixed.params == trial.params


def test_what_was_written_down_before_a_kill_is_handed_out_under_its_name(tmp_path):
    journal = tmp_path / "s.journal"
    first = searcher_on(open_study(journal, "s", DIRECTIONS), trials=4)
    configs = [first.suggest(name) for name in "abc"]
    first.on_trial_complete("b", finished())
    study = open_study(journal, "s", DIRECTIONS, resume=True)
    waiting = first._proposals.propose(3)
    study.add_trial(waiting.trial(TrialState.WAITING))  # killed between this and its start
    again = searcher_on(open_study(journal, "s", DIRECTIONS, resume=True), trials=4)
    handed = [again.suggest(name) for name in "xyz"]
    assert handed[:2] == [configs[0], configs[2]]
    assert handed[2]["trial"] == "00003"
    assert again.suggest("end") == Searcher.FINISHED
    for name in "xyz":
        again.on_trial_complete(name, finished())
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


FEW = {"bits": IntDistribution(1, 5), "buckets": IntDistribution(8, 9)}


def one_of_ten(trial):
    drawn = {name: trial.suggest_int(name, d.low, d.high) for name, d in FEW.items()}
    task, model = CONTEXT.task, CONTEXT.origins[0][1].model
    return methods.post_training_quantization(
        methods.Setting(task, Fresh(model), epochs=3),
        quantizer=Uniform(drawn["bits"], 2 ** drawn["buckets"]),
        optimizer=AdamW(5e-3),
    )


def swept_to_the_end(journal, name, kill=None):
    """Recipe ids of 36 trials of ten recipes, two at a time; one is of an earlier sweep."""
    study = open_study(journal, "s", DIRECTIONS, resume=journal.exists())
    if not study.trials:
        params = {"bits": 2, "buckets": 9}
        earlier = one_of_ten(optuna.trial.FixedTrial(params)).recipe_id
        study.add_trial(
            optuna.trial.create_trial(
                values=[0.5, 9.0],
                params=params,
                distributions=FEW,
                user_attrs={EARLIER: "s-0/00003", "recipe_id": earlier},
            )
        )
    sampler = find_sampler(name)
    searcher = OptunaSearcher(
        study, one_of_ten, Judge(objectives), trials=36, parameters=FEW, sampler=sampler
    )
    running = None
    while (config := suggested(searcher, "new")) != Searcher.FINISHED:
        number = int(config["trial"])
        if running is not None:
            state = ("finished", "pruned", "failed")[running % 3]
            searcher.on_trial_complete(f"t{running}", {**of_recipe(config), "state": state})
        searcher._open[f"t{number}"] = searcher._open.pop("new")
        running = number
        if number == kill:
            break
    else:
        assert searcher.exhausted and searcher.suggest("again") == Searcher.FINISHED
    return [trial.user_attrs["recipe_id"] for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random", "qmc", "reinforce"])
def test_no_recipe_is_drawn_twice_and_a_sweep_of_all_ends(tmp_path, name):
    straight = swept_to_the_end(tmp_path / "a.journal", name)
    assert len(straight) == len(set(straight)) == 10
    swept_to_the_end(tmp_path / "b.journal", name, kill=4)
    again = swept_to_the_end(tmp_path / "b.journal", name)
    assert sorted(again) == sorted(straight)


def test_a_sweep_with_room_left_is_not_exhausted(study):
    searcher = searcher_on(study, trials=2)
    assert [type(searcher.suggest(name)) for name in "abc"] == [dict, dict, str]
    assert not searcher.exhausted


class Early:
    """Says that trials of these names were ended too early, one after the other."""

    def __init__(self, *names):
        self.names, self.told = list(names), []

    def promising(self):
        return self.names[0] if self.names else None

    def begin(self, name, recipe):
        pass

    def take_up(self, name, as_name):
        self.names = [each for each in self.names if each != name]
        self.told.append((name, as_name))


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random", "qmc", "reinforce"])
def test_a_pruned_trial_is_taken_up_before_another_is_drawn(tmp_path, name):
    journal, sampler = tmp_path / "s.journal", find_sampler(name)
    points = images.starting_points(CONTEXT)[:2]
    options = {"trials": 5, "sampler": sampler, "starting_points": points}
    early = Early("00000")
    searcher = searcher_on(open_study(journal, "s", DIRECTIONS), revisits=early, **options)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert "continues" not in first and not early.told  # starting points come first
    searcher.on_trial_complete("a", {**finished(0.5), "state": "pruned"})
    third = suggested(searcher, "c")
    assert third == {"recipe": first["recipe"], "trial": "00002", "continues": "00000"}
    assert early.told == [("00000", "00002")]
    fourth = suggested(searcher, "d")
    assert "continues" not in fourth and fourth["recipe"] not in (first["recipe"], second["recipe"])
    searcher.on_trial_complete("b", finished())

    study = open_study(journal, "s", DIRECTIONS, resume=True)  # the driver was killed
    assert [trial.user_attrs.get("continues") for trial in study.trials] == [None, None, "00000", None]
    early = Early()
    again = searcher_on(study, revisits=early, **options)
    assert [again.suggest(each) for each in "xy"] == [third, fourth]
    assert early.told == [("00000", "00002")]
    again.on_trial_complete("x", finished())
    assert suggested(again, "z")["trial"] == "00004" and again.suggest("end") == Searcher.FINISHED
    assert [trial.state.name for trial in study.trials][:3] == ["PRUNED", "COMPLETE", "COMPLETE"]


def test_a_slow_sampler_never_keeps_ray_waiting(study):
    gate = threading.Event()

    class Slow(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            gate.wait(30)

    slow = Sampler("slow", lambda seed, number, attempt: Slow(number), whole=True, ahead=True)
    searcher = searcher_on(study, trials=3, sampler=slow)
    assert [searcher.suggest("a") for _ in range(3)] == [None] * 3 and not study.trials
    gate.set()
    drawn = [suggested(searcher, name)["trial"] for name in "abc"]
    assert drawn == ["00000", "00001", "00002"]
    assert searcher.suggest("d") == Searcher.FINISHED


def test_an_error_of_a_slow_sampler_is_not_kept_quiet(study):
    class Broken(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            raise RuntimeError("no luck")

    broken = Sampler("broken", lambda seed, number, attempt: Broken(), whole=True, ahead=True)
    searcher = searcher_on(study, sampler=broken)
    with pytest.raises(RuntimeError, match="no luck"):
        suggested(searcher, "a")


def test_earlier_trials_count_neither_as_trials_nor_as_starting_points(study):
    drawn = optuna.create_study().ask()
    recipe = space(drawn)
    kept = optuna.trial.create_trial(
        values=[0.5, 10.0],
        params=drawn.params,
        distributions=drawn.distributions,
        user_attrs={EARLIER: "s-0/00003", "recipe_id": recipe.recipe_id},
    )
    study.add_trials([kept] * 12)
    points = images.starting_points(CONTEXT)[:1]
    searcher = searcher_on(study, trials=2, starting_points=points)
    config = searcher.suggest("a")
    assert config["trial"] == "00012"
    assert recipe_from_dict(json.loads(config["recipe"])) == space(optuna.trial.FixedTrial(points[0]))
    assert searcher.suggest("b")["trial"] == "00013"
    assert searcher.suggest("c") == Searcher.FINISHED


def test_ray_may_ask_for_the_state(study, tmp_path):
    searcher_on(study).save(str(tmp_path / "state"))
    assert json.loads((tmp_path / "state").read_text()) == {"study": "s"}


def test_it_learns_from_what_it_is_told(study):
    """With a known best region (width as small as possible), later trials are smaller than random ones."""
    searcher = searcher_on(study, seed=0)
    widths = []
    for number in range(60):
        recipe = recipe_from_dict(json.loads(searcher.suggest(str(number))["recipe"]))
        widths.append(recipe.model.width)
        searcher.on_trial_complete(str(number), finished(0.5, round(1e5 * recipe.model.width)))
    assert sum(widths[40:]) < 0.7 * sum(widths[:20])


def test_it_learns_from_pruned_trials():
    """Where every narrow student is pruned, fewer of them are drawn."""
    narrow = []
    for seed in range(3):
        searcher = searcher_on(optuna.create_study(directions=DIRECTIONS), seed=seed)
        for number in range(60):
            config = searcher.suggest(str(number))
            recipe = recipe_from_dict(json.loads(config["recipe"]))
            narrow.append(recipe.model.width < 0.3)
            result = finished(0.5, 1000)
            result |= {"state": "pruned"} if narrow[-1] else {}
            searcher.on_trial_complete(str(number), result)
    late = [each for number, each in enumerate(narrow) if number % 60 >= 40]
    assert sum(late) < 0.25 * len(late)  # at random it would be 48 % of them
