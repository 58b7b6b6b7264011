"""A value with some of its fields changed: as the standard library would do it, for each kind of value of the core."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import supervisor.core
from supervisor.core import events
from supervisor.core.value import replace
from tests.core.world import RELEASES


def _kinds() -> Iterator[type[Any]]:
    for found in pkgutil.iter_modules(supervisor.core.__path__):
        module = importlib.import_module(f"supervisor.core.{found.name}")
        for each in vars(module).values():
            if isinstance(each, type) and dataclasses.is_dataclass(each) and each.__module__ == module.__name__:
                yield each


FROZEN = [each for each in _kinds() if getattr(each, "__dataclass_params__").frozen]  # noqa: B009 - mypy knows no such attribute


@pytest.mark.parametrize("kind", FROZEN, ids=lambda kind: kind.__name__)
def test_it_is_what_the_standard_library_makes(kind: type[Any]) -> None:
    """With any values: nothing in the core looks at them when a value is made."""
    names = [each.name for each in dataclasses.fields(kind)]
    value = kind(**{name: at for at, name in enumerate(names)})
    assert replace(value) == value
    for name in names:
        change: Any = {name: "changed"}
        assert replace(value, **change) == dataclasses.replace(value, **change)
        assert value == kind(**{each: at for at, each in enumerate(names)}), "the one before is as it was"


def test_there_is_no_field_that_it_has_not() -> None:
    change: Any = {"colour": "red"}
    with pytest.raises(KeyError, match="colour"):
        replace(RELEASES[0], **change)


def test_all_kinds_are_looked_at() -> None:
    assert {events.Ready, type(RELEASES[0])} < set(FROZEN)
