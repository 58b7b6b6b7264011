"""Everything is looked at, each thing by itself."""

from pathlib import Path

from supervisor.doctor.examine import examine
from supervisor.doctor.finding import Level
from supervisor.doctor.needs import Listening, Needs
from supervisor.linux.host import barred


def test_what_cannot_be_looked_at_hides_nothing_else(tmp_path: Path) -> None:
    odd = Needs(listeners=(Listening("odd", "no address", 1),), state=tmp_path, runtime=Path("/run/x"))
    found = {each.check: each for each in examine(odd, {}, 20)}
    assert found["addresses"].level is Level.NOTE
    assert found["addresses"].found.startswith("unknown: ")
    assert found.keys() == {each.check for each in examine(Needs(state=tmp_path, runtime=Path("/run/x")), {}, 20)}


def test_the_operators_page_has_each_check() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/operating.md").read_text(encoding="utf-8")
    rows = page.split("## Before it matters")[1].split("\n## ")[0]
    for each in examine(Needs(control=Path("/run/s")), {}, 20):
        assert f"`{each.check}`" in rows, f"{each.check} is not in docs/operating.md"


def test_a_folder_on_the_way_that_lets_nobody_through_is_found(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    group = outer.stat().st_gid
    for mode, all_may, group_may in ((0o755, True, True), (0o710, False, True), (0o700, False, False)):
        outer.chmod(mode)
        assert barred(inner / "s", None) == (None if all_may else outer)
        assert barred(inner / "s", group) == (None if group_may else outer)
        assert barred(inner / "s", group + 1) == (None if all_may else outer)
        assert barred(inner / "new" / "s", None) == (None if all_may else outer), "what is not there yet bars nobody"
