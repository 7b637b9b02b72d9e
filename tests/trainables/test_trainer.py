"""The loop: resuming changes no bit, phases do what they say, what is wrong is an error."""

import math
from dataclasses import replace

import pytest
import torch

from tests.recipes import IMAGE_METHODS, STUDENT, TEACHER_ID, every_method
from tests.trainables.resuming import check_resuming
from tests.trainables.teachers import local_sources
from trainables import methods
from trainables.activations import ActivationsByName, MovingRange, NoActivationQuantizer
from trainables.by_name import Where
from trainables.compression.compressed_weight import compressed_weights, compressible
from trainables.compression.quantized_inputs import input_quantizers
from trainables.models import ConvNet
from trainables.optimizers import SGD, AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner, PrunerByName
from trainables.quantizers import LearnedPoints, QuantizerByName, Uniform, Zero
from trainables.quantizers.base import Codes
from trainables.recipe import FIRST_AND_LAST_PARAMETER, Phase
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import unpack
from trainables.tasks import Digits
from trainables.teachers.sources import NoSources
from trainables.training.checkpoint import CheckpointError
from trainables.training.trainer import Diverged, Trainer, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def arrays():
    return Digits().load(None)


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    task = recipe.task.open(arrays, CPU, recipe.seed)
    return Trainer(recipe, task, local_sources(recipe.task), CPU)


def test_stopping_and_resuming_in_a_new_process_changes_no_bit_for_every_method(arrays, tmp_path):
    recipes = [*every_method(4)[::2], *every_method(4, sparsity=0.6)[1::2]]
    dropout = ConvNet(stages=((6,), (8,)), hidden=(16,), kernel_size=3, depth=1, dropout=(0.3, 0.3, 0.3))
    recipes.append(
        methods.quantized_distillation(
            methods.Setting(Digits(), Fresh(dropout), epochs=4, teacher=TEACHER_ID)
        )
    )
    live, in_turn = (  # a teacher asked at every step; remembered views that come round before the end
        methods.quantized_distillation(
            methods.Setting(
                Digits(), Fresh(STUDENT), epochs=4, teacher=TEACHER_ID, teacher_views=views, seed=3
            )
        )
        for views in (None, 3)
    )
    stochastic = replace(recipes[-1], quantizer=Uniform(2, 64, rounding="stochastic"))
    recipes += [live, in_turn, replace(stochastic, phases=(Phase(4, SGD(0.05), quantize=True),))]
    alternating = methods.alternating_quantization(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=4, teacher=TEACHER_ID)
    )
    with_points = replace(
        alternating.phases[1], epochs=3
    )  # the phase's own quantizer is at work when the checkpoint is written
    recipes.append(replace(alternating, phases=(alternating.phases[0], with_points)))
    shared = methods.differentiable_quantization(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=4, teacher=TEACHER_ID),
        quantizer=LearnedPoints(share=True),
        points_epochs=3,
    )
    recipes.append(shared)
    check_resuming([trainer_of(recipe, arrays) for recipe in recipes], tmp_path)


@pytest.mark.parametrize("sparsity", [0.0, 0.7])
@pytest.mark.parametrize("number", range(len(IMAGE_METHODS)))
def test_the_packed_file_is_what_the_student_computes(number, sparsity, arrays):
    recipe = every_method(2, sparsity)[number]
    # Of tensor by tensor; other pruners share it out among tensors, or round it for each output.
    sparsity = recipe.pruner.sparsity if isinstance(recipe.pruner, Magnitude) else 0.0
    trainer = trainer_of(recipe, arrays)
    while not trainer.finished:
        trainer.train_epoch()
    packed = trainer.ship()
    reported = evaluate_file(packed, trainer.task, "validation")
    assert evaluate_file(packed, trainer.task, "validation") == reported
    for _, compressed, original in compressed_weights(trainer.student):
        compressed.quantizing = True  # post-training quantization never is, until it ships
        zeros = float((compressed(original) == 0).float().mean())
        assert zeros >= sparsity - 1 / original.numel()
    if recipe.exempt_dtype == "float32":
        live = trainer.task.evaluate(trainer.student, "validation")
        assert live["accuracy"] == pytest.approx(reported["accuracy"], abs=0.003)


def test_it_learns(arrays):
    recipe = methods.full_precision(
        methods.Setting(Digits(), Fresh(replace(STUDENT, width=2.0)), epochs=8), optimizer=AdamW(1e-2)
    )
    told = []
    torch.set_num_threads(1)
    task = recipe.task.open(arrays, CPU, 0)
    packed = train(
        recipe, task, NoSources(), CPU, lambda epoch, metrics: told.append((epoch, metrics["loss"]))
    )
    assert [epoch for epoch, _ in told] == list(range(1, 9))
    assert told[-1][1] < told[0][1] / 4
    assert evaluate_file(packed, task, "validation")["accuracy"] > 0.85


