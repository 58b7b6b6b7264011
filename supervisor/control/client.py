"""The other end of the control socket, for the command line."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from supervisor.errors import OperatorError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("gapless")
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Client:
    """Calls one supervisor."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """One request and its answer. Raises UnreachableError, or OperatorError if it is turned down."""
        with self._connected() as connection:
            connection.request(method, path, json.dumps(body) if body else None)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status >= http.client.BAD_REQUEST:
            raise OperatorError(answer.get("error", f"{method} {path} was answered with {response.status}"))
        return answer

    @contextmanager
    def events(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What happens from now on, as it happens. Ends when the supervisor does."""
        with self._connected() as connection:
            connection.request("GET", "/v1/events")
            response = connection.getresponse()
            if response.status >= http.client.BAD_REQUEST:
                raise OperatorError(json.loads(response.read())["error"])
            yield (json.loads(line[6:]) for line in response if line.startswith(b"data: "))

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        connection = _UnixConnection(self._path)
        try:
            connection.connect()
        except FileNotFoundError:
            raise UnreachableError(
                f"no supervisor listens at {self._path}: is it running, and is that its socket?"
            ) from None
        except OSError as refused:
            raise UnreachableError(f"{self._path} cannot be reached: {refused.strerror}") from None
        try:
            yield connection
        except (OSError, http.client.HTTPException, ValueError) as broken:
            raise UnreachableError(f"the supervisor at {self._path} broke off: {broken}") from None
        finally:
            connection.close()
