"""The other end of the control socket, for the command line."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from supervisor.errors import OperatorError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 15.0
"""Seconds for one answer. The supervisor never takes that long, unless it is stopped or has no processor."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__("gapless")
        self._path, self._patience = path, patience

    def connect(self) -> None:
        """Connect to the path instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience)
        self.sock.connect(str(self._path))


class Client:
    """Calls one supervisor."""

    def __init__(self, path: Path, patience: float = _PATIENCE) -> None:
        """`patience` is in seconds, for one answer."""
        self._path, self._patience = path, patience

    @property
    def answers(self) -> bool:
        """Whether anybody listens there."""
        try:
            with self._connected():
                return True
        except UnreachableError:
            return False

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever JSON can say
        """One request and its answer. Raises UnreachableError, or OperatorError if it is turned down."""
        with self._connected() as connection, self._speaking():
            connection.request(method, path, json.dumps(body) if body else None)
            return self._read(connection.getresponse())

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What happens from now on, as it happens. Ends when the supervisor does."""
        with self._connected() as connection:
            with self._speaking():
                connection.request("GET", "/v1/events")
                stream = connection.sock  # the connection lets go of it once the answer says `Connection: close`
                response = connection.getresponse()
                if response.status >= http.client.BAD_REQUEST:
                    self._read(response)
                stream.settimeout(None)
            yield self._heard(response)

    def _heard(self, response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
        while True:
            with self._speaking():
                line = response.readline()
            if not line:
                return
            if line.startswith(b"data: "):
                with self._speaking():
                    event = _object(line[6:])
                yield event

    def _read(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        answer = _object(response.read())
        if response.status < http.client.BAD_REQUEST:
            return answer
        sentence = str(answer.get("error", f"it answered with status {response.status}"))
        if response.status in {http.client.INTERNAL_SERVER_ERROR, http.client.SERVICE_UNAVAILABLE}:
            raise UnreachableError(f"the supervisor at {self._path} cannot answer: {sentence}")
        raise OperatorError(sentence)

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        connection = _UnixConnection(self._path, self._patience)
        try:
            connection.connect()
        except OSError as refused:
            connection.close()
            raise UnreachableError(self._unreachable(refused)) from None
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as broken:
            raise UnreachableError(
                f"the supervisor at {self._path} broke off: {_what(broken, self._patience)}"
            ) from None

    def _unreachable(self, refused: OSError) -> str:
        match refused.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return f"no supervisor listens at {self._path}: is it running, and is that its socket?"
            case errno.EACCES | errno.EPERM:
                who = f"uid {os.geteuid()}"
                return f"{self._path} may not be opened by {who}: see [control] mode and group, and the folder's mode"
            case errno.ECONNREFUSED if not self._path.is_socket():
                return f"{self._path} is not a socket: name the control socket of a supervisor"
            case errno.ECONNREFUSED:
                return f"nobody listens at {self._path}: a supervisor that is gone left it, start one"
            case _:
                return f"{self._path} cannot be reached: {refused.strerror or refused}"


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("its answer is no JSON object: is this gapless's socket?")  # noqa: TRY004 - a value from outside
    return found


def _what(broken: Exception, patience: float) -> str:
    """In words: some of http.client's exceptions have none, and some are all that was sent."""
    match broken:
        case TimeoutError():
            return f"no answer within {patience:g} s"
        case http.client.IncompleteRead() | http.client.RemoteDisconnected() | ConnectionError():
            return "it closed the connection in the middle of its answer"
        case http.client.HTTPException():
            return "its answer is not HTTP: is this gapless's socket?"
        case _:
            return str(broken)
