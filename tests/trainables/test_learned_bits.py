"""DiffQ as a whole: bits fall where the loss allows; what is trained, shipped and exported is one thing."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from tests.exports import to_onnx
from tests.recipes import STUDENT
from tests.trainables.odd_networks import TiedWeights
from tests.trainables.teachers import data_of, local_sources
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.by_name import Where
from trainables.compression.compressed_weight import compress, compressed_weights
from trainables.metrics.macs import macs
from trainables.optimizers import RELATIVE_RATE, SGD, AdamW
from trainables.origins import Fresh
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import PseudoNoise, QuantizerByName, Uniform
from trainables.quantizers.base import MixedCodes
from trainables.quantizers.kernels.pseudo_noise import size_bits
from trainables.recipe import Phase
from trainables.shipping.accounting import BIT_PACKED, FILE, account
from trainables.shipping.contents import contents_json
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import describe, unpack
from trainables.shipping.sizes import mean_bits, sparsity
from trainables.tasks import Digits
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
EPOCHS = 4


@pytest.fixture(scope="module")
def arrays():
    whole = Digits().load(None)
    return {name: values[:512] if name.startswith("train") else values for name, values in whole.items()}


def recipe_of(quantizer=PseudoNoise(), sparsity=0.0, rate=1e-2, **changes):
    pruner = Magnitude(sparsity) if sparsity else NoPruner()
    given = methods.Setting(Digits(batch_size=64), Fresh(STUDENT), EPOCHS, pruner=pruner)
    made = methods.pseudo_quantization_noise(given, quantizer=quantizer, optimizer=AdamW(rate))
    return replace(made, **changes)


def trainer_of(recipe, arrays):
    torch.set_num_threads(1)
    return Trainer(recipe, recipe.task.open(arrays, CPU, recipe.seed), local_sources(recipe.task), CPU)


def trained(recipe, arrays):
    trainer = trainer_of(recipe, arrays)
    while not trainer.finished:
        trainer.train_epoch()
    return trainer


def learned_bits(trainer):
    """Of all groups, by the name of their weight."""
    found = compressed_weights(trainer.student)
    return {name: compressed.quantizer.bits().detach() for name, compressed, _ in found}


@pytest.mark.parametrize("sparsity", [0.0, 0.6])
def test_stopping_and_resuming_changes_no_bit(arrays, tmp_path, sparsity):
    recipe = recipe_of(PseudoNoise(4, noise="uniform", parametrisation="noise"), sparsity)
    straight = trainer_of(recipe, arrays)
    for epoch in range(EPOCHS):
        if epoch == 2:
            straight.save(tmp_path / "half")
        straight.train_epoch()
    straight.save(tmp_path / "straight")
    resumed = trainer_of(recipe, arrays)
    resumed.load(tmp_path / "half")
    while not resumed.finished:
        resumed.train_epoch()
    resumed.save(tmp_path / "resumed")
    ours, theirs = (
        safetensors.torch.load_file(tmp_path / each / "state.safetensors") for each in ("straight", "resumed")
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert straight.ship() == resumed.ship()


@pytest.fixture(scope="module")
def cheap_and_dear(arrays):
    """Students whose size costs nothing, something, and everything."""
    return [trained(recipe_of(PseudoNoise(penalty=penalty)), arrays) for penalty in (0.0, 20.0, 1e6)]


def test_the_dearer_a_megabyte_the_fewer_bits(cheap_and_dear):
    means = [float(torch.cat(list(learned_bits(each).values())).mean()) for each in cheap_and_dear]
    assert means[0] > means[1] + 0.5 and means[1] > means[2] + 0.5
    assert means[0] > 8  # where it costs nothing, less noise is better
    sizes = [len(each.ship()) for each in cheap_and_dear]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_price_beyond_reason_takes_every_group_to_the_least(arrays):
    part = PseudoNoise(penalty=1e6, relative_rate=200.0)
    tensors = unpack(trained(recipe_of(part), arrays).ship())[1].values()
    assert all(bool((each.bits == 2).all()) for each in tensors if isinstance(each, MixedCodes))


def test_weights_that_are_shipped_are_those_of_the_forward_pass(cheap_and_dear):
    for trainer in cheap_and_dear:
        _, rebuilt = open_student(trainer.ship())
        decoded = dict(rebuilt.named_parameters())
        for name, compressed, original in compressed_weights(trainer.student.eval()):
            assert torch.equal(decoded[name], compressed(original))


def test_the_file_is_about_the_published_size(cheap_and_dear):
    trainer = cheap_and_dear[1]
    exact = 0.0
    for tensor in unpack(trainer.ship())[1].values():
        if isinstance(tensor, MixedCodes):
            weights = torch.full((len(tensor.bits),), 8.0)
            weights[-1] = tensor.index.numel() - 8 * (len(tensor.bits) - 1)
            exact += float(size_bits(tensor.bits.float(), weights, 2.0)) / 8
    rows = [row for row in describe(trainer.ship()) if len(row["shape"] or ()) > 1]
    assert 0.7 * exact < sum(row["bytes"] for row in rows) < exact + 40 * len(rows)


def test_every_reader_of_files_knows_its_tensors(cheap_and_dear):
    data = cheap_and_dear[1].ship()
    tensors = unpack(data)[1]
    rows = describe(data)
    for row in rows[1:]:
        tensor = tensors[row["name"]]
        if isinstance(tensor, MixedCodes):
            assert row["codec"] == "EntropyCoded" and 2 <= row["bits"] <= 15
            assert row["bits"] == pytest.approx(float(tensor.widths().float().mean()), abs=1e-3)
            assert row["bytes"] < 1.2 * row["entropy_bytes"] + 60  # of the coder's tables
    accounts = {each.accounting: each for each in account(tensors, rows)}
    assert accounts[FILE].total == len(data)
    assert accounts[BIT_PACKED].total < 1.2 * len(data)
    shown = json.loads(contents_json(data))
    assert sum(len(row["levels"]) > 0 for row in json.loads(json.dumps(shown))["tensors"]) == len(tensors)
    assert 2 < mean_bits(data) < 9 and sparsity(tensors) == 0.0


def test_a_tensor_that_does_not_matter_falls_to_the_least():
    torch.manual_seed(0)
    part = PseudoNoise(None, penalty=1000.0)
    wanted, idle = torch.randn(8, 8), torch.randn(8, 8)
    used, unused = part.build(wanted), part.build(idle)
    optimizer = torch.optim.Adam([used.logit, unused.logit], lr=0.05)
    for _ in range(300):
        inputs = torch.randn(64, 8)
        made = used(wanted.reshape(-1)).view(8, 8) + 0 * unused(idle.reshape(-1)).view(8, 8)
        loss = (inputs @ made - inputs @ wanted).square().mean() + used.penalty() + unused.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(unused.bits().detach()) < 2.2
    assert float(used.bits().detach()) > 4


def test_pruned_weights_stay_pruned_and_cost_a_position_alone(arrays):
    trainer = trained(recipe_of(sparsity=0.6), arrays)
    data = trainer.ship()
    _, rebuilt = open_student(data)
    decoded = dict(rebuilt.named_parameters())
    for name, compressed, original in compressed_weights(trainer.student.eval()):
        keep = compressed.mask.current()
        assert float(keep.float().mean()) == pytest.approx(0.4, abs=0.01)
        assert torch.equal(decoded[name], compressed(original)) and not decoded[name][~keep].any()
    assert sparsity(unpack(data)[1]) == pytest.approx(0.6, abs=0.01)
    assert len(data) < len(trained(recipe_of(), arrays).ship())


def test_bits_learn_at_a_rate_of_their_own_without_decay(arrays):
    for optimizer in (AdamW(1e-3, weight_decay=0.1), SGD(1e-3, weight_decay=0.1)):
        recipe = recipe_of(PseudoNoise(relative_rate=5.0))
        recipe = replace(recipe, phases=(replace(recipe.phases[0], optimizer=optimizer),))
        learner = trainer_of(recipe, arrays).learners[0]
        logits = {id(each.quantizer.logit) for _, each, _ in compressed_weights(learner.network)}
        (group,) = (g for g in learner._optimizer.param_groups if g.get(RELATIVE_RATE, 1.0) != 1.0)
        assert {id(p) for p in group["params"]} == logits
        assert (group[RELATIVE_RATE], group["weight_decay"]) == (5.0, 0.0)


def test_a_phase_of_noise_leaves_no_noise_behind(arrays):
    """As a phase's own quantizer, what stays of the weights is on the grid, and shipping draws nothing."""
    noisy = Phase(2, AdamW(1e-2), train="all", quantize=True, quantizer=PseudoNoise(None))
    last = Phase(2, AdamW(1e-2), quantize=True)
    trainer = trainer_of(recipe_of(phases=(noisy, last), quantizer=Uniform(8)), arrays)
    trainer.train_epoch()
    assert trainer.ship() == trainer.ship()
    found = list(compressed_weights(trainer.student))
    trainer.train_epoch()
    for _, compressed, original in found:
        assert compressed.phase_quantizer is None
        assert len(original.unique()) <= 2**9  # of 8 or 9 bits at most


