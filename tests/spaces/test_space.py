"""Spaces are read off the signatures of methods: what is drawn, what is left out, what users may ask for."""

from dataclasses import replace

import optuna
import pytest

from spaces import Context, Space
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from studies.known import find_study
from studies.translation import TRANSLATION
from trainables.losses import SoftTargets
from trainables.methods import METHODS
from trainables.models import LSTM, ConvNet, Transformer
from trainables.naming import summary
from trainables.pruners import NoPruner
from trainables.tasks import Digits, Phrases
from trainables.tasks.teacher_translations import TeacherTranslations
from trainables.teachers import Fixed, NoTeacher, Remembered

images = sized(IMAGES, (1, 3), (0.1, 0.5))
translation = sized(TRANSLATION, (1, 2), (0.25, 1.0))
CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=4, seed=5)
TEACHER = Transformer(depth=3, units=64)
TEXT = Context(
    Phrases(), fresh(Transformer(units=32), TEACHER, "1" * 16), "1" * 16, epochs=4, teacher_views=1
)
BITS = {
    "post_training_quantization",
    "quantized_distillation",
    "differentiable_quantization",
    "alternating_quantization",
    "sequence_level_distillation",
}
SYMMETRIC = {
    "learned_step_quantization",
    "quantization_aware_training",
    "parameterized_clipping",
    "early_exits",
    "decision_gates",
}
DISTILLED = {
    "knowledge_distillation",
    "teacher_annealing",
    "quantized_distillation",
    "differentiable_quantization",
    "alternating_quantization",
}
NAMES = [method.name for method in METHODS.values()]


def draws(space, context, count=400):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(count)]
    return [(trial, space(trial, context)) for trial in trials]


@pytest.fixture(scope="module")
def drawn():
    return draws(images, CONTEXT)


@pytest.fixture(scope="module")
def drawn_text():
    return draws(translation, TEXT)


def test_every_method_that_the_task_takes_is_reached_and_stays_in_range(drawn):
    assert {recipe.method for _, recipe in drawn} == {*NAMES} - {
        "sequence_level_distillation",
        "round_to_nearest",
    }
    for _, recipe in drawn:
        facts = summary(recipe)
        assert 1 <= facts["depth"] <= 3 and 0.1 <= facts["width"] <= 0.5
        assert facts["sparsity"] == 0 or 0.1 <= facts["sparsity"] <= 0.95
        assert recipe.epochs == 4 and recipe.seed == 5
        if recipe.method in BITS:
            assert 1 <= facts["bits"] <= 8 and facts["bucket_size"] in (32, 64, 128, 256, 512, 1024)
    assert {summary(r)["bits"] for _, r in drawn if r.method in BITS} == set(range(1, 9))
    assert {summary(r)["bits"] for _, r in drawn if r.method in SYMMETRIC} == set(range(2, 9))


def test_parameters_exist_only_where_they_act(drawn):
    live = replace(CONTEXT, teacher_views=None)
    for trial, recipe in drawn:
        names = trial.params.keys()
        assert ("bits" in names) == ("log2_bucket_size" in names) == (recipe.method in BITS)
        assert ("symmetric_bits" in names) == (recipe.method in SYMMETRIC)
        assert ("activation_bits" in names) == (recipe.method == "parameterized_clipping")
        assert ("temperature" in names) == (recipe.method in DISTILLED)
        constant = DISTILLED - {"teacher_annealing"}  # whose weight falls from 1 to 0
        assert ("distillation_weight" in names) == (recipe.method in constant)
        learned = ("differentiable_quantization", "alternating_quantization")
        assert ("points_learning_rate" in names) == (recipe.method in learned)
        assert ("sparsity" in names) == trial.params["prune"] == (recipe.pruner != NoPruner())
        assert recipe.teacher == (Remembered("0" * 16, 16) if recipe.method in DISTILLED else NoTeacher())
        again = images(optuna.trial.FixedTrial(trial.params), live)
        assert again.teacher == (Fixed("0" * 16) if recipe.method in DISTILLED else NoTeacher())


