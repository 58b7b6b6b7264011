"""Manifests: what was written is read, and whatever else is refused; names of versions; files of digests."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import OperatorError, ReleaseError
from supervisor.releases.layout import check_version
from supervisor.releases.manifest import Check, Item, Manifest, ManifestError, check_path, from_json, to_json
from supervisor.releases.sums import parse_sums

DIGESTS = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
PATHS = st.lists(st.text(alphabet="aé.b-", min_size=1, max_size=8), min_size=1, max_size=3).map("/".join)


def allowed(path: str) -> bool:
    try:
        check_path(path)
    except ReleaseError:
        return False
    return True


@st.composite
def items(draw: st.DrawFn) -> tuple[Item, ...]:
    made = []
    for path in sorted(draw(st.sets(PATHS.filter(allowed), max_size=6))):
        kind = draw(st.sampled_from(["file", "folder", "link"]))
        size, mode = draw(st.integers(0, 1 << 40)), draw(st.sampled_from([0o444, 0o555]))
        made.append(
            {
                "file": Item(path=path, mode=mode, size=size, sha256=draw(DIGESTS)),
                "folder": Item(path=path, kind="folder", mode=0o555),
                "link": Item(path=path, kind="link", mode=0, target="b"),
            }[kind]
        )
    return tuple(made)


MANIFESTS = st.builds(
    Manifest,
    version=st.text(max_size=5),
    items=items(),
    origin=st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
    origin_sha256=st.none() | DIGESTS,
    uid=st.integers(0, 1 << 32),
    user=st.text(alphabet=st.characters(codec="utf-8"), max_size=9),
    added=st.floats(0, 1e10),
    checks=st.lists(st.builds(Check, kind=st.sampled_from(["sha256", "signature"]), by=DIGESTS), max_size=2).map(tuple),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(manifest=MANIFESTS)
def test_what_was_written_is_read(manifest: Manifest) -> None:
    assert from_json(to_json(manifest)) == manifest


@settings(max_examples=60, deadline=None)
@given(manifest=MANIFESTS.filter(lambda each: bool(each.items)), value=ANYTHING, data=st.data())
def test_what_was_changed_is_refused(manifest: Manifest, value: Any, data: st.DataObject) -> None:  # noqa: ANN401 - JSON
    said = json.loads(to_json(manifest))
    where = data.draw(st.sampled_from(["digest", "items", "item"]))
    if where == "item":
        item = said["items"][0]
        key = data.draw(st.sampled_from(sorted(item)))
        before, item[key] = item[key], value
    else:
        before, said[where] = said[where], value
    if before == value and type(before) is type(value):
        return
    with pytest.raises(ManifestError):
        from_json(json.dumps(said).encode())


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=200) | ANYTHING.map(lambda each: json.dumps(each).encode()))
def test_whatever_else_is_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(ManifestError):
        from_json(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"{" * 10])
def test_one_that_is_nested_without_end(text: bytes) -> None:
    with pytest.raises(ManifestError):
        from_json(text)


@pytest.mark.parametrize("added", ["Infinity", "NaN", "1" * 400])
def test_a_time_that_is_none(added: str) -> None:
    made = Manifest(version="v1", items=(), origin="/o", origin_sha256=None, uid=0, user="u", added=7.5, checks=())
    with pytest.raises(ManifestError, match="damaged"):
        from_json(to_json(made).replace(b"7.5", added.encode()))


def test_one_that_names_a_file_twice() -> None:
    twice = Item(path="a", sha256="0" * 64)
    manifest = Manifest(
        version="v", items=(twice, twice), origin="/x", origin_sha256=None, uid=0, user="root", added=0.0
    )
    with pytest.raises(ManifestError, match="not once each"):
        from_json(to_json(manifest))


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=70) | st.text(alphabet="ab.-/ ~+_", max_size=70))
def test_a_version_is_called_what_a_folder_can_be_called(name: str) -> None:
    try:
        check_version(name)
    except OperatorError:
        return
    assert 0 < len(name.encode()) <= 64
    assert name not in {".", ".."}
    assert "/" not in name
    assert name.isprintable()
    assert name[0] not in ".-"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", "a" * 65, "a\n", "*", "v1\0"])
def test_what_no_version_may_be_called(name: str) -> None:
    with pytest.raises(OperatorError):
        check_version(name)


@pytest.mark.parametrize("name", ["v1", "1.2.3-rc1+build.5", "2026-11-28", "a" * 64, "x~1", "current"])
def test_what_one_may_be_called(name: str) -> None:
    assert check_version(name) == name


ONE, TWO = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{ONE}  server\n{TWO} *./etc/x\n", {"server": ONE, "etc/x": TWO}),
        (f"SHA256 (a b) = {ONE.upper()}\r\n", {"a b": ONE}),
        (f"# by hand\n\n{ONE}  server", {"server": ONE}),
        (f"{ONE}\n", {}),
    ],
)
def test_files_of_digests(text: str, named: dict[str, str]) -> None:
    found = parse_sums(text, "SUMS")
    assert found.named == named
    assert found.alone == (None if named else ONE)


@pytest.mark.parametrize("text", ["", "\n", "hello", f"{ONE}  a\n{TWO}  a\n", f"{ONE[:-1]}  a", f"{ONE}x  a"])
def test_what_is_no_file_of_digests(text: str) -> None:
    with pytest.raises(OperatorError):
        parse_sums(text, "SUMS")


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_one_or_is_refused(text: str) -> None:
    with suppress(OperatorError):
        parse_sums(text, "SUMS")
