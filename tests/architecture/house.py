"""The rules of the house, as functions over source text.

A `Module` is one file under supervisor/, parsed. Every rule takes modules and returns its findings as lines of text,
so that a rule can be shown to fail on a few lines that break it, without a file on disk.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "supervisor"
MAX_LINES = 350

# Which rooms a room may import from, beside itself. A room is the first name below the package: a folder or a file.
ARROWS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "paths": frozenset({"errors"}),
    "core": frozenset(),
    "linux": frozenset({"errors"}),
    "config": frozenset({"core", "linux", "errors"}),
    "readiness": frozenset({"core", "linux", "errors"}),
    "control": frozenset({"core", "linux", "errors"}),
    "telemetry": frozenset({"core", "linux", "errors"}),
    "engine": frozenset({"core", "linux", "errors"}),
    "releases": frozenset({"core", "linux", "errors"}),
    "doctor": frozenset({"linux", "errors"}),
    "daemon": frozenset(
        {"core", "linux", "errors", "config", "readiness", "control", "telemetry", "engine", "releases", "paths"},
    ),
    "cli": frozenset({"daemon", "paths", "config", "control", "doctor", "errors", "releases", "telemetry"}),
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}
# Rooms so far down that they do not even know the package's version.
NAMELESS = frozenset({"core", "linux", "errors", "__init__"})
# Room by room, what may be imported inside a function alone, because of what it costs to load.
LAZY: dict[str, frozenset[str]] = {"cli": frozenset({"daemon", "releases"})}

CORE_MAY_IMPORT = frozenset(
    {
        "__future__",
        "collections",
        "collections.abc",
        "dataclasses",  # for mypy alone: see `value`
        "enum",
        "functools",
        "itertools",
        "math",
        "msgspec",  # what its values are made of
        "msgspec.structs",
        "operator",
        "typing",
    },
)
CORE_FORBIDDEN_CALLS = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"})
# Heavy to load, so never part of the daemon at rest.
HEAVY = frozenset({"rich", "pydantic", "elftools", "asyncinotify"})

_SUPPRESSION = re.compile(
    r"#\s*(?:type:\s*ignore(?:\[[^\]]*\])?"
    r"|(?:(?:ruff|flake8):\s*)?noqa(?::\s*[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)?"
    r"|mypy:\s*(?:ignore-errors|disable-error-code)\S*)",
    re.IGNORECASE,
)
_ENOUGH_LETTERS = 8


@dataclass(frozen=True)
class Import:
    """One name imported somewhere in a module."""

    target: str  # "supervisor.core.model", "os.path"
    line: int
    lazy: bool  # inside a function: not loaded with the module
    typing: bool  # under `if TYPE_CHECKING`: never loaded


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str  # "supervisor.core" for supervisor/core/__init__.py
    source: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def room(self) -> str:
        """The room that it is in; a file `cli_*.py` is in the room of cli.py, `daemon_*.py` in daemon.py's."""
        parts = self.name.split(".")
        if len(parts) == 1:
            return "__init__"
        return next((room for room in ("cli", "daemon") if parts[1].startswith(f"{room}_")), parts[1])

    def at(self, line: int, text: str) -> str:
        return f"{self.name}:{line}: {text}"