def test_students_of_text_start_fresh_or_from_the_teacher(drawn_text):
    reached = {(recipe.method, recipe.origin.parent) for _, recipe in drawn_text}
    assert reached == {
        (name, start) for name in translation.opened(TEXT).methods for start in (None, "1" * 16)
    }
    for trial, recipe in drawn_text:
        started = recipe.origin.parent is not None
        assert (recipe.model == TEACHER) == started
        assert ("depth" in trial.params) == ("width" in trial.params) == (not started)
        assert all(loss.temperature(0.5) == 1.0 for loss in recipe.losses)
        by_sentence = recipe.method == "sequence_level_distillation"
        assert isinstance(recipe.task, TeacherTranslations) == by_sentence


def test_what_a_task_refuses_is_left_out_with_its_reason():
    assert list(images.left_out(CONTEXT)) == ["round_to_nearest", "sequence_level_distillation"]
    assert "rounds a trained network" in images.left_out(CONTEXT)["round_to_nearest"]
    assert "for tasks that translate, got Digits" in images.left_out(CONTEXT)["sequence_level_distillation"]
    left = translation.left_out(TEXT)
    assert set(left) == {
        "round_to_nearest",
        "int8_post_training_quantization",
        "quantization_aware_training",
        "parameterized_clipping",
        "early_exits",
        "decision_gates",
    }
    assert "one class for each sample" in left.pop("early_exits")
    assert "one class for each sample" in left.pop("decision_gates")
    assert all("padding" in reason for name, reason in left.items() if name != "round_to_nearest")
    trained = replace(TEXT, origins=TEXT.origins[1:])
    assert "round_to_nearest" not in Space(fixed={"temperature": 1.0}).left_out(trained)
    rounded = Space(methods=("rtn",), starts={"bits": 4}).starting_points(trained)
    assert [point["bits"] for point in rounded] == [4]
    short = translation.left_out(replace(TEXT, epochs=2))
    assert "epochs must be at least 3" in short["alternating_quantization"]
    with pytest.raises(ValueError, match="no method is left: sequence_level_distillation: "):
        Space(methods=("sequence_level_distillation",)).parameters(CONTEXT)
    with pytest.raises(ValueError, match=r"temperature 1\.0 alone"):  # nobody said at which to ask
        Space(methods=("knowledge_distillation",)).parameters(TEXT)


@pytest.mark.parametrize(
    ("space", "context"), [(images, CONTEXT), (translation, TEXT)], ids=["images", "text"]
)
def test_starting_points_are_complete_and_valid(space, context):
    points = space.starting_points(context)
    assert {point["method"] for point in points} == set(space.opened(context).methods)
    for point in points:
        trial = optuna.trial.FixedTrial(point)
        space(trial, context)
        assert trial.params == point
        assert point.keys() <= space.parameters(context).keys()


def test_ends_are_at_the_ends():
    smallest = images.smallest(CONTEXT)
    for recipe in smallest:
        facts = summary(recipe)
        assert (facts["depth"], facts["width"], facts["sparsity"]) == (1, 0.1, 0.95)
    assert {summary(recipe)["bits"] for recipe in smallest} == {None, 1, 2, 8}
    assert all(recipe.origin.parent is None for recipe in translation.smallest(TEXT))
    for recipe in translation.largest(TEXT):
        assert not recipe.quantizes and recipe.pruner == NoPruner()
    assert {recipe.model.depth for recipe in translation.largest(TEXT)} == {2, 3}
    quantized = Space(methods=("quantized_distillation",), fixed={"temperature": 1.0})
    assert {summary(recipe)["bits"] for recipe in quantized.largest(TEXT)} == {8}
    ways = [(type(r.origin).__name__, type(r.activations).__name__) for r in images.fastest(CONTEXT)]
    plain = [("Fresh", name) for name in ("NoActivationQuantizer", "MovingRange", "LearnedClip")]
    assert ways == [*plain, *[("WithExits", "NoActivationQuantizer")] * 2]


def asked(space=images, student=CONTEXT.origins, methods=(), fixed=(), ranges=()):
    return space.narrowed(student, methods, fixed, ranges)


