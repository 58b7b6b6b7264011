"""Where files go, for those who have set things oddly."""

import os
from pathlib import Path

import pytest

from supervisor import paths
from supervisor.errors import HostError


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As an ordinary user sees it."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return tmp_path


def test_a_name_that_leaves_no_room_for_sockets_is_refused(user: Path) -> None:
    assert paths.runtime_dir("web") == user / "gapless/web"
    with pytest.raises(HostError, match="too long for sockets"):
        paths.runtime_dir("w" * 63 + "x" * 40)


@pytest.mark.usefixtures("user")
def test_a_relative_runtime_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "here")
    monkeypatch.setattr(paths, "Path", lambda text: tmp_path / "private" if text.startswith("/tmp/") else Path(text))  # noqa: S108 - not made: the test's own is
    with pytest.raises(HostError, match="is not ours alone"):  # made by another user than the pretended one
        paths.runtime_root()
    assert not (tmp_path / "here" / "gapless").exists()


def test_the_state_is_where_it_is_said_to_be(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.state_dir("web", str(user / "said")) == user / "said"
    monkeypatch.setenv("STATE_DIRECTORY", f"{user}/systemd:/other")
    assert paths.state_dir("web", None) == user / "systemd"
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", str(user / "home"))
    assert paths.state_dir("web", None) == user / "home/gapless/web"
    (user / "file").touch()
    with pytest.raises(HostError, match="cannot make"):
        paths.state_dir("web", str(user / "file" / "x"))


def test_the_folder_that_systemd_made_is_used_if_it_is_for_this_service(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"/run/other:{user}/systemd/web")
    assert paths.runtime_dir("web") == user / "systemd/web"
    assert paths.control_socket("web", None) == user / "systemd/web/control.sock"
    assert paths.runtime_path("web") == user / "systemd/web"
    # said by a deployment that is a unit of its own, of a service that is not
    assert paths.control_socket("api", None) == user / "gapless/api/control.sock"
    assert paths.control_socket("web", "/said.sock") == Path("/said.sock")


def test_commands_look_for_a_service_of_the_system_too(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = user / "system"
    monkeypatch.setattr(paths, "_SYSTEM", system)
    for folder in (system / "web", system / "both", user / "gapless/both"):
        folder.mkdir(parents=True)
        (folder / "control.sock").touch()
    assert paths.living_control_socket("web") == system / "web/control.sock"
    assert paths.living_control_socket("both") == user / "gapless/both/control.sock"
    assert paths.living_control_socket("nowhere") == user / "gapless/nowhere/control.sock"
    assert paths.control_sockets() == sorted(
        [system / "web/control.sock", system / "both/control.sock", user / "gapless/both/control.sock"]
    )
