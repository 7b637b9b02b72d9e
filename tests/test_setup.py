"""The set-up: what is declared is what is imported and pinned, and a wrong Python is told so."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rayduce_reader

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
READER = tomllib.loads((ROOT / "rayduce_reader" / "pyproject.toml").read_text())["project"]
PACKAGES = ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables")
# Needed by a library at run time and never imported by us.
INDIRECT = {"onnxscript": "torch.onnx.export"}


OPTIONAL = {
    "timm": "timm",
    "executorch": "executorch",
    "torchao": "executorch",
    "openvino": "openvino",
    "litert_torch": "litert",
    "ai_edge_litert": "litert",
}
"""Imported only where they are installed -> the extra that they are in."""


def requirements(texts: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(parsed.name): parsed for parsed in map(Requirement, texts)}


def imported_modules(packages: tuple[str, ...] = PACKAGES) -> set[str]:
    """Top-level names that ``packages`` import, inside functions too, but those of ours."""
    names: set[str] = set()
    for path in (path for package in packages for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
                arguments = [part.value for part in node.args if isinstance(part, ast.Constant)]
                names |= {str(argument).split(".")[0] for argument in arguments}
    return names - set(sys.stdlib_module_names) - set(PACKAGES)


def test_dependencies_are_exactly_what_the_code_imports() -> None:
    declared = set(requirements(PROJECT["dependencies"])) - {READER["name"]}  # one of our packages
    installed = packages_distributions()
    # Several distributions may provide one name: mlflow and mlflow-skinny.
    imported = imported_modules() - set(OPTIONAL)
    providers = {name: set(map(canonicalize_name, installed[name])) for name in imported}
    assert [name for name, given in providers.items() if not given & declared] == [], "not declared"
    assert declared - set().union(*providers.values()) - set(INDIRECT) == set(), "declared and not imported"
    extras = PROJECT["optional-dependencies"]
    assert all(canonicalize_name(name) in requirements(extras[extra]) for name, extra in OPTIONAL.items())


def test_the_reader_needs_what_it_imports_and_is_the_version_that_the_rest_asks_for() -> None:
    assert set(requirements(READER["dependencies"])) == imported_modules(("rayduce_reader",))
    ours, theirs = requirements(PROJECT["dependencies"]), requirements(READER["dependencies"])
    assert all(ours[name].specifier == wanted.specifier for name, wanted in theirs.items())
    assert ours[READER["name"]].specifier.contains(rayduce_reader.__version__)


def test_every_requirement_is_pinned_within_its_range() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = requirements([line for line in lines if not line.startswith("#")])
    assert all(re.fullmatch(r"==[0-9][^*+]*", str(pin.specifier)) for pin in pins.values())
    extras = [text for texts in PROJECT["optional-dependencies"].values() for text in texts]
    wanted_ones = requirements([*PROJECT["dependencies"], *extras])
    del wanted_ones[READER["name"]]  # built from this repository
    for name, wanted in wanted_ones.items():
        version = next(iter(pins[name].specifier)).version
        assert wanted.specifier.contains(version), f"{wanted} against the pin {version}"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # The tests may run under `make test`, whose own flags are not meant for this one.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_alone_lists_the_targets() -> None:
    listed = re.findall(r"^  make ([\w-]+)", make().stdout, flags=re.MULTILINE)
    assert listed == [
        *("help", "install", "sweep", "test", "slow-test", "cluster-test"),
        *("check", "browser", "screenshots", "clean"),
    ]


@pytest.mark.parametrize(
    ("fails_on", "advice"),
    [("version_info", "needs Python 3.11 or newer"), ("ensurepip", "install python3-venv")],
)
def test_an_unfit_python_is_one_clear_sentence(tmp_path: Path, fails_on: str, advice: str) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *{fails_on}*) exit 1;; esac\nexit 0\n')
    python.chmod(0o755)
    # A stamp that is not there, so that the recipe runs, and nothing is installed where it should stop.
    finished = make("install", f"PYTHON={python}", f"STAMP={tmp_path}/installed", f"BIN={tmp_path}/absent")
    assert finished.returncode == 2
    said = [line for line in finished.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1 and advice in said[0] and str(python) in said[0]
    assert finished.stdout == ""
