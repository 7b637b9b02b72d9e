"""What a method does is in its function and in parts: nothing else asks which method there is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trainables.method_names import SHORT_NAMES
from trainables.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
NAMES = set(SHORT_NAMES.values())
"""Whole names; short ones are words, which count where a ``method`` is compared."""


def compared_with_a_method(tree: ast.AST) -> list[int]:
    """Lines in which something is compared with, or matched against, the name of a method."""
    found = []
    for node in ast.walk(tree):
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        parts += [node.value] if isinstance(node, ast.MatchValue) else []
        inside = [each for part in parts for each in ast.walk(part)]
        method = any(
            (isinstance(each, ast.Attribute) and each.attr == "method")
            or (isinstance(each, ast.Name) and each.id == "method")
            for each in inside
        )
        names = NAMES | (set(SHORT_NAMES) if method else set())
        found += [each.lineno for each in inside if isinstance(each, ast.Constant) and each.value in names]
    return sorted(found)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_compared_with_the_name_of_a_method(file):
    assert compared_with_a_method(ast.parse(file.read_text(encoding="utf-8"))) == []


def test_the_search_finds_what_it_looks_for():
    text = "recipe.method == 'qd'\nmatch name:\n    case 'early_exits': pass\nmethod in ('kd',)\nx == 'one'"
    assert compared_with_a_method(ast.parse(text)) == [1, 3, 4]


@pytest.mark.parametrize("short", METHODS)
def test_a_method_is_a_function_of_at_most_15_lines(short):
    function = METHODS[short].function
    tree = ast.parse(Path(function.__code__.co_filename).read_text(encoding="utf-8"))
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    (node,) = [each for each in functions if each.name == function.__name__]
    body = node.body[1:] if ast.get_docstring(node) else node.body
    lines = {line for each in body for line in range(each.lineno, (each.end_lineno or each.lineno) + 1)}
    assert len(lines) <= 15, f"{function.__name__} has {len(lines)} lines beside its docstring"
