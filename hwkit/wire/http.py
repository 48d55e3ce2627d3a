"""HTTP to one host: a JSON document for a path, whatever the peer tries (RFC 9110; aiohttp).

However slowly bytes drip, an answer is whole within DEADLINE_S or there is none; no redirect is
followed, nothing compressed is unpacked, no cookie kept, no proxy of the environment used.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ssl
import threading
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, ProtocolError
from hwkit.wire.fields import parse
from hwkit.wire.tcp import broken

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

    import aiohttp

DEADLINE_S = 4.5
_STARTING = threading.Lock()
LARGEST = 1 << 18  # bytes of an answer: the status of a device is a few thousand


class Refused(DeviceFault):
    """It wants other credentials."""


class Untrusted(DeviceFault):
    """It shows a certificate that nobody vouches for."""


class BadStatus(ProtocolError):
    """An answer that is no 200; `status` says which."""

    def __init__(self, message: str, status: int) -> None:
        """Keep the status."""
        super().__init__(message, b"")
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """A document, the midpoint between question and answer (monotonic ns), and how long it took."""

    document: Any
    at: int
    took_ns: int


class Host:
    """One host, asked one thing at a time; its connection is kept, and made again when lost."""

    def __init__(
        self,
        name: str,
        place: str,
        *,
        tls: bool = False,
        verified: bool = True,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Name it as errors shall; `place` is HOST or HOST:PORT. Costs no I/O."""
        self._deadline_s = deadline_s
        self._name = name
        self._base = f"{'https' if tls else 'http'}://{place}"
        self._verified = verified
        self._session: aiohttp.ClientSession | None = None
        self._login: dict[str, Any] = {}
        self._asking: set[Future[Answer]] = set()
        self.asked = self._base  # what was asked for last, without its secret
        self._closed = False

    def log_in(self, how: str, user: str, password: str) -> None:
        """Use these from the next question on; `how` is 'basic' (RFC 7617) or 'digest' (7616).

        Where it is 'header', `user` is the header's name and `password` what it says.
        """
        import aiohttp  # noqa: PLC0415 - optional, and slow to import

        if how == "header":
            self._login = {"headers": {user: password}}
        elif how == "basic":
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._login = {"headers": {"Authorization": f"Basic {pair}"}}
        else:
            self._login = {"middlewares": (aiohttp.DigestAuthMiddleware(user, password),)}

    def get(self, path: str, secret: str = "") -> Answer:
        """Return what is at a path; `secret` belongs to its query, and is in no message.

        Raises DeviceLost, DeviceTimeout, Refused, Untrusted, BadStatus, and ProtocolError.
        """
        self.asked = self._base + path
        body = self._wait(self._ask("GET", path, secret))
        return replace(body, document=parse(f"{self._name}: {path}", body.document))

    def send(self, method: str, path: str, document: object = None) -> bytes:
        """Send JSON, or nothing, by PATCH, POST or PUT; return what it answers. Raises as get does.

        A fault does not say that nothing was done.
        """
        answer: bytes = self.fetch(path, method, document).document
        return answer

    def fetch(self, path: str, method: str = "GET", document: object = None) -> Answer:
        """Return what it answers as bytes, whatever they are. Raises as get does."""
        return self._wait(self._ask(method, path, document=document))

    def _wait(self, asking: Coroutine[Any, Any, Answer]) -> Answer:
        if self._closed:
            asking.close()
            raise DeviceLost(f"{self._name}: closed")
        future = asyncio.run_coroutine_threadsafe(asking, _loop())
        self._asking.add(future)
        try:
            return future.result(self._deadline_s + 0.4)
        except TimeoutError as error:
            said = f"{self._name}: no answer within {self._deadline_s:g} s"
            raise DeviceTimeout(said) from error
        except CancelledError as error:
            raise DeviceLost(f"{self._name}: closed") from error
        finally:
            future.cancel()
            self._asking.discard(future)

    def close(self) -> None:
        """Let go for good; who waits for an answer gets DeviceLost."""
        self._closed = True
        for future in tuple(self._asking):
            future.cancel()
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), _loop()).result(DEADLINE_S)

    async def _ask(
        self, method: str, path: str, secret: str = "", document: object = None
    ) -> Answer:
        import aiohttp  # noqa: PLC0415 - optional
        from yarl import URL  # noqa: PLC0415 - comes with aiohttp

        if self._closed:  # since it was asked: no connection of ours may outlive close()
            raise DeviceLost(f"{self._name}: closed")
        try:
            async with asyncio.timeout(self._deadline_s):
                session = self._session = self._session or self._connect()
                url = URL(self._base + path + secret, encoded=True)
                asked = time.monotonic_ns()
                sent: dict[str, Any] = {} if document is None else {"json": document}
                async with session.request(
                    method, url, allow_redirects=False, **sent, **self._login
                ) as response:
                    self._judge(path, response)
                    body = await self._read(response)
                answered = time.monotonic_ns()
        except aiohttp.ClientConnectorCertificateError as error:
            raise Untrusted(f"{self._name}: {_why(error)}") from error
        except aiohttp.ClientResponseError as error:
            said = f"{self._name}: answered with what is no HTTP, or has endless headers"
            raise ProtocolError(said, error.message[:200].encode()) from None  # it has the secret
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise DeviceLost(f"{self._name}: {_why(error)}") from error
        except aiohttp.ClientError as error:  # a challenge that is none, a URL that is none
            said = f"{self._name}: {type(error).__name__} at {path}"
            raise ProtocolError(said, b"") from None
        took_ns = answered - asked
        return Answer(body, asked + took_ns // 2, took_ns)

    def _judge(self, path: str, response: aiohttp.ClientResponse) -> None:
        if response.status in {401, 403}:
            raise Refused(f"{self._name}: refuses these credentials (HTTP {response.status})")
        if 300 <= response.status < 400:
            said = f"{self._name}: sends elsewhere from {path}; that is not followed"
            raise BadStatus(said, response.status)
        if response.status != 200 and (response.method == "GET" or response.status != 204):
            raise BadStatus(f"{self._name}: HTTP {response.status} at {path}", response.status)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise ProtocolError(f"{self._name}: compressed its answer, unasked", b"")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while piece := await response.content.read(LARGEST):
            body += piece
            if len(body) > LARGEST:
                said = f"{self._name}: answers with more than {LARGEST} bytes"
                raise ProtocolError(said, bytes(body[:200]))
        return bytes(body)

    def _connect(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - optional

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, ssl=True if self._verified else _unverified()),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            read_bufsize=1 << 16,
        )

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def _loop() -> asyncio.AbstractEventLoop:
    """Return the one event loop of all hosts, whichever threads ask first."""
    with _STARTING:
        return _started()


@functools.cache
def _started() -> asyncio.AbstractEventLoop:
    """Return an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="http", daemon=True).start()
    return loop


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: Exception) -> str:
    """Say in a few words what became of a connection."""
    inner = error.__cause__ if error.__cause__ is not None else error
    return broken(inner) if isinstance(inner, OSError) else "broke the connection off"
