"""Methods that are not part of this project: a Python file, or an installed package with an entry point.

A file defines one subclass of ``paper_repro.Method``; the method has the file's name. A package names its class in
its metadata:

    [project.entry-points."paper_repro.methods"]
    my-method = "my_package.my_module:MyMethod"

``find`` runs no code of a plug-in, ``load`` does. What goes wrong in a plug-in's code ends in one sentence that names
the plug-in's own file and line.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from torch import nn

from paper_repro import methods
from paper_repro.errors import UserError, require_known
from paper_repro.methods.base import Method

GROUP = methods.__name__


@dataclass(frozen=True)
class Plugin:
    """A method by where it comes from. ``source`` finds it again in another process: the file's absolute path, or the
    name of the entry point or of the registered method. ``files`` is its code; ``sha256`` is that of the code, and
    empty for a registered method, whose code the commit names.
    """

    name: str
    source: str
    sha256: str = ""
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        if not self.sha256:
            return f"method {self.name}"
        return self.source if self.source.endswith(".py") else f"plug-in {self.name}"


def find(text: str) -> Plugin:
    """The method that ``text`` means: a path to a file, or the name of a registered method or of an entry point.

    Raises UserError for a file that is missing, is no Python, or has the name of a registered method, and for an
    unknown name. A registered name stands for the registered method, whatever is installed under it.
    """
    path = Path(text).expanduser()
    if text.endswith(".py") or "/" in text or path.is_file():
        return _file(path)
    if text in methods.METHODS:
        return Plugin(text, text)
    points = methods.entry_points()
    require_known("method", text, {*methods.METHODS, *points})
    return from_package(text, text, points[text].module)


def load(plugin: Plugin) -> type[Method]:
    """The plug-in's class, and from now on ``methods.get`` knows it by the plug-in's name."""
    if not plugin.sha256:
        return methods.METHODS[plugin.name].load()
    with explained(plugin, "import"):
        cls = _only_method(plugin, module_of(plugin)) if plugin.source.endswith(".py") else _class_of_point(plugin)
    cls.plugin = plugin  # type: ignore[attr-defined]
    methods.PLUGINS[plugin.name] = cls
    return cls


def loaded(name: str) -> Plugin | None:
    """The plug-in that ``methods.get`` knows by this name now."""
    cls = methods.PLUGINS.get(name)
    return None if cls is None else cls.plugin  # type: ignore[attr-defined]


def require(name: str, sha256: str) -> Plugin | None:
    """The loaded plug-in that a spec names by its method and sha256; None when the spec names no plug-in.

    UserError when it has not been loaded, or is not the code that the spec was made for.
    """
    if not sha256:
        return None
    plugin = loaded(name)
    if plugin is None:
        raise UserError(
            f"{name} is a plug-in and is not loaded: call paper_repro.methods.plugins.load(find(...)) first"
        )
    if plugin.sha256 != sha256:
        raise UserError(f"{plugin} was changed since this run was planned: run the same command again")
    return plugin


@contextmanager
def explained(plugin: Plugin | None, doing: str) -> Iterator[None]:
    """Turn what goes wrong inside a plug-in into a UserError; without a plug-in nothing is changed."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if plugin is None:
            raise
        raise UserError(explanation(plugin, error, doing)) from error


def explanation(plugin: Plugin, error: BaseException, doing: str) -> str:
    """One sentence: where in the plug-in, what was raised, and while doing what."""
    what = " ".join([type(error).__name__ + (":" if str(error).strip() else ""), *str(error).split()])
    if isinstance(error, SyntaxError) and Path(error.filename or "") in plugin.files:
        return f"{error.filename}, line {error.lineno}: {what.split(' (')[0]}; mend the plug-in and run again"
    place = _place(plugin, error.__traceback__)
    if place is not None:
        return f"{place} raised {what}, while it was to {doing}; mend the plug-in and run again"
    return f"{plugin}: {what}, while it was to {doing}; raised outside the plug-in's own code by what it was given"


def defined_at(cls: type[Any], function: str = "") -> str:
    """Where a class stands, as "FILE, line N", or one of its functions, as far as it can be known."""
    try:
        item = getattr(cls, function) if function else cls
        return f"{inspect.getsourcefile(item)}, line {inspect.getsourcelines(item)[1]}"
    except (OSError, TypeError):
        return cls.__module__


def sparsity_argument(plugin: Plugin, cls: type[Method]) -> str:
    """The argument that asks the method for a sparsity. A method of the family may have none, which is "": its rows
    have the arguments that end there. Of a plug-in there are no rows, and it is a UserError.
    """
    accepted = inspect.signature(cls).parameters
    for name in ("sparsity_pct", "target_sparsity_pct"):
        if name in accepted:
            return name
    if not plugin.sha256:
        return ""
    own = "" if cls.__init__ is Method.__init__ else "__init__"
    raise UserError(
        f"{defined_at(cls, own)}: the constructor of {cls.__name__} takes no sparsity_pct, and so cannot be asked "
        f"for the sparsities that STR is compared at; add `sparsity_pct: float` to __init__ of {plugin}"
    )


def claimed_sparsity_pct(method: Method, model: nn.Module) -> float | str | None:
    """What a method's own ``sparsity()`` says, in percent (up to 1 it is taken for a fraction); None where there is
    none, and a sentence where it fails. Nothing is ever decided by it.
    """
    claim = getattr(method, "sparsity", None)
    if not callable(claim):
        return None
    try:
        takes = [item for item in inspect.signature(claim).parameters.values() if item.default is item.empty]
        value = float(claim(*[model][: len(takes)]))
    except Exception as error:
        return f"failed with {type(error).__name__}: {error}"
    return 100.0 * value if 0.0 <= value <= 1.0 else value


def _file(path: Path) -> Plugin:
    plugin = from_file(path, "METHOD is a Python file, or the name of a method")
    if plugin.name.lower() in methods.METHODS:
        called = plugin.name.lower()
        raise UserError(f"{path}: a registered method is called {called!r} already; give the file another name")
    return plugin


def from_file(path: Path, advice: str) -> Plugin:
    """The plug-in in a file, called after it; UserError, with the advice, for one that cannot be read, and for one that
    is no Python.
    """
    try:
        code = path.read_bytes()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise UserError(f"{path} {reason}; {advice}") from error
    path = path.resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)
    plugin = Plugin(name, str(path), hashlib.sha256(code).hexdigest(), (path,))
    with explained(plugin, "be read"):
        _compiled(plugin, code)
    return plugin


def _compiled(plugin: Plugin, code: bytes) -> Any:
    try:
        return compile(code, plugin.source, "exec", dont_inherit=True)
    except ValueError as error:  # null bytes
        raise UserError(f"{plugin} is no Python source: {error}") from error


def module_of(plugin: Plugin) -> ModuleType:
    """The module that the file of a plug-in defines; runs it."""
    code = Path(plugin.source).read_bytes()
    if hashlib.sha256(code).hexdigest() != plugin.sha256:
        raise UserError(f"{plugin} was changed while it was being loaded: run the same command again")
    module = ModuleType(f"paper_repro_plugin_{plugin.name}")
    module.__file__ = plugin.source
    sys.modules[module.__name__] = module  # dataclasses, pickle and torch.compile look there
    try:
        exec(_compiled(plugin, code), module.__dict__)
    except ModuleNotFoundError as error:
        place = _place(plugin, error.__traceback__) or str(plugin)
        raise UserError(
            f"{place}: {error}; install it into this environment. A plug-in is one file: what it needs beside it "
            "belongs into a package"
        ) from error
    return module


def _class_of_point(plugin: Plugin) -> type[Method]:
    point = methods.entry_points()[plugin.source]
    try:
        named = point.load()
    except AttributeError as error:
        raise UserError(f"entry point {point.name} = {point.value!r} names nothing that is there: {error}") from error
    if isinstance(named, ModuleType):
        return _only_method(plugin, named)
    if not (isinstance(named, type) and issubclass(named, Method)):
        raise UserError(f"entry point {point.name} = {point.value!r} is no subclass of paper_repro.Method")
    return named


def _only_method(plugin: Plugin, module: ModuleType) -> type[Method]:
    """The one public subclass of Method that a module defines; what it imports does not count."""
    classes = [
        item
        for name, item in vars(module).items()
        if isinstance(item, type)
        and issubclass(item, Method)
        and item.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if not classes:
        raise UserError(
            f"{plugin} defines no method: it needs one class that inherits from paper_repro.Method, "
            "such as `class MyMethod(paper_repro.Method)`"
        )
    if len(classes) > 1:
        listed = ", ".join(f"{cls.__name__} ({defined_at(cls).rpartition(', ')[2]})" for cls in classes)
        raise UserError(
            f"{plugin} defines {len(classes)} methods: {listed}; keep one, or begin the names of the others with _"
        )
    return classes[0]


def from_package(name: str, source: str, module: str) -> Plugin:
    """The plug-in in an installed module. Its code is all of the package, which is found without importing it."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or not (spec.submodule_search_locations or spec.origin):
        raise UserError(f"plug-in {name}: there is no module {module}; install it, or install it again")
    files: tuple[Path, ...] = (Path(str(spec.origin)),)
    if spec.submodule_search_locations:
        files = tuple(sorted(file for root in spec.submodule_search_locations for file in Path(root).rglob("*.py")))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return Plugin(name, source, digest.hexdigest(), files)


def _place(plugin: Plugin, trace: TracebackType | None) -> str | None:
    """Where in the plug-in an error came from: "FILE, line N (in FUNCTION)"."""
    own = {str(file) for file in plugin.files}
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename in own]
    if not frames:
        return None
    function = "" if frames[-1].name == "<module>" else f" (in {frames[-1].name})"
    return f"{frames[-1].filename}, line {frames[-1].lineno}{function}"
