"""A store that is followed: what moves in it begins an upgrade by itself, once, and gapless's own moves begin none.

That nothing happens is shown by something else that must happen later, and of which it is the very next handoff.
"""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supervisor.releases.layout import Layout
from supervisor.releases.seal import destroy
from tests.harness import builds, proc
from tests.harness.crashing import injected, needs_strace
from tests.harness.output import Event
from tests.harness.supervisor import Supervisor
from tests.releases.stores import offer, put


@pytest.fixture
def layout(supervisor: Supervisor, v1: Path) -> Layout:
    """1.0.0 in a store, and current."""
    return stored(supervisor, "web", v1)


def stored(supervisor: Supervisor, name: str, program: Path) -> Layout:
    layout = Layout(supervisor.folder / name)
    put(layout, offer(program, "1.0.0", name="server"))
    layout.current_link.symlink_to("versions/1.0.0")
    command = [f"{layout.current_link}/server", "-log-connections", str(supervisor.connections)]
    supervisor.configure(service={"command": command}, releases={"root": str(layout.root)})
    return layout


def follows(supervisor: Supervisor, what: str) -> None:
    supervisor.configure(releases={"follow": what})
    supervisor.start()


def move(layout: Layout, version: str) -> None:
    subprocess.run(["ln", "-sfn", f"versions/{version}", layout.current_link], check=True)


def broken(layout: Layout, version: str) -> None:
    put(layout, offer(builds.go_server("broken", "-crash-at-start"), version, name="server"))


def ended(supervisor: Supervisor, handoff: int, since: int = 0) -> Event:
    """The end of that one, before which there were as many as its number says."""
    found = supervisor.event("handoff_ended", since)
    assert found["handoff"] == handoff, supervisor.events("handoff_began")
    return found


def began(supervisor: Supervisor, handoff: int) -> Event:
    return supervisor.event("handoff_began", handoff=handoff)


def version(release: dict[str, Any]) -> str:
    return str(release["id"]).partition("+")[0]


