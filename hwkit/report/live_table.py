"""A table on stderr that is drawn anew while something goes on."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from rich.console import Console
from rich.live import Live as RichLive

if TYPE_CHECKING:
    from rich.console import RenderableType


class LiveTable(ABC):
    """A table that stands on stderr for a while; nothing where stderr is no terminal."""

    look_s: ClassVar[float] = 0.5  # at least, between two drawings

    def __init__(self) -> None:
        """Have nothing drawn yet."""
        self.began = time.monotonic()
        self._look_at = self.began
        self._live = (
            RichLive(console=Console(stderr=True, markup=False), auto_refresh=False, transient=True)
            if sys.stderr.isatty()
            else None
        )

    @abstractmethod
    def table(self) -> RenderableType:
        """Return what there is to see now."""

    def __enter__(self) -> Self:
        """Show the table."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away again."""
        if self._live:
            self._live.stop()

    def tick(self) -> None:
        """Draw it anew, where it is time."""
        if self._live and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self.look_s
            self._live.update(self.table(), refresh=True)
