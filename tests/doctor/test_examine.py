"""Everything is looked at, each thing by itself."""

from pathlib import Path

from supervisor.doctor.examine import examine
from supervisor.doctor.finding import Level
from supervisor.doctor.needs import Listening, Needs


def test_what_cannot_be_looked_at_hides_nothing_else(tmp_path: Path) -> None:
    odd = Needs(listeners=(Listening("odd", "no address", 1),), state=tmp_path, runtime=Path("/run/x"))
    found = {each.check: each for each in examine(odd, {}, 20)}
    assert found["addresses"].level is Level.NOTE
    assert found["addresses"].found.startswith("unknown: ")
    assert found.keys() == {each.check for each in examine(Needs(state=tmp_path, runtime=Path("/run/x")), {}, 20)}


def test_the_operators_page_has_each_check() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/operating.md").read_text(encoding="utf-8")
    rows = page.split("## Before it matters")[1].split("\n## ")[0]
    for each in examine(Needs(control=Path("/run")), {}, 20):
        assert f"`{each.check}`" in rows, f"{each.check} is not in docs/operating.md"
