"""A signal is heeded once, whatever else comes at that very moment."""

import os
import select
import signal
import sys
import threading

import uvloop

from supervisor.daemon_signals import heed

ROUNDS = 300
AT_REST = 0.005
"""Seconds in which a second call would have come."""

NOISE = """
import os, signal, sys, time
while True:
    try:
        os.kill(int(sys.argv[1]), signal.SIGCHLD)
    except ProcessLookupError:
        break
    time.sleep(0.00005)
"""


def test_a_signal_is_heeded_once_while_others_come() -> None:
    counts: list[int] = []
    told, tell = os.pipe()
    loop = uvloop.new_event_loop()  # whose own way does some of them twice

    def rounds(pid: int) -> None:
        for _ in range(ROUNDS):
            os.kill(pid, signal.SIGUSR1)
            said = b""
            while select.select([told], [], [], AT_REST if said else 10)[0]:
                said += os.read(told, 100)
            counts.append(len(said))
        loop.call_soon_threadsafe(loop.stop)

    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGCHLD)}
    noise = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", NOISE, str(os.getpid())], os.environ)
    try:
        heed(loop, signal.SIGUSR1, os.write, tell, b"x")
        heed(loop, signal.SIGCHLD, lambda: None)
        loop.call_soon(threading.Thread(target=rounds, args=(os.getpid(),)).start)
        loop.run_forever()
    finally:
        os.kill(noise, signal.SIGKILL)
        os.waitpid(noise, 0)
        loop.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert counts == [1] * ROUNDS