def test_quantized_training_moves_the_full_precision_copy_only_by_gradients(arrays):
    recipe = methods.quantized_distillation(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=2, teacher=TEACHER_ID), quantizer=Uniform(2)
    )
    still = replace(recipe, phases=(Phase(1, SGD(1e-30, momentum=0.0, weight_decay=0.0), quantize=True),))
    trainer = trainer_of(still, arrays)
    before = {name: w.detach().clone() for name, _, w in compressed_weights(trainer.student)}
    statistics = trainer.student.state_dict()
    running = {k: v.clone() for k, v in statistics.items() if k.endswith("running_mean")}
    trainer.train_epoch()
    for name, compressed, original in compressed_weights(trainer.student):
        assert torch.equal(before[name], original)
        assert compressed(original).unique().numel() < original.unique().numel() or original.numel() < 20
    after = trainer.student.state_dict()
    assert running and all(not torch.equal(v, after[k]) for k, v in running.items())


def test_the_points_phase_moves_points_and_leaves_weights(arrays):
    recipe = methods.differentiable_quantization(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=2, teacher=TEACHER_ID), points_learning_rate=1e-3
    )
    trainer = trainer_of(recipe, arrays)
    trainer.train_epoch()
    before = {k: v.clone() for k, v in trainer.student.state_dict().items()}
    trainer.train_epoch()
    for key, value in trainer.student.state_dict().items():
        if key.endswith("points"):
            assert not torch.equal(value, before[key]), key
            assert bool((value.diff() >= 0).all())
        elif "running" not in key and "num_batches" not in key:
            assert torch.equal(value, before[key]), key


def test_divergence_is_an_error_that_says_where(arrays):
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=3))
    wild = replace(recipe, phases=(Phase(3, SGD(100.0, weight_decay=1.0)),))
    trainer = trainer_of(wild, arrays)
    with pytest.raises(Diverged, match="epoch"):
        while not trainer.finished:
            trainer.train_epoch()
            trainer.ship()


def test_foreign_and_broken_checkpoints_are_refused(arrays, tmp_path):
    first, second = (
        methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1, seed=s)) for s in (0, 1)
    )
    trainer_of(first, arrays).save(tmp_path)
    with pytest.raises(CheckpointError, match=first.recipe_id):
        trainer_of(second, arrays).load(tmp_path)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged"):
        trainer_of(first, arrays).load(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        trainer_of(first, arrays).load(tmp_path / "nowhere")


def test_a_phase_with_nothing_to_learn_is_refused(arrays):
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    nothing = replace(recipe, phases=(Phase(1, AdamW(), train="quantizer"),))
    with pytest.raises(ValueError, match="nothing to learn"):
        trainer_of(nothing, arrays)


def test_exempt_parameters_are_left_alone(arrays):
    recipe = methods.post_training_quantization(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=1), quantizer=Uniform(1)
    )
    names = [name for name, _, _ in compressed_weights(trainer_of(recipe, arrays).student)]
    spared = trainer_of(replace(recipe, exempt=(names[0],)), arrays)
    assert [name for name, _, _ in compressed_weights(spared.student)] == names[1:]
    with pytest.raises(ValueError, match="nonsense"):
        trainer_of(replace(recipe, exempt=("nonsense.*",)), arrays)


def test_learned_points_can_train_together_with_the_weights(arrays):
    recipe = methods.quantized_distillation(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=1, teacher=TEACHER_ID)
    )
    all_at_once = replace(
        recipe, quantizer=LearnedPoints(3, 64), phases=(Phase(1, AdamW(1e-3), train="all", quantize=True),)
    )
    trainer = trainer_of(all_at_once, arrays)
    before = {k: v.clone() for k, v in trainer.student.state_dict().items()}
    trainer.train_epoch()
    moved = [k for k, v in trainer.student.state_dict().items() if not torch.equal(v, before[k])]
    assert any(k.endswith("points") for k in moved) and any(k.endswith("original") for k in moved)


def test_a_quantizer_of_a_phase_leaves_the_weights_as_it_made_them(arrays):
    points = Phase(1, SGD(1e-3), train="quantizer", quantize=True, quantizer=LearnedPoints(2, None))
    recipe = methods.quantized_distillation(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=1, teacher=TEACHER_ID, pruner=Magnitude(0.5))
    )
    first = Phase(1, AdamW(), prune=True, quantize=True)
    still = Phase(1, SGD(1e-30, momentum=0.0, weight_decay=0.0))
    trainer = trainer_of(replace(recipe, phases=(first, points, still)), arrays)
    trainer.train_epoch()
    (compressed, original), *_ = ((j, w) for _, j, w in compressed_weights(trainer.student))
    before, keep = original.detach().clone(), compressed.mask.current()
    assert compressed.phase_quantizer is not None and compressed.quantizing
    trainer.train_epoch()  # with points of its own; at its end the third phase begins
    assert compressed.phase_quantizer is None and not compressed.quantizing
    assert original[keep].unique().numel() <= 4
    assert torch.equal(original[~keep], before[~keep])
    assert not torch.equal(original[keep], before[keep])
    assert "phase_quantizer" not in " ".join(trainer.student.state_dict())


