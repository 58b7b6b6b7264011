"""A file before it is started: each finding by a real file that is wrong in just that way, on this very host."""

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.value import replace
from supervisor.linux.host import Place
from supervisor.linux.identity import CAPABILITIES
from supervisor.releases.preflight import folders, linking
from supervisor.releases.preflight.finding import Finding, Level
from supervisor.releases.preflight.golang import BuildInfo
from supervisor.releases.preflight.host import disk, kernel, memory, processor
from supervisor.releases.preflight.image import File, image
from supervisor.releases.preflight.look import look
from supervisor.releases.preflight.surroundings import Surroundings, own
from tests.harness import builds
from tests.harness.builds import ROOT
from tests.releases.programs import TRUE, for_kernel, newest_glibc_wanted, program, with_text

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root: capabilities of files, mounts")


def findings(path: Path, level: Level | None = None, around: Surroundings | None = None) -> list[Finding]:
    return [each for each in look(str(path), around or own()) if level in (None, each.level)]


def blocking(path: Path, around: Surroundings | None = None) -> Finding:
    (found,) = findings(path, Level.BLOCKS, around)
    return found


def run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=30, env=os.environ | environment, cwd=ROOT
    )


# ---- programs that are well


@pytest.mark.parametrize("name", ["true", "sh", "git", "env", "bash", "python3"])
def test_what_runs_here_is_not_held_up(name: str) -> None:
    path = Path(shutil.which(name) or pytest.skip(f"there is no {name}"))
    assert findings(path, Level.BLOCKS) == []
    assert findings(path, Level.WARNS) == []


def test_a_static_program() -> None:
    assert [each.found for each in findings(builds.go_server("v1")) if each.check == "libraries"] == [
        "it is linked statically and needs none"
    ]


def test_the_same_libraries_as_the_loader_itself() -> None:
    """`ldd` has the loader do it; here it is done on paper."""
    names = ("bash", "curl", "gdb", "git", "ip", "nginx", "perl", "ps", "strace", "systemctl")
    search = f"{os.environ['PATH']}:/usr/sbin"
    found = [Path(there) for name in names if (there := shutil.which(name, path=search))]
    assert len(found) > 2
    for each in found:
        said = run("ldd", each.resolve()).stdout
        assert loaded(each) == {str(Path(word).resolve()) for word in said.split() if word.startswith("/")}


def loaded(path: Path, library_path: str = "") -> set[str]:
    with File(str(path.resolve())) as file:
        found = image(file.read)
        linked = linking.link(str(path.resolve()), found, linking.search_for(found, library_path, "/"))
    assert linked.missing == []
    return {str(Path(each.path).resolve()) for each in linked.loaded[1:]}


# ---- formats


def test_one_of_another_machine_says_what_it_is_all_the_same() -> None:
    worst, *others = findings(builds.foreign_go_program())
    assert (worst.level, worst.check) == (Level.BLOCKS, "format")
    assert "is built for" in worst.found
    assert any(each.check == "go" and "go1." in each.found for each in others)


