"""Who may do what: real users, on the real socket, against every endpoint that there is."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.api import TABLE, Endpoint
from supervisor.control.server import Limits
from supervisor.core.access import Access, Admission, Members
from supervisor.errors import HostError
from supervisor.linux.peer import peer_of
from tests.control.served import Served, parsed, rest_of, said_to
from tests.harness.builds import ROOT
from tests.harness.users import User, command, connected, needs_root

VIEWER, OPERATOR, ADMIN, OTHER = 61001, 61002, 61003, 61009
VIEWERS, OPERATORS, ADMINS, OTHERS = 62001, 62002, 62003, 62009
ADMISSION = Admission(
    mode=0o666,
    viewers=Members(users=(VIEWER,), groups=(VIEWERS,)),
    operators=Members(users=(OPERATOR,), groups=(OPERATORS,)),
    admins=Members(users=(ADMIN,), groups=(ADMINS,)),
)
USERS = {
    "nobody's": (User(OTHER, OTHERS, (1, 2, 3)), Access.NONE),
    "viewer": (User(VIEWER, OTHERS), Access.VIEWER),
    "viewer by group": (User(OTHER, OTHERS, (1, VIEWERS)), Access.VIEWER),
    "operator": (User(OPERATOR, OTHERS), Access.OPERATOR),
    "operator by main group": (User(OTHER, OPERATORS), Access.OPERATOR),
    "operator as well as viewer": (User(VIEWER, OTHERS, (OPERATORS,)), Access.OPERATOR),
    "admin": (User(ADMIN, OTHERS), Access.ADMIN),
    "admin by group": (User(OTHER, OTHERS, (ADMINS, VIEWERS)), Access.ADMIN),
    "root": (User(0, OTHERS), Access.ADMIN),
}

pytestmark = needs_root


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where another user may come."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with Served(folder / "s", None, ADMISSION) as server:
        yield server


def asked(user: User, path: Path, method: str, target: str) -> tuple[int, dict[str, object]]:
    with connected(user, path) as sock:
        sock.settimeout(20)
        if target == "/v1/events":
            method = "HEAD"  # the same, and it ends
        answer = said_to(sock, f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    if method == "HEAD":
        return int(answer.split(b" ")[1]), {}
    return parsed(answer)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
@pytest.mark.parametrize("name", USERS)
def test_each_role_may_do_just_what_is_its_own(served: Served, row: Endpoint, name: str) -> None:
    user, access = USERS[name]
    before = served.service.done
    served.service.witness.told.clear()
    status, answer = asked(user, served.path, row.method, row.path)
    assert (status == 403) is (access < row.needs), answer
    assert status in {200, 202, 400, 403, 409}, answer  # 400, 409: nothing is said of what, or it cannot be
    told = [(each[0], each[-2]) for each in served.service.witness.told]
    if status == 403:
        assert told == [("refused", access)], "whoever may not is told of, whatever they wanted"
    else:
        assert told == ([] if row.method == "GET" else [("asked", access), ("answered", status)])
    if status == 403 and answer:
        assert answer["needs"] == row.needs.name.lower()
        assert answer["peer"] == {
            "uid": user.uid,
            "gid": user.gid,
            "groups": sorted(user.groups),
            "pid": answer["peer"]["pid"],  # type: ignore[index] # a dict, as is seen here
            "role": access.name.lower(),
        }
        assert served.service.done == before
        assert str(user.uid) in str(answer["error"])


def test_the_table_gives_reading_acting_and_ruling_to_three_roles() -> None:
    assert all(row.method == "GET" for row in TABLE if row.needs is Access.VIEWER), "a viewer does nothing"
    needs = {row.path: row.needs for row in TABLE}
    assert {needs[f"/v1/{each}"] for each in ("status", "explain", "history", "events")} == {Access.VIEWER}
    assert needs["/v1/served"] is Access.OPERATOR, "a server's environment is in it"
    assert {needs[f"/v1/{each}"] for each in ("upgrade", "rollback", "abort")} == {Access.OPERATOR}
    assert {needs[f"/v1/{each}"] for each in ("stop", "reexec")} == {Access.ADMIN}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_there_is_is_nobody_s_business_who_has_no_role(served: Served, method: str) -> None:
    nobody, viewer = USERS["nobody's"][0], USERS["viewer"][0]
    assert asked(nobody, served.path, method, "/v1/secret")[0] == 403
    assert asked(viewer, served.path, method, "/v1/secret")[0] == 404


@pytest.mark.parametrize("count", [1, 64, 65, 256, 257, 1000, 65536])
def test_however_many_groups_one_has(served: Served, count: int) -> None:
    """SO_PEERGROUPS says ERANGE where there is too little room, and Python's own getsockopt takes 256 groups."""
    others = tuple(range(100_000, 100_000 + count - 1))
    with connected(User(OTHER, OTHERS, (*others, VIEWERS)), served.path) as sock:
        assert parsed(said_to(sock, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 200
    assert asked(User(OTHER, OTHERS, (*others, OTHERS)), served.path, "GET", "/v1/status")[0] == 403


def test_who_is_there_is_who_connected(folder: Path) -> None:
    """Not who has the connection by now, nor what it has become."""
    path = folder / "who"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o666)
        listening.listen()
        with connected(User(OTHER, OTHERS, (5, 3)), path):
            accepted, _ = listening.accept()
            with accepted:
                peer = peer_of(accepted)
    assert (peer.uid, peer.gid, peer.groups, peer.gids) == (OTHER, OTHERS, frozenset((3, 5)), frozenset((3, 5, OTHERS)))
    assert peer.pid not in {0, os.getpid()}


def test_a_role_that_is_taken_away_is_gone_at_the_next_word(folder: Path) -> None:
    """Also on a connection from before, and for one who listens to events."""
    with Served(folder / "taken", None, ADMISSION) as served:
        viewer = USERS["viewer"][0]
        with connected(viewer, served.path) as idle, connected(viewer, served.path) as listens:
            idle.settimeout(20)
            listens.settimeout(20)
            idle.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(9999).startswith(b"HTTP/1.1 200")
            listens.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            heard = b""
            while b"\r\n\r\n" not in heard:
                heard += listens.recv(9999)
            served.publish("first")
            while b"first" not in heard:
                heard += listens.recv(9999)
            served.do(served.entrance.change, Admission(mode=0o666))
            served.publish("second")
            rest = rest_of(listens)
            assert b"second" not in rest
            assert rest.endswith(b"0\r\n\r\n"), "the stream is ended as it should be"
            assert parsed(said_to(idle, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 403


@pytest.mark.parametrize(
    ("admission", "lets_in"),
    [
        (Admission(), ()),
        (Admission(mode=0o660, group=VIEWERS), ("members",)),
        (Admission(mode=0o666), ("members", "others")),
        (Admission(mode=0o660), ()),
    ],
)
def test_the_file_s_mode_and_group_say_who_may_connect(
    folder: Path, admission: Admission, lets_in: tuple[str, ...]
) -> None:
    """Whatever gapless's umask is, which bind(2) heeds."""
    was = os.umask(0o077)
    try:
        with Served(folder / f"new-{admission.mode:o}-{admission.group}" / "s", None, admission) as served:
            for user in (User(OTHER, VIEWERS), User(OTHER, OTHERS, (VIEWERS,))):
                assert may_connect(user, served.path) is ("members" in lets_in)
            assert may_connect(User(OTHER, OTHERS), served.path) is ("others" in lets_in)
    finally:
        os.umask(was)


def test_mode_and_group_may_change_while_it_serves(folder: Path) -> None:
    with Served(folder / "changed", None, Admission(mode=0o660, group=VIEWERS)) as served:
        member, other = User(OTHER, OTHERS, (VIEWERS,)), User(OTHER, OTHERS, (OPERATORS,))
        assert (may_connect(member, served.path), may_connect(other, served.path)) == (True, False)
        served.entrance.change(Admission(mode=0o660, group=OPERATORS))
        assert (may_connect(member, served.path), may_connect(other, served.path)) == (False, True)
        served.entrance.change(Admission())
        assert (may_connect(member, served.path), may_connect(other, served.path)) == (False, False)
        assert served.path.stat().st_gid == os.getegid()


def test_what_cannot_be_changed_leaves_all_as_it_was(folder: Path) -> None:
    path = folder / "kept"
    with Served(path, None, ADMISSION) as served:
        path.unlink()
        target = folder / "precious"
        target.write_text("mine")
        target.chmod(0o600)
        os.link(target, path)
        served.entrance.change(Admission(mode=0o622))  # it is not our file any more
        assert target.stat().st_mode & 0o777 == 0o600
    with Served(folder / "gone", None, ADMISSION) as served:
        os.link(served.path, folder / "other-name")
        with pytest.raises(HostError, match="was replaced by somebody else"):
            served.entrance.change(Admission(mode=0o600))
        assert asked(USERS["viewer"][0], served.path, "GET", "/v1/status")[0] == 200


def test_who_may_do_less_makes_room_for_who_may_do_more(folder: Path) -> None:
    """Be it by connections that are at work, or by listening: nobody keeps an operator from an abort."""
    with Served(folder / "room", Limits(connections=4, listeners=2), ADMISSION) as served:
        viewer, operator = USERS["viewer"][0], USERS["operator"][0]
        listening = [connected(viewer, served.path) for _ in range(2)]
        idle = [connected(viewer, served.path) for _ in range(2)]
        for sock in (*listening, *idle):
            sock.settimeout(20)
        for sock in listening:
            sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(9999).startswith(b"HTTP/1.1 200")
        assert asked(User(OTHER, OTHERS), served.path, "GET", "/v1/status")[0] == 503, "no stranger moves a viewer"
        with connected(operator, served.path) as mine:
            mine.settimeout(20)
            mine.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert mine.recv(9999).startswith(b"HTTP/1.1 200")
        assert asked(operator, served.path, "POST", "/v1/abort")[0] == 202
        for sock in (*listening, *idle):
            sock.close()


def may_connect(user: User, path: Path) -> bool:
    try:
        connected(user, path).close()
    except PermissionError:
        return False
    return True


def test_the_answer_to_who_may_not_is_json(served: Served) -> None:
    with connected(USERS["viewer"][0], served.path) as sock:
        raw = said_to(sock, b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{{{")
    answer = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert answer["error"].startswith(f"POST /v1/stop takes the role admin, and uid {VIEWER} has the role viewer")


def test_a_group_that_one_is_not_in_is_told_with_what_would_do(folder: Path) -> None:
    """And nothing is tried where nothing is wanted: chown(2) may be denied altogether, as hardening.conf does."""
    place = folder / "ordinary"
    place.mkdir()
    os.chown(place, OTHER, OTHERS)
    script = (
        "import sys, pathlib; from supervisor.control.entrance import Entrance; from supervisor.core.access import *\n"
        "from supervisor.errors import HostError\n"
        "Entrance(pathlib.Path(sys.argv[1], 'fine'), Admission(mode=0o666)).open()\n"
        "try: Entrance(pathlib.Path(sys.argv[1], 's'), Admission(mode=0o660, group=62001)).open()\n"
        "except HostError as refused: print(refused)\n"
    )
    argv = command(User(OTHER, OTHERS), sys.executable, "-c", script, str(place))
    found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    if "No module named" in found.stderr or "can't open" in found.stderr:
        pytest.skip("another user may not read this checkout")
    assert f"gapless may not give it to group {VIEWERS}: be in that group, or say mode" in found.stdout, found.stderr
    assert (place / "fine").stat().st_mode & 0o777 == 0o666
