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
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MOST = 1024  # elements of one list, or members: a hostile answer has 300,000
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
        pointer = self.pointer
        if "{" in pointer:
            pointer = _FILLED.sub(lambda named: _filling(named[1], documents), pointer)
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
    yield from _walk(document, _steps(pointer), "")


def text(value: object) -> str:
    """Return a scalar as JSON writes it, without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filling(place: str, documents: Mapping[str, Any]) -> str:
    """Return what is at a place as a regular expression; of nothing, one that matches nothing."""
    found = next((text(what) for _, what in Place.parse(place).find(documents)), None)
    return "(?!)" if found is None else re.escape(found).replace("/", "~1")


def _walk(value: Any, steps: tuple[_Step, ...], where: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if value is None:
        return
    if not steps:
        yield where, value
        return
    for key in _keys(value, steps[0]):
        escaped = key.replace("~", "~0").replace("/", "~1") if isinstance(key, str) else key
        yield from _walk(value[key], steps[1:], f"{where}/{escaped}")


def _keys(value: Any, step: _Step) -> Iterable[Any]:  # noqa: ANN401
    if isinstance(value, dict):
        if step.name is not None:
            return (step.name,) if step.name in value else ()
        if step.numbered is not None:
            return sorted(filter(step.numbered.fullmatch, value), key=_order)
        return (key for key in islice(value, MOST) if step.chooses(value[key]))
    if isinstance(value, list):
        if step.name is None and step.numbered is None:
            return (key for key in range(min(len(value), MOST)) if step.chooses(value[key]))
        if step.index is not None and step.index < len(value):
            return (step.index,)
    return ()


@dataclass(frozen=True, slots=True)
class _Step:
    """One token of a pointer: a name (and index), numbered names, or each that is chosen."""

    name: str | None = None
    index: int | None = None
    numbered: re.Pattern[str] | None = None
    member: str | None = None
    looks: re.Pattern[str] | None = None

    def chooses(self, value: object) -> bool:
        if self.member is None or self.looks is None:
            return True
        return (
            isinstance(value, dict)
            and self.member in value
            and self.looks.fullmatch(text(value[self.member])) is not None
        )


@lru_cache(maxsize=4096)
def _steps(pointer: str) -> tuple[_Step, ...]:
    return tuple(_step(token) for token in pointer.split("/")[1:])


def _step(word: str) -> _Step:
    if word == "*":
        return _Step()
    if chosen := _CHOSEN.fullmatch(word):
        return _Step(member=chosen[1], looks=_pattern(chosen[2].replace("~1", "/")))
    name = word.replace("~1", "/").replace("~0", "~")
    if "#" in name:
        parts = (re.escape(part) for part in name.split("#"))
        return _Step(numbered=re.compile("[0-9]{1,6}".join(parts)))
    is_index = name.isascii() and name.isdigit() and len(name) < 6
    return _Step(name=name, index=int(name) if is_index else None)


def _order(key: str) -> list[int]:
    return [int(digits[:18]) for digits in _NUMBERS.findall(key)]


@cache
def _pattern(looks: str) -> re.Pattern[str]:
    try:
        return re.compile(looks, re.IGNORECASE)
    except re.error as error:
        raise PlanError(f"{looks!r} is no regular expression: {error}") from error