def test_a_moved_current_is_followed_once(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    """It fails, is put back, and is tried again only when it is moved again; a rollback stays, too."""
    broken(layout, "3.0.0")
    put(layout, offer(v2, "2.0.0", name="server"))
    follows(supervisor, "current")
    move(layout, "2.0.0")
    assert ended(supervisor, 1)["result"] == "committed"
    began_it = began(supervisor, 1)
    assert (began_it["way"], began_it["because"]) == ("follow", "current leads to 2.0.0")
    assert (supervisor.get().version, layout.current()) == ("v2", "2.0.0")
    mark = supervisor.mark()
    move(layout, "3.0.0")
    failed = supervisor.event("follow_failed", mark)
    assert (failed["level"], failed["handoff"], failed["version"]) == ("warning", 2, "3.0.0")
    assert "exit status" in failed["reason"]
    assert layout.current() == "2.0.0"
    assert supervisor.command("rollback").returncode == 0
    assert (supervisor.get().version, layout.current()) == ("v1", "1.0.0")
    mark = supervisor.mark()
    move(layout, "3.0.0")
    assert ended(supervisor, 4, mark)["result"] == "rolled back"
    move(layout, "1.0.0")  # serves
    mark = supervisor.mark()
    move(layout, "2.0.0")
    assert ended(supervisor, 5, mark)["result"] == "committed"
    assert [each["way"] for each in supervisor.history()] == ["follow", "follow", "control", "follow", "follow"]
    lines = (supervisor.folder / "state/audit.jsonl").read_text().splitlines()
    assert sum('"followed"' in line for line in lines) == 4


def test_a_newer_patch_is_followed_and_nothing_else(supervisor: Supervisor, layout: Layout, v1: Path, v2: Path) -> None:
    follows(supervisor, "patch")
    put(layout, offer(v2, "1.1.0", name="server"))
    put(layout, offer(v2, "1.0.2-rc1", name="server"))
    put(layout, offer(v2, "newest", name="server"))
    move(layout, "1.1.0")
    move(layout, "1.0.0")
    shutil.copytree(layout.folder("1.0.0"), layout.versions / "1.0.9", ignore=lambda *_: [".gapless.json"])
    put(layout, offer(v2, "1.0.2", name="server"))
    assert ended(supervisor, 1)["result"] == "committed"
    assert began(supervisor, 1)["because"] == "1.0.2 was added, and 1.0.0 serves"
    assert layout.current() == "1.0.2"
    assert supervisor.command("rollback").returncode == 0
    mark = supervisor.mark()
    broken(layout, "1.0.10")
    assert ended(supervisor, 3, mark)["result"] == "rolled back"
    assert supervisor.event("follow_failed", mark)["version"] == "1.0.10"
    supervisor.event("taken_over", supervisor.signal(signal.SIGUSR2))
    supervisor.taken_over()
    mark = supervisor.mark()
    put(layout, offer(v1, "1.0.3", name="server"))  # newer than what serves, and older than what was tried
    put(layout, offer(v2, "1.0.11", name="server"))
    assert ended(supervisor, 4, mark)["result"] == "committed"
    assert version(supervisor.serving()["release"]) == "1.0.11"


def test_it_goes_on_when_gapless_is_replaced(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    """What was moved while nobody looked is found, and so is what moves afterwards."""
    for name in ("2.0.0", "3.0.0"):
        put(layout, offer(v2, name, name="server"))
    follows(supervisor, "current")
    kept = supervisor.kill()
    move(layout, "2.0.0")
    supervisor.spawn(says=kept)
    assert ended(supervisor, 1)["result"] == "committed"
    mark = supervisor.mark()
    supervisor.event("taken_over", supervisor.signal(signal.SIGUSR2))
    move(layout, "3.0.0")
    assert ended(supervisor, 2, mark)["result"] == "committed"
    assert layout.current() == "3.0.0"


def test_off_does_nothing_and_loads_nothing(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    """And a changed configuration switches it on and off."""
    put(layout, offer(v2, "1.0.1", name="server"))
    supervisor.start()
    assert inotify(supervisor) == 0
    move(layout, "1.0.1")
    assert supervisor.hup()["handoff"] == 1
    put(layout, offer(v2, "1.0.2", name="server"))
    supervisor.configure(releases={"follow": "patch"})
    mark = supervisor.signal(signal.SIGHUP)
    assert supervisor.event("following", mark)["follow"] == "patch"
    assert supervisor.event("handoff_ended", mark, handoff=3)["to_release"].startswith("1.0.2+")
    assert inotify(supervisor) == 1
    said = supervisor.command("status")
    assert f"follows patch in {layout.root}" in said.stdout.replace("\n", " ")
    supervisor.configure(releases={"follow": "off"})
    mark = supervisor.signal(signal.SIGHUP)
    supervisor.event("following_ended", mark)
    supervisor.event("handoff_ended", mark)
    put(layout, offer(v2, "1.0.3", name="server"))
    assert inotify(supervisor) == 0
    assert supervisor.hup()["handoff"] == 5


def inotify(supervisor: Supervisor) -> int:
    return sum("inotify" in each for each in proc.fds(supervisor.pid).values())


def test_a_wish_waits_for_the_handoff_under_way(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    for name in ("2.0.0", "3.0.0"):
        put(layout, offer(v2, name, name="server"))
    supervisor.configure(handoff={"probation": "300ms"})
    follows(supervisor, "current")
    move(layout, "2.0.0")
    supervisor.event("phase", phase="probation")
    move(layout, "3.0.0")
    assert supervisor.event("handoff_ended", handoff=1)["result"] == "committed"
    assert supervisor.event("handoff_ended", handoff=2)["result"] == "committed"
    assert (layout.current(), version(supervisor.serving()["release"])) == ("3.0.0", "3.0.0")
    assert not supervisor.events("request_kept", "request_refused")


def test_a_root_that_goes_away_and_comes_back_is_followed(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    """Removed while the server's own folder is in it, made anew, and replaced by a rename."""
    supervisor.configure(service={"directory": str(layout.root)})
    follows(supervisor, "current")
    mark = supervisor.mark()
    destroy(layout.root)
    assert "there is no" in supervisor.event("follow_blind", mark)["reason"]
    put(layout, offer(v2, "2.0.0", name="server"))
    move(layout, "2.0.0")
    assert ended(supervisor, 1, mark)["result"] == "committed"
    other = Layout(supervisor.folder / "other")
    put(other, offer(v2, "3.0.0", name="server"))
    other.current_link.symlink_to("versions/3.0.0")
    layout.root.rename(supervisor.folder / "aside")
    other.root.rename(layout.root)
    supervisor.event("handoff_ended", mark, handoff=2, result="committed")
    assert version(supervisor.serving()["release"]) == "3.0.0"


@needs_strace
def test_what_cannot_be_watched_is_told_and_followed_once_it_can(
    supervisor: Supervisor, layout: Layout, v2: Path
) -> None:
    for name in ("2.0.0", "3.0.0"):
        put(layout, offer(v2, name, name="server"))
    supervisor.start()
    supervisor.configure(releases={"follow": "current"})
    with injected(supervisor.pid, "inotify_add_watch", "error=ENOSPC"):
        mark = supervisor.signal(signal.SIGHUP)
        blind = supervisor.event("follow_blind", mark)
        assert (blind["level"], "fs.inotify.max_user_watches" in blind["reason"]) == ("warning", True)
        assert supervisor.event("handoff_ended", mark)["result"] == "committed"
        said = supervisor.command("status")
        assert "fs.inotify.max_user_watches" in said.stdout
        move(layout, "2.0.0")
    assert supervisor.hup()["handoff"] == 2
    mark = supervisor.mark()
    move(layout, "3.0.0")
    assert ended(supervisor, 3, mark)["result"] == "committed"


def test_more_movements_than_the_kernel_tells_of_are_followed(supervisor: Supervisor, layout: Layout, v2: Path) -> None:
    """All that is told are hidden names, and that the one of `current` is lost."""
    put(layout, offer(v2, "2.0.0", name="server"))
    follows(supervisor, "current")
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    supervisor.process.send_signal(signal.SIGSTOP)
    try:
        hidden = layout.root / ".hidden"
        for _ in range(most // 2 + 1):
            hidden.touch()
            hidden.unlink()
        move(layout, "2.0.0")
    finally:
        supervisor.process.send_signal(signal.SIGCONT)
    assert ended(supervisor, 1)["result"] == "committed"
