"""What every part promises: it is data, checked when it is made."""

import dataclasses
import json
import re
import typing

import pytest

from tests.recipes import every_method
from trainables.models import ConvNet, Custom
from trainables.naming import short_name, summary
from trainables.origins import Fresh
from trainables.part import Part, part_from_dict, ranges
from trainables.recipe import MEMBERS, canonical_json, recipe_from_dict
from trainables.schedules import Schedule, constant
from trainables.tasks import Phrases
from trainables.teachers import Fixed

NEEDS = {
    "Fixed": {"recipe_id": "0" * 16},
    "Remembered": {"recipe_id": "0" * 16},
    "Joint": {"origin": Fresh(ConvNet()), "task": Phrases()},
    "TeacherTranslations": {"of": Phrases(), "teacher_id": "0" * 16},
    "Fresh": {"model": ConvNet()},
    "Trained": {"model": ConvNet(), "network": "0" * 16},
    "Custom": {"target": "a:B", "depth": 1, "width": 1.0},
}


def built_members():
    for name, cls in MEMBERS.items():
        required = [
            f.name
            for f in dataclasses.fields(cls)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        if not required or name in NEEDS:
            yield cls(**NEEDS.get(name, {}))


@pytest.mark.parametrize("part", list(built_members()), ids=lambda p: type(p).__name__)
def test_json_and_back(part):
    assert isinstance(part, Part)
    again = part_from_dict(json.loads(json.dumps(part.to_dict())), MEMBERS)
    assert again == part and hash(again) == hash(part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.anything = 1


@pytest.mark.parametrize("part", list(built_members()), ids=lambda p: type(p).__name__)
def test_every_field_refuses_a_foreign_type(part):
    for field in dataclasses.fields(part):
        with pytest.raises(ValueError, match=re.escape(field.name)):
            dataclasses.replace(part, **{field.name: object()})


@pytest.mark.parametrize("part", list(built_members()), ids=lambda p: type(p).__name__)
def test_ranged_fields_refuse_what_is_outside_by_name_and_value(part):
    for name, accepted in ranges(type(part)).items():
        whole = "int" in str(typing.get_type_hints(type(part))[name])
        outside = (accepted.low - 1, accepted.high + 1)
        for value in map(int if whole else float, outside):
            given = constant(value) if isinstance(getattr(part, name), Schedule) else value
            with pytest.raises(ValueError, match=rf"^{name} must (be|stay) in .*{re.escape(str(accepted))}"):
                dataclasses.replace(part, **{name: given})


def number(text):
    """``2^20`` and ``1/16`` as docstrings have them."""
    if "^" in text:
        base, exponent = text.split("^")
        return float(base) ** float(exponent)
    numerator, _, denominator = text.partition("/")
    return float(numerator) / float(denominator or 1)


def test_what_docstrings_say_of_ranges_is_what_is_checked():
    compared = 0
    for cls in MEMBERS.values():
        for name, accepted in ranges(cls).items():
            said = re.search(
                rf"^ +{name}: (?:(?!^ +\w+: ).)*?(?:in|,) ([\[(])([\d./^]+), ([\d.^]+)([\])])",
                cls.__doc__ or "",
                re.DOTALL | re.MULTILINE,
            )
            if said is None:
                continue
            left, low, high, right = said.groups()
            found = (left == "(", number(low), number(high), right == ")")
            expected = (accepted.excluded == "low", accepted.low, accepted.high, accepted.excluded == "high")
            assert found == expected, f"{cls.__name__}.{name}"
            compared += 1
    assert compared > 20


def test_names_are_unique_across_families():
    assert len({cls.__name__ for cls in MEMBERS.values()}) == len(MEMBERS)


@pytest.mark.parametrize("recipe", [*every_method(), *every_method(sparsity=0.5)], ids=short_name)
def test_recipes_are_their_json(recipe):
    again = recipe_from_dict(json.loads(canonical_json(recipe)))
    assert again == recipe
    assert again.recipe_id == recipe.recipe_id and len(recipe.recipe_id) == 16
    other = dataclasses.replace(recipe, seed=1)
    assert other.recipe_id != recipe.recipe_id
    assert summary(recipe)["method"] == recipe.method


def test_names_read_well():
    names = [short_name(r) for r in every_method(sparsity=0.3)]
    assert names == [
        "fp-d1-w1-s30",
        "kd-d1-w1-s30",
        "ta-d1-w1-s30",
        "ptq-8bit-b256-d1-w1-s30",
        "qd-4bit-b256-d1-w1-s30",
        "dq-4bit-b256-d1-w1-s30",
        "qd+dq-4bit-b256-d1-w1-s30",
        "lsq-4bit-d1-w1-s30",
        "int8-8bit-channel-a8-d1-w1-s30",
        "qat-8bit-channel-a8-d1-w1-s30",
        "pact-4bit-a4-d1-w1-s30",
        "diffq-d1-w1-s30",
        "pqk-4bit-d1-w1-s80",
        "appa-4bit-channel-d1-w1-s30",
        "appb-4bit-channel-d1-w1-s30",
        "appc-4bit-channel-d1-w1-s30",
        "few-d1-w1-s30",
        "rco-d1-w1-s30",
        "rco-gs-d1-w1-s30",
        "td-d1-w1-s50",
        "snip-d1-w1-s90",
        "fisher-d1-w1-s50",
        "dc-5bit-ball-d1-w1-s90",
        "crd-d1-w1-s30",
        "hint-d1-w1-s30",
        "at-d1-w1-s30",
        "sp-d1-w1-s30",
        "ajpq-d1-w1",
        "exits-8bit-channel-d1-w1-s30",
        "gates-8bit-channel-d1-w1-s30",
        "dml-4bit-b256-d1-w1-s30",
        "ens-4bit-b256-d1-w1-s30",
        "one-4bit-b256-d1-w1-s30",
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"type": "System", "command": "rm"}, "unknown part 'System'"),
        ({"type": ["x"]}, "unknown part"),
        ({"no": "type"}, "unknown part"),
        ({"type": "Uniform", "bits": 4}, "takes the fields"),
        ({"type": "Constant", "value": float("nan")}, "value"),
        ({"type": "Constant", "value": True}, "value"),
    ],
)
def test_hostile_data_is_refused(data, text):
    with pytest.raises(ValueError, match=text):
        part_from_dict(data, MEMBERS)


def test_a_recipe_is_checked_as_a_whole():
    recipe = every_method()[1]
    from trainables.teachers import NoTeacher

    with pytest.raises(ValueError, match="losses need a teacher"):
        dataclasses.replace(recipe, teacher=NoTeacher())
    with pytest.raises(ValueError, match="phases"):
        dataclasses.replace(recipe, phases=())
    with pytest.raises(ValueError, match="16 hex digits"):
        Fixed("zz")
    with pytest.raises(ValueError, match="expected a Recipe"):
        recipe_from_dict({"type": "NoTeacher"})
    assert Custom(target="a:B", depth=1, width=1.0).target == "a:B"
