"""Code of a user's own: a file that was named, and what it imports from its folder; it can travel."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import keyword
import os
import shutil
import sys
import sysconfig
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from trainables.foreign import shown
from trainables.identity import files_of, meaning_of
from trainables.torchvision_guard import make_importable

PACKAGES = frozenset({"dashboards", "rayduce", "rayduce_reader", "search", "spaces", "studies", "trainables"})
LONGEST_REASON = 300
PREFIX = "rayduce-code-"
"""Of temporary folders with code that came from another machine."""
LOCK = ".lock"


class CodeError(ValueError):
    """A user's file cannot be used; the message is one sentence with the file, the line and the reason."""


@dataclass(frozen=True)
class OwnCode:
    """The source of a user's file and of what it imports from its folder.

    Attributes:
        name: of the module, which is the file's without ``.py``.
        folder: where the file lies, on the machine where it was named.
        sources: path below the folder and text of each module, by path.
        names: what the file's functions are called for us and what there, where that differs.
    """

    name: str
    folder: str
    sources: tuple[tuple[str, str], ...]
    names: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits of a hash of what the code does: comments, docstrings and layout do not matter."""
        whole = hashlib.sha256(repr(self.names).encode())
        for path, text in self.sources:
            name = "" if path == f"{self.name}.py" else path
            whole.update(hashlib.sha256(name.encode()).digest())
            whole.update(hashlib.sha256(meaning_of(text).encode()).digest())
        return whole.hexdigest()[:16]

    def allow(self) -> None:
        """Let recipes in this process use the code, which may have come from another machine.

        Raises:
            CodeError: it cannot be imported here.
        """
        if _named.get(self.name) == self:
            return
        folder = Path(self.folder)
        if not all(_text_of(folder / path) == text for path, text in self.sources):
            folder = _private_folder()
            for path, text in self.sources:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
        _import(folder / f"{self.name}.py", self.names)
        _named[self.name] = self


_named: dict[str, OwnCode] = {}
_modules: dict[str, ModuleType] = {}


def allow_file(path: Path, names: Mapping[str, str] | None = None) -> ModuleType:
    """Import the file at ``path``, which the user named, and let recipes in this process use it.

    Its folder is searched for imports first, as Python does for a script.

    Args:
        path: of the file.
        names: what its functions are called for us, and what they are called there, where that differs.

    Raises:
        CodeError: there is no such file, its name is none of a module, or it cannot be imported.
    """
    renamed = tuple(sorted((names or {}).items()))
    module = _import(path, renamed)
    code_of_file(path, renamed)
    return module


def code_of_file(path: Path, names: tuple[tuple[str, str], ...] = ()) -> OwnCode:
    """The file at ``path``, which has been imported, with the modules of its folder that it imported.

    From now on it counts as what this process uses under this name: :meth:`OwnCode.allow` has nothing to do.
    """
    folder = path.absolute().parent.resolve()
    found = {place.relative_to(folder).as_posix(): _source_of(place) for place in files_of(path, path.stem)}
    code = OwnCode(path.stem, str(folder), tuple(sorted(found.items())), names)
    _named[path.stem] = code
    return code


def module_of(name: str) -> ModuleType:
    """The user's module called ``name``.

    Raises:
        ValueError: the user did not name it in this process.
    """
    if name not in _modules:
        raise ValueError(
            f"the recipe names code of its own, {shown(name)}.py, which is not imported unasked; if you "
            f"trust it, pass --model {shown(name)}.py, with the folder where it lies"
        )
    return _modules[name]


def where(error: BaseException, folder: str) -> str:
    """The last line of the user's own code that ``error`` went through, as ``line 12 of net.py: ``.

    Where a file is not Python it is the line that is not, in whatever folder the file lies.
    """
    if isinstance(error, SyntaxError) and _is_of_file(error):
        return f"line {error.lineno} of {shown(Path(str(error.filename)).name)}: "
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(folder) and "site-packages" not in frame.filename
    ]
    return f"line {frames[-1].lineno} of {shown(Path(frames[-1].filename).name)}: " if frames else ""


def reason(error: BaseException) -> str:
    """What an error of the user's code says, with its class, on one line; :func:`where` says the place."""
    said = str(error)
    if isinstance(error, SyntaxError) and _is_of_file(error):
        said = f"{error.msg}: {error.text}" if error.text else error.msg  # in place of the file and the line
    text = " ".join(said.split())
    return shown(f"{type(error).__name__}: {text}" if text else type(error).__name__, LONGEST_REASON)