def test_one_that_is_cut_short(tmp_path: Path) -> None:
    content = builds.go_server("v1").read_bytes()
    path = program(tmp_path / "server", content[: len(content) // 2])
    assert "is cut short" in blocking(path).found


def test_one_that_is_not_there(tmp_path: Path) -> None:
    assert blocking(tmp_path / "nothing").found.endswith("cannot be looked at: No such file or directory")


def test_one_that_is_not_executable(tmp_path: Path) -> None:
    path = program(tmp_path / "server", TRUE.read_bytes())
    path.chmod(0o644)
    assert str(blocking(path)) == f"{path} is not executable: chmod +x {path}"


# ---- the loader


def test_an_interpreter_that_is_missing(tmp_path: Path) -> None:
    content = TRUE.read_bytes()
    at = content.index(b"/lib")
    path = program(tmp_path / "server", content[:at] + content[at:].replace(b"/ld-", b"/xx-", 1))
    assert "which this host lacks" in blocking(path).found
    with pytest.raises(FileNotFoundError):
        run(path)


def test_a_library_that_is_missing(tmp_path: Path) -> None:
    path = program(tmp_path / "server", with_text(b"libc.so.6", b"libq.so.6"))
    assert blocking(path).found == "it needs libq.so.6, which is nowhere that the loader looks"
    assert "libq.so.6: cannot open shared object file" in run(path).stderr


def test_a_newer_glibc(tmp_path: Path) -> None:
    wanted = newest_glibc_wanted()
    newer = wanted.replace(b"_2.", b"_9.")
    path = program(tmp_path / "server", with_text(wanted, newer))
    found = blocking(path)
    assert found.check == "versions"
    assert found.found.startswith(f"it needs {newer.decode()}, and ")
    assert "libc.so.6 goes up to GLIBC_2." in found.found
    assert "build it on a system with glibc 2." in found.do
    assert f"version `{newer.decode()}' not found" in run(path).stderr


def test_a_newer_kernel(tmp_path: Path) -> None:
    assert blocking(program(tmp_path / "server", for_kernel(99))).found.startswith("it is built for Linux 99.")
    assert findings(program(tmp_path / "other", for_kernel(2)), Level.BLOCKS) == []


@pytest.mark.parametrize(
    ("oldest", "release", "refused"),
    [
        ((3, 2, 0), "6.1.0-13-amd64", False),
        ((6, 1, 0), "6.1.0", False),
        ((6, 10, 0), "6.9.12+", True),
        ((0, 0, 0), "5.14", False),
        ((5, 14, 1), "5.14", True),
    ],
)
def test_kernels_are_compared_by_number(oldest: tuple[int, int, int], release: str, *, refused: bool) -> None:
    assert bool(list(kernel(oldest, release))) is refused


Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def cc(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles C into a folder of the module's."""
    compiler, folder = builds.c_compiler(), tmp_path_factory.mktemp("c")
    main, library = folder / "main.c", folder / "library.c"
    main.write_text("extern int answer(void);\nint main(void) { return answer() - 42; }\n")
    library.write_text("int answer(void) { return 42; }\n")

    def compiled(name: str, *words: str | Path) -> Path:
        made = folder / name
        made.parent.mkdir(exist_ok=True)
        sources = [library] if ".so" in name else [main, *sorted(folder.glob("**/libanswer.so"))[:1]]
        shared = ["-shared", "-fPIC", "-Wl,-soname,libanswer.so"] if ".so" in name else []
        subprocess.run([compiler, *shared, "-o", made, *sources, *words], check=True, timeout=60)
        return made

    compiled("lib/libanswer.so")
    return compiled


@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"], ids=["RUNPATH", "RPATH"])
@pytest.mark.parametrize("origin", ["$ORIGIN/lib", "${ORIGIN}/../" + "{folder}/lib"])
def test_a_library_beside_the_program(cc: Compile, tags: str, origin: str) -> None:
    folder = cc("plain").parent
    path = cc(f"by{tags}", f"-Wl,{tags},-rpath,{origin.replace('{folder}', folder.name)}")
    assert run(path).returncode == 0
    assert findings(path, Level.BLOCKS) == []
    assert str(folder / "lib" / "libanswer.so") in loaded(path)


def test_a_library_that_only_the_environment_has(cc: Compile) -> None:
    path = cc("without")
    library = path.parent / "lib"
    assert run(path).returncode == 127
    assert blocking(path).found.startswith("it needs libanswer.so, which is nowhere")
    around = replace(own(), environment={"LD_LIBRARY_PATH": f"/nowhere:{library}"})
    assert run(path, LD_LIBRARY_PATH=str(library)).returncode == 0
    assert findings(path, Level.BLOCKS, around) == []


def test_a_library_of_a_library(cc: Compile) -> None:
    """DT_RUNPATH of the program counts for its own libraries alone, DT_RPATH for theirs as well."""
    folder = cc("plain").parent
    source, main = folder / "through.c", folder / "other.c"
    source.write_text("extern int answer(void);\nint other(void) { return answer(); }\n")
    main.write_text("extern int other(void);\nint main(void) { return other() - 42; }\n")
    through = folder / "lib" / "libthrough.so"
    words = ["-shared", "-fPIC", "-Wl,-soname,libthrough.so", "-o", through, source, folder / "lib" / "libanswer.so"]
    subprocess.run([builds.c_compiler(), *map(str, words)], check=True, timeout=60)
    for tags, status in (("--enable-new-dtags", 127), ("--disable-new-dtags", 0)):
        path = folder / f"through{tags}"
        words = ["-o", path, main, through, f"-Wl,{tags},--allow-shlib-undefined,-rpath,$ORIGIN/lib"]
        subprocess.run([builds.c_compiler(), *map(str, words)], check=True, timeout=60)
        assert run(path).returncode == status
        told = [each.found for each in findings(path, Level.BLOCKS)]
        missing = f"it needs libanswer.so (for {folder}/lib/libthrough.so), which is nowhere that the loader looks"
        assert told == ([missing] if status else [])


def test_a_library_for_another_machine_is_passed_over(cc: Compile, tmp_path: Path) -> None:
    path = cc("passing")
    library = path.parent / "lib" / "libanswer.so"
    content = bytearray(library.read_bytes())
    struct.pack_into("<H", content, 18, 8)  # e_machine: MIPS
    foreign = program(tmp_path / "libanswer.so", bytes(content))
    one = replace(own(), environment={"LD_LIBRARY_PATH": str(tmp_path)})
    assert f"passed over, as made for another machine: {foreign}" in blocking(path, one).found
    both = replace(own(), environment={"LD_LIBRARY_PATH": f"{tmp_path}:{library.parent}"})
    assert findings(path, Level.BLOCKS, both) == []


def test_the_cache_is_the_loader_s(tmp_path: Path) -> None:
    said = [line.strip().split(" => ") for line in run("/sbin/ldconfig", "-p").stdout.splitlines() if " => " in line]
    known: dict[str, tuple[str, ...]] = {}
    for name, path in ((left.partition(" (")[0], right) for left, right in said):
        known[name] = (*known.get(name, ()), path)
    assert folders.cached() == known
    assert folders.cached(tmp_path / "none") == {}
    (tmp_path / "noise").write_bytes(b"glibc-ld.so.cache1.1" + b"\xff" * 100)
    assert folders.cached(tmp_path / "noise") == {}


# ---- scripts


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("#!/bin/sh\r", "CR LF"),
        ("#!/no/such/interpreter", "which is not there"),
        ("#!/usr/bin/env no-such-program -x", "is a script for no-such-program, which is not in PATH"),
        ("#!/usr/bin/env -S A=1 no-such-program", "is a script for no-such-program, which is not in PATH"),
    ],
)
def test_a_script_that_nothing_can_run(tmp_path: Path, first: str, told: str) -> None:
    path = program(tmp_path / "server", f"{first}\necho\n".encode())
    assert told in blocking(path).found
    with suppress(OSError):  # that is the kernel's own no
        assert run(path).returncode != 0


def test_a_script_is_looked_at_by_what_runs_it(tmp_path: Path) -> None:
    broken = program(tmp_path / "interpreter", with_text(b"libc.so.6", b"libq.so.6"))
    path = program(tmp_path / "server", f"#!{broken}\n".encode())
    assert "it needs libq.so.6" in blocking(path).found
    outer = program(tmp_path / "outer", f"#!{path}\n".encode())
    assert "it needs libq.so.6" in blocking(outer).found


def test_scripts_that_run_each_other(tmp_path: Path) -> None:
    program(tmp_path / "b", f"#!{tmp_path}/a\n".encode())
    path = program(tmp_path / "a", f"#!{tmp_path}/b\n".encode())
    assert "too often" in blocking(path).found
    with pytest.raises(OSError, match="symbolic links"):
        run(path)


# ---- rights


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that everybody may come by, which no folder of pytest's is."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_user_who_may_not_come_by(open_folder: Path) -> None:
    inner = open_folder / "inner"
    path = program(inner / "server", TRUE.read_bytes())
    around = replace(own(), uid=65534, groups=(65534,))
    inner.chmod(0o700)
    assert blocking(path, around).found == f"user 65534, as whom it is to run, may not pass {inner}"
    assert blocking(path, around).do == f"chmod a+x {inner}, or give it to that user"
    inner.chmod(0o711)
    path.chmod(0o750)
    assert blocking(path, around).found.endswith(f"may not pass {path}")
    path.chmod(0o751)
    assert findings(path, Level.BLOCKS, around) == []
    path.chmod(0o750)
    assert findings(path, Level.BLOCKS, replace(around, groups=(path.stat().st_gid,))) == []


BIND = 1 << CAPABILITIES.index("net_bind_service")


def give(path: Path, *, effective: bool) -> None:
    """As setcap(8) would, which is not everywhere."""
    os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000000 | int(effective), BIND, 0, 0, 0))


