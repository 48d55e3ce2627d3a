"""Dialects: how a make's answers look, as templates in dialects/*.toml, filled with what is so.

A template is the text of a real answer, so that spelling, order and number format are the make's.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

from hwkit.errors import PlanError
from hwkit.simulate.values import board_values, common_values, page_values, pool_values, word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.simulate.miner import Miner

DATA = files("hwkit.simulate") / "dialects"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One make's words."""

    name: str
    words: Mapping[str, Any]  # what its file says, and what that inherits

    @classmethod
    def named(cls, name: str) -> Self:
        """Return a dialect. Raises PlanError for one that there is not."""
        if name not in names():
            raise PlanError(f"dialect {name!r}: there are {', '.join(names())}")
        return cls(name, _read(name))

    @property
    def tells_power(self) -> bool:
        """Does a miner of this make say what it draws?"""
        return "%(power" in json.dumps(self.words, default=str)

    def say(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - any TOML value
        """Return what its file says of something."""
        return self.words.get(key, default)

    @property
    def has_api(self) -> bool:
        """Does it speak cgminer's API?"""
        return bool(self.words["reply"])

    @property
    def has_web(self) -> bool:
        """Has it web pages?"""
        return bool(self.words.get("page"))

    @property
    def has_frames(self) -> bool:
        """Does it speak a Whatsminer's API 3?"""
        return bool(self.words.get("framed"))

    def frame(self, key: str, miner: Miner, own: Mapping[str, Any]) -> str:
        """Return the message, JSON, that answers a command of API 3; `own` are values besides."""
        spec = self.words["framed"][key]
        rows = _rows(spec, miner, common_values(miner) | dict(own))
        return f'{{"{spec["list"]}":[{",".join(rows)}]}}' if "list" in spec else rows[0]

    def knows(self, command: str) -> bool:
        """Has it an answer to this command?"""
        return command in self.words["reply"]

    def page(self, path: str, miner: Miner) -> str:
        """Return the document at a path of its web pages."""
        return str(self.words["page"][path] % page_values(miner))

    def answer(self, command: str, miner: Miner) -> Answer:
        """Return the answer to a command that it knows."""
        spec = self.words["reply"][command]
        spec = self.words["reply"][spec["same"]] if "same" in spec else spec
        values = common_values(miner)
        rows = _rows(spec, miner, values)
        return Answer(
            spec["code"],
            spec.get("message", "") % values,
            spec.get("section"),
            tuple(rows),
            one="each" not in spec and "rows" not in spec,
            whole=spec.get("whole", False),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command is answered with, before it is text or JSON."""

    code: int
    message: str
    section: str | None = None
    rows: tuple[str, ...] = ()  # each the inside of a JSON object
    one: bool = False  # its text form names the section, where rows name themselves
    severity: str = "S"
    described: bool = True
    whole: bool = False  # Whatsminer's own: STATUS is no list, and Msg an object or a text

    def to_json(self, description: str, when: int) -> str:
        """Return it without the end of the document, which is "id" but for Whatsminer's own."""
        about = f',"Description":{json.dumps(description)}' if self.described else ""
        message = f"{{{self.rows[0]}}}" if self.whole and self.rows else json.dumps(self.message)
        status = f'"STATUS":"{self.severity}","When":{when},"Code":{self.code},"Msg":{message}'
        if self.whole:
            return f"{{{status}{about}"
        said = f'{{"STATUS":[{{{status}{about}}}]'
        if self.section is None:
            return said
        objects = ",".join(f"{{{row}}}" for row in self.rows)
        return f'{said},"{self.section}":[{objects}]'

    @property
    def end(self) -> str:
        """What ends its document."""
        return "}" if self.whole else ',"id":1}'

    def to_text(self, description: str, when: int) -> str:
        """Return the other form, whose special characters have backslashes."""
        said = f"STATUS={self.severity},When={when},Code={self.code}"
        said += f",Msg={_escape(self.message)}"
        said += f",Description={_escape(description)}|" if self.described else "|"
        for row in self.rows:
            members = json.loads(f"{{{row}}}", parse_float=str, parse_int=str)
            pairs = ",".join(f"{key}={_escape(word(value))}" for key, value in members.items())
            said += f"{self.section},{pairs}|" if self.one else f"{pairs}|"
        return said


def _rows(spec: Mapping[str, Any], miner: Miner, values: dict[str, Any]) -> list[str]:
    """Fill a template with the values of the whole, or of each board or pool."""
    match spec.get("each"):
        case "board":
            return [spec["row"] % each for each in board_values(miner, values)]
        case "pool":
            return [spec["row"] % each for each in pool_values(miner, values)]
    templates = spec["rows"] if "rows" in spec else [spec["row"]]
    return [template % values for template in templates]


def names() -> list[str]:
    """Return the names of all dialects."""
    return sorted(path.name.removesuffix(".toml") for path in DATA.iterdir())


@cache
def _read(name: str) -> dict[str, Any]:
    words = tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))
    if "base" not in words:
        return words
    base = _read(words["base"])
    without = words.get("without", [])
    replies = {k: v for k, v in base["reply"].items() if k not in without}
    return {**base, **words, "reply": {**replies, **words.get("reply", {})}}


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "|,=\\" else char for char in text)
