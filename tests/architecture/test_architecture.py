"""The house obeys its rules, and each rule is shown to notice when it does not."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.architecture.house import (
    ARROWS,
    MAX_LINES,
    RULES,
    House,
    Module,
    check_arrows,
    check_core_is_annotated,
    check_core_is_pure,
    check_daemon_is_light,
    check_reasons,
    check_rich_is_for_people,
    check_rooms,
    check_size,
)

ROOT = Path(__file__).resolve().parents[2]

Rule = Callable[[House], Iterable[str]]


@pytest.fixture(scope="module")
def the_house() -> House:
    return House.read(ROOT)


def one(name: str, source: str, *, is_package: bool = False) -> House:
    """A house of one module (and the modules that the snippets below speak of)."""
    known = (
        Module("supervisor", '__version__ = "1"', is_package=True),
        Module("supervisor.core", "", is_package=True),
        Module("supervisor.core.model", "class State: ..."),
        Module("supervisor.engine", "", is_package=True),
        Module("supervisor.engine.loop", "class Loop: ..."),
    )
    return House.of(*known, Module(name, source, is_package))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_the_house_obeys(rule: Rule, the_house: House) -> None:
    findings = list(rule(the_house))
    assert not findings, "\n".join([str(rule.__doc__), *findings])


def test_the_house_was_really_read(the_house: House) -> None:
    assert {"supervisor", "supervisor.__main__"} <= set(the_house.modules)
    assert the_house.modules["supervisor"].is_package


@pytest.mark.parametrize("name", ["supervisor.utils", "supervisor.helpers.text"])
def test_a_room_that_nobody_planned_is_noticed(name: str) -> None:
    assert check_rooms(one(name, ""))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("supervisor.core.step", "from supervisor.errors import Fault"),
        ("supervisor.core.step", "from supervisor.linux import spawn"),
        ("supervisor.core.step", "from supervisor import __version__"),
        ("supervisor.core.step", "from ..engine import loop"),
        ("supervisor.linux.spawn", "from supervisor.core.model import State"),
        ("supervisor.linux.spawn", "import supervisor.core.model"),
        ("supervisor.linux.spawn", "from supervisor import core"),
        ("supervisor.linux.spawn", "from supervisor import engine as heart"),
        ("supervisor.linux.spawn", "from .. import core"),
        ("supervisor.linux.spawn", "def f():\n    from supervisor.core import model"),
        ("supervisor.linux.spawn", "if TYPE_CHECKING:\n    from supervisor.core import model"),
        ("supervisor.linux.spawn", "importlib.import_module('supervisor.core.model')"),
        ("supervisor.engine.executor", "from supervisor.readiness.pipe import Pipe"),
        ("supervisor.readiness.pipe", "from supervisor.engine import loop"),
        ("supervisor.control.api", "from supervisor.telemetry import metrics"),
        ("supervisor.releases.store", "import supervisor.control.api"),
        ("supervisor.telemetry.log", "from supervisor.config import Config"),
        ("supervisor.config", "from supervisor.engine.loop import Loop"),
        ("supervisor.daemon", "from supervisor.cli import main"),
        ("supervisor.daemon", "from supervisor.cli_status import table"),
        ("supervisor.cli", "def f():\n    from supervisor.engine.loop import Loop"),
        ("supervisor.cli", "from supervisor import daemon"),
        ("supervisor.cli", "from supervisor.daemon import run"),
        ("supervisor.errors", "from supervisor.core.model import State"),
        ("supervisor.errors", "from supervisor import __version__"),
        ("supervisor.__main__", "from supervisor import daemon"),
    ],
)
def test_an_import_against_the_arrows_is_noticed(name: str, source: str) -> None:
    assert check_arrows(one(name, source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("supervisor.core.step", "from supervisor.core.model import State"),
        ("supervisor.core.step", "from .model import State"),
        ("supervisor.linux.spawn", "from supervisor.errors import HostFault\nfrom supervisor.linux import process"),
        ("supervisor.engine.executor", "from supervisor.core import model\nfrom supervisor.engine.loop import Loop"),
        ("supervisor.control.api", "from supervisor import __version__"),
        ("supervisor.daemon", "from supervisor import config, control\nfrom supervisor.engine.loop import Loop"),
        ("supervisor.cli", "def f():\n    from supervisor import daemon"),
        ("supervisor.cli", "if TYPE_CHECKING:\n    from supervisor.daemon import Daemon"),
        ("supervisor.cli", "from supervisor.cli_status import table"),
    ],
)
def test_an_import_along_the_arrows_is_left_alone(name: str, source: str) -> None:
    assert not check_arrows(one(name, source))


def test_the_arrows_have_no_circle() -> None:
    above: dict[str, frozenset[str]] = dict(ARROWS)
    while above:
        lowest = {room for room, below in above.items() if not below & above.keys()}
        assert lowest, f"these import each other in a circle: {sorted(above)}"
        above = {room: below for room, below in above.items() if room not in lowest}


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import asyncio",
        "import logging",
        "import random",
        "import os.path",
        "from datetime import datetime",
        "import structlog",
        "if TYPE_CHECKING:\n    from pathlib import Path",
        "def f():\n    import socket",
        "async def f(): ...",
        "print('here')",
        "def f():\n    return open('/etc/passwd')",
        "__import__('time')",
    ],
)
def test_a_core_that_touches_the_world_is_noticed(source: str) -> None:
    assert check_core_is_pure(one("supervisor.core.step", source))
    assert not check_core_is_pure(one("supervisor.engine.executor", source)), "a rule of the core alone"


def test_a_pure_core_is_left_alone() -> None:
    source = (
        "from __future__ import annotations\nimport enum\nimport math\nfrom collections import deque\n"
        "from collections.abc import Mapping\nfrom supervisor.core.model import State\ndef f(): return math.ceil(1)\n"
    )
    assert not check_core_is_pure(one("supervisor.core.step", source))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a) -> None: ...",
        "def f(a: int): ...",
        "def f(*rest) -> None: ...",
        "def f(**rest) -> None: ...",
        "def f(*, a) -> None: ...",
        "class A:\n    def f(self, a) -> None: ...",
        "class A:\n    @staticmethod\n    def f(a) -> None: ...",
        "def f() -> None:\n    def g(a) -> None: ...",
        "if 1:\n    def f(): ...",
    ],
)
def test_a_core_function_without_annotations_is_noticed(source: str) -> None:
    assert check_core_is_annotated(one("supervisor.core.step", source))


def test_an_annotated_core_is_left_alone() -> None:
    source = "class A:\n    def f(self, a: int, *b: int, c: int = 0, **d: int) -> None: ..."
    assert not check_core_is_annotated(one("supervisor.core.step", source))


def test_a_long_module_is_noticed() -> None:
    assert not check_size(one("supervisor.core.step", "x = 1\n" * MAX_LINES))
    assert check_size(one("supervisor.core.step", "x = 1\n" * (MAX_LINES + 1)))


@pytest.mark.parametrize(
    "modules",
    [
        {"daemon": "import rich"},
        {"daemon": "from rich.console import Console"},
        {"daemon": "try:\n    import rich\nexcept ImportError:\n    pass"},
        {"daemon": "class A:\n    import rich"},
        {"daemon": "from supervisor import config", "config": "from rich import BaseModel"},
        {"daemon": "import supervisor.engine.loop", "engine": "import rich", "engine.loop": ""},
        {"daemon": "", "__main__": "from supervisor.cli import main", "cli": "import rich"},
        {"daemon": "if TYPE_CHECKING:\n    x = 1\nelse:\n    import rich"},
    ],
)
def test_a_daemon_that_loads_something_heavy_is_noticed(modules: dict[str, str]) -> None:
    house = House.of(*(Module(f"supervisor.{name}", source, name == "engine") for name, source in modules.items()))
    assert check_daemon_is_light(house)


@pytest.mark.parametrize(
    "modules",
    [
        {"daemon": "def f():\n    from supervisor import config", "config": "from rich import BaseModel"},
        {"daemon": "if TYPE_CHECKING:\n    from supervisor.config import C", "config": "import rich"},
        {"daemon": "", "cli_status": "import rich"},
    ],
)
def test_something_heavy_that_the_daemon_does_not_load_is_left_alone(modules: dict[str, str]) -> None:
    house = House.of(*(Module(f"supervisor.{name}", source) for name, source in modules.items()))
    assert not check_daemon_is_light(house)


def test_rich_outside_the_command_line_is_noticed() -> None:
    source = "def f():\n    from rich.table import Table"
    assert check_rich_is_for_people(one("supervisor.control.client", source))
    assert not check_rich_is_for_people(one("supervisor.cli", source))
    assert not check_rich_is_for_people(one("supervisor.cli_status", source))


@pytest.mark.parametrize(
    "line",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept (OSError, BaseException) as e:\n    pass",
        "try:\n    f()\nexcept builtins.Exception:\n    pass",
        "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass",
        "try:\n    f()\nexcept Exception:\n    # a reason in the wrong place\n    pass",
        "with suppress(Exception): f()",
        "with contextlib.suppress(OSError, Exception): f()",
        "f()  # type: ignore",
        "f()  # type: ignore[arg-type]",
        "f()  # noqa",
        "f()  # noqa: S603, S607",
        "f()  # NOQA:S603",
        "f()  # type: ignore[arg-type]  # noqa: S603",
        "# ruff: noqa: D100",
        "# mypy: ignore-errors",
    ],
)
def test_a_suppression_without_a_reason_is_noticed(line: str) -> None:
    assert check_reasons(one("supervisor.engine.executor", line))


@pytest.mark.parametrize(
    "line",
    [
        "try:\n    f()\nexcept OSError:\n    pass",
        "try:\n    f()\nexcept Exception:  # noqa: BLE001 - a hook's fault is its own\n    pass",
        "try:\n    f()\nexcept Exception:  # a hook's fault is its own\n    pass",
        "with suppress(OSError): f()",
        "f()  # type: ignore[arg-type]  # the stub forgets None",
        "f()  # noqa: S603, S607 - the operator's own command",
        "text = '# noqa'",
    ],
)
def test_a_suppression_with_its_reason_is_left_alone(line: str) -> None:
    assert not check_reasons(one("supervisor.engine.executor", line))


def test_every_rule_is_in_use() -> None:
    rules = {value for name, value in globals().items() if name.startswith("check_")}
    assert rules == set(RULES)
