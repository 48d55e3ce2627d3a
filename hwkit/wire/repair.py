"""JSON as miners write it: strict first (RFC 8259), then repairs where nothing valid can follow.

A valid document is never touched. What is repaired is named; what could only be guessed is refused.
One pass without backtracking or recursion: the time is linear in the size.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from hwkit.errors import ProtocolError

DEEPEST = 64  # containers in one another: 9 is the most that a miner was seen to send
MOST = 4096  # repairs: overflowing lists of error codes take some hundred
SHOWN = 60  # characters of an answer that an error quotes

MISSING_COMMA = "missing comma"  # }{ and "a":"b""c":"d"
LEADING_COMMA = "leading comma"  # [,{ and ,,
TRAILING_COMMA = "trailing comma"  # ,}
BARE_NAN = "bare nan"  # or inf: there is no number, so None
BAD_ESCAPE = "bad escape"  # \' is ' as in JavaScript
UNESCAPED_QUOTE = "unescaped quote"  # in a string: what follows it cannot follow a string
RAW_NEWLINE = "raw newline"  # or another control character in a string; it stays
LIST_WITH_COLONS = (
    "list with colons"  # ["a":1,"b":2] is [{"a":1},{"b":2}], as other versions say it
)
MISSING_BRACE = "missing opening brace"  # ,"id":1}
TRAILING_GARBAGE = "trailing garbage"  # {...}"}
SECOND_DOCUMENT = "second document"  # {...}{...}: the first answers what was asked
CUT_OFF = "cut off"  # by the miner's own buffer, and yet ended with a NUL: what came whole is kept
NOT_UTF_8 = "not UTF-8"  # read as Latin-1, which loses nothing

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
    (?P<string>"(?:[^"\\]++|\\.|"(?=[^][{},:"\s]))*+")
  | (?P<mark>[][{},:])
  | (?P<number>-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+(?![\w.+-]))
  | (?P<word>[+-]?+[A-Za-z]++(?![\w.+-]))
  )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_UNFINISHED = re.compile(r'[ \t\r\n]*+(?:"|[\w.+-]*+\Z)', re.ASCII)  # what _TOKEN did not match
_ODD = re.compile(r'(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\(.)|"', re.DOTALL)
_CLOSES = {"{": "}", "[": "]"}
_WORDS = {"true": True, "false": False, "null": None}
_STRICT = json.JSONDecoder(parse_constant=int)  # Python takes NaN for JSON; int refuses it
_LENIENT = json.JSONDecoder(strict=False)
_NO_NUMBER = {"nan", "inf", "infinity"}


class Truncated(ProtocolError):
    """An answer without its end; asked again it may come whole."""


def loads(raw: bytes, peer: str = "answer") -> tuple[Any, tuple[str, ...]]:
    """Return the document up to the first NUL, and the names of what had to be repaired.

    Raises Truncated for one that ends too early without a NUL, ProtocolError for what cannot be
    repaired; both with the bytes.
    """
    repairs: Counter[str] = Counter()
    text, nul = opened(raw, repairs)
    try:
        document = _STRICT.decode(text)
    except (ValueError, RecursionError):
        document = _Reader(text, repairs).document(raw, peer, cut=nul)
    return document, named(repairs)


def opened(raw: bytes, repairs: Counter[str]) -> tuple[str, bool]:
    """Return the text up to the first NUL, and whether there was one."""
    said, nul, rest = raw.partition(b"\0")
    _note_rest(rest.decode("latin-1").strip("\0\t\r\n "), repairs)
    try:
        return said.decode(), bool(nul)
    except UnicodeDecodeError:
        repairs[NOT_UTF_8] += 1
        return said.decode("latin-1"), bool(nul)


def named(repairs: Counter[str]) -> tuple[str, ...]:
    """Return each name once, with how often where that was more."""
    return tuple(f"{name} ({n} places)" if n > 1 else name for name, n in repairs.items())


class _Nonsense(ValueError):
    """No repair helps."""


class _Reader:
    """Reads tokens, and knows at each which repair makes it fit where it does not."""

    def __init__(self, text: str, repairs: Counter[str]) -> None:
        self._text = text
        self._repairs = repairs
        self._at = 0
        self._root: Any = None

    def document(self, raw: bytes, peer: str, *, cut: bool) -> Any:  # noqa: ANN401 - any JSON
        try:
            self._read()
        except EOFError as error:
            if not cut:
                said = f"{peer}: cut off after {len(raw)} bytes: ask again"
                raise Truncated(said, raw) from error
            if not self._root:
                raise self._refusal(raw, peer) from error
            self._note(CUT_OFF)
        except ValueError as error:  # json's own are of an integer with thousands of digits
            raise self._refusal(raw, peer) from error
        else:
            _note_rest(self._text[self._at :].strip(), self._repairs)
        return self._root

    def _refusal(self, raw: bytes, peer: str) -> ProtocolError:
        here = self._text[self._at : self._at + SHOWN]
        return ProtocolError(f"{peer}: no JSON from character {self._at} on: {here!r}", raw)

    def _note(self, name: str, *, when: bool = True) -> None:
        if when:
            self._repairs[name] += 1
            if self._repairs[name] > MOST:
                raise _Nonsense

    def _read(self) -> None:
        mark, self._root = self._next()
        if mark == ",":
            self._note(MISSING_BRACE)
            mark, self._root = "{", {}
        if mark not in _CLOSES:
            raise _Nonsense
        inside = [(self._root, _CLOSES[mark])]
        before = mark  # what stands before the next member: a comma, an opening, "" another member
        while inside:
            container, close = inside[-1]
            mark, value = self._next()
            if mark == close:
                self._note(TRAILING_COMMA, when=before == ",")
                inside.pop()
                before = ""
            elif mark == ",":
                self._note(LEADING_COMMA, when=before != "")
                before = before or ","
            else:
                before, value = self._member(container, mark, value, first=before != "")
                if before:
                    inside.append((value, _CLOSES[before]))
                if len(inside) > DEEPEST:
                    raise _Nonsense

    def _member(self, container: Any, mark: str, value: Any, *, first: bool) -> tuple[str, Any]:  # noqa: ANN401
        """Put what begins with this token into its container; return its value, as _next does."""
        listed = isinstance(container, list)
        pair = listed and mark == ":" and not first and isinstance(container[-1], str)
        if pair:
            self._note(LIST_WITH_COLONS)
            key = container.pop()
            mark, value = self._next()
        else:
            self._note(MISSING_COMMA, when=not first)
        if not listed:
            key = value
            if not isinstance(key, str) or self._next()[0] != ":":
                raise _Nonsense
            mark, value = self._next()
        if mark and mark not in _CLOSES:
            raise _Nonsense
        if listed:
            container.append({key: value} if pair else value)
        else:
            container[key] = value
        return mark, value

    def _next(self) -> tuple[str, Any]:
        """Return a mark, and for an opening one the container; or "" and a value.

        Raises EOFError where the text ends, or may have ended within a token.
        """
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            if _UNFINISHED.match(self._text, self._at):
                raise EOFError
            raise _Nonsense
        kind, text = str(token.lastgroup), token[token.lastgroup or 0]
        if kind == "mark":
            value = {"{": dict, "[": list}.get(text, lambda: None)()
        elif kind == "string":
            value, text = self._string(text), ""
        elif token.end() == len(self._text):
            raise EOFError  # 12 may have been 1234
        else:
            value, text = self._scalar(kind, text), ""
        self._at = token.end()
        return text, value

    def _scalar(self, kind: str, text: str) -> float | None:
        if kind == "number":
            return float(text) if text.strip("-0123456789") else int(text)
        if text in _WORDS:
            return _WORDS[text]
        if text.lstrip("+-").lower() not in _NO_NUMBER:
            raise _Nonsense
        self._note(BARE_NAN)
        return None

    def _string(self, text: str) -> str:
        try:
            return str(_STRICT.decode(text))
        except ValueError:
            mended = f'"{_ODD.sub(self._plain, text[1:-1])}"'
        try:
            return str(_STRICT.decode(mended))
        except ValueError:
            self._note(RAW_NEWLINE)
            return str(_LENIENT.decode(mended))

    def _plain(self, found: re.Match[str]) -> str:
        """Return how a string must write what it wrote, which is no escape but looks like one."""
        if found[1]:
            return found[1]
        self._note(BAD_ESCAPE if found[2] else UNESCAPED_QUOTE)
        return found[2] or '\\"'


def _note_rest(rest: str, repairs: Counter[str]) -> None:
    if rest:
        document = rest[0] in _CLOSES or rest.startswith(("STATUS=", "CMD="))
        repairs[SECOND_DOCUMENT if document else TRAILING_GARBAGE] += 1
