"""Pseudo quantization noise and learned bits: formulas, and agreement with the published code."""

import json
import math

import numpy as np
import pytest
import torch

from rayduce_reader.binary import Memory
from trainables.codecs import EntropyCoded
from trainables.quantizers import PseudoNoise
from trainables.quantizers.base import Dense
from trainables.quantizers.kernels.pseudo_noise import (
    MEBIBYTE_BITS,
    Groups,
    bits_of,
    drawn_noise,
    logit_of,
    model_size_mb,
    noisy,
    rounded,
    size_bits,
    whole_bits,
    worth,
)

CASES = [f"diffq_{letter}" for letter in "abcdefgh"]


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden"
    if not (folder / "methods.npz").is_file():
        pytest.skip("the reference implementation's vectors are not part of the repository")
    cases = {case["case"]: case for case in json.loads((folder / "methods.json").read_text())}
    return cases, np.load(folder / "methods.npz")


def near(ours, theirs, share=1e-5):
    ours, theirs = np.asarray(ours, np.float64).reshape(-1), np.asarray(theirs, np.float64).reshape(-1)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= share * np.abs(theirs).max()


@pytest.mark.parametrize("name", CASES)
def test_noise_sizes_and_rounding_agree_with_the_published_code(golden, name):
    cases, arrays = golden
    said, values = cases[name]["settings"], cases[name]["values"]
    ends = said["min_bits"], said["max_bits"], said["param"]
    size, extra = said["group_size"] or None, said["extra_bits"]
    assert logit_of(said["init_bits"], *ends) == pytest.approx(values["init_logit"], rel=1e-5)
    learned, exact = [], []
    for tensor in values["quantized_tensors"]:
        weight, logit, draw, upstream = (
            torch.from_numpy(arrays[f"{name}_{kind}_{tensor}"]).reshape(-1)
            for kind in ("w", "logit", "draw", "upstream")
        )
        weight.requires_grad_()
        logit.requires_grad_()
        groups = Groups(weight.numel(), size)
        bits = bits_of(logit, *ends)
        near(bits.detach(), arrays[f"{name}_bits_{tensor}"])
        made = noisy(weight, bits, drawn_noise(draw, said["noise"]), groups)
        near(made.detach(), arrays[f"{name}_noisy_{tensor}"])
        of_weight, of_logit = torch.autograd.grad((made * upstream).sum(), (weight, logit))
        near(of_weight, arrays[f"{name}_noisy_grad_w_{tensor}"])
        near(of_logit, arrays[f"{name}_noisy_grad_logit_{tensor}"])
        learned.append(
            size_bits(bits_of(logit, *ends) + extra, groups.weights(logit.device), said["min_bits"])
        )
        near(
            torch.autograd.grad(learned[-1] / MEBIBYTE_BITS, logit)[0],
            arrays[f"{name}_size_grad_logit_{tensor}"],
        )
        whole = whole_bits(bits.detach(), extra)
        near(whole, arrays[f"{name}_eval_bits_{tensor}"], 0)
        exact.append(size_bits(whole, groups.weights(logit.device), said["min_bits"]))
        width = groups.spread(whole).int()
        level, offset, scale = rounded(weight, width)
        differ = level.numpy() != arrays[f"{name}_eval_levels_{tensor}"].reshape(-1)
        assert differ.sum() <= 1  # an element on the boundary of two levels
        near(
            worth(level, width, offset, scale)[~differ], arrays[f"{name}_eval_{tensor}"].reshape(-1)[~differ]
        )
        near(torch.cat([offset, offset + scale]), arrays[f"{name}_eval_range_{tensor}"])
    others = values["unquantized_tensors"] + values["float16_tensors"]
    count = sum(arrays[f"{name}_w_{tensor}"].size for tensor in others)
    near(float(model_size_mb(learned, count, float16=said["float16"]).detach()), values["model_size_mb"])
    near(float(model_size_mb(exact, count, float16=said["float16"])), values["true_model_size_mb"], 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_the_parts_tensors_are_those_of_the_published_code(golden, name):
    cases, arrays = golden
    said, values = cases[name]["settings"], cases[name]["values"]
    part = PseudoNoise(
        said["group_size"] or None,
        1.0,
        said["init_bits"],
        said["min_bits"],
        said["max_bits"],
        said["noise"],
        said["param"],
        said["extra_bits"],
        smallest_mb=said["min_size"],
        half=said["float16"],
    )
    for tensor in said["shapes"]:
        weight = torch.from_numpy(arrays[f"{name}_w_{tensor}"])
        module = part.build(weight).eval()
        assert bool(list(module.parameters())) == (tensor in values["quantized_tensors"])
        if tensor in values["quantized_tensors"]:
            with torch.no_grad():
                module.logit.copy_(torch.from_numpy(arrays[f"{name}_logit_{tensor}"]).reshape(-1))
        stored = module.encode(weight.reshape(-1), tuple(weight.shape), None)
        wanted = arrays[f"{name}_eval_{tensor}"] if f"{name}_eval_{tensor}" in arrays else weight.numpy()
        boundary = 1 if tensor in values["quantized_tensors"] else 0
        assert (
            np.abs(stored.decode().float().numpy() - wanted) > 1e-5 * np.abs(wanted).max()
        ).sum() <= boundary
        if isinstance(stored, Dense):
            assert stored.values.dtype == (
                torch.float16 if tensor in values["float16_tensors"] else torch.float32
            )


def test_the_plain_quantizer_agrees_at_every_width(golden):
    _, arrays = golden
    x = torch.from_numpy(arrays["diffq_uniform_x"]).reshape(-1)
    for bits in range(2, 16):
        width = torch.full_like(x, bits, dtype=torch.uint8)
        level, offset, scale = rounded(x, width)
        assert np.array_equal(level.numpy(), arrays[f"diffq_uniform_levels{bits}"].reshape(-1))
        near(worth(level, width, offset, scale), arrays[f"diffq_uniform_q{bits}"])


@pytest.mark.parametrize(("noise", "deviation"), [("gaussian", 1 / 2), ("uniform", 1 / math.sqrt(12))])
def test_noise_has_no_mean_and_the_deviation_of_its_kind(noise, deviation):
    torch.manual_seed(0)
    weight = torch.linspace(-1, 1, 2**16)
    module = PseudoNoise(None, initial_bits=5.0, noise=noise).build(weight)
    step = 2 / (2**5 - 1)
    error = (module(weight) - weight).detach() / step
    assert float(error.mean()) == pytest.approx(0, abs=0.01)
    assert float(error.std()) == pytest.approx(deviation, rel=0.02)
    assert noise == "gaussian" or float(error.abs().max()) <= 0.5 + 1e-3
    assert not torch.equal(module(weight), module(weight))  # fresh at each step


def explicit(weight, bits, noise, group):
    """The definition, in PyTorch's own operations."""
    return weight + ((weight.max() - weight.min()) / (2**bits - 1))[group] * noise


@pytest.mark.parametrize("parametrisation", ["bits", "noise"])
@pytest.mark.parametrize("keep", [None, torch.arange(30).reshape(5, 6) % 3 > 0], ids=["all", "masked"])
def test_gradients_are_those_of_the_definition(parametrisation, keep):
    torch.manual_seed(1)
    count = 30 if keep is None else int(keep.sum())
    places = torch.arange(30) if keep is None else torch.nonzero(keep.reshape(-1)).reshape(-1)
    weight = torch.randn(count, dtype=torch.float64)
    weight[3] = weight.max() + 1
    weight[7] = weight[3]  # two largest ones share their gradient
    weight.requires_grad_()
    logit = torch.randn(5, dtype=torch.float64, requires_grad=True)
    noise, pull = torch.randn(2, count, dtype=torch.float64)
    groups = Groups(30, 7, keep)

    def both(function, group):
        bits = bits_of(logit, 2, 9, parametrisation)
        made = function(weight, bits, noise, group)
        return made, *torch.autograd.grad((made * pull).sum(), (weight, logit))

    for ours, theirs in zip(both(noisy, groups), both(explicit, places // 7), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    # The closed form of the paper's gradient, by bits.
    bits = bits_of(logit, 2, 9, parametrisation).detach().requires_grad_()
    (found,) = torch.autograd.grad((noisy(weight, bits, noise, groups) * pull).sum(), bits)
    span = weight.detach().max() - weight.detach().min()
    slope = -span * 2**bits * math.log(2) / (2**bits - 1) ** 2
    sums = torch.zeros(5, dtype=torch.float64).index_add_(0, places // 7, pull * noise)
    assert torch.allclose(found, (slope * sums).detach())


def test_the_gradient_of_the_bits_is_that_of_differences():
    torch.manual_seed(2)
    weight, noise, pull = torch.randn(3, 24, dtype=torch.float64)
    groups = Groups(24, 4)
    for parametrisation in ("bits", "noise"):
        assert torch.autograd.gradcheck(
            lambda logit, kind=parametrisation: (
                noisy(weight, bits_of(logit, 1, 10, kind), noise, groups) * pull
            ),
            torch.randn(6, dtype=torch.float64, requires_grad=True),
        )
    # Away from equal ends, the weights' too.
    assert torch.autograd.gradcheck(
        lambda each: noisy(each, torch.full((6,), 3.0, dtype=torch.float64), noise, groups),
        weight.clone().requires_grad_(),
    )


@pytest.mark.parametrize("parametrisation", ["bits", "noise"])
@pytest.mark.parametrize("bits", [2.5, 8.0, 14.9])
def test_logits_and_bits_are_inverse(parametrisation, bits):
    logit = torch.tensor(logit_of(bits, 2, 15, parametrisation), dtype=torch.float64)
    assert float(bits_of(logit, 2, 15, parametrisation)) == pytest.approx(bits)


def test_the_size_is_the_groups_weights_at_their_bits():
    part = PseudoNoise(4, 3.0, 6.0, 2.0, 15.0)
    weight = torch.randn(10, 3)  # the last group has two weights
    module = part.build(weight)
    # 30 weights at 6 bits, two ends, a byte, and for each group an index into 5 numbers of bits
    assert float(module.penalty().detach()) == pytest.approx(3.0 * (30 * 6 + 64 + 8 + 3 * 8) / 2**23)
    (of_bits,) = torch.autograd.grad(
        size_bits(
            bits := torch.full((8,), 6.0, requires_grad=True), module._groups.weights(weight.device), 2
        ),
        bits,
    )
    assert of_bits.tolist() == [4.0] * 7 + [2.0]
    keep = torch.zeros(10, 3, dtype=torch.bool)
    keep[:3] = True
    module.locate(keep)  # nine weights in three groups are left: the others cost nothing but their index
    assert float(module.penalty().detach()) == pytest.approx(3.0 * (9 * 6 + 64 + 8 + 3 * 8) / 2**23)


def test_what_is_trained_comes_back_to_the_grid_and_to_itself():
    torch.manual_seed(3)
    layer = torch.randn(16, 9)
    module = PseudoNoise(8).build(layer)
    before = layer.clone()
    module.train()(layer.reshape(-1))
    evaluated = module.eval()(layer.reshape(-1))
    assert torch.equal(evaluated, module(layer.reshape(-1)))  # no chance in it
    module.train()(layer.reshape(-1))
    assert torch.equal(layer, before)
    step = (layer.max() - layer.min()) / 255
    assert float((evaluated.view_as(layer) - layer).abs().max()) <= step * 0.5001
    given = layer.reshape(-1).clone().requires_grad_()
    module.eval()(given).sum().backward()
    assert torch.equal(given.grad, torch.ones(144))


def test_equal_weights_and_single_ones_are_stored_as_they_are():
    for weight in (torch.full((4, 4), 0.3), torch.tensor([[-2.5]]), torch.zeros(3, 3)):
        module = PseudoNoise(4).build(weight)
        made = module(weight.reshape(-1))
        made.sum().backward()
        assert torch.equal(made.view_as(weight), weight)
        assert torch.equal(module.logit.grad, torch.zeros_like(module.logit))
        stored = module.encode(weight.reshape(-1), tuple(weight.shape), None)
        assert torch.equal(stored.decode(), weight)


@pytest.mark.parametrize(
    ("initial", "least", "most"), [(2.0, 2.0, 15.0), (15.0, 2.0, 15.0), (8.0, 9.0, 15.0), (8.0, 2.0, 7.0)]
)
def test_bits_begin_strictly_between_their_ends(initial, least, most):
    with pytest.raises(ValueError, match=f"initial_bits={initial:g}"):
        PseudoNoise(initial_bits=initial, least_bits=least, most_bits=most)


@pytest.mark.parametrize("group_size", [1, 4, 8, 16, None, 7])
def test_the_record_is_about_as_long_as_the_published_size(group_size):
    torch.manual_seed(4)
    weight = torch.randn(64, 32, 3, 3)
    module = PseudoNoise(group_size).build(weight)
    with torch.no_grad():
        module.logit.copy_(torch.randn_like(module.logit) - 1.5)
    stored = module.encode(weight.reshape(-1), tuple(weight.shape), None)
    whole = whole_bits(module.bits().detach())
    exact = float(size_bits(whole, module._groups.weights(weight.device), 2)) / 8
    record = EntropyCoded().encode(stored)
    assert len(record) < exact + 64  # and less where levels or bits are not all alike
    assert torch.equal(EntropyCoded().decode(record, Memory(2**24)).decode(), stored.decode())


def test_groups_without_a_kept_weight_cost_next_to_nothing():
    torch.manual_seed(5)
    weight, keep = torch.randn(64, 64), torch.zeros(64, 64, dtype=torch.bool)
    keep[:4] = True
    module = PseudoNoise(1).build(weight)
    with torch.no_grad():
        module.logit.copy_(torch.randn_like(module.logit))
    stored = module.encode(weight[keep], (64, 64), keep)
    assert len(torch.unique(stored.bits[256:])) == 1
    dropped = 64 * 64 - 256
    assert len(EntropyCoded().encode(stored)) < 2 * 256 + dropped / 16
    assert torch.equal(stored.decode()[keep], module.eval()(weight[keep]).detach())
