"""Exchange: one record, one line of JSON, with its rows; the same line twice changes nothing."""

from __future__ import annotations

import base64
import binascii
from operator import index
from typing import Any

from hwkit.errors import RecordError
from hwkit.records.record import Chunk, Record, canonical, parse
from hwkit.records.rows import COLUMNS, read_json

FORMAT = 1


def to_line(record: Record, *, with_identity: bool = False) -> str:
    """Return the record as a line; what could name a person only when asked for."""
    line: dict[str, Any] = {
        "hwkit_record": FORMAT,
        "document": record.text,
        "digest": record.digest,
        "chunks": {
            kind: [
                {
                    "rows": chunk.rows,
                    "sha256": chunk.digest,
                    "data": base64.b64encode(chunk.data).decode(),
                }
                for chunk in chunks
            ]
            for kind, chunks in record.chunks.items()
        },
    }
    if with_identity:
        line["identity"] = record.identity
    return canonical(line)


def from_line(text: str) -> Record:
    """Read a line. Raises RecordError for what is none, or of a newer format."""
    try:
        line = read_json(text)
        if line["hwkit_record"] != FORMAT:
            theirs = f"{line['hwkit_record']!r:.20}"
            raise RecordError(f"format {theirs}; this hwkit reads {FORMAT}: update hwkit")
        chunks = {
            kind: [
                Chunk(
                    index(chunk["rows"]),
                    base64.b64decode(chunk["data"], validate=True),
                    str(chunk["sha256"]),
                )
                for chunk in some
            ]
            for kind, some in line["chunks"].items()
        }
        identity = {str(k): str(v) for k, v in line.get("identity", {}).items()}
        record = Record(str(line["document"]), str(line["digest"]), chunks, identity)
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise RecordError(
            f"not an exported record: {type(error).__name__}: {error!s:.200}"
        ) from error
    if unknown := chunks.keys() - COLUMNS.keys():
        raise RecordError(f"rows of an unknown kind: {min(unknown)!r:.40}")
    parse(record.text)
    return record