@dataclass(frozen=True)
class House:
    """All modules of the package, by name."""

    modules: dict[str, Module]

    @classmethod
    def of(cls, *modules: Module) -> "House":
        return cls({module.name: module for module in modules})

    @classmethod
    def read(cls, root: Path) -> "House":
        found = []
        for path in sorted((root / PACKAGE).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
        return cls.of(*found)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules.values())

    def imports(self, module: Module) -> list[Import]:
        """All that `module` imports, anywhere in it. `from a import b` is `a.b` where b is a module of ours."""
        found = []
        for node, lazy, typing in _walk(module.tree):
            line = getattr(node, "lineno", 0)
            found += [Import(target, line, lazy, typing) for target in self._targets(module, node)]
        return found

    def loaded_with(self, *names: str) -> dict[str, str]:
        """The modules that importing `names` loads, each with the one that asked for it first."""
        loaded: dict[str, str] = {}
        waiting = [(name, "") for name in names]
        while waiting:
            wanted, by = waiting.pop(0)
            if wanted in loaded or wanted not in self.modules:
                continue
            loaded[wanted] = by
            parent = wanted.rpartition(".")[0]
            here = self.imports(self.modules[wanted])
            targets = [each.target for each in here if not each.lazy and not each.typing]
            waiting += [(target, wanted) for target in [parent, *targets]]
        return loaded

    def _targets(self, module: Module, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                # A name straight from the package that is no attribute of it is a room, there yet or not.
                ours = full in self.modules or (base == PACKAGE and alias.name in ARROWS)
                yield full if ours else base
        elif isinstance(node, ast.Call) and _last_name(node.func) in {"import_module", "__import__"}:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    up = node.level - (1 if module.is_package else 0)
    parts = module.name.split(".")
    base = parts[: len(parts) - up]
    return ".".join([*base, node.module] if node.module else base)


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _walk(node: ast.AST, *, lazy: bool = False, typing: bool = False) -> Iterator[tuple[ast.AST, bool, bool]]:
    """Every node, and whether it stands inside a function, and whether under `if TYPE_CHECKING`."""
    yield node, lazy, typing
    if isinstance(node, ast.If) and _last_name(node.test) == "TYPE_CHECKING":
        guarded = set(map(id, node.body))
        for branch in ast.iter_child_nodes(node):
            yield from _walk(branch, lazy=lazy, typing=typing or id(branch) in guarded)
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        # Decorators and defaults run with the module.
        body = set(map(id, node.body))
        for child in ast.iter_child_nodes(node):
            yield from _walk(child, lazy=lazy or id(child) in body, typing=typing)
        return
    inside = lazy or isinstance(node, ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, lazy=inside, typing=typing)


def _is_ours(target: str) -> bool:
    return target == PACKAGE or target.startswith(PACKAGE + ".")


def _room_of(target: str) -> str:
    return Module(target, "").room


def check_rooms(house: House) -> list[str]:
    """Every file is in a room that the house knows."""
    return [module.at(1, f"no such room: {module.room}") for module in house if module.room not in ARROWS]


def check_arrows(house: House) -> list[str]:
    """Imports follow the arrows; `if TYPE_CHECKING` and imports inside functions are no way around them."""
    findings = []
    for module in house:
        room = module.room
        allowed = ARROWS.get(room, frozenset()) | {room}
        if room not in NAMELESS:
            allowed |= {"__init__"}
        for each in house.imports(module):
            if not _is_ours(each.target):
                continue
            there = _room_of(each.target)
            if there not in allowed:
                findings.append(module.at(each.line, f"{room} may not import {each.target}"))
            elif there in LAZY.get(room, frozenset()) and not each.lazy and not each.typing:
                findings.append(module.at(each.line, f"{room} may import {each.target} inside a function only"))
    return findings


def check_core_is_pure(house: House) -> list[str]:
    """The core has no I/O, no clock, no await, no randomness and no logging."""
    findings = []
    for module in house:
        if module.room != "core":
            continue
        findings += [
            module.at(each.line, f"core may not import {each.target}")
            for each in house.imports(module)
            if not _is_ours(each.target) and each.target not in CORE_MAY_IMPORT
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                findings.append(module.at(node.lineno, "core does not wait"))
            elif isinstance(node, ast.Call) and _last_name(node.func) in CORE_FORBIDDEN_CALLS:
                findings.append(module.at(node.lineno, f"core may not call {_last_name(node.func)}()"))
    return findings


def check_core_is_annotated(house: House) -> list[str]:
    """Every function of the core says what it takes and what it gives."""
    findings = []
    for module in house:
        if module.room != "core":
            continue
        for node, method in _functions(module.tree):
            arguments = node.args
            positional = [*arguments.posonlyargs, *arguments.args]
            static = any(_last_name(decorator) == "staticmethod" for decorator in node.decorator_list)
            named = positional[1:] if method and not static else positional
            rest = [each for each in (arguments.vararg, arguments.kwarg) if each]
            bare = [each.arg for each in [*named, *arguments.kwonlyargs, *rest] if each.annotation is None]
            findings += [module.at(node.lineno, f"{node.name}: {name} has no annotation") for name in bare]
            if node.returns is None:
                findings.append(module.at(node.lineno, f"{node.name}: no return annotation"))
    return findings


def _functions(node: ast.AST) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function, and whether it is a method."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, isinstance(node, ast.ClassDef)
        yield from _functions(child)


def check_size(house: House) -> list[str]:
    """A module is short enough to be read in one sitting."""
    findings = []
    for module in house:
        lines = len(module.source.splitlines())
        if lines > MAX_LINES:
            findings.append(module.at(lines, f"{lines} lines, and {MAX_LINES} is the most"))
    return findings


def check_daemon_is_light(house: House) -> list[str]:
    """What is loaded when the daemon starts, which it does by way of the command line, has nothing heavy in it."""
    findings = []
    for name, by in house.loaded_with(f"{PACKAGE}.__main__", f"{PACKAGE}.daemon").items():
        module = house.modules[name]
        for each in house.imports(module):
            top = each.target.partition(".")[0]
            if top in HEAVY and not each.lazy and not each.typing:
                via = f", and {by} loads this module" if by else ""
                findings.append(module.at(each.line, f"{top} would be loaded with the daemon{via}"))
    return findings


def check_rich_is_for_people(house: House) -> list[str]:
    """Only the command line knows rich."""
    return [
        module.at(each.line, f"{module.room} may not import rich: only the command line prints for people")
        for module in house
        if module.room != "cli"
        for each in house.imports(module)
        if each.target.partition(".")[0] == "rich"
    ]


def check_reasons(house: House) -> list[str]:
    """What catches everything, or silences a tool, says why on the same line."""
    return [finding for module in house for finding in sorted({*_broad_catches(module), *_suppressions(module)})]


def _comments(module: Module) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(module.source).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def _has_reason(comment: str) -> bool:
    """Whether words remain when all that is addressed to tools is taken away."""
    return len(re.findall(r"[A-Za-z]", _SUPPRESSION.sub("", comment))) >= _ENOUGH_LETTERS


def _broad_catches(module: Module) -> Iterator[str]:
    comments = _comments(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught, what = ([node.type] if node.type else []), "except"
            bare = node.type is None
        elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
            caught, what, bare = node.args, "suppress", False
        else:
            continue
        names = {_last_name(inner) for each in caught for inner in ast.walk(each)}
        if (bare or names & {"Exception", "BaseException"}) and not _has_reason(comments.get(node.lineno, "")):
            yield module.at(node.lineno, f"a broad {what} without its reason beside it")


def _suppressions(module: Module) -> Iterator[str]:
    for line, comment in _comments(module).items():
        if _SUPPRESSION.search(comment) and not _has_reason(comment):
            yield module.at(line, f"no reason beside `{comment}`")


RULES: tuple[Callable[[House], Iterable[str]], ...] = (
    check_rooms,
    check_arrows,
    check_core_is_pure,
    check_core_is_annotated,
    check_size,
    check_daemon_is_light,
    check_rich_is_for_people,
    check_reasons,
)
