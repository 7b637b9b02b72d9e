"""Recipes as points: what a network's weights are is the same coordinate, whatever its architecture."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search.sampling.freezing.features import Features
from search.sampling.freezing.outline import outline_of
from trainables import methods
from trainables.models import ConvNet, ResNet
from trainables.origins import Fresh
from trainables.quantizers import Uniform
from trainables.tasks import Digits

PARAMETERS = {
    "family": CategoricalDistribution(("convnet", "resnet")),
    "convnet.width": FloatDistribution(0.1, 0.8),
    "resnet.width": FloatDistribution(0.1, 0.8),
    "bits": IntDistribution(1, 8),
}
WEIGHTS = 3
"""The coordinate: it comes after coarseness, bits and the kept share."""


def outline(family, width, bits=4):
    model = {"convnet": ConvNet, "resnet": ResNet}[family](depth=1, width=width)
    setting = methods.Setting(Digits(), Fresh(model), 1)
    return outline_of(methods.post_training_quantization(setting, quantizer=Uniform(bits)))


def some_recipes(count=60, seed=0):
    """Parameters of recipes that have the width of their own family alone, and their outlines."""
    random = np.random.default_rng(seed)
    params = [
        {"family": family, f"{family}.width": random.uniform(0.1, 0.8), "bits": int(random.integers(1, 9))}
        for family in random.choice(["convnet", "resnet"], count).tolist()
    ]
    return params, [outline(p["family"], p[f"{p['family']}.width"], p["bits"]) for p in params]


def test_networks_of_as_many_weights_are_as_large_whatever_their_architecture():
    params, outlines = some_recipes()
    features = Features.of(PARAMETERS, params, outlines)
    points = np.array([features.point(*each) for each in zip(params, outlines, strict=True)])
    weights = np.array([each.log2_weights for each in outlines])
    assert points[:, WEIGHTS].min() == 0 and points[:, WEIGHTS].max() == 1
    slope, start = np.polyfit(weights, points[:, WEIGHTS], 1)
    assert points[:, WEIGHTS] == pytest.approx(start + slope * weights)
    assert len(features.groups) == points.shape[1]
    assert features.groups[WEIGHTS] not in np.delete(features.groups, WEIGHTS), "it has a scale of its own"


def test_recipes_of_one_size_are_points_too():
    params, outlines = [{"family": "convnet", "convnet.width": 0.2, "bits": 4}], [outline("convnet", 0.2)]
    features = Features.of(PARAMETERS, params, outlines)
    assert features.point(params[0], outlines[0])[WEIGHTS] == 0
    larger = features.point(params[0], outline("convnet", 0.4))[WEIGHTS]
    assert 0 < larger < np.inf
