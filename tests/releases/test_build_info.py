"""What Go programs tell of how they were built: those that the toolchain makes, and any that could be."""

import platform
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.releases.preflight.golang import BuildInfo, build_info, judge
from supervisor.releases.preflight.image import File, MalformedError, image
from tests.harness import builds
from tests.releases import mutations
from tests.releases.programs import TRUE, go_file

SOURCE = "package main\n\nfunc main() { println(1) }\n"


def told(path: Path) -> BuildInfo:
    with File(str(path)) as file:
        found = build_info(image(file.read))
    assert found is not None
    return found


def told_of(content: bytes) -> BuildInfo | None:
    return build_info(image(lambda offset, length: content[offset : offset + length]))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module under git, all of it committed, with a dependency that is replaced by a folder."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "near").mkdir()
    (folder / "near" / "go.mod").write_text("module example.com/near\n\ngo 1.21\n")
    (folder / "near" / "near.go").write_text("package near\n\nfunc Say() { println(2) }\n")
    required = "require example.com/near v1.2.3\n\nreplace example.com/near => ./near\n"
    (folder / "go.mod").write_text(f"module example.com/small\n\ngo 1.21\n\n{required}")
    (folder / "main.go").write_text('package main\n\nimport "example.com/near"\n\nfunc main() { near.Say() }\n')
    (folder / ".gitignore").write_text("/v*\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", f"safe.directory={folder}"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True, timeout=60)
    return folder


VCS = {"GOFLAGS": "-mod=mod -buildvcs=true", "GIT_CONFIG_COUNT": "1"}


