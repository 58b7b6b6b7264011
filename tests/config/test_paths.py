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
