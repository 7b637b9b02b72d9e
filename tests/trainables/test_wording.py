"""Recipes in words."""

from dataclasses import replace

from tests.recipes import every_method
from trainables import methods
from trainables.models import ConvNet
from trainables.origins import Fresh, Trained
from trainables.pruners import Magnitude
from trainables.quantizers import Uniform
from trainables.tasks import Digits
from trainables.wording import in_words


def test_a_recipe_is_told_with_its_numbers() -> None:
    recipe = methods.quantized_distillation(
        methods.Setting(
            Digits(), Fresh(ConvNet(width=0.35)), epochs=10, teacher="0" * 16, pruner=Magnitude(0.5)
        ),
        quantizer=Uniform(3),
    )
    text = in_words(replace(recipe, origin=Trained(recipe.model, "1" * 16)))
    assert text.startswith(
        "Quantized distillation of ConvNet (depth 2, width 0.35): weights by Uniform (bits 3,"
    )
    for fact in (
        "pruned by Magnitude (sparsity 0.5",
        "weight 0.7",
        "temperature 2",
        "begun with the weights of 1",
    ):
        assert fact in text
    assert text.endswith("10 epochs of AdamW (learning rate 0.002, weight decay 0.01).")


def test_what_a_recipe_does_not_have_is_not_told() -> None:
    text = in_words(methods.full_precision(methods.Setting(Digits(), Fresh(ConvNet()), epochs=1)))
    assert text == (
        "Full precision of ConvNet (depth 2, width 1): "
        "1 epoch of AdamW (learning rate 0.002, weight decay 0.01)."
    )


def test_every_method_differs_from_every_other_in_words() -> None:
    recipes = every_method(sparsity=0.25)
    texts = [in_words(recipe) for recipe in recipes]
    assert len(set(texts)) == len(texts)
    for recipe, text in zip(recipes, texts, strict=True):
        assert ("sparsity 0.25" in text) == (recipe.pruner == Magnitude(0.25))
        assert "None" not in text and "(" in text and "'" not in text
