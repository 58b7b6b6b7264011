"""The operators' page says all that there is to say: nothing new goes without its row."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from supervisor.config.tables import Configuration
from supervisor.control.api import TABLE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")


def keys() -> list[str]:
    found = []
    for name, table in Configuration.model_fields.items():
        inner = next(each for each in (table.annotation, *getattr(table.annotation, "__args__", ())) if is_table(each))
        found += [f"{name}.{key}" for key in inner.model_fields]
    return found


def is_table(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def events() -> set[str]:
    found = set()
    for path in (ROOT / "supervisor").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'(?:Happening|_log\.\w+)\(\s*"(\w+)"', source))
    return found


@pytest.mark.parametrize("key", keys())
def test_every_key_has_its_row(key: str) -> None:
    table, name = key.split(".")
    after = re.split(rf"\*\*`\[+{table}\]+`\*\*", PAGE)
    assert len(after) == 2, f"no table {table}"
    rows = after[1].split("| **`[")[0]
    assert re.search(rf"^\|[^|]*`{name}`[^|]*\|", rows, re.MULTILINE), f"{key} is not in docs/operating.md"


@pytest.mark.parametrize("event", sorted(events()))
def test_every_event_has_its_row(event: str) -> None:
    assert re.search(rf"^\|[^|]*`{event}`[^|]*\|", PAGE, re.MULTILINE), f"{event} is not in docs/operating.md"


@pytest.mark.parametrize("path", sorted({row.path for row in TABLE}))
def test_every_endpoint_has_its_example(path: str) -> None:
    assert f"http://gapless{path}" in PAGE


def test_the_events_were_really_found() -> None:
    assert {"handoff_ended", "queue_reset", "stopping"} <= events()
