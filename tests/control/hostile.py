"""Requests as no client should make them."""

from random import Random

GET = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
LISTEN = b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b'POST /v1/upgrade HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"wait":true}'


def hostile(random: Random) -> bytes:
    """One of them. None amounts to a request for anything but a look."""
    whole = random.choice([GET, LISTEN, WAIT.replace(b"upgrade", b"nothing")])
    at = random.randrange(len(whole))
    spoilt = (
        random.randbytes(random.randrange(1, 5000)),
        whole[:at],
        whole[:at] + random.randbytes(3) + whole[at:],
        whole[:at] + b"\r\n" + whole[at:],
        b"GET /" + b"a" * random.randrange(100_000) + b" HTTP/1.1\r\n",
        GET[:-2] + b"A: b\r\n" * random.randrange(5000) + b"\r\n",
        GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + random.randbytes(50),
    )
    return random.choice(spoilt)