def reported(path: Path, *prefix: str) -> list[dict[str, Any]]:
    """As the command has it, under those programs."""
    done = run(*prefix, sys.executable, "-m", "supervisor", "preflight", "--json", path)
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == int(any(each["level"] == "blocks" for each in found))
    return found


@as_root
def test_capabilities_of_the_file(tmp_path: Path) -> None:
    path = program(tmp_path / "server", TRUE.read_bytes())
    give(path, effective=True)
    (said,) = [each.found for each in findings(path) if each.check == "rights"]
    assert said.startswith("it has file capabilities (cap_net_bind_service): it gains them when it starts")
    (warned,) = findings(path, Level.WARNS, replace(own(), capabilities=("net_bind_service",)))
    assert warned.found.endswith("the kernel takes away what service.capabilities gives")
    (told,) = [each for each in reported(path, "setpriv", "--no-new-privs") if each["level"] == "warns"]
    assert told["found"].endswith("which count for nothing: gapless runs with no_new_privs")


@as_root
def test_capabilities_that_are_out_of_bounds(tmp_path: Path) -> None:
    """The kernel starts no file of which it cannot give what it is to give (EPERM)."""
    path = program(tmp_path / "server", TRUE.read_bytes())
    give(path, effective=True)
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    without = ["setpriv", "--bounding-set=-net_bind_service"]
    (blocked,) = [each for each in reported(path, *without) if each["level"] == "blocks"]
    assert blocked["found"].startswith("the kernel will not start it: it has file capabilities (cap_net_bind_service)")
    assert run(*without, "--reuid=65534", "--clear-groups", path).returncode != 0
    give(path, effective=False)
    assert [each for each in reported(path, *without) if each["level"] == "blocks"] == []
    assert run(*without, "--reuid=65534", "--clear-groups", path).returncode == 0


