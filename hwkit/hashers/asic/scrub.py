"""A capture that may be shown to anybody: what names a person or a place, replaced in the bytes.

The same thing becomes the same other thing everywhere, malformed answers stay malformed in the same
way, and what is read from it is the same but for those names. What is neither known to be harmless
nor was replaced is told, for its owner to look at: no list of names is ever whole.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hwkit.hashers.asic import scrub_kinds as kinds
from hwkit.hashers.asic.scrub_patterns import PATTERNS, WHOLE_DOMAIN, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Change = Callable[[str, str | None, str], str]  # of a name, its kind and a value: the new value

SHORT = 6  # shorter ones could be anything else, elsewhere
DEEPEST = 8  # JSON in a string of JSON in a string ...
_IS_TEXT = re.compile(r'[^{\["]*?\b(?:STATUS|CMD)=')
_FIELD = re.compile(
    r"(?<![^,|])([^=,|]{1,60})=((?:[^,|\\]|\\.|,(?![^=,|]*=))*+)", re.DOTALL
)  # a comma that lacks its backslash belongs to the value
_TOKEN = re.compile(
    r"""(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)
    |(?P<string>"(?:[^"\\]|\\.|"(?=[^][{},:"\s]))*+(?:"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z))
    |(?P<bare>[^\s\0\ufeff\[\]{}:,"']++)""",
    re.VERBOSE | re.DOTALL,
)
_IN_STRING = re.compile(r"""\\["\\/bfnrtu]|(\\.|"|[\0-\x1f])""", re.DOTALL)
_MAY_ADDRESS = re.compile(r"[.:-]|\w{26}")  # a name of a member that is an address itself
_COLON = re.compile(r"\s*+:")
_SCALAR = re.compile(r"[-+]?(?:[\d.][\d.eE+-]*|nan|inf|infinity)|true|false|null", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d{6,}")
_BRACKETS = re.compile(r"\b(\w++)\[([^][]*+)\]")
_PAIR = re.compile(r"(?<![\w-])([\w-]++)(\s*[=:]\s*)([^\s,;&\"'|\\\])}]++)")
_WORD = re.compile(r"[\w.-]++")
_AFTER = re.compile(  # a word that names something: what it may name
    r"""(["'\\]*+\s*+[:=]?+\s*+)(?:(\\*+["'])((?:(?!\2)[^\\]|\\.)*+)|((?:[^][{}"'\\,|\r\n]|\\.)++))""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Left:
    """What stayed as it was, and may name somebody."""

    answer: str
    name: str  # that it stands under
    value: str


class Scrubber:
    """Replaces over all answers of one capture alike."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[tuple[str, str], str] = {}
        self._given: set[str] = set()
        self._long: list[tuple[str, str]] = []
        self._count: Counter[str] = Counter()
        self.left: list[Left] = []  # of the last scrub

    def scrub(self, answers: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the answers, all that names somebody replaced; `left` is what may do so yet."""
        texts = {name: raw.decode("utf-8", "surrogateescape") for name, raw in answers.items()}
        texts = {name: self._changed(said, self._named) for name, said in texts.items()}
        self._long = sorted(  # a host may be called as its model is, a password may be any word
            (
                (own, other)
                for (kind, own), other in self._known.items()
                if len(own) >= SHORT and kind not in {"address", "host", kinds.SECRET}
            ),
            key=lambda each: -len(each[0]),
        )
        texts = {name: self._changed(said, self._anywhere) for name, said in texts.items()}
        self.left = []
        for name, said in texts.items():
            self._look_through(name, said)
        return {name: said.encode("utf-8", "surrogateescape") for name, said in texts.items()}

    def _changed(self, said: str, change: Change, depth: int = 0) -> str:
        """Return a document, each value that stands under a name as `change` has it."""
        if _IS_TEXT.match(said):

            def field(found: re.Match[str]) -> str:
                value = self._value(change, found[1], kinds.kind(found[1]), found[2], depth)
                return f"{found[1]}={value}"

            return _FIELD.sub(field, said)
        done, is_whole = _Members(
            lambda name, kind, value: self._value(change, name, kind, value, depth)
        ).read(said)
        return done if is_whole else self._torn(done, change)

    def _value(self, change: Change, name: str, kind: str | None, raw: str, depth: int) -> str:
        """Return what is to stand for the inside of a string, which JSON may have escaped."""
        own = raw
        if "\\" in raw:
            try:
                own = str(json.loads(f'"{raw}"', strict=False))
            except ValueError:
                own = raw
        other = change(name, kind, own)
        if kind is None and depth < DEEPEST:
            other = _BRACKETS.sub(
                lambda found: f"{found[1]}[{change(found[1], kinds.kind(found[1]), found[2])}]",
                other,
            )
            if '"' in other or re.match(r"\s*[{\[]\s*'", other):
                other = self._changed(other, change, depth + 1)
        if other == own:
            return raw
        if own == raw:
            return other
        try:
            escaped = json.dumps(other, ensure_ascii=False)[1:-1]
            escaped.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a pair, which only an escape can say
            escaped = json.dumps(other)[1:-1]
        return escaped.replace("/", r"\/") if r"\/" in raw else escaped

    def _torn(self, said: str, change: Change) -> str:
        """Replace what follows a word that names something: here nothing tells where it belongs."""
        done: list[str] = []
        at = 0
        for word in _WORD.finditer(said):
            kind = kinds.kind(word[0])
            after = _AFTER.match(said, word.end()) if kind and word.start() >= at else None
            if kind is None or after is None:
                continue
            own = after[4] if after[3] is None else after[3]
            if _SCALAR.fullmatch(own.strip()) and kind != kinds.SECRET:
                continue
            begin = after.start(4 if after[3] is None else 3)
            done += [said[at:begin], change(word[0], kind, own)]
            at = begin + len(own)
        whole = "".join([*done, said[at:]])
        # What a colon cut in two; addresses with dots were seen, those of versions left.
        return change("version", None, whole) if change == self._anywhere else whole

    def _named(self, _: str, kind: str | None, own: str) -> str:
        """Replace what stands under a name that tells what it is."""
        if kind is not None:
            return self._other(kind, own)

        def pair(found: re.Match[str]) -> str:
            kind = kinds.kind(found[1])
            told = kind in {kinds.SECRET, "user", "serial"}
            return f"{found[1]}{found[2]}{self._other(str(kind), found[3])}" if told else found[0]

        return _PAIR.sub(pair, own)

    def _anywhere(self, name: str, kind: str | None, own: str) -> str:
        """Replace what is known by now, and what looks like nothing else."""
        if kind is not None:
            return own
        for before, other in self._long:
            own = own.replace(before, other)
        for known, pattern, is_one in PATTERNS:
            own = self._like(known, pattern, partial(is_one, name), own)
        if WHOLE_DOMAIN.fullmatch(own) and not kinds.is_plain(name):
            return self._other("url", own)
        if kinds.is_words(name):
            return in_words(own, lambda domain: self._other("url", domain))
        return own

    def _like(
        self, kind: str, pattern: re.Pattern[str], is_one: Callable[[str], bool], own: str
    ) -> str:
        def swap(found: re.Match[str]) -> str:
            return self._other(kind, found[0]) if is_one(found[0]) else found[0]

        return pattern.sub(swap, own)

    def _other(self, kind: str, own: str) -> str:
        """Return what stands for it: always the same."""
        if own in self._given or (kind != kinds.SECRET and kinds.NOBODY.fullmatch(own)):
            return own
        if not own or (kind == kinds.SECRET and _SCALAR.fullmatch(own) and own == "0"):
            return own
        if (kind, own) not in self._known:
            self._count[kind] += 1
            other = kinds.other(kind, own, self._count[kind])
            self._know(kind, own, other)
            if kind == "url" and (bare := kinds.bare(own)) != own:
                self._know(kind, bare, kinds.bare(other))
        return self._known[kind, own]

    def _know(self, kind: str, own: str, other: str) -> None:
        self._known.setdefault((kind, own), other)
        self._given.add(other)

    def _look_through(self, answer: str, said: str) -> None:
        """Note each string that is neither harmless by its name or looks, nor one of ours."""
        seen: set[tuple[str, str]] = set()

        def look(name: str, kind: str | None, own: str) -> str:
            bare = own.strip()
            if (
                kind is None
                and (name or not seen)  # pieces of a sentence that is told already
                and not kinds.is_plain(name)
                and not kinds.HARMLESS.fullmatch(bare)
                and bare not in self._given
                and (name, bare) not in seen
            ):
                seen.add((name, bare))
                self.left.append(Left(answer, name, bare))
            return own

        self._changed(said, look)
        if not _IS_TEXT.match(said) and not _Members(lambda _, __, own: own).read(said)[1]:
            self.left.append(Left(answer, "", "malformed: look through all of it"))


class _Members:
    """Reads JSON, however malformed, and gives what stands in each string to be changed."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._inside: list[tuple[str, str | None, bool]] = []  # name, kind, is it an object?
        self._name = ""
        self._kind: str | None = None
        self._fresh = True  # a comma or an opening stands before: in an object a name comes
        self._is_whole = True

    def read(self, said: str) -> tuple[str, bool]:
        """Return the document changed, and whether it was clear where everything belongs."""
        done: list[str] = []
        at = 0
        for token in _TOKEN.finditer(said):
            text, other = token[0], None
            if token["open"]:
                self._open(text)
            elif token["close"]:
                self._is_whole &= bool(self._inside)
                if self._inside:
                    self._inside.pop()
                self._between()
            elif token["comma"]:
                self._between()
            elif token["string"]:
                other = self._string(text, named=_COLON.match(said, token.end()) is not None)
            elif token["bare"]:
                other = self._bare(text, named=_COLON.match(said, token.end()) is not None)
            if other is not None and other != text:
                done += [said[at : token.start()], other]
                at = token.end()
        return "".join([*done, said[at:]]), self._is_whole and not self._inside

    def _open(self, mark: str) -> None:
        all_within = mark == "[" or kinds.is_all_within(self._name, self._kind)
        passed_on = self._kind if all_within else None
        self._inside.append((self._name, passed_on, mark == "{"))
        self._between()

    def _between(self) -> None:
        self._name, self._kind, _ = self._inside[-1] if self._inside else ("", None, False)
        self._fresh = True

    def _string(self, text: str, *, named: bool) -> str | None:
        mark, inside = text[0], text[1:]
        ended = inside.endswith(mark)
        inside = inside[:-1] if ended else inside
        faults = [found[1] for found in _IN_STRING.finditer(inside) if found[1]]
        self._is_whole &= ended and mark == '"' and '"' not in faults
        if named or (self._fresh and self._inside and self._inside[-1][2]):
            self._is_whole &= named
            self._call(inside)
            changed = self._change("", None, inside) if _MAY_ADDRESS.search(inside) else inside
        else:
            changed = self._change(self._name, self._kind, inside)
            if self._kind and changed != inside:  # what was wrong with it stays to be seen
                changed += "".join(f"{fault}x" for fault in dict.fromkeys(faults))
        self._fresh = False
        return f"{mark}{changed}{mark if ended else ''}"

    def _bare(self, text: str, *, named: bool) -> str | None:
        is_scalar = _SCALAR.fullmatch(text) is not None
        self._is_whole &= is_scalar
        if named:
            self._call(text)
            return None
        if not is_scalar:
            return self._change(self._name, self._kind, text)
        secret = self._kind == kinds.SECRET and text[-1:].isdigit()
        named_by = self._kind in kinds.NAMED_BY_NUMBERS and _LONG_NUMBER.fullmatch(text)
        return "0" if secret or named_by else None

    def _call(self, raw: str) -> None:
        self._name = raw
        if "\\" in raw:
            try:
                self._name = str(json.loads(f'"{raw}"', strict=False))
            except ValueError:
                self._is_whole = False
        passed_on = self._inside[-1][1] if self._inside else None
        self._kind = kinds.kind(self._name) or passed_on
