"""The policy-gradient sampler: rewards, learning, exploring on, and the same draws from the same trials."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from search.sampling.places import at, bins_of, place_of
from search.sampling.reinforce import Policy, ReinforceSampler, Settings, policy_of, rewards
from search.sampling.samplers import find_sampler

BOTH = (StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE)
BITS = IntDistribution(2, 8)
SPACE = {
    "kind": CategoricalDistribution(("plain", "mixed")),
    "bits": BITS,
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "share": FloatDistribution(-1.0, 1.0),
    "one": FloatDistribution(2.0, 2.0),
}


def ended(values=None, constraints=None, state=TrialState.COMPLETE, params=None):
    params = params or {}
    return create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: SPACE[name] for name in params},
        constraints=constraints,
    )


@pytest.mark.parametrize("name", SPACE)
def test_a_values_place_is_where_it_was_drawn(name):
    distribution = SPACE[name]
    count = bins_of(distribution, 8)
    for number in range(count):
        share = (number + 0.5) / count
        place = place_of(distribution, at(distribution, share))
        assert place == pytest.approx(0.5 if name == "one" else share)
    assert bins_of(BITS, 8) == 7 and bins_of(IntDistribution(1, 100), 8) == 8


def test_rewards_are_the_share_of_trials_that_are_worse():
    front, equal, second = [0.9, 10.0], [0.9, 10.0], [0.8, 11.0]
    other_end, third = [0.5, 5.0], [0.7, 12.0]
    found = rewards([ended(values) for values in (front, equal, second, other_end, third)], BOTH)
    assert found == [0.75, 0.75, 0.25, 0.75, 0.0]
    assert rewards([ended([0.2]), ended([0.1])], (StudyDirection.MINIMIZE,)) == [0.0, 1.0]
    assert rewards([ended([0.2])], (StudyDirection.MINIMIZE,)) == [0.0]


def test_students_over_a_limit_are_behind_and_pruned_ones_last():
    trials = [
        ended(state=TrialState.PRUNED),
        ended([0.9, 1.0], {"size": 3.0, "points": -1.0}),
        ended([0.1, 9.0], {"size": -1.0, "points": -1.0}),
        ended([0.2, 9.0], {"size": 1.0, "points": 1.0}),
    ]
    assert rewards(trials, BOTH) == pytest.approx([0.0, 1 / 3, 1.0, 2 / 3])


def test_a_policy_never_stops_exploring():
    policy = Policy(Settings(floor=0.2))
    policy.learn(ended([1.0], params={"kind": "plain"}), 0.0)  # the baseline begins here
    for _ in range(300):
        policy.learn(ended([1.0], params={"kind": "mixed", "bits": 8}), 1.0)
        policy.learn(ended([0.0], params={"kind": "plain", "bits": 2}), 0.0)
    kinds, bits = (policy.probabilities(name, SPACE[name]) for name in ("kind", "bits"))
    assert kinds.sum() == pytest.approx(1.0) and bits.sum() == pytest.approx(1.0)
    assert kinds[1] > 0.85 and kinds[0] >= 0.1
    assert bits.argmax() == 6 and bits.min() >= 0.2 / 7
    assert policy.probabilities("rate", SPACE["rate"]) == pytest.approx(np.full(8, 1 / 8))


def test_what_is_like_the_others_teaches_nothing():
    policy = Policy(Settings())
    for _ in range(20):
        policy.learn(ended([1.0], params={"bits": 4}), 0.5)
    assert policy.probabilities("bits", BITS) == pytest.approx(np.full(7, 1 / 7))


SENSITIVITIES = (8.0, 0.5, 4.0, 0.1, 2.0, 0.2)


def allocate(trial):
    """Layers of known sensitivities share bits: what is lost, and what is over a budget of 24 bits."""
    bits = [trial.suggest_int(f"bits.{layer}", 2, 8) for layer in range(len(SENSITIVITIES))]
    lost = sum(each * 4.0**-count for each, count in zip(SENSITIVITIES, bits, strict=True))
    return np.log2(lost) + 2.0 * max(sum(bits) - 24, 0)


def searched(name, seed, trials=60):
    study = optuna.create_study()
    for number in range(trials):
        study.sampler = find_sampler(name).make(seed, number, 0)
        trial = study.ask()
        study.tell(trial, allocate(trial))
    return study


def test_it_finds_better_bits_than_random_draws():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    values = {
        name: np.array([[trial.value for trial in searched(name, seed).trials] for seed in range(5)])
        for name in ("random", "reinforce")
    }
    late = {name: each[:, 30:].mean() for name, each in values.items()}
    assert late["reinforce"] < late["random"] - 4.0
    assert values["reinforce"].min(1).mean() < values["random"].min(1).mean()


def test_draws_are_a_function_of_the_seed_and_of_the_trials_that_ended():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    whole = searched("reinforce", 3)
    half = optuna.create_study()
    half.add_trials(whole.trials[:30])
    for number in range(30, 60):
        half.sampler = find_sampler("reinforce").make(3, number, 0)
        trial = half.ask()
        half.tell(half.ask(), state=TrialState.FAIL)  # drawn in vain: a resumed sweep has none of it
        half.tell(trial, allocate(trial))
    goes_on = [trial for trial in half.trials if trial.state == TrialState.COMPLETE]
    assert [trial.params for trial in goes_on] == [trial.params for trial in whole.trials]


def test_parameters_that_some_recipes_have_learn_from_those_alone():
    study = optuna.create_study()
    study.sampler = ReinforceSampler(0)
    study.add_trials(
        [ended([1.0], params={"kind": "plain"}), ended([0.0], params={"kind": "mixed", "bits": 8})]
    )
    policy = policy_of(study, Settings())
    assert policy.probabilities("kind", SPACE["kind"])[1] > 0.5
    assert policy.probabilities("bits", BITS).argmax() == 6
    drawn = study.ask(SPACE)
    assert drawn.params.keys() == SPACE.keys()
    assert 2 <= drawn.params["bits"] <= 8 and 1e-4 <= drawn.params["rate"] <= 1e-1
