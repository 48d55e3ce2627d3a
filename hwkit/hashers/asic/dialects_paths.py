"""Where something is in an answer: a command, and a JSON pointer (RFC 6901) that may mean several.

"stats /STATS/*/chain_rate#" is every member of every element of STATS whose name is chain_rate and
a number. The command * is each; of a|b it is b where a has nothing there. In a pointer's token

    *              is each element of a list, or member of an object
    #              stands for digits: temp2_# is temp2_1, temp2_10 ... in the order of the numbers
    [name=REGEX]   is each element whose member `name` matches as a whole, whatever the case
    {place}        in a REGEX: is what is at another place, literally

A condition is a place, and after " ~ " what something there must look like: "version
/VERSION/0/Type ~ Antminer". Such regular expressions search, and mind no case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHOSEN = re.compile(r"\[([^=\]]+)=(.+)\]", re.DOTALL)
_NUMBERS = re.compile(r"[0-9]+")
_FILLED = re.compile(r"\{(\w+ /[^}]+)\}")
MOST = 4096  # values at one place: no miner has as many chips


@dataclass(frozen=True, slots=True)
class Place:
    """A command and a pointer into what it is answered with."""

    command: str
    pointer: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 'command /pointer'. Raises PlanError."""
        command, space, pointer = text.partition(" ")
        if not command or (space and pointer and not pointer.startswith("/")):
            raise PlanError(
                f"{text!r} is no place in an answer: write 'summary /SUMMARY/0/Elapsed'"
            )
        return cls(command, pointer)

    def find(self, documents: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield where (as 'command /pointer') and what, for everything but null."""
        commands = documents if self.command == "*" else self.command.split("|")
        pointer = _FILLED.sub(lambda named: _filling(named[1], documents), self.pointer)
        for command in commands:
            found = list(islice(walk(documents.get(command), pointer), MOST))
            yield from ((f"{command} {where}".rstrip(), what) for where, what in found)
            if found and "|" in self.command:
                return


@dataclass(frozen=True, slots=True)
class Condition:
    """Is there something at a place, and does it look so?"""

    place: Place
    looks: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read 'command /pointer' or 'command /pointer ~ regex'. Raises PlanError."""
        place, tilde, looks = text.partition(" ~ ")
        return cls(Place.parse(place), _pattern(looks) if tilde else None)

    def holds(self, documents: Mapping[str, Any]) -> bool:
        """Does it?"""
        return any(
            self.looks is None
            or (not isinstance(what, (dict, list)) and self.looks.search(text(what)))
            for _, what in self.place.find(documents)
        )


def walk(document: object, pointer: str) -> Iterator[tuple[str, Any]]:
    """Yield where and what at each place that a pointer means, but for null."""
    yield from _walk(document, pointer.split("/")[1:], "")


def text(value: object) -> str:
    """Return a scalar as JSON writes it, without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filling(place: str, documents: Mapping[str, Any]) -> str:
    """Return what is at a place as a regular expression; of nothing, one that matches nothing."""
    found = next((text(what) for _, what in Place.parse(place).find(documents)), None)
    return "(?!)" if found is None else re.escape(found).replace("/", "~1")


def _walk(value: Any, words: list[str], where: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if value is None:
        return
    if not words:
        yield where, value
        return
    for key in _keys(value, words[0]):
        escaped = str(key).replace("~", "~0").replace("/", "~1")
        yield from _walk(value[key], words[1:], f"{where}/{escaped}")


def _keys(value: Any, word: str) -> Iterator[Any]:  # noqa: ANN401
    chosen = _CHOSEN.fullmatch(word)
    keys: Any = range(len(value)) if isinstance(value, list) else ()
    if isinstance(value, dict):
        keys = value.keys()
    if word == "*":
        yield from keys
    elif chosen:
        name, looks = chosen[1], _pattern(chosen[2].replace("~1", "/"))
        for key in keys:
            each = value[key]
            if isinstance(each, dict) and name in each and looks.fullmatch(text(each[name])):
                yield key
    elif isinstance(value, dict):
        name = word.replace("~1", "/").replace("~0", "~")
        if "#" in name:
            pattern = _numbered(name)
            yield from sorted((k for k in keys if pattern.fullmatch(k)), key=_order)
        elif name in value:
            yield name
    elif word.isascii() and word.isdigit() and len(word) < 6 and int(word) < len(keys):
        yield int(word)


def _order(key: str) -> list[int]:
    return [int(digits[:18]) for digits in _NUMBERS.findall(key)]


@cache
def _numbered(name: str) -> re.Pattern[str]:
    return re.compile("[0-9]{1,6}".join(re.escape(part) for part in name.split("#")))


@cache
def _pattern(looks: str) -> re.Pattern[str]:
    try:
        return re.compile(looks, re.IGNORECASE)
    except re.error as error:
        raise PlanError(f"{looks!r} is no regular expression: {error}") from error
