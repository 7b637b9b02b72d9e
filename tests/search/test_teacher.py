"""The teacher's outputs: kept by all they depend on, refused when damaged, asked live when too large."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from search.problem import Problem
from search.teaching.along import cached_route, keep_route, needs_route, route_folder
from search.teaching.kept import (
    FEATURE_BYTES,
    SHARE_OF_OBJECT_STORE,
    TeacherEpoch,
    cached_teacher,
    feature_sizes,
    features_that_fit,
    keep_teacher,
    lacking_features,
    teacher_epochs,
    view_bytes,
    views_that_fit,
)
from search.teaching.products import (
    ask_features,
    ask_teacher,
    cached_product,
    features_name,
    keep_product,
    outputs_name,
    product_path,
)
from spaces import Context, Space
from spaces.architectures import fresh
from tests.recipes import STUDENT
from trainables import methods
from trainables.compression.compressed_weight import compress
from trainables.layers import PENULTIMATE, STAGES
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.shipping.evaluation import open_student, ship
from trainables.tasks import Digits
from trainables.training import trial_folder
from trainables.training.trial_sources import TrialSources

VIEWS = 2
RECIPE = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))


def packed(seed=0):
    torch.manual_seed(seed)
    return ship(RECIPE, compress(STUDENT.build((1, 8, 8), 10), RECIPE))


@pytest.fixture(scope="module")
def asked():
    return ask_teacher(packed(), Digits().load(None), Digits(), VIEWS, "cpu", 1)


def test_the_teacher_of_the_file_is_asked(asked):
    task = Digits().open(Digits().load(None), torch.device("cpu"), 8)
    assert (asked.recipe_id, asked.fingerprint, asked.views) == (
        RECIPE.recipe_id,
        task.fingerprint(),
        VIEWS,
    )
    assert asked.values["outputs"].shape == (VIEWS, 1077, 10)
    _, network = open_student(packed())
    batch = next(task.batches("train", 4, 1))
    live = network(batch.inputs).numpy()
    np.testing.assert_allclose(asked.values["outputs"][1][batch.index.numpy()], live, rtol=1e-3, atol=1e-4)


def path_of(store, recipe=RECIPE, file=None, fingerprint="0123456789abcdef", name="whole-2views"):
    return product_path(store, recipe, file or packed(), fingerprint, name)


def test_products_are_kept_by_all_they_depend_on(asked, tmp_path):
    path = path_of(tmp_path)
    assert cached_product(path) is None
    keep_product(path, asked.values)
    again = cached_product(path_of(tmp_path))
    assert again is not None and again.keys() == asked.values.keys() == {"outputs"}
    assert again["outputs"].dtype == np.float16
    assert np.array_equal(again["outputs"], asked.values["outputs"])
    assert outputs_name(VIEWS, Digits()) == "whole-2views"
    for change in (
        {"file": packed(seed=1)},
        {"fingerprint": "0" * 16},
        {"name": outputs_name(VIEWS + 1, Digits())},
        {"recipe": replace(RECIPE, seed=1)},
    ):
        assert cached_product(path_of(tmp_path, **change)) is None


def test_every_type_of_array_comes_back(tmp_path):
    arrays = {
        "numbers": np.arange(6, dtype=np.uint16).reshape(2, 3)[:, ::2],
        "lengths": np.array([1, 2], dtype=np.int64),
        "none": np.zeros((0, 3), dtype=np.float16),
    }
    keep_product(path_of(tmp_path), arrays)
    again = cached_product(path_of(tmp_path))
    assert again is not None and again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype and np.array_equal(again[name], array)


def test_damaged_products_are_refused(asked, tmp_path):
    path = path_of(tmp_path)
    keep_product(path, asked.values)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for position in (*range(header), *range(header, len(whole), len(whole) // 40)):
        broken = bytearray(whole)
        broken[position] ^= 4
        path.write_bytes(bytes(broken))
        with pytest.raises(Problem, match="remove it to ask the teacher again"):
            cached_product(path)
    path.write_bytes(whole[:-10])
    with pytest.raises(Problem, match="remove it"):
        cached_product(path)


@given(st.integers(1, 1024), st.integers(1, 10**10), st.floats(0, 1e12))
def test_outputs_are_remembered_where_they_fit(views, size, store_bytes):
    fit = views_that_fit(views, size, store_bytes)
    assert fit == (views if views * size <= SHARE_OF_OBJECT_STORE * store_bytes else None)
    assert views_that_fit(None, size, store_bytes) is None


@given(
    st.dictionaries(st.text(max_size=3), st.none() | st.integers(1, 10**6)),
    st.integers(1, 30),
    st.floats(0, 1e8),
)
def test_features_are_remembered_where_they_fit_beside_the_outputs(sizes, views, store_bytes):
    kept = features_that_fit(sizes, views, 100, 100, store_bytes)
    left = SHARE_OF_OBJECT_STORE * store_bytes - views * 100 - views * sum(sizes[place] for place in kept)
    assert not kept or left >= 0
    small = {place for place, size in sizes.items() if size and size <= 100 * FEATURE_BYTES}
    assert set(kept) <= small and all(views * sizes[place] > left for place in small - set(kept))
    assert features_that_fit(sizes, None, 100, 100, store_bytes) == ()


def test_features_are_asked_and_sized_as_they_are_kept():
    task = Digits().open(Digits().load(None), torch.device("cpu"), 0)
    found = ask_features(packed(), Digits().load(None), Digits(), VIEWS, (PENULTIMATE,), "cpu", 1)[
        PENULTIMATE
    ]
    sizes = feature_sizes(RECIPE, task, [PENULTIMATE, "nowhere"])
    assert sizes == {PENULTIMATE: sum(each[0].nbytes for each in found.values()), "nowhere": None}
    assert features_name(VIEWS, PENULTIMATE) != features_name(VIEWS, "nowhere")


def test_the_size_of_a_view_is_that_of_what_is_kept(asked):
    task = Digits().open(Digits().load(None), torch.device("cpu"), 0)
    assert view_bytes(task, 10) == sum(values[0].nbytes for values in asked.values.values())


LONGER = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=4))


ALONG = [f"{epoch:06}.rdz" for epoch in (1, 2, 3)]
"""What is kept of four epochs beside the teacher itself."""


class Killed(Exception):
    pass


def trained(store, arrays=None, stop_after=None, route=False):
    """Epochs that were told, and the file; ``stop_after`` so many it is as if the process were killed."""
    told = []
    for item in teacher_epochs(LONGER, arrays or Digits().load(None), "cpu", 1, store, route=route):
        if isinstance(item, bytes):
            return told, item
        told.append(item)
        if item.epoch == stop_after:
            raise Killed
    raise AssertionError


@pytest.fixture(scope="module")
def straight():
    *_, file = teacher_epochs(LONGER, Digits().load(None), "cpu", 1)
    return file


@pytest.fixture
def every_epoch(monkeypatch):
    """A checkpoint after every epoch, even where these take no longer than to write one."""
    monkeypatch.setattr(trial_folder, "LEAST_RATIO", 0.0)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_teacher_goes_on_from_its_last_epoch_to_the_same_file(tmp_path, straight, every_epoch, stop_after):
    with pytest.raises(Killed):
        trained(tmp_path, stop_after=stop_after)
    told, file = trained(tmp_path)
    assert told[0] == TeacherEpoch(stop_after, None)
    assert [each.epoch for each in told[1:]] == [*range(stop_after + 1, 5)]
    assert file == straight
    keep_teacher(tmp_path, LONGER, file)
    assert cached_teacher(tmp_path, LONGER) == file
    assert [path.name for path in (tmp_path / "teachers").iterdir()] == [f"{LONGER.recipe_id}.rdz"]


def test_a_damaged_checkpoint_of_a_teacher_is_told_and_the_training_begins_again(tmp_path, straight):
    with pytest.raises(Killed):
        trained(tmp_path, stop_after=2)
    [checkpoint] = (tmp_path / "teachers").glob("*/state.safetensors")
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)
    told, file = trained(tmp_path)
    assert told[0].epoch == 0 and "its checksum is not that of its content" in told[0].note
    assert file == straight


def test_a_teacher_does_not_go_on_with_what_was_trained_on_other_data(tmp_path):
    with pytest.raises(Killed):
        trained(tmp_path, stop_after=2)
    arrays = dict(Digits().load(None))
    name = next(name for name in arrays if "label" in name or "target" in name)
    told, _ = trained(tmp_path, arrays={**arrays, name: arrays[name][::-1].copy()})
    assert told[0] == TeacherEpoch(0, None)


def test_checkpoints_along_the_training_are_kept_whatever_kills_it(tmp_path, straight, every_epoch):
    for number, stop_after in enumerate((1, 3)):
        with pytest.raises(Killed):
            trained(tmp_path, stop_after=stop_after, route=True)
        assert cached_route(tmp_path, LONGER, straight) is None, number
    told, file = trained(tmp_path, route=True)
    assert (told[0].epoch, told[0].note, file) == (3, "", straight)
    keep_teacher(tmp_path, LONGER, file)
    [folder] = (path for path in (tmp_path / "teachers").iterdir() if path.is_dir())
    assert folder == route_folder(tmp_path, LONGER, file)
    assert sorted(path.name for path in folder.iterdir()) == ALONG
    route = cached_route(tmp_path, LONGER, file)
    assert list(route) == [1, 2, 3, 4] and route[4].tobytes() == file
    sources = TrialSources({}, (), {}, {LONGER.recipe_id: route})
    [first, *_, last] = sources.route(LONGER.recipe_id).values()
    task = Digits().open(Digits().load(None), torch.device("cpu"), 0)
    assert task.evaluate(first, "test") != task.evaluate(last, "test")
    assert all(
        torch.equal(value, last.state_dict()[name])
        for name, value in open_student(file)[1].state_dict().items()
    )
    with pytest.raises(ValueError, match="no checkpoints along the training"):
        sources.route("0" * 16)


def test_a_training_that_kept_none_begins_again_for_them(tmp_path, straight, every_epoch):
    with pytest.raises(Killed):
        trained(tmp_path, stop_after=2)
    told, file = trained(tmp_path, route=True)
    assert told[0].epoch == 0 and "after epoch 1 was not kept" in told[0].note
    assert file == straight and cached_route(tmp_path, LONGER, file) is not None


def test_another_teachers_checkpoints_are_never_met(tmp_path, straight):
    trained(tmp_path, route=True)
    assert cached_route(tmp_path, LONGER, straight) is not None
    assert cached_route(tmp_path, LONGER, straight + b"x") is None
    assert cached_route(tmp_path, replace(LONGER, seed=1), straight) is None
    kept = keep_route(tmp_path, LONGER, straight + b"x", cached_route(tmp_path, LONGER, straight))
    again = cached_route(tmp_path, LONGER, straight + b"x")
    assert again.keys() == kept.keys() and all(np.array_equal(again[each], kept[each]) for each in kept)


def test_a_damaged_checkpoint_along_the_training_is_refused(tmp_path, straight):
    trained(tmp_path, route=True)
    path = route_folder(tmp_path, LONGER, straight) / ALONG[1]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(Problem, match="remove it to train the teacher once more"):
        cached_route(tmp_path, LONGER, straight)
    path.write_bytes(packed())
    with pytest.raises(Problem, match="of another teacher"):
        cached_route(tmp_path, LONGER, straight)
    path.unlink()
    assert cached_route(tmp_path, LONGER, straight) is None


@pytest.mark.parametrize(("names", "needs"), [(("rco",), True), (("kd", "rco-gs"), True), (("kd",), False)])
def test_a_route_is_kept_only_where_a_method_asks_for_it(names, needs):
    context = Context(Digits(), fresh(STUDENT), "0" * 16, 4)
    assert needs_route(Space(methods=names), context) == needs


def test_methods_are_left_out_whose_features_the_teacher_lacks():
    flat = methods.full_precision(methods.Setting(Digits(), Fresh(ConvNet(stages=((1,),), hidden=())), 1))
    task = Digits().open(Digits().load(None), torch.device("cpu"), 0)
    context = Context(Digits(), fresh(STUDENT), flat.recipe_id, epochs=2)
    space = Space(methods=("crd", "at", "kd"))
    assert lacking_features(space, context, flat, task) == ()
    named = replace(context, lacking_features=(STAGES,))
    assert set(space.left_out(named)) == {"attention_transfer"}
    assert lacking_features(Space(methods=("kd",)), context, flat, task) == ()
    assert feature_sizes(flat, task, ["input of nowhere"]) == {"input of nowhere": None}
