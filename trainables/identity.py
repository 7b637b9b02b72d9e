"""What a network's own code is: a digest that changes when what the code does may have changed."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from torch import nn

DIGITS = 16
"""Hex digits of a digest."""

_OURS = ("dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables")
_ROOT = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(
    Path(path).resolve() for key, path in sysconfig.get_paths().items() if key in ("stdlib", "platstdlib")
)
_PLAIN = (bool, int, float, str)


def code_of(network: nn.Module) -> str:
    """Digest of what ``network`` computes, whatever the values of its weights.

    It is made of the network's ``repr``, its modules' plain attributes (such as the number of heads, which
    no ``repr`` tells), the names, shapes and types of parameters and buffers, the functions that are
    attributes of its modules, and the source of its classes, see :func:`source_of`.

    Args:
        network: of any class; it is not called.

    Returns:
        The first 16 hex digits of a SHA-256, the same in every process with the same files.
    """
    digest = hashlib.sha256(repr(network).encode())
    for name, module in network.named_modules():
        for key, value in sorted(vars(module).items()):
            if isinstance(value, FunctionType):
                digest.update(f"{name}.{key}{_code_text(value.__code__)}\0".encode())
            elif key != "training" and not key.startswith("_") and _is_plain(value):
                digest.update(f"{name}.{key}={value!r}\0".encode())
    for kind in (network.named_parameters, network.named_buffers):
        for name, tensor in kind(remove_duplicate=False):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}\0".encode())
    digest.update(source_of(type(module) for module in network.modules()).encode())
    return digest.hexdigest()[:DIGITS]


def source_of(classes: Iterable[type]) -> str:
    """Digest of the source files of ``classes``, and of what those import from their own folder tree.

    Installed packages and Rayduce's own are left out. A file counts as its syntax tree without docstrings,
    so that comments, formatting and documentation change nothing. A class without a file, such as one typed
    into an interpreter, counts as the byte code of its methods.

    Args:
        classes: with their bases.

    Returns:
        The first 16 hex digits of a SHA-256, the same in every process with the same files.
    """
    parts: set[str] = set()
    read: set[Path] = set()
    for cls in {base for each in classes for base in each.__mro__}:
        module = sys.modules.get(cls.__module__)
        file = _file_of(cls, module)
        if file is None:
            if not _is_installed(module):
                parts.add(_class_text(cls))
        elif not _is_known(file):
            name = cls.__module__ if _path_of(module) == file else ""
            _gather(_Source(file, name), _tree_root(file, name), parts, read)
    return hashlib.sha256("\0".join(sorted(parts)).encode()).hexdigest()[:DIGITS]


class _Source(NamedTuple):
    """A file, and the name of the module that it was imported as; "" where it was none."""

    file: Path
    name: str


class _Import(NamedTuple):
    level: int
    module: str
    names: tuple[str, ...]


def _gather(source: _Source, root: Path, parts: set[str], read: set[Path]) -> None:
    """Add the text of ``source``, and of the modules below ``root`` that it imports, to ``parts``."""
    if source.file in read:
        return
    read.add(source.file)
    status = source.file.stat()
    text, imports = _parsed(source.file, status.st_mtime_ns, status.st_size)
    parts.add(text)
    for name in _imported(source, imports):
        file = _path_of(sys.modules.get(name))
        if file is not None and file.is_relative_to(root) and not _is_known(file):
            _gather(_Source(file, name), root, parts, read)


def _imported(source: _Source, imports: Iterable[_Import]) -> Iterator[str]:
    """Names of modules that ``imports`` may mean, and of the packages around them."""
    package = source.name if source.file.name == "__init__.py" else source.name.rpartition(".")[0]
    for level, module, names in imports:
        if level:
            if not package:
                continue
            try:
                module = importlib.util.resolve_name("." * level + module, package)
            except ImportError:  # more dots than packages: the import itself would fail
                continue
        for name in (module, *(f"{module}.{each}" for each in names)):
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


@functools.lru_cache(maxsize=1024)
def _parsed(file: Path, changed_ns: int, size: int) -> tuple[str, tuple[_Import, ...]]:
    """The syntax tree of ``file`` as text, and what it imports; the other arguments say which version."""
    return _read(file.read_bytes())


def meaning_of(text: str) -> str:
    """What a source does: its syntax tree as text, without comments, docstrings and layout."""
    return _read(text.encode())[0]


def files_of(file: Path, name: str) -> set[Path]:
    """The file of a module that was imported, and those that it has imported from its own folder tree.

    Args:
        file: of the module.
        name: of the module.
    """
    read: set[Path] = set()
    place = file.resolve()
    _gather(_Source(place, name), _tree_root(place, name), set(), read)
    return read


def _read(data: bytes) -> tuple[str, tuple[_Import, ...]]:
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):  # no Python any more: what it says is all that is known
        return hashlib.sha256(data).hexdigest(), ()
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [_Import(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append(_Import(node.level, node.module or "", tuple(a.name for a in node.names)))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree), tuple(imports)


def _file_of(cls: type, module: ModuleType | None) -> Path | None:
    """The file that defines ``cls``; None if there is none."""
    if (file := _path_of(module)) is not None:
        return file
    for function in vars(cls).values():
        if isinstance(function, FunctionType):
            file = Path(function.__code__.co_filename)
            return file.resolve() if file.is_file() else None
    return None


def _path_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    return path if path.is_file() else None


def _tree_root(file: Path, name: str) -> Path:
    """The folder that holds the module, or the package that it is in."""
    packages = len(name.split(".")) - (file.name != "__init__.py") if name else 0
    return file.parents[min(packages, len(file.parents) - 1)]


def _is_known(file: Path) -> bool:
    """Whether ``file`` is of an installed package or of Rayduce."""
    if {"site-packages", "dist-packages"}.intersection(file.parts):
        return True
    return any(file.is_relative_to(each) for each in (*_LIBRARIES, *(_ROOT / name for name in _OURS)))


def _is_installed(module: ModuleType | None) -> bool:
    """Whether a module without source is one of the interpreter's or of a package, and not typed in."""
    if module is None:
        return False
    return module.__name__ in sys.builtin_module_names or bool(getattr(module, "__file__", None))


def _class_text(cls: type) -> str:
    functions = []
    for name, value in sorted(vars(cls).items()):
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(function, FunctionType):
            functions.append(f"{name}{_code_text(function.__code__)}")
    return f"{cls.__qualname__}{functions}"


def _code_text(code: CodeType) -> str:
    """Byte code, constants and names, in an order that does not depend on the process."""
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, [_constant(c) for c in code.co_consts]))


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _code_text(value)
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, _PLAIN)
