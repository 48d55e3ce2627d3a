"""MQTT 3.1.1: what is published under one topic, each message stamped as it arrives (paho-mqtt)."""

from __future__ import annotations

import errno
import queue
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, ProtocolError
from hwkit.wire.tcp import broken

if TYPE_CHECKING:
    from collections.abc import Callable

    import paho.mqtt.client as paho

DEADLINE_S = 4.5
LARGEST = 1 << 16  # bytes of a message: a plug's are a few hundred
WAITING = 256  # messages that nobody has read yet; then the oldest go
KEEPALIVE_S = 15


class Refused(DeviceFault):
    """The broker wants other credentials, or lets these not read the topic."""


@dataclass(frozen=True, slots=True)
class Message:
    """What was published, and when it came: monotonic ns."""

    payload: bytes
    at: int


class Subscription:
    """One topic of one broker. A retained message is of some other time: it is left out."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        topic: str,
        *,
        login: tuple[str, str | None] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Name it as errors shall. Costs no I/O."""
        self._name = name
        self._place = (host, port)
        self._topic = topic
        self._login = login
        self._tls = tls
        self._link: _Link | None = None
        self._lock = threading.Lock()
        self._closed = False

    def connect(self) -> None:
        """Be connected and subscribed.

        Raises DeviceLost, DeviceTimeout, Refused, and ProtocolError for what is no MQTT.
        """
        deadline = time.monotonic() + DEADLINE_S
        self._current(deadline).ready(deadline)

    def next(self, wait_s: float = 0.0) -> Message:
        """Return the next message, waiting DEADLINE_S for it or longer.

        Raises as connect does; the call after that connects again.
        """
        deadline = time.monotonic() + DEADLINE_S
        link = self._current(deadline)
        link.ready(deadline)
        return link.next(max(wait_s, DEADLINE_S))

    def close(self) -> None:
        """Let go for good; who waits for a message gets DeviceLost."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.end(DeviceLost(f"{self._name}: closed"))

    def _current(self, deadline: float) -> _Link:
        with self._lock:
            if self._closed:
                raise DeviceLost(f"{self._name}: closed")
            if self._link is not None and self._link.told:
                # One thread at a time, also where a peer holds one in its handshake.
                self._link.thread.join(max(deadline - time.monotonic(), 0))
                if self._link.thread.is_alive():
                    raise DeviceTimeout(f"{self._name}: no answer, and none before")
                self._link = None
            if self._link is None:
                self._link = _Link(self._name, self._place, self._topic, self._login, self._tls)
            return self._link


class _Link:
    """One connection, served by a thread of its own until it fails: then it has a fault."""

    def __init__(
        self,
        name: str,
        place: tuple[str, int],
        topic: str,
        login: tuple[str, str | None] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.fault: DeviceFault | None = None
        self.told = False  # has anyone been told of the fault?
        self._name = name
        self._place = place
        self._topic = topic
        self._news: queue.Queue[Message | None] = queue.Queue(WAITING)
        self._subscribed = threading.Event()  # or failed
        self._ending = threading.Lock()
        self._client = client = _client(self._too_large)
        client.connect_timeout = DEADLINE_S
        if login is not None:
            client.username_pw_set(*login)
        if tls is not None:
            client.tls_set_context(tls)
        client.on_connect = self._connected
        client.on_subscribe = self._answered
        client.on_message = self._came
        self.thread = threading.Thread(target=self._serve, name=f"{name} listener", daemon=True)
        self.thread.start()

    def ready(self, deadline: float) -> None:
        if not self._subscribed.wait(max(deadline - time.monotonic(), 0)):
            self.end(DeviceTimeout(f"{self._name}: no answer within {DEADLINE_S:g} s"))
        if self.fault is not None and self._news.qsize() <= 1:  # nothing but the end in it
            raise self._tell()

    def next(self, wait_s: float) -> Message:
        try:
            came = self._news.get(timeout=wait_s)
        except queue.Empty:
            said = f"{self._name}: nothing published for {wait_s:g} s; is that usual: ?interval="
            raise DeviceTimeout(said) from None
        if came is None:
            raise self._tell()
        return came

    def end(self, fault: DeviceFault) -> None:
        with self._ending:
            if self.fault is not None:
                return
            self.fault = fault
        self._put(None)
        self._subscribed.set()

    def _tell(self) -> DeviceFault:
        self.told = True
        assert self.fault is not None  # noqa: S101 - the end is put where there is one
        return self.fault

    def _too_large(self) -> None:
        self.end(ProtocolError(f"{self._name}: a message of more than {LARGEST} bytes", b""))

    def _put(self, message: Message | None) -> None:
        while True:
            try:
                self._news.put_nowait(message)
            except queue.Full:
                with suppress(queue.Empty):  # somebody has just read
                    self._news.get_nowait()
            else:
                return

    def _serve(self) -> None:
        client = self._client
        try:
            client.connect(*self._place, keepalive=KEEPALIVE_S)
            while self.fault is None:
                code = client.loop(0.25)
                if code != 0:
                    self.end(DeviceLost(f"{self._name}: the broker broke the connection off"))
                elif client._in_messages:  # noqa: SLF001 - kept until the broker lets them go
                    said = f"{self._name}: the broker sends with more than the QoS asked for"
                    self.end(ProtocolError(said, b""))
        except ssl.SSLCertVerificationError as error:
            self.end(Refused(f"{self._name}: {broken(error)}"))
        except OSError as error:
            self.end(DeviceLost(f"{self._name}: {broken(error)}"))
        except Exception as error:  # noqa: BLE001 - what a parser raises on what is no MQTT
            said = f"{self._name}: what answers is no MQTT broker ({type(error).__name__})"
            self.end(ProtocolError(said, str(error)[:200].encode()))
        finally:
            client.disconnect()
            client.loop(0)
            socket = client.socket()
            if socket is not None:
                socket.close()

    def _connected(self, client: paho.Client, _: Any, __: Any, code: Any, ___: Any) -> None:  # noqa: ANN401
        if code.is_failure:
            self.end(Refused(f"{self._name}: the broker refuses: {str(code).lower()}"))
        else:
            client.subscribe(self._topic)

    def _answered(self, _: Any, __: Any, ___: Any, codes: Any, ____: Any) -> None:  # noqa: ANN401
        if any(code.is_failure for code in codes):
            self.end(Refused(f"{self._name}: the broker refuses to tell of {self._topic}"))
        self._subscribed.set()

    def _came(self, _: Any, __: Any, message: paho.MQTTMessage) -> None:  # noqa: ANN401
        at = time.monotonic_ns()
        if not message.retain:
            self._put(Message(bytes(message.payload), at))


def _client(too_large: Callable[[], None]) -> paho.Client:
    """Return a client that takes no message over LARGEST: paho has no limit, MQTT's is 256 MiB."""
    import paho.mqtt.client as paho  # noqa: PLC0415 - optional
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415 - optional

    class Capped(paho.Client):
        def _sock_recv(self, bufsize: int) -> bytes:
            if bufsize > LARGEST:
                too_large()
                raise OSError(errno.EMSGSIZE, "message too long")
            return super()._sock_recv(bufsize)

    return Capped(CallbackAPIVersion.VERSION2)


def tls_context(*, verified: bool) -> ssl.SSLContext:
    """Return the system's trust, or with verified=False none at all."""
    context = ssl.create_default_context()
    context.sslsocket_class = _Closing
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _Closing(ssl.SSLSocket):
    """paho forgets a socket whose handshake fails."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - its signature
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise
