"""The settings of the daemon: read by another process, and only when something has changed."""

import asyncio
import grp
import os
import pwd
import sys
from pathlib import Path

import pytest

from supervisor.config import reading
from supervisor.config.settings import Settings, from_json, to_json
from supervisor.config.source import Source
from supervisor.core.access import Admission, Members
from supervisor.errors import ConfigurationError

TEXT = """
[service]
name = "web"
command = ["/bin/true", "--flag"]
limits = { nofile = "64:128" }
[[listen]]
name = "http"
address = "127.0.0.1:8080"
[[listen]]
address = "[::1]:0"
v6only = true
[ready]
method = "http"
timeout = "7s"
[ready.http]
path = "/healthz"
status = [200, "300-399"]
[drain]
signal = "QUIT"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "gapless.toml"
    found.write_text(TEXT)
    return found


def first(source: Source) -> Settings:
    source.begin()
    return source.first()


def now(source: Source) -> Settings:
    return asyncio.run(source.now())


def test_they_are_what_the_file_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"ODD", b"caf\xe9")
    configuration = reading.load(path)
    found = first(Source.of_file(path))
    assert found.service == "web"
    assert (found.state_dir, found.control) == (None, None)
    assert set(found.launch.environment) ^ set(configuration.launch().environment) == set()
    assert (found.launch, found.policy) == (configuration.launch(), configuration.policy())
    assert ("ODD", "caf\udce9") in found.launch.environment
    hash(found)  # nothing in it can be changed


def test_arguments_are_read_likewise() -> None:
    source = Source.of_arguments(["/bin/true"], ["http=:0", ":1"], name=None, socket="/run/x.sock")
    found = first(source)
    assert (found.service, found.control) == ("true", "/run/x.sock")
    assert [each.name for each in found.launch.listen] == ["http", "listen-2"]
    assert now(source) is found
    with pytest.raises(ConfigurationError, match="arguments: listen"):
        first(Source.of_arguments(["/bin/true"], ["nonsense"], name=None, socket=None))


def test_nothing_is_read_as_long_as_nothing_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source.of_file(path)
    found = first(source)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere")  # nobody who could read it
        path.touch()
        assert now(source) is found
    assert now(source) is found


def test_what_changes_without_another_size_or_time_is_noticed(path: Path) -> None:
    source = Source.of_file(path)
    first(source)
    before = path.stat()
    path.write_text(TEXT.replace('"7s"', '"8s"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert now(source).policy.ready_timeout == 8.0


def test_what_the_host_says_beside_the_file_is_noticed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source.of_file(path)
    first(source)
    monkeypatch.chdir(tmp_path)
    assert now(source).launch.directory == str(tmp_path)


def test_a_refusal_is_the_sentence_and_leaves_what_was_read(path: Path) -> None:
    source = Source.of_file(path)
    found = first(source)
    path.write_text(TEXT.replace('"7s"', '"soon"'))
    with pytest.raises(ConfigurationError) as here:
        reading.load(path)
    with pytest.raises(ConfigurationError) as there:
        now(source)
    assert str(there.value) == str(here.value)
    path.write_text(TEXT)
    assert now(source) is found


@pytest.mark.parametrize("begin", [True, False], ids=["at the start", "later"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo Oh dear >&2; exit 1", "failed with exit status 1: Oh dear"),
        ("kill -SEGV $$", "failed with signal 11"),
        ("exec sleep 60", "has not answered in 0.3 s and was killed"),
        ("echo rubbish", "makes no sense"),
        ("echo 7", "makes no sense"),
        ("", "makes no sense"),
        ("""echo '{"version": "0", "refused": "x"}'""", "gapless is 0 on disk by now"),
        ("""echo '{"version": "'$VERSION'"}'""", "gave no answer"),
        ("""echo '{"version": "'$VERSION'", "settings": {"": "Policy", "new": 1}}'""", "makes no sense"),
    ],
)
def test_a_reading_that_fails_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str, *, begin: bool
) -> None:
    from supervisor import __version__  # noqa: PLC0415 - beside what it is used for

    fake = path.with_name("python")
    fake.write_text(f"#!/bin/sh\nVERSION={__version__}\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    source = Source("file", str(path), path.read_bytes, patience=0.3 if "sleep" in script else 20.0)
    with pytest.raises(ConfigurationError) as failed:
        first(source) if begin else now(source)
    assert str(failed.value).startswith(f"{path} could not be read: ")
    assert said in str(failed.value)


def test_what_travels_is_known_by_name() -> None:
    with pytest.raises(TypeError):
        to_json({"settings": Path("/")})
    with pytest.raises(ValueError, match="nothing that settings consist of"):
        from_json('{"": "Path"}')


def test_who_has_a_role_arrives_as_numbers_and_a_change_of_those_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(f'{TEXT}\n[control]\ngroup = "root"\nviewers = ["@root", "7"]\nadmins = ["root", "@8"]\n')
    source = Source.of_file(path)
    found = first(source)
    assert found.admission == Admission(
        mode=0o660,
        group=0,
        viewers=Members(users=(7,), groups=(0,)),
        admins=Members(users=(0,), groups=(8,)),
    )
    with monkeypatch.context() as patch:
        patch.setattr(pwd, "getpwnam", {"root": "another uid"}.get)
        assert now(source) is not found
    found = now(source)
    monkeypatch.setattr(grp, "getgrnam", {"root": "another gid"}.get)
    assert now(source) is not found


def test_a_group_that_the_host_has_changed_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(TEXT.replace("limits", 'group = "root"\nlimits'))
    source = Source.of_file(path)
    found = first(source)
    monkeypatch.setattr(grp, "getgrnam", {"root": "another gid"}.__getitem__)
    assert now(source) is not found
