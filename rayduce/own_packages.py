"""Whether this project's packages are this project's: their names are short, and others use them too."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import sys
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

PACKAGES = ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables")


def strangers(home: Path | None = None) -> str:
    """A sentence that names a package of ours in whose place Python finds another; empty if there is none.

    A package is another's if it lies elsewhere than this module's, or if its ``__init__.py`` is not the one
    that was installed: a package of the index that also brings ``spaces`` overwrites ours.

    Args:
        home: folder of all packages; None (default) is that of this module.
    """
    home = home or Path(__file__).resolve().parent.parent
    recorded = _recorded(home)
    for name in PACKAGES:
        found = _origin(name)
        ours = home / name / "__init__.py"
        if found is None or not found.exists() or not ours.exists() or not found.samefile(ours):
            return (
                f"the package {name} comes from {found or 'nowhere'}, not from Rayduce in {home}: run it in "
                "an environment of its own, and from a folder without that name."
            )
        if name in recorded and recorded[name] != _digest(found):
            return (
                f"the package {name} in {home} has been overwritten by another project's: install Rayduce in "
                "an environment of its own."
            )
    return ""


def _origin(name: str) -> Path | None:
    """The file, or the folder without one, that Python takes for ``name``."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or [name])))


def _recorded(home: Path) -> dict[str, str]:
    """What the installation noted of each package's ``__init__.py``; nothing of a checkout."""
    try:
        installed = Distribution.from_name("rayduce")
    except PackageNotFoundError:
        return {}
    if Path(str(installed.locate_file(""))).resolve() != home:
        return {}
    text = installed.read_text("RECORD") or ""
    rows = (line.split(",") for line in text.splitlines() if "/__init__.py,sha256=" in line)
    found = {row[0]: row[1].removeprefix("sha256=") for row in rows}
    return {name: found[f"{name}/__init__.py"] for name in PACKAGES if f"{name}/__init__.py" in found}


def _digest(path: Path) -> str:
    """As installers write it into RECORD."""
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
