"""Agreement with what the published implementations of pruning methods computed, where that is present."""

import json
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trainables.codecs.base import Stored
from trainables.huffman import code_bits
from trainables.pruners import Saliency, TargetedDropout
from trainables.pruners.targeted_dropout import candidates, dropped
from trainables.pruners.together import shares
from trainables.quantizers import LearnedPoints
from trainables.quantizers.base import Dense
from trainables.quantizers.kmeans import kmeans_points
from trainables.shipping.published_sizes import deep_compression_code, deep_compression_code_counts

TARGET = {"weight": "weights", "unit": "units"}


@pytest.fixture(scope="module")
def golden(shared_dir):
    folder = shared_dir / "golden"
    if not (folder / "methods.npz").is_file():
        pytest.skip("the published implementations' vectors are not part of the repository")
    cases = {case["case"]: case for case in json.loads((folder / "methods.json").read_text())}
    arrays = np.load(folder / "methods.npz")

    def of(start):
        found = [name for name in cases if name.startswith(start)]
        assert found
        return [(name, cases[name], partial(array, name)) for name in found]

    def array(name, key):
        return torch.from_numpy(arrays[f"{name}_{key}"])

    return of


def test_targeted_dropout_drops_what_the_published_code_drops(golden):
    for name, case, array in golden("td_"):
        if name == "td_schedule":
            continue
        weight, draw = array("w").movedim(-1, 0), array("u").movedim(-1, 0)
        for share in case["settings"]["gamma"]:
            for kind, target in TARGET.items():
                found = candidates(weight, share, target)
                start = f"{kind}_g{round(100 * share)}"
                expected = array(f"{start}_candidates").bool().reshape(draw.movedim(0, -1).shape)
                assert torch.equal(found.movedim(0, -1), expected), (name, start)
                for rate in case["settings"]["alpha"]:
                    gone = dropped(found, draw, rate, target).movedim(0, -1)
                    expected = array(f"{start}_a{round(100 * rate)}_drop").bool().reshape(gone.shape)
                    assert torch.equal(gone, expected), (name, start, rate)
        result = weight * ~dropped(candidates(weight, 0.5, "weights"), draw, 0.66, "weights")
        assert torch.equal(result.movedim(0, -1), array("weight_g50_a66_result").reshape(array("w").shape))


def test_targeted_dropout_ramps_as_the_published_code_does(golden):
    ((_, case, array),) = golden("td_schedule")
    part = TargetedDropout(case["settings"]["gamma"], case["settings"]["alpha"], ramp=0.5)  # of 80,000 steps
    for step, share, rate in zip(array("steps"), array("gamma_t"), array("alpha_t"), strict=True):
        assert part.at(int(step) / 80_000) == pytest.approx((float(share), float(rate)), rel=1e-6)


def network_of(case, array):
    """The published layout with the given weights; saliency is asked of it below as training would."""
    layers = nn.ModuleDict()
    for key in [each.removesuffix("_weight") for each in case["inputs"] if each.endswith("_weight")]:
        weight, bias = array(f"{key}_weight"), f"{key}_bias" in case["inputs"]
        if weight.dim() == 2:
            layers[key] = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
        else:
            stride = 2 if key == "conv2" else 1
            layers[key] = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, 1, bias=bias)
        layers[key].weight.data.copy_(weight)
        if bias:
            layers[key].bias.data.copy_(array(f"{key}_bias"))
    return layers


def logits_of(layers, x):
    *hidden, last = layers.values()
    for layer in hidden:
        x = F.relu(layer(x))
    return last(x.mean((2, 3)) if x.dim() == 4 else x)


def test_snip_keeps_what_the_published_code_keeps(golden):
    for name, case, array in golden("snip_"):
        layers = network_of(case, array)
        loss = F.cross_entropy(logits_of(layers, array("x")), array("y").long())
        assert loss.item() == pytest.approx(float(array("loss")), rel=1e-5)
        loss.backward()
        for sparsity in (0.5, 0.9):
            part = Saliency(sparsity=sparsity)
            masks = {key: part.build(layer.weight, key) for key, layer in layers.items()}
            for key, layer in layers.items():
                masks[key].update(layer.weight, layer.weight.grad, 0.0)
            found = dict(zip(masks, shares([mask.score() for mask in masks.values()]), strict=True))
            part.decide(masks, 0.0)
            for key, mask in masks.items():
                expected = array(f"saliency_{key}")
                assert torch.allclose(found[key], expected, rtol=0, atol=1e-5 * float(expected.max())), name
                kept = array(f"mask{round(100 * sparsity)}_{key}").bool()
                assert torch.equal(mask.current(), kept) and torch.equal(
                    mask.shipped(layers[key].weight), kept
                )


def test_clusters_are_those_of_the_published_code(golden):
    strict = 0
    for name, case, array in golden("deepcomp_"):
        if case["values"]["initially_empty_clusters"]:
            continue  # scikit-learn moves clusters without weights elsewhere than we do
        strict += 1
        values, bits = array("values"), case["settings"]["bits"]
        expected = array("centroids").reshape(-1).double().sort().values
        found = kmeans_points(values, 2**bits, 300, 1e-4)
        assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max())), name
        weight = array("weight")
        part = LearnedPoints(bits, None, "kmeans_published", "float32").build(values)
        stored = part.encode(weight[weight != 0], tuple(weight.shape), weight != 0).decode()
        shared = array("shared_weight")
        assert torch.allclose(stored, shared, rtol=0, atol=1e-5 * float(shared.abs().max())), name
    assert strict == 4


def test_the_huffman_account_is_the_published_codes(golden):
    for name, case, array in golden("deepcomp_"):
        shared = array("shared_weight")
        tensor: Stored = Dense(shared, shared != 0)
        counts, bytes_ = deep_compression_code_counts(tensor), 0
        for stream, expected in case["values"]["huffman"].items():
            assert sorted(counts[stream]) == sorted(array(f"{stream}_counts").tolist()), (name, stream)
            assert code_bits(counts[stream]) == expected["data_bits"], (name, stream)
            bytes_ += expected["data_bytes"] + expected["tree_bytes"]
        assert deep_compression_code(tensor).bytes == bytes_, name
