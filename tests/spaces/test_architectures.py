"""Several architectures in one search."""

import optuna
import pytest
import torch

from spaces import Context
from spaces.architectures import FAMILIES, FAMILY_RANGES, LACKING
from studies.known import find_study
from studies.names import IMAGE_ARCHITECTURES, SENTENCE_ARCHITECTURES, SOUND_ARCHITECTURES, StudyError
from trainables.layers import RULES
from trainables.models import GhostNet, MobileNetV2, ResNet, TimeCNN
from trainables.probe import Features
from trainables.tasks import CIFAR10, SpokenWords

NAMES = "resnet,mobilenet_v2,ghostnet"


def opened(names=NAMES, study="cifar10"):
    found = find_study(study, about_data={"architectures": names})
    return found, found.context(CIFAR10(), "0" * 16, 0)


def test_they_are_drawn_together_each_with_its_own_ranges():
    study, context = opened()
    parameters = study.space.parameters(context)
    assert parameters["start"].choices == ("resnet", "mobilenet_v2", "ghostnet")
    # The study's own student is a ResNet, and its ranges are that one's.
    assert (parameters["resnet.width"].low, parameters["resnet.width"].high) == (0.5, 2.0)
    assert (parameters["mobilenet_v2.depth"].low, parameters["mobilenet_v2.depth"].high) == (1, 4)
    assert (parameters["ghostnet.last"].low, parameters["ghostnet.last"].high) == (128, 1280)
    assert "width" not in parameters and "depth" not in parameters
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = {}
    for _ in range(60):
        trial = sampler.ask()
        model = study.space(trial, context).model
        seen.setdefault(type(model), []).append(model)
        start = trial.params["start"]
        sizes = {name for name in trial.params if name.partition(".")[0] in FAMILIES}
        assert sizes == {name for name in parameters if name.startswith(f"{start}.")}
        assert model.width == pytest.approx(trial.params[f"{start}.width"], rel=1e-3)
    assert seen.keys() == {ResNet, MobileNetV2, GhostNet}


def test_first_trials_are_of_every_architecture_and_of_every_idea():
    study, context = opened()
    points = study.space.starting_points(context)
    begun = [point["start"] for point in points]
    assert set(begun) == {"resnet", "mobilenet_v2", "ghostnet"} and begun[0] == "resnet"
    alone = find_study("cifar10")
    usual = alone.space.starting_points(alone.context(CIFAR10(), "0" * 16, 0))
    assert {point["method"] for point in points} == {point["method"] for point in usual}
    many, context = opened(",".join(IMAGE_ARCHITECTURES))
    few = many.narrowed(("qd", "fp"), (), ())
    points = few.space.starting_points(context)
    assert {point["start"] for point in points} == set(IMAGE_ARCHITECTURES)
    assert {point["method"] for point in points} == {"quantized_distillation", "full_precision"}


def test_the_smallest_the_largest_and_the_fastest_are_looked_for_among_all():
    study, context = opened()
    for recipes in (
        study.space.smallest(context),
        study.space.fastest(context),
        study.space.largest(context),
    ):
        assert {type(recipe.model) for recipe in recipes} == {ResNet, MobileNetV2, GhostNet}
    widths = {type(recipe.model): recipe.model.width for recipe in study.space.smallest(context)}
    assert widths == {ResNet: 0.5, MobileNetV2: 0.1, GhostNet: 0.1}


def test_a_first_trial_is_made_smaller_within_its_architecture():
    study, context = opened()
    within = study.space.opened(context)
    point = next(each for each in study.space.starting_points(context) if each["start"] == "ghostnet")
    small = within.smaller(point, 1.0)
    assert small["start"] == "ghostnet" and small["ghostnet.depth"] == 1
    assert small["ghostnet.width"] == pytest.approx(0.1)


def test_one_can_be_narrowed_and_fixed():
    study, context = opened("mobilenet_v2,squeezenet")
    narrowed = study.narrowed((), ("mobilenet_v2.depth=1",), ("squeezenet.width=0.2:0.3",))
    parameters = narrowed.space.parameters(context)
    assert "mobilenet_v2.depth" not in parameters
    assert (parameters["squeezenet.width"].low, parameters["squeezenet.width"].high) == (0.2, 0.3)
    only = study.narrowed((), ("start=squeezenet",), ())
    assert "mobilenet_v2.width" not in only.space.parameters(context)


@pytest.mark.parametrize(
    ("study", "names", "told"),
    [
        (
            "cifar10",
            "resnet,mobilnet",
            r"no architecture 'mobilnet' \(did you mean mobilenet_v.*\) for .* cifar10; choose from resnet,",
        ),
        ("cifar10", "resnet,resnet", "names resnet twice"),
        ("phrases", "resnet", "--architectures is not for the study phrases"),
        ("cifar10", "", "no architecture ''"),
    ],
)
def test_what_is_no_architecture_is_refused_in_a_sentence(study, names, told):
    with pytest.raises(StudyError, match=told):
        find_study(study, about_data={"architectures": names})


SHAPES = {
    **dict.fromkeys(IMAGE_ARCHITECTURES, (3, 16, 16)),
    **dict.fromkeys(SOUND_ARCHITECTURES, (1, 16, 20)),
    **dict.fromkeys(SENTENCE_ARCHITECTURES, (30, 12)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_what_an_architecture_lacks_is_what_its_networks_lack(name):
    shape = SHAPES[name]
    network = FAMILIES[name].build(shape, 5).eval()
    sentences = len(shape) == 2
    inputs = torch.randint(1, 30, (2, 12)) if sentences else torch.randn(2, *shape)
    features, lacking = Features(network, lambda: inputs), []
    for place in RULES:
        try:
            features.find(place)
        except ValueError:
            lacking.append(place)
    assert tuple(lacking) == LACKING.get(name, ())


def test_methods_that_look_into_networks_leave_out_those_that_lack_the_place():
    study = find_study("keywords", about_data={"architectures": "gru,time_cnn"}).narrowed(("crd",), (), ())
    context = study.context(SpokenWords(), "0" * 16, 0)
    assert {point["start"] for point in study.space.starting_points(context)} >= {"time_cnn"}
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    models = {type(study.space(sampler.ask(), context).model) for _ in range(10)}
    assert models == {TimeCNN}
    alone = find_study("keywords", about_data={"architectures": "gru"})
    left_out = alone.space.left_out(alone.context(SpokenWords(), "0" * 16, 0))
    assert "looks at penultimate features of both networks" in left_out["contrastive_distillation"]


def test_own_networks_have_no_architectures():
    with pytest.raises(StudyError, match="leave out --architectures"):
        find_study(
            "cifar10", own_model="examples.own_model:SeparableNet", about_data={"architectures": NAMES}
        )


def test_every_architecture_has_ranges_of_its_own():
    assert set(IMAGE_ARCHITECTURES) <= set(FAMILIES)
    study, context = opened(",".join(IMAGE_ARCHITECTURES), "image_folder")
    assert isinstance(context, Context)
    parameters = study.space.parameters(context)
    for name in IMAGE_ARCHITECTURES:
        assert {f"{name}.depth", f"{name}.width"} <= parameters.keys()
    assert all(name.partition(".")[0] in FAMILIES for name in FAMILY_RANGES)