def with_vcs(folder: Path) -> dict[str, str]:
    """Git is to be asked, whoever the folder belongs to."""
    return {**VCS, "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(folder)}


def test_all_that_a_program_tells(module: Path) -> None:
    stripped = told(builds.go_program(module, "v1", "-ldflags", "-s -w", environment=with_vcs(module)))
    whole = told(builds.go_program(module, "v2", environment=with_vcs(module)))
    go = builds.go("version", cwd=module).split()[2]
    revision = subprocess.check_output(["git", "-C", module, "rev-parse", "HEAD"], text=True).strip()
    for found in (stripped, whole):
        assert (found.go, found.path) == (go, "example.com/small")
        assert found.main is not None
        assert found.main.path == "example.com/small"
        (near,) = found.dependencies
        assert str(near).startswith("example.com/near v1.2.3 => ./near")
        assert found.setting("vcs.revision") == revision
        assert found.setting("vcs.time").endswith("Z")
        assert found.setting("vcs.modified") == "false"
    (line,) = judge(whole)
    assert revision in line.found
    assert line.found.endswith("1 dependency, 1 of them replaced")


def test_a_tree_with_changes(module: Path) -> None:
    changed = module / "more.go"
    changed.write_text("package main\n")
    try:
        found = told(builds.go_program(module, "v3", environment=with_vcs(module)))
    finally:
        changed.unlink()
    assert found.setting("vcs.modified") == "true"
    assert [(each.level, each.do) for each in judge(found)][1:] == [("warns", "commit them, and build it again")]


def test_the_race_detector(tmp_path: Path) -> None:
    builds.c_compiler()
    (tmp_path / "go.mod").write_text("module example.com/race\n\ngo 1.21\n")
    (tmp_path / "main.go").write_text(SOURCE)
    found = told(builds.go_program(tmp_path, "race", "-race", environment={"CGO_ENABLED": "1"}))
    assert [(each.level, each.do) for each in judge(found)][1:] == [("warns", "build it without -race")]


def test_one_of_another_machine() -> None:
    found = told(builds.foreign_go_program())
    assert found.setting("GOARCH") != {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())


def test_what_is_no_go_program() -> None:
    with File(str(TRUE)) as file:
        assert build_info(image(file.read)) is None


TEXT = st.text(st.characters(exclude_characters='\t\n\r"`=', exclude_categories=["Cs"]), min_size=1, max_size=30)
MODULES = st.lists(st.tuples(TEXT, TEXT, st.none() | TEXT), max_size=5)


@given(
    version=TEXT,
    path=TEXT,
    modules=MODULES,
    settings_=st.lists(st.tuples(TEXT, TEXT), max_size=5),
    inline=st.booleans(),
    big=st.booleans(),
    bits=st.sampled_from([32, 64]),
    before=st.integers(0, 40),
)
def test_both_forms_on_every_machine(
    version: str,
    path: str,
    modules: list[tuple[str, str, str | None]],
    settings_: list[tuple[str, str]],
    inline: bool,  # noqa: FBT001 - of hypothesis
    big: bool,  # noqa: FBT001 - likewise
    bits: int,
    before: int,
) -> None:
    """Inline since Go 1.18; by addresses before, which no toolchain of today makes."""
    lines = [f"path\t{path}", f"mod\t{path}\t(devel)\t"]
    for name, number, other in modules:
        lines += [f"dep\t{name}\t{number}\th1:x", *([f"=>\t{other}\tv0\t"] if other else [])]
    lines += [f"build\t{key}={value}" for key, value in settings_]
    text = "".join(f"{line}\n" for line in lines).encode()
    found = told_of(go_file(version.encode(), text, inline=inline, big=big, bits=bits, before=before))
    assert found is not None
    assert (found.go, found.path) == (version, path)
    assert [(each.path, each.version) for each in found.dependencies] == [each[:2] for each in modules]
    replaced = [each.replaced_by.path if each.replaced_by else None for each in found.dependencies]
    assert replaced == [each[2] for each in modules]
    assert list(found.settings) == settings_


def test_a_value_in_quotes() -> None:
    lines = b'path\tx\nbuild\t-ldflags="-X main.a=b \\"c\\""\nbuild\t"a key"=1\n'
    found = told_of(go_file(b"go1.22", lines, inline=True))
    assert found is not None
    assert found.settings == (("-ldflags", '-X main.a=b "c"'), ("a key", "1"))


@pytest.mark.parametrize("name", ["-race", "-msan", "-asan", "-cover"])
def test_what_slows_a_program_down(name: str) -> None:
    found = told_of(go_file(b"go1.22", f"path\tx\nbuild\t{name}=true\n".encode(), inline=True))
    assert found is not None
    assert [str(each.level) for each in judge(found)] == ["says", "warns"]


def test_the_magic_where_it_does_not_count() -> None:
    """At no multiple of 16, or without room for what follows: Go does not take that either."""
    whole = go_file(b"go1.22", b"path\tx\n", inline=True, before=1)
    at = whole.index(b"\xff Go")
    assert told_of(whole[: at - 15] + whole[at:]) is None
    assert told_of(whole[: at + 20]) is None


def test_a_length_beyond_all_bounds() -> None:
    whole = go_file(b"go1.22", b"path\tx\n", inline=True)
    at = whole.index(b"\xff Go") + 32
    for varint in (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff" * 10, b"\xff\xff\xff\x7f"):
        assert told_of(whole[:at] + varint + whole[at:]) is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_programs(data: st.DataObject) -> None:
    """No crash, no hang, and no more read than there is. `scripts/soak mutations` tries 100,000."""
    content = mutations.mutated(data.draw(st.randoms(use_true_random=False)))
    mutations.survives(content)


def test_a_survivor_is_not_all_that_there_is() -> None:
    """The mutations do reach what they are for: many are damaged so that nothing is found, and many are not."""
    dice, found = random.Random(4), {"malformed": 0, "silent": 0, "told": 0}  # noqa: S311 - no secret
    for _ in range(600):
        content = mutations.mutated(dice)
        try:
            found["told" if told_of(content) else "silent"] += 1
        except MalformedError:
            found["malformed"] += 1
    assert min(found.values()) > 0, found
