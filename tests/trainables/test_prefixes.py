"""Recipes of one prefix come to the same state, and what acts in it is in its key."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.recipes import STUDENT, every_method, setting
from tests.trainables.teachers import local_sources
from trainables import methods
from trainables.activations import MovingRange
from trainables.codecs import BitPacked, Raw, Smallest, Sparse
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import LearnedStep, NoQuantizer, PseudoNoise, Symmetric, Uniform
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.tasks import Digits
from trainables.training.checkpoint import CheckpointError
from trainables.training.prefixes import prefixes, shared_prefix
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 3
SHARED = [
    recipe for recipe in [*every_method(EPOCHS)[::2], *every_method(EPOCHS, 0.6)[1::2]] if prefixes(recipe)
]
QUANTIZERS = (NoQuantizer(), Uniform(2, 64), Symmetric(3), LearnedStep(2))


@pytest.fixture(scope="module")
def arrays():
    found = Digits().load(None)
    return {name: values[:128] for name, values in found.items()}


def trainer_of(recipe, arrays, after_epoch=lambda trainer, loss: None):
    torch.set_num_threads(1)
    task = recipe.task.open(arrays, CPU, recipe.seed)
    return Trainer(recipe, task, local_sources(recipe.task), CPU, after_epoch)


def trained(recipe, arrays):
    """The state at the end of each prefix, and the packed file at the end."""
    ends = {prefix.epochs: prefix for prefix in prefixes(recipe)}
    states = {}

    def keep(trainer, loss):
        if prefix := ends.get(trainer.epoch):
            states[prefix] = {name: tensor.clone() for name, tensor in trainer.shared(prefix).items()}

    trainer = trainer_of(recipe, arrays, keep)
    while not trainer.finished:
        trainer.train_epoch()
    return states, trainer.ship()


def sibling(recipe: Recipe) -> Recipe:
    """Another student of the same first phases: what is different acts later."""
    phases = recipe.phases
    if len(phases) > len(first_phases(recipe)):
        slow: Any = phases[-1].optimizer
        last = replace(phases[-1], optimizer=replace(slow, learning_rate=3e-4))
        phases = (*phases[:-1], last)
    learning = any(phase.train == "quantizer" or phase.quantizer for phase in phases)
    own: Any = recipe.quantizer
    quantizer: Any = next(each for each in QUANTIZERS if type(each) is not type(own))
    quantizer = replace(own, bits=3) if learning else quantizer
    quantizer = Uniform(3) if quantizer == NoQuantizer() else quantizer
    pruner = recipe.pruner
    if not (any(phase.prune for phase in phases) or pruner.cuts):
        pruner = Magnitude(0.3)  # grows in no phase, and prunes what ships
    divisible = quantizer if not pruner.cuts else Symmetric(3)
    codec = Smallest((Raw(), BitPacked(), Sparse()))
    parts: dict[str, Any] = {
        "quantizer": divisible,
        "pruner": pruner,
        "codec": codec,
        "exempt_dtype": "float32",
    }
    return replace(recipe, method="another", phases=phases, activations=MovingRange(), **parts)


def first_phases(recipe):
    longest, found, epochs = prefixes(recipe)[-1].epochs, [], 0
    for phase in recipe.phases:
        if epochs < longest:
            found.append(phase)
        epochs += phase.epochs
    return found


@pytest.mark.parametrize("recipe", SHARED, ids=lambda each: f"{each.method}-{type(each.pruner).__name__}")
def test_a_sibling_that_begins_there_ends_as_if_it_had_trained_from_the_start(recipe, arrays):
    states, _ = trained(recipe, arrays)
    other = sibling(recipe)
    theirs, expected = trained(other, arrays)
    assert states.keys() == theirs.keys() != set()
    for prefix, state in states.items():
        assert state.keys() == theirs[prefix].keys()
        assert all(torch.equal(state[name], theirs[prefix][name]) for name in state)
        trainer = trainer_of(other, arrays)
        trainer.begin_at(prefix, state)
        assert trainer.epoch == prefix.epochs
        while not trainer.finished:
            trainer.train_epoch()
        assert trainer.ship() == expected


def test_methods_that_differ_later_alone_have_one_key():
    given = setting(Digits(), STUDENT, 4)
    one = [
        methods.full_precision(given),
        methods.int8_post_training_quantization(given),
        *(methods.post_training_quantization(given, quantizer=Uniform(bits, 64)) for bits in range(1, 9)),
    ]
    assert len({shared_prefix(recipe) for recipe in one}) == 1
    assert shared_prefix(one[0])[1] == 4
    late = [methods.quantization_aware_training(given, quantizer=Symmetric(bits)) for bits in (2, 4, 8)]
    late.append(methods.learned_step_quantization(given, quantized_epochs=1))
    assert len({shared_prefix(recipe) for recipe in late}) == 1
    assert shared_prefix(late[0])[1] == 3


def test_what_acts_from_the_first_step_shares_nothing():
    given = setting(Digits(), STUDENT, 4)
    assert shared_prefix(methods.quantized_distillation(given)) is None
    assert shared_prefix(methods.mutual_learning(given)) is None
    assert shared_prefix(replace(methods.full_precision(given), quantizer=PseudoNoise())) is None
    assert shared_prefix(methods.full_precision(replace(given, epochs=0))) is None


def test_whatever_acts_is_in_the_key(arrays):
    given = setting(Digits(batch_size=128), STUDENT, 2)
    recipe = methods.few_label_distillation(given, labelled=0.5)
    phase = recipe.phases[0]
    (loss,) = recipe.losses
    changed = [
        replace(recipe, task=Digits(batch_size=64)),
        replace(recipe, origin=Fresh(replace(STUDENT, depth=2))),
        replace(recipe, teacher=replace(recipe.teacher, views=1)),
        replace(recipe, losses=(replace(loss, temperature=Constant(2.5)),)),
        replace(recipe, losses=(replace(loss, weight=Constant(0.2)),)),
        replace(recipe, task_weight=Constant(0.9)),
        replace(recipe, seed=1),
        replace(recipe, labelled=0.6),
        replace(recipe, phases=(replace(phase, epochs=3),)),
        replace(recipe, phases=(replace(phase, optimizer=replace(phase.optimizer, weight_decay=0.3)),)),
        replace(recipe, phases=(replace(phase, prune=True),), pruner=Magnitude(0.5)),
        replace(recipe, phases=(replace(phase, prune=True),), pruner=Magnitude(0.6)),
        replace(recipe, phases=(replace(phase, prune=True, dense_gradient=True),), pruner=Magnitude(0.6)),
        replace(recipe, phases=(replace(phase, epochs=1), replace(phase, epochs=1))),
    ]
    states = [list(trained(each, arrays)[0].items())[-1] for each in [recipe, *changed]]
    keys = [prefix.key for prefix, _ in states]
    assert len(set(keys)) == len(keys)
    for number, (_, state) in enumerate(states):  # and each of them does act
        for _, other in states[:number]:
            assert state.keys() != other.keys() or any(
                state[name].shape != other[name].shape or not torch.equal(state[name], other[name])
                for name in state
            )


def test_pruning_that_comes_later_decides_how_fast_masks_grow():
    given = setting(Digits(), STUDENT, 6, sparsity=0.5)
    recipe = methods.full_precision(given)
    (phase,) = recipe.phases
    first = replace(phase, epochs=4)
    two = [replace(recipe, phases=(first, replace(phase, epochs=2, prune=prune))) for prune in (True, False)]
    assert len({prefixes(each)[0].key for each in two}) == 2
    plain = replace(first, prune=False)
    two = [replace(recipe, phases=(plain, replace(phase, epochs=2, prune=prune))) for prune in (True, False)]
    assert len({prefixes(each)[0].key for each in two}) == 1


def test_tensors_of_another_network_are_refused(arrays):
    given = setting(Digits(batch_size=128), STUDENT, 1)
    recipe = methods.full_precision(given)
    ((prefix, state),) = trained(recipe, arrays)[0].items()
    wider = replace(recipe, origin=Fresh(replace(STUDENT, hidden=(20,))))
    with pytest.raises(CheckpointError, match="do not fit the recipe"):
        trainer_of(wider, arrays).begin_at(prefix, state)
    less = dict(list(state.items())[1:])
    with pytest.raises(CheckpointError, match="they differ in student"):
        trainer_of(replace(recipe, pruner=NoPruner()), arrays).begin_at(prefix, less)
