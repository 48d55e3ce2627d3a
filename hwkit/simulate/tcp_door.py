"""A port of a simulated miner: whoever comes is talked to, until the miner closes it."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import suppress

QUEUE = 100  # connections that wait, as cgminer has it
log = logging.getLogger(__name__)


class TcpDoor(ABC):
    """A TCP server whose connections end with it."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._at_it: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; return the port, which 0 leaves to the system. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, backlog=QUEUE)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End, whoever is connected."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._at_it):
            task.cancel()
        await asyncio.gather(*self._at_it, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of a server runs in one
        self._at_it.add(task)
        try:
            await self._talk(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError) as error:
            log.debug("a client: %r", error)
        finally:
            self._at_it.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @abstractmethod
    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection. May raise OSError, EOFError and TimeoutError, which end it."""
