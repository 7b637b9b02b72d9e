"""What recipes are called, and the handles they are compared by."""

from __future__ import annotations

from typing import Any

from trainables.method_names import SHORT_NAMES
from trainables.recipe import Recipe


def summary(recipe: Recipe) -> dict[str, Any]:
    """The handles people compare trials by; None where a recipe has no such part.

    Keys: ``method``, ``model`` (the user's own code by its name), ``depth``, ``width``, ``bits``,
    ``bucket_size``, ``sparsity`` (the pruner's target), ``epochs``.
    """
    return {
        "method": recipe.method,
        "model": recipe.model.imports or type(recipe.model).__name__,
        "depth": recipe.origin.depth,
        "width": recipe.origin.width,
        "bits": getattr(recipe.quantizer, "bits", None),
        "bucket_size": getattr(recipe.quantizer, "bucket_size", None),
        "sparsity": getattr(recipe.pruner, "sparsity", 0.0),
        "epochs": recipe.epochs,
    }


def short_name(recipe: Recipe) -> str:
    """A name to read in a list, such as ``qd-4bit-b256-d2-w0.5-s30``; not unique."""
    facts = summary(recipe)
    short = {name: short for short, name in SHORT_NAMES.items()}
    words = [short.get(recipe.method, recipe.method)]
    if facts["bits"] is not None:
        words.append(f"{facts['bits']}bit")
        if getattr(recipe.quantizer, "per_channel", False):
            words.append("channel")
        elif hasattr(recipe.quantizer, "bucket_size"):
            words.append(f"b{facts['bucket_size'] or 'all'}")
    if (activation_bits := getattr(recipe.activations, "bits", None)) is not None:
        words.append(f"a{activation_bits}")
    words += [f"d{facts['depth']:.3g}", f"w{facts['width']:.3g}"]
    if facts["sparsity"]:
        words.append(f"s{100 * facts['sparsity']:.0f}")
    if recipe.origin.parent is not None:
        words.append("slice" if recipe.origin.cuts else "started")
    return "-".join(words)
