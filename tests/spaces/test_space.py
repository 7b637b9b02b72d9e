"""Spaces are read off the signatures of methods: what is drawn, what is left out, what users may ask for."""

from dataclasses import replace

import optuna
import pytest

from spaces import Context, Space
from spaces.architectures import fresh
from spaces.arguments import arguments_of, handles_in, handles_of
from studies.images import IMAGES, sized
from studies.known import find_study
from studies.translation import TRANSLATION
from trainables.losses import SoftTargets
from trainables.methods import METHODS, PRUNING
from trainables.models import LSTM, ConvNet, Transformer
from trainables.naming import summary
from trainables.pruners import Magnitude, NoPruner
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
DISTILLED = {
    "knowledge_distillation",
    "teacher_annealing",
    "quantized_distillation",
    "differentiable_quantization",
    "alternating_quantization",
}
TOGETHER = {"mutual_learning", "online_ensemble", "gated_online_ensemble"}
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
    assert {recipe.method for _, recipe in drawn} == {*NAMES} - set(images.left_out(CONTEXT))
    for trial, recipe in drawn:
        facts = summary(recipe)
        assert 1 <= facts["depth"] <= 3 and 0.1 <= facts["width"] <= 0.5
        assert facts["sparsity"] in (0, None) or 0.1 <= facts["sparsity"] <= 0.99
        assert recipe.epochs == 4 and recipe.seed == 5
        if "log2_bucket_size" in trial.params:
            assert 1 <= facts["bits"] <= 8 and facts["bucket_size"] in (32, 64, 128, 256, 512, 1024)
    for name, bits in (("bits", range(1, 9)), ("symmetric_bits", range(2, 9))):
        assert {summary(r)["bits"] for trial, r in drawn if name in trial.params} == set(bits)


def test_parameters_exist_only_where_they_act(drawn):
    live = replace(CONTEXT, teacher_views=None)
    for trial, recipe in drawn:
        method = next(each for each in METHODS.values() if each.name == recipe.method)
        brings = "pruner" in arguments_of(method)
        handles = [*handles_of(method), *(handles_in("pruner", PRUNING) if trial.params.get("prune") else ())]
        names = {each.parameter for each in handles if each.range.search is not None}
        names |= {"method", "depth", "width"} | (set() if brings else {"prune"})
        assert trial.params.keys() == names
        if not brings:
            assert trial.params["prune"] == (recipe.pruner != NoPruner())
        if recipe.method in TOGETHER:
            assert len(recipe.peers) == trial.params["students"] - 1
        if recipe.method in DISTILLED:
            assert recipe.teacher == Remembered("0" * 16, 16) and recipe.asks("0" * 16)
            assert images(optuna.trial.FixedTrial(trial.params), live).teacher == Fixed("0" * 16)
        if method.idea in ("labels", "rounding", "grid"):
            assert recipe.teacher == NoTeacher() and not recipe.asks("0" * 16)


def test_students_of_text_start_fresh_or_from_the_teacher(drawn_text):
    reached = {(recipe.method, recipe.origin.parent) for _, recipe in drawn_text}
    assert reached == {
        (name, start) for name in translation.opened(TEXT).methods for start in (None, "1" * 16)
    }
    for trial, recipe in drawn_text:
        started = recipe.origin.parent is not None
        assert (recipe.model == TEACHER) == started
        assert ("depth" in trial.params) == ("width" in trial.params) == (not started)
        if recipe.method not in TOGETHER:  # whose teachers are asked at every step
            soft = [loss for loss in recipe.losses if isinstance(loss, SoftTargets)]
            assert all(loss.temperature(0.5) == 1.0 for loss in soft)
        by_sentence = recipe.method == "sequence_level_distillation"
        assert isinstance(recipe.task, TeacherTranslations) == by_sentence


def test_what_a_task_refuses_is_left_out_with_its_reason():
    several, slices = {"multi_task_annealing"}, {"scratch_e", "scratch_b"}
    unfit = {"round_to_nearest", "sequence_level_distillation"} | several | slices
    assert set(images.left_out(CONTEXT)) == unfit
    assert "rounds a trained network" in images.left_out(CONTEXT)["round_to_nearest"]
    assert "for tasks that translate, got Digits" in images.left_out(CONTEXT)["sequence_level_distillation"]
    left = translation.left_out(TEXT)
    reasons = {
        "padding": {
            "int8_post_training_quantization",
            "quantization_aware_training",
            "parameterized_clipping",
        },
        "one class for each sample": {"early_exits", "decision_gates"},
        "compares whole samples": {"contrastive_distillation", "similarity_distillation"},
        "maps of images": {"attention_transfer"},
        "for several tasks": several,
        "the shape of a slice": slices,
        "rounds a trained network": {"round_to_nearest"},
    }
    assert set(left) == set().union(*reasons.values())
    assert all(reason in left[name] for reason, names in reasons.items() for name in names)
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
    names = tuple(space.opened(context).methods)
    points = replace(space, methods=names).starting_points(context)
    assert {point["method"] for point in points} == set(names)
    for point in points:
        trial = optuna.trial.FixedTrial(point)
        space(trial, context)
        assert trial.params == point
        assert point.keys() <= space.parameters(context).keys()


@pytest.mark.parametrize(
    ("space", "context"), [(images, CONTEXT), (translation, TEXT)], ids=["images", "text"]
)
def test_of_all_methods_the_first_of_each_idea_is_tried_first(space, context):
    methods = space.opened(context).methods
    first = {}
    for name, method in methods.items():
        first.setdefault(method.idea, name)
    begun = [point["method"] for point in space.starting_points(context)]
    assert list(dict.fromkeys(begun)) == list(first.values()) and len(begun) < len(methods)
    wanted = replace(space, without=tuple(first.values())).starting_points(context)
    assert not {point["method"] for point in wanted} & set(begun)


def test_ends_are_at_the_ends():
    smallest = images.smallest(CONTEXT)
    for recipe in smallest:
        facts = summary(recipe)
        assert (facts["depth"], facts["width"]) == (1, 0.1)
    pruned = [recipe for recipe in smallest if isinstance(recipe.pruner, Magnitude)]
    assert {recipe.pruner.sparsity for recipe in pruned} == {0.95}
    assert {summary(recipe)["bits"] for recipe in pruned} == {None, 1, 2, 8}
    assert all(recipe.origin.parent is None for recipe in translation.smallest(TEXT))
    for recipe in translation.largest(TEXT):
        assert not recipe.quantizes
    assert any(recipe.pruner == NoPruner() for recipe in translation.largest(TEXT))
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
        ({"methods": ("qdd",)}, r"no method 'qdd' .did you mean qd.*; choose from fp, kd, .*, seqkd"),
        ({"fixed": ("bit=4",)}, "nothing called 'bit' to be turned here; did you mean bits"),
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
        for method, recipe in study.space.opened(context).defaults.items():
            assert recipe.method == method and recipe.epochs == study.epochs
    assert "sequence_level_distillation" not in find_study("phrases").space.chosen()


def test_a_context_checks_its_epochs():
    with pytest.raises(ValueError, match="epochs=1"):
        replace(CONTEXT, epochs=1)