@as_root
@pytest.mark.parametrize(
    ("option", "level", "told"), [("noexec", "blocks", "noexec"), ("nosuid", "warns", "mounted nosuid")]
)
def test_what_a_mount_takes_away(tmp_path: Path, option: str, level: str, told: str) -> None:
    source = program(tmp_path / "server", TRUE.read_bytes())
    give(source, effective=True)
    place = tmp_path / "mounted"
    place.mkdir()
    script = f'mount --bind {tmp_path} {place} && mount -o remount,bind,{option} {place} && exec "$@"'
    inside = ["unshare", "--mount", "sh", "-ec", script, "sh"]
    found = [each for each in reported(place / "server", *inside) if each["level"] == level]
    assert len(found) == 1
    assert told in found[0]["found"]


def test_a_set_user_id_bit(tmp_path: Path) -> None:
    path = program(tmp_path / "server", TRUE.read_bytes())
    path.chmod(0o755 | stat.S_ISUID)
    assert [each.found[:20] for each in findings(path) if each.check == "rights"] == ["it has a set-ID bit:"]


# ---- room


def test_memory_for_two() -> None:
    (enough,) = memory(1 << 30, 100 << 20, 5 << 20)
    (short,) = memory(50 << 20, 100 << 20, 5 << 20)
    assert (enough.level, short.level) == (Level.SAYS, Level.WARNS)
    assert short.found.startswith("50 MB can be had, and the new generation may want 100 MB")
    assert list(memory(1 << 30, 0, 5 << 20)) == []
    assert list(memory(None, 100 << 20, 5 << 20)) == []
    assert [each.level for each in memory(1 << 20, 0, 5 << 20)] == [Level.WARNS]


