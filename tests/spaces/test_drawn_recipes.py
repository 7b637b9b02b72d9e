"""What is drawn is what was drawn before spaces were read off signatures.

``drawn_recipes.json.gz`` was recorded then: by space and method 36 recipes and their parameters, starting
points, the smallest, largest and fastest recipes, and each method called from Python.
"""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from studies.translation import TRANSLATION
from trainables import methods
from trainables.activations import LearnedClip, MovingRange
from trainables.losses import SoftTargets
from trainables.models import ConvNet, Transformer
from trainables.optimizers import AdamW
from trainables.pruners import Magnitude, NoPruner
from trainables.quantizers import LearnedPoints, LearnedStep, NoQuantizer, Symmetric, Uniform
from trainables.recipe import recipe_from_dict
from trainables.schedules import Constant, Linear
from trainables.tasks import Digits, Phrases

RECORDED = json.loads(gzip.decompress(Path(__file__).with_name("drawn_recipes.json.gz").read_bytes()))
TEACHER_ID = "0123456789abcdef"
FAMILY: dict[str, Any] = {"stages": ((64, 64), (128, 128)), "hidden": (128,), "kernel_size": 3}
SMALL: dict[str, Any] = {"units": 64, "dropout": 0.0}
OPENED = {
    "images": (
        sized(IMAGES, (1, 3), (0.1, 0.5)),
        Context(
            Digits(),
            fresh(ConvNet(depth=2, width=0.35, **FAMILY)),
            TEACHER_ID,
            epochs=11,
            seed=5,
            teacher_views=11,
        ),
    ),
    "text": (
        sized(TRANSLATION, (1, 2), (0.25, 1.0)),
        Context(
            Phrases(),
            fresh(Transformer(depth=1, width=0.7, **SMALL), Transformer(depth=2, **SMALL), TEACHER_ID),
            TEACHER_ID,
            epochs=11,
            seed=5,
            teacher_views=1,
        ),
    ),
}
FORMER = {
    "images": 7,
    "text": 7,
}
"""How many methods each space had."""


def today(recipe):
    """A recorded recipe as it is written today.

    ``model`` and ``start`` have become the origin; there were no peers, no dense gradients, and all samples
    had labels.
    """
    data = {**recipe, "peers": [], "labelled": 1.0}
    data["phases"] = [{**phase, "dense_gradient": False} for phase in recipe["phases"]]
    model, start = data.pop("model"), data.pop("start")
    fresh = {"type": "Fresh", "model": model}
    data["origin"] = fresh if start is None else {"type": "Trained", "model": model, "network": start}
    return recipe_from_dict(data)


@pytest.mark.parametrize("name", OPENED)
def test_every_recorded_draw_gives_the_same_recipe(name):
    space, context = OPENED[name]
    rows = RECORDED[name]["drawn"]
    counts = {}
    for row in rows:
        trial = optuna.trial.FixedTrial(row["params"])
        recipe = space(trial, context)
        assert recipe == today(row["recipe"])
        assert trial.params == row["params"], "a parameter is asked for that there was not, or the other way"
        counts[recipe.method] = counts.get(recipe.method, 0) + 1
    assert set(counts.values()) == {36} and len(counts) == FORMER[name]


@pytest.mark.parametrize("name", OPENED)
def test_parameters_have_the_ranges_that_were_drawn_from(name):
    space, context = OPENED[name]
    parameters = space.parameters(context)
    for row in RECORDED[name]["drawn"]:
        for key, value in row["params"].items():
            distribution = parameters[key]
            assert distribution._contains(distribution.to_internal_repr(value)), key


@pytest.mark.parametrize("name", OPENED)
def test_former_starting_points_are_those_of_chosen_methods_in_their_order(name):
    space, context = OPENED[name]
    points = replace(space, methods=tuple(space.opened(context).methods)).starting_points(context)
    recorded = RECORDED[name]["starting_points"]
    assert [point for point in points if point in [row["params"] for row in recorded]] == [
        row["params"] for row in recorded
    ]
    assert len({point["method"] for point in points}) == len(space.opened(context).methods)
    for row in recorded:
        assert space(optuna.trial.FixedTrial(row["params"]), context) == today(row["recipe"])


@pytest.mark.parametrize("name", OPENED)
def test_former_ends_are_among_those_of_today(name):
    def packed_by(recipe):
        return recipe.origin, recipe.quantizer, recipe.pruner, recipe.activations, recipe.exempt_dtype

    space, context = OPENED[name]
    recorded = RECORDED[name]
    assert packed_by(today(recorded["smallest"])) in map(packed_by, space.smallest(context))
    for end in ("largest", "fastest"):
        found = list(map(packed_by, getattr(space, end)(context)))
        for recipe in recorded[end]:
            assert packed_by(today(recipe)) in found


QUANTIZERS = {
    "post_training_quantization": Uniform,
    "quantized_distillation": Uniform,
    "alternating_quantization": Uniform,
    "differentiable_quantization": LearnedPoints,
    "learned_step_quantization": LearnedStep,
    "quantization_aware_training": Symmetric,
    "parameterized_clipping": LearnedStep,
    "sequence_level_distillation": Uniform,
}


def arguments_of(method, former):
    """What a method is called with today, for the arguments that it was called with."""
    found = {k: v for k, v in former.items() if k.startswith(("points_", "quantized_")) or k == "beam"}
    if "learning_rate" in former:
        found["optimizer"] = AdamW(former["learning_rate"])
    if method == "sequence_level_distillation" and "bits" not in former:
        found["quantizer"] = NoQuantizer()
    elif method in QUANTIZERS and "bits" in former:
        names = {"bits": "bits", "bucket_size": "bucket_size", "share_levels": "share"}
        found["quantizer"] = QUANTIZERS[method](**{names[k]: v for k, v in former.items() if k in names})
    if "temperature" in former:
        weight = Linear(1.0, 0.0) if method == "teacher_annealing" else None
        weight = weight or Constant(former["distillation_weight"])
        found["imitation"] = SoftTargets(Constant(former["temperature"]), weight)
    if "initial_clip" in former:
        clip = former["initial_clip"], former["clip_decay"]
        found["activations"] = LearnedClip(former["activation_bits"], *clip)
    elif "activation_bits" in former:
        found["activations"] = MovingRange(former["activation_bits"])
    return found


@pytest.mark.parametrize("number", range(24))
def test_methods_called_from_python_write_the_same_recipes(number):
    row = RECORDED["called"][number]
    name, former = row["method"], row["arguments"]
    _, context = OPENED["text" if name == "sequence_level_distillation" else "images"]
    given = methods.Setting(context.task, context.origins[0][1], 11, TEACHER_ID, seed=5)
    if "teacher_views" in former:
        given = replace(given, teacher_views=former["teacher_views"])
    pruner = Magnitude(former["sparsity"]) if "sparsity" in former else NoPruner()
    recipe = getattr(methods, name)(replace(given, pruner=pruner), **arguments_of(name, former))
    assert recipe == today(row["recipe"])
