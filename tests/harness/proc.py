"""What /proc tells of a process."""

import os
import select
import signal
import time
from pathlib import Path


def status(pid: int) -> dict[str, str]:
    """proc_pid_status(5), key by key."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def environment(pid: int) -> dict[str, str]:
    """As the process was started with."""
    items = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in (item.partition(b"=") for item in items if item)}


def fds(pid: int) -> dict[int, str]:
    """What each of its fds is open on."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue
    return found


def state(pid: int) -> str:
    """R, S, Z, ...; empty if it is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(pid: int, timeout: float) -> bool:
    """Wait for the end of a process that need not be our child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(round(timeout * 1000)))
    finally:
        os.close(pidfd)


def bearing(name: str, value: str) -> list[int]:
    """Processes that were started with this in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and state(int(entry.name)) not in {"", "Z"}:
            try:
                if environment(int(entry.name)).get(name) == value:
                    found.append(int(entry.name))
            except (PermissionError, FileNotFoundError, ProcessLookupError):
                continue
    return found


def zombies(parent: int) -> list[int]:
    """Dead children that nobody has reaped."""
    return [pid for pid in children(parent) if state(pid) == "Z"]


def reaps_all(parent: int, timeout: float) -> bool:
    """Wait until it has no dead children. A pidfd hangs up when its process is reaped (Linux 6.9), or is looked at."""
    ends = time.monotonic() + timeout
    while dead := zombies(parent):
        if time.monotonic() > ends:
            return False
        try:
            pidfd = os.pidfd_open(dead[0])
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(pidfd, 0)
        poll.poll(10)
        os.close(pidfd)
    return True


def children(parent: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def switches(pid: int) -> int:
    """How often its threads have gone to sleep by themselves, which is how often they woke up."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(status(int(task.name))["voluntary_ctxt_switches"]) for task in tasks)


def pss(pid: int) -> int:
    """Bytes of memory, those that it shares divided by those who share them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def stop(pid: int) -> None:
    """Stop a process: when this returns, none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while not all(_state(task / "stat") in {"T", "t"} for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        os.sched_yield()


def _state(path: Path) -> str:
    return path.read_text().rpartition(")")[2].split()[0]