def test_users_choose_methods_values_and_ranges():
    space = asked(
        methods=("qd", "learned_step_quantization"), fixed=("bits=4", "prune=no"), ranges=("width=0.2:0.3",)
    )
    assert space.parameters(CONTEXT).keys() == {
        *("method", "depth", "width", "log2_bucket_size", "symmetric_bits", "temperature"),
        *("distillation_weight", "learning_rate"),
    }
    for trial, recipe in draws(space, CONTEXT, 60):
        assert recipe.method in ("quantized_distillation", "learned_step_quantization")
        assert 0.2 <= recipe.model.width <= 0.3 and recipe.pruner == NoPruner()
        assert "bits" not in trial.params
        assert recipe.method != "quantized_distillation" or recipe.quantizer.bits == 4
    for point in space.starting_points(CONTEXT):
        assert 0.2 <= point["width"] <= 0.3
    buckets = asked(ranges=("bucket_size=64:128",)).parameters(CONTEXT)["log2_bucket_size"]
    assert (buckets.low, buckets.high) == (6, 7)


def test_what_no_search_tries_by_itself_is_searched_where_a_range_is_given():
    space = asked(
        student=fresh(LSTM()),
        space=translation,
        ranges=("student.units=64:128", "optimizer.weight_decay=0:0.1"),
    )
    context = replace(TEXT, origins=fresh(LSTM()))
    units, decays = set(), set()
    for _, recipe in draws(space, context, 60):
        units.add(recipe.model.units)
        decays.add(recipe.phases[0].optimizer.weight_decay)
    assert min(units) >= 64 and max(units) <= 128 and len(units) > 10 and len(decays) > 10


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        ({"methods": ("qdd",)}, r"no method 'qdd'; choose from fp, kd, .*, exits, gates$"),
        ({"fixed": ("bit=4",)}, "nothing called 'bit' to be turned here; there are .*bits.*start"),
        ({"fixed": ("bits=4",), "methods": ("lsq",)}, "nothing called 'bits'.*symmetric_bits"),
        ({"fixed": ("bits=9",)}, r"bits must be in \[1, 8\], got bits=9"),
        ({"fixed": ("bits=2.5",)}, "bits takes a whole number, got '2.5'"),
        ({"fixed": ("bits",)}, "must be like bits=4, got 'bits'"),
        ({"fixed": ("prune=maybe",)}, "prune must be one of False, True, got prune=maybe"),
        ({"fixed": ("width=nan",)}, "width takes a number, got 'nan'"),
        ({"ranges": ("bits=0:4",)}, r"bits must be two ascending numbers in \[1, 8\], got bits=0:4"),
        ({"ranges": ("bits=4:2",)}, "ascending"),
        ({"ranges": ("bits=4",)}, "two ends such as bits=2:4, got bits=4"),
        ({"ranges": ("bucket_size=48:96",)}, "powers of two"),
        ({"ranges": ("sparsity=0.5:1.5",)}, "sparsity must be two ascending numbers"),
        ({"ranges": ("bits=2:4",), "fixed": ("bits=3",)}, "bits cannot be fixed and searched at once"),
    ],
)
def test_wishes_that_mean_nothing_are_refused_in_a_sentence(wishes, text):
    with pytest.raises(ValueError, match=text):
        asked(**wishes)


def test_a_start_from_a_teacher_that_lends_no_weights_is_refused():
    with pytest.raises(ValueError, match="start=teacher is none of this study's, whose students are fresh"):
        asked(fixed=("start=teacher",)).parameters(CONTEXT)
    started = asked(space=translation, student=TEXT.origins, fixed=("start=teacher",))
    assert all(recipe.model == TEACHER for _, recipe in draws(started, TEXT, 20))
    assert "depth" not in started.parameters(TEXT)


def test_a_name_of_two_meanings_is_refused():
    odd = Space(ranges={"bits": (1, 4), "nothing": (0, 1)})
    with pytest.raises(ValueError, match="nothing called 'nothing'"):
        odd.parameters(CONTEXT)


def test_studies_open_on_their_tasks():
    for name in ("digits", "phrases", "multi30k"):
        study = find_study(name)
        context = study.context(study.make_task(None, {}), "0" * 16, 0)
        assert study.space.parameters(context)["method"].choices
        for recipe in study.space.opened(context).defaults.values():
            assert all(isinstance(loss, SoftTargets) for loss in recipe.losses if loss.imitates)
    assert "sequence_level_distillation" not in find_study("phrases").space.chosen()


def test_a_context_checks_its_epochs():
    with pytest.raises(ValueError, match="epochs=1"):
        replace(CONTEXT, epochs=1)