def _is_of_file(error: SyntaxError) -> bool:
    """Whether it is about a file, and not about a text that some code evaluates."""
    return bool(error.filename) and os.path.isfile(str(error.filename))


def _import(path: Path, names: tuple[tuple[str, str], ...] = ()) -> ModuleType:
    path = path.absolute()
    name = path.stem
    _check_name(path)
    folder = str(path.parent)
    _forget_imports()
    sys.path[:] = [folder, *(each for each in sys.path if each != folder)]
    make_importable()  # of what users import, torchvision may need it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # of a name that ends in .py there is one
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # before it runs, so that its classes find themselves
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        if not isinstance(error, (Exception, SystemExit)):
            raise
        place = where(error, folder).replace(f" of {shown(path.name)}: ", ": ")  # it is named already
        raise CodeError(f"{shown(path.name)} cannot be imported: {place}{reason(error)}") from error
    for ours, theirs in names:
        if not callable(getattr(module, theirs, None)):
            raise CodeError(f"{shown(path.name)} has no function {shown(theirs)} at its top level")
        setattr(module, ours, getattr(module, theirs))
    _modules[name] = module
    return module


def _forget_imports() -> None:
    """Let the next file import anew what earlier ones imported from their folders.

    It may have been edited since, and another folder may hold another file under the same name.
    """
    places = {
        Path(str(_modules[name].__file__)).resolve().parent / path
        for name, code in _named.items()
        for path, _ in code.sources
    }
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        kept = name in _modules or name == "__main__"  # a script that searches its own functions
        if not kept and file is not None and Path(file).resolve() in places:
            del sys.modules[name]


def _private_folder() -> Path:
    """A new temporary folder of mode 0700 that goes with this process.

    A process that is killed leaves its folder behind; the next one to come here removes it. The kernel lets
    go of the lock of a process that has died.
    """
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or still in use
            if os.lstat(left).st_uid == os.getuid():
                os.close(_locked(left, os.O_RDWR | os.O_NOFOLLOW))
                shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(BlockingIOError, FileNotFoundError):  # who tidied up came in between
            _locked(folder, os.O_RDWR | os.O_CREAT | os.O_EXCL)  # for as long as this process
            if (folder / LOCK).exists():
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
                return folder


def _locked(folder: Path, flags: int) -> int:
    """The file that says that ``folder`` is in use, locked.

    Raises:
        OSError: it cannot be opened, or another process has locked it.
    """
    file = os.open(folder / LOCK, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _check_name(path: Path) -> None:
    """Refuse what is no file of a module, or would hide a module that others import."""
    name = path.stem
    if not path.is_file():
        raise CodeError(f"{shown(str(path))} is no file")
    if path.suffix != ".py" or not name.isidentifier() or keyword.iskeyword(name):
        raise CodeError(
            f"{shown(path.name)} is no name of a Python module: rename it to letters and digits, .py"
        )
    loaded = sys.modules.get(name)
    taken = name in sys.stdlib_module_names or name in PACKAGES
    if not taken and loaded is not None and name not in _modules:
        file = getattr(loaded, "__file__", None)
        taken = file is None or Path(file).resolve() != path.resolve()
    if not taken and loaded is None:
        spec = importlib.machinery.PathFinder.find_spec(name, [sysconfig.get_path("purelib")])
        taken = spec is not None
    if taken:
        raise CodeError(
            f"{shown(path.name)} has the name of a module that Python knows already: rename the file"
        )


def _source_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CodeError(
            f"{shown(path.name)} is not encoded in UTF-8 (byte {error.start + 1}): save it in UTF-8, without "
            "a coding line of its own"
        ) from error


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