def test_room_on_disks() -> None:
    there = Place(Path("/x/y"), Path("/x"), writable=True, kind="ext4", free=20 << 20, uid=0)
    assert list(disk({"state": there, "releases": there}, 1 << 20)) == []
    (short,) = disk({"state": there, "releases": there}, 50 << 20)
    assert short.found == "/x/y (releases) has 20 MB left, and two generations want 50 MB at the least"
    assert list(disk({"state": replace(there, free=None)}, 1)) == []


def test_a_processor_that_is_too_old() -> None:
    info = BuildInfo(go="go1.22", settings=(("GOAMD64", "v3"),))
    v2 = frozenset(("cx16", "lahf_lm", "popcnt", "ssse3", "sse4_1", "sse4_2"))
    (found,) = processor(info, v2)
    assert "this processor has no abm, avx, avx2, bmi1" in found.found
    assert list(processor(BuildInfo(go="go1.22", settings=(("GOAMD64", "v2"),)), v2)) == []
    assert list(processor(BuildInfo(go="go1.22"), v2)) == []
    assert list(processor(info, frozenset())) == []


# ---- the command


def test_the_report_for_people(tmp_path: Path) -> None:
    path = program(tmp_path / "server", with_text(b"libc.so.6", b"libq.so.6"))
    done = run(sys.executable, "-m", "supervisor", "preflight", path)
    assert done.returncode == 1
    first, second, *_, last = done.stdout.splitlines()
    assert first.startswith("blocks  libraries   it needs libq.so.6")
    assert second.strip().startswith("do: install the package")
    assert last == "it cannot run here as it is; 0 warnings"
    assert reported(TRUE)[0]["level"] == "says"


def test_the_report_for_a_service(cc: Compile, tmp_path: Path) -> None:
    path = cc("without")
    library = path.parent / "lib"
    config = tmp_path / "web.toml"
    config.write_text(
        f'[service]\nname = "web"\ncommand = ["{path}"]\n[service.environment]\nLD_LIBRARY_PATH = "{library}"\n'
        '[[listen]]\naddress = "127.0.0.1:0"\n'
    )
    done = run(sys.executable, "-m", "supervisor", "preflight", path, "--config", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing keeps it from running" in done.stdout


def test_a_large_program_in_little_time_and_memory(tmp_path: Path) -> None:
    """50 MB: what it has inside is not read. Of time, what it uses: a busy host makes anybody wait."""
    (tmp_path / "go.mod").write_text("module example.com/large\n\ngo 1.21\n")
    (tmp_path / "main.go").write_text(
        'package main\n\nimport _ "embed"\n\n//go:embed noise\nvar noise string\n\nfunc main() { println(noise) }\n'
    )
    (tmp_path / "noise").write_bytes(os.urandom(50 << 20))
    path = builds.go_program(tmp_path, "large")
    assert path.stat().st_size > 50 << 20
    figures = [measured(path) for _ in range(3)]
    assert min(seconds for seconds, _ in figures) < 0.5
    assert max(most for _, most in figures) < 64 << 20


_MEASURING = """
import os, subprocess, sys
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _, process.returncode, usage = os.wait4(process.pid, 0)
print(process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
"""In a process of its own: whoever begins another counts towards that one's memory, until the exec."""


def measured(path: Path) -> tuple[float, int]:
    """Seconds of a processor, and the most memory that it had resident, in bytes."""
    command = [sys.executable, "-m", "supervisor", "preflight", "--json", str(path)]
    status, seconds, most = run(sys.executable, "-c", _MEASURING, *command).stdout.split()
    assert status == "0"
    return float(seconds), int(most) * 1024