def test_tied_weights_have_one_set_of_bits():
    torch.manual_seed(0)
    network = TiedWeights((1, 8, 8), 10, 1, 1.0)
    recipe = recipe_of()
    compress(network, recipe)
    for _, compressed, original in compressed_weights(network):
        compressed.start_quantizing(original)
    names = [name for name, _, _ in compressed_weights(network)]
    assert sum(name in ("a.weight", "b.weight") for name in names) == 1
    network.train()
    assert not torch.equal(network.a.weight, network.b.weight)  # noise of its own at each place
    network.eval()
    assert torch.equal(network.a.weight, network.b.weight)


def test_some_tensors_may_have_learned_bits_and_others_not(arrays):
    mixed = QuantizerByName((Where("0.*", PseudoNoise()),), Uniform(4))
    tensors = unpack(trained(recipe_of(mixed), arrays).ship())[1]
    weights = {name: each for name, each in tensors.items() if len(each.shape) > 1}
    assert {name for name, each in weights.items() if isinstance(each, MixedCodes)} == {
        name for name in weights if name.startswith("0.")
    }


def test_the_student_is_exported_and_counted_as_others_are(cheap_and_dear):
    data = cheap_and_dear[1].ship()
    recipe, network = open_student(data)
    exported = to_onnx(network, (1, 8, 8), {}, unpack(data)[1])
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    inputs = torch.rand(3, 1, 8, 8)
    (theirs,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    assert np.allclose(network(inputs).detach().numpy(), theirs, atol=1e-4)
    plain = Fresh(STUDENT).model.build((1, 8, 8), 10).eval()
    assert macs(network, recipe.task.interface) == macs(plain, recipe.task.interface)


@pytest.mark.parametrize("model", STUDENTS, ids=lambda model: type(model).__name__)
def test_students_of_text_learn_bits_too(model, tmp_path):
    """Embeddings, recurrent weights and tied ones."""
    task = write_pairs(tmp_path)
    given = methods.Setting(task, Fresh(model), 2)
    recipe = methods.pseudo_quantization_noise(given, quantizer=PseudoNoise(penalty=100.0))
    torch.set_num_threads(1)
    trainer = trained(recipe, data_of(task, tmp_path))
    data = trainer.ship()
    stored = [each for each in unpack(data)[1].values() if isinstance(each, MixedCodes)]
    assert len(stored) == len(list(compressed_weights(trainer.student)))
    assert all(float(each.bits.float().mean()) < 8 for each in stored)
    assert evaluate_file(data, trainer.task, "test").keys() >= {"bleu"}
