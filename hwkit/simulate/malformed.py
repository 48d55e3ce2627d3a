"""The malformations that real firmwares show, made of a well-formed reply; see docs/asic.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BUFFER = 16383  # bytes: what hundreds of error codes overrun
ENORMOUS = 1655589633532138  # a counter that has wrapped, as recorded


def _rewrite(
    pattern: bytes, text: bytes | Callable[[re.Match[bytes]], bytes], count: int = 1
) -> Callable[[bytes], bytes]:
    return lambda reply: re.sub(pattern, text, reply, count=count, flags=re.DOTALL)


def _describe(form: bytes) -> Callable[[re.Match[bytes]], bytes]:
    return lambda found: b'"Description":"%b"' % (form % found[1])


def _second_document(reply: bytes) -> bytes:
    """Do as cgminer 4.11.1, asked nonsense after a joined command, whose flag is stale then."""
    document = reply.rstrip(b"\0")
    return document + b"\0" + document + b',"id":1}\0'


def _overflow(reply: bytes) -> bytes:
    codes = b"".join(b'"Error Code %d":%d,' % (n, 100 + n) for n in range(1000))
    return re.sub(rb'("SUMMARY":\[\{|"Msg":\{)', rb"\1" + codes, reply, count=1)[:BUFFER] + b"\0"


# Each takes a whole reply, its NUL included, and leaves one without the place for it as it is.
MALFORMATIONS: Mapping[str, Callable[[bytes], bytes]] = {
    # Not JSON, and to be repaired
    "missing-comma": _rewrite(rb"\},\{", b"}{"),  # Bitmain, between the objects of stats
    "nan": _rewrite(rb'"(MHS|GHS) av":[^,}]*', rb'"\1 av":nan'),  # Avalon, after the start
    "bad-escape": _rewrite(rb'"Description":"([^"]*)"', _describe(rb"\'%b\'")),  # M20S
    "raw-newline": _rewrite(rb'"Description":"([^"]*)"', _describe(b"%b\n")),  # STU-6
    "trailing-garbage": _rewrite(rb"\}\0", b'}"}\0'),  # S9k
    "trailing-comma": _rewrite(rb'(["0-9e])\}', rb"\1,}"),
    "leading-comma": _rewrite(rb"\[\{", b"[,{"),
    "joined-strings": _rewrite(rb'","', rb'""'),  # a comma is missing between two members
    "end-only": lambda _: b',"id":1}\0',  # Avalon
    "colon-list": _rewrite(
        rb'("SUMMARY":\[\{|"Msg":\{)', rb'\1"error_code":["218":"2024-06-15 10:30:00"],'
    ),  # Whatsminer 2.0.4
    # JSON, and yet not as it should be
    "text-numbers": _rewrite(rb'("[^"]*"):(-?[0-9.]+)', rb'\1:"\2"', count=0),  # Bitmain
    "wrapped": _rewrite(rb'"Accepted":[0-9]+', b'"Accepted":%d' % ENORMOUS, count=0),
    "power-minus-1": _rewrite(rb'"Power":[0-9.]+', b'"Power":-1'),  # Whatsminer
    # The frame
    "two-documents": _second_document,
    "overflow": _overflow,
    "no-nul": lambda reply: reply.rstrip(b"\0"),
    "truncated": lambda reply: reply[: len(reply) // 2],
    "empty": lambda _: b"",  # what is not in the list of those whom it answers gets this
}
