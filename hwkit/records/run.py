"""A run's rows on their way into the store."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hwkit.records import rows
from hwkit.records.record import Chunk, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hwkit.protocols import (
        Assigned,
        Audit,
        CreditedShare,
        Probe,
        Reading,
        Submission,
        Window,
    )
    from hwkit.records.store import Store


class StoredRun:
    """One run's rows on their way into the store; see protocols.RunSink.

    Rows gather in the last chunk of their kind, which is written anew at each commit until it is
    full: a long run leaves few large chunks, a killed one all but its last second.
    """

    def __init__(self, store: Store, document: dict[str, Any]) -> None:
        """Take the open document."""
        self.id = str(document["id"])
        self._store = store
        self._document = document
        self._full: dict[str, list[Chunk]] = {}
        self._written: dict[str, int] = {}  # how many of the full ones are in the store
        self._rows: dict[str, list[rows.Row]] = {}  # those after the full ones
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def window(self, window: Window) -> None:
        """Add a window."""
        self._add("windows", rows.from_window(window))

    def share(self, share: CreditedShare) -> None:
        """Add a credited share."""
        self._add("shares", rows.from_share(share))

    def assigned(self, assigned: Assigned) -> None:
        """Add a job that was sent."""
        self._add("assigned", rows.from_assigned(assigned))

    def submission(self, submission: Submission) -> None:
        """Add a share that was refused."""
        self._add("submissions", rows.from_submission(submission))

    def audit(self, audit: Audit) -> None:
        """Add an audit."""
        self._add("audits", rows.from_audit(audit))

    def reading(self, meter: str, reading: Reading) -> None:
        """Add a meter's reading."""
        self._add("readings", rows.from_reading(meter, reading))

    def probe(self, probe: Probe) -> None:
        """Add a probe."""
        self._add("probes", rows.from_probe(probe))

    def event(self, at: int, what: str) -> None:
        """Add an event."""
        self._add("events", (at, what))

    def commit(self) -> None:
        """Write what is new; where that fails, it is new still."""
        with self._lock:
            self._write(self._tails(self._changed), None)

    def seal(self, facts: dict[str, Any]) -> None:
        """Write what is new and close the document over all rows."""
        with self._lock:
            tails = self._tails(self._rows)
            chunks = {kind: list(full) for kind, full in self._full.items() if full}
            for kind, tail in tails.items():
                chunks.setdefault(kind, []).append(tail)
            self._write(tails, Record.sealed({**self._document, **facts}, chunks))

    def _add(self, kind: str, row: rows.Row) -> None:
        with self._lock:
            self._rows.setdefault(kind, []).append(row)
            self._changed.add(kind)

    def _tails(self, kinds: Iterable[str]) -> dict[str, Chunk]:
        """Make full chunks of the rows as far as they go; return those of the rows left over."""
        for kind in kinds:
            some, full = self._rows[kind], self._full.setdefault(kind, [])
            while len(some) >= rows.CHUNK_ROWS:
                full.append(Chunk.of(kind, some[: rows.CHUNK_ROWS]))
                del some[: rows.CHUNK_ROWS]
        return {kind: Chunk.of(kind, some) for kind in kinds if (some := self._rows[kind])}

    def _write(self, tails: dict[str, Chunk], seal: Record | None) -> None:
        """Write the full chunks and tails that the store has not."""
        pending = []
        for kind in sorted(self._changed):
            full, written = self._full[kind], self._written.get(kind, 0)
            pending += [(kind, n, full[n]) for n in range(written, len(full))]
            if kind in tails:
                pending.append((kind, len(full), tails[kind]))
        self._store.append(self.id, pending, seal)
        for kind, number, chunk in pending:  # a document vouches by digest: days would fill memory
            if number < len(self._full[kind]):
                self._full[kind][number] = replace(chunk, data=b"")
        self._written = {kind: len(full) for kind, full in self._full.items()}
        self._changed.clear()
