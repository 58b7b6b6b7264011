"""A signal is heeded once, whatever else comes at that very moment."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import cast

import uvloop

from supervisor.daemon_audit import Accounts
from supervisor.daemon_signals import Signals
from supervisor.engine.loop import Engine

ROUNDS = 500
DEADLINE = 60.0
HEEDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2, signal.SIGCHLD)

NOISE = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.00005, 0.00005)
while signal.sigwait([signal.SIGALRM]):
    os.kill(int(sys.argv[1]), signal.SIGCHLD)
"""
"""A SIGCHLD at each tick of a timer of the kernel's, which knows nothing of what goes on here."""

SENDER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.0013, 0.0013)
for _ in range(int(sys.argv[2])):
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.sigwait([signal.SIGALRM])
        os.kill(int(sys.argv[1]), number)
        while (said := os.read(0, 100)) and number.name.encode() not in said:
            pass
"""
"""Each signal when the one before was heeded, so that none is lost in another; and at any moment of the loop's."""


class Heard:
    """Stands for the engine and the accounts: which signals have come to them, in order."""

    def __init__(self, tells: int) -> None:
        self.names: list[str] = []
        self._tells = tells

    def signal(self, name: str, at: float) -> None:
        assert at <= time.time()
        self.names.append(name)
        os.write(self._tells, name.encode())

    def post(self, event: object) -> None:
        """What becomes of it is not looked at here."""

    def now(self) -> float:
        return 0.0


async def never() -> None:
    raise AssertionError("nobody asks for that")


def test_a_signal_is_heeded_once_while_others_come() -> None:
    loop = uvloop.new_event_loop()  # whose own way does some of them twice
    before = {number: signal.getsignal(number) for number in HEEDED}
    told, tells = os.pipe()
    heard = Heard(tells)
    sender: subprocess.Popen[bytes] | None = None

    def ends_with_its_sender() -> None:
        if sender is not None and sender.poll() is not None:
            loop.stop()

    with ExitStack() as stack:
        stack.callback(os.close, told)
        stack.callback(os.close, tells)
        for number, handler in before.items():
            stack.callback(signal.signal, number, handler)
        stack.callback(loop.close)
        Signals(cast("Engine", heard), cast("Accounts", heard), never, ends_with_its_sender).handle(loop)
        for script, reads in ((NOISE, subprocess.DEVNULL), (SENDER, told)):
            command = [sys.executable, "-S", "-c", script, str(os.getpid()), str(ROUNDS)]
            sender = subprocess.Popen(command, stdin=reads)
            stack.callback(sender.wait)
            stack.callback(sender.kill)
        loop.call_later(DEADLINE, loop.stop)
        loop.run_forever()
    assert heard.names == ["SIGHUP", "SIGQUIT"] * ROUNDS