def test_shared_levels_follow_the_gradients_at_the_same_total_of_bits(arrays):
    recipe = methods.differentiable_quantization(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=2, teacher=TEACHER_ID),
        quantizer=LearnedPoints(share=True),
    )
    trainer = trainer_of(recipe, arrays)
    trainer.train_epoch()
    quantized = [
        (compressed, original.numel()) for _, compressed, original in compressed_weights(trainer.student)
    ]
    levels = [len(compressed.quantizer.points) for compressed, _ in quantized]
    assert len(set(levels)) > 1 and min(levels) >= 8
    spent = sum(size * math.log2(count) for (_, size), count in zip(quantized, levels, strict=True))
    assert spent <= 4 * sum(size for _, size in quantized) * (1 + 1e-9)
    trainer.train_epoch()
    assert [len(compressed.quantizer.points) for compressed, _ in quantized] == levels
    tensors = unpack(trainer.ship()).tensors
    stored = [t.codebook.numel() for t in tensors.values() if isinstance(t, Codes)]
    assert stored == levels


def test_layers_are_quantized_each_in_its_own_way(arrays):
    recipe = methods.post_training_quantization(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    names = [name for name, _, _ in compressed_weights(trainer_of(recipe, arrays).student)]
    mixed = QuantizerByName(
        (Where(names[0], Uniform(2, 64)), Where(names[1], Zero())), LearnedPoints(3, None)
    )
    trainer = trainer_of(replace(recipe, quantizer=mixed), arrays)
    trainer.train_epoch()
    tensors = unpack(trainer.ship()).tensors
    assert [tensors[name].bits for name in names[:3]] == [2, 1, 3]
    assert not tensors[names[1]].decode().any()
    with pytest.raises(ValueError, match="nowhere"):
        trainer_of(
            replace(recipe, quantizer=QuantizerByName((Where("nowhere.*", Zero()),), Uniform())), arrays
        )


def test_layers_are_pruned_and_their_inputs_quantized_each_in_its_own_way(arrays):
    recipe = methods.full_precision(
        methods.Setting(Digits(), Fresh(STUDENT), epochs=1, pruner=Magnitude(0.5))
    )
    names = [name for name, _, _ in compressed_weights(trainer_of(recipe, arrays).student)]
    layers = [name.removesuffix(".weight") for name in names]
    mixed = replace(
        recipe,
        pruner=PrunerByName((Where(names[0], NoPruner()), Where(names[1], Magnitude(0.9))), Magnitude(0.5)),
        activations=ActivationsByName((Where(layers[1], MovingRange(4)),), NoActivationQuantizer()),
    )
    trainer = trainer_of(mixed, arrays)
    trainer.train_epoch()
    data = trainer.ship()
    tensors = unpack(data).tensors
    shares = [float((tensors[name].decode() == 0).float().mean()) for name in names]
    assert shares == pytest.approx([0.0, 0.9, *[0.5] * (len(names) - 2)], abs=0.01)
    _, student = open_student(data)
    assert [name for name, _ in input_quantizers(student)] == [f"{layers[1]}.input_quantizer"]
    for role, wrong in (
        ("pruner", {"pruner": PrunerByName((Where("nowhere", NoPruner()),), Magnitude())}),
        ("activations", {"activations": ActivationsByName((Where("x", MovingRange()),), MovingRange())}),
    ):
        with pytest.raises(ValueError, match=f"the {role}'s pattern '.*' matches none"):
            trainer_of(replace(recipe, **wrong), arrays)


def test_the_published_rule_of_first_and_last_parameter(arrays):
    recipe = methods.post_training_quantization(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))
    network = STUDENT.build((1, 8, 8), 10)
    names = [name for name, _ in network.named_parameters()]
    ruled = replace(recipe, exempt=(FIRST_AND_LAST_PARAMETER,))
    # The last one is a bias, so only the first makes a difference; the classifier's weight is quantized.
    assert compressible(network, recipe) - compressible(network, ruled) == {names[0]}
    assert names[-1].endswith("bias") and names[-1].replace("bias", "weight") in compressible(network, ruled)


def test_a_phase_with_a_quantizer_that_does_not_quantize_is_refused():
    with pytest.raises(ValueError, match="must quantize"):
        Phase(1, AdamW(), quantizer=Uniform())
