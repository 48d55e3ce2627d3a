"""Wiring: which sum of meters is a device's power, what else is in it, and who shares it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Sum = tuple[tuple[int, str], ...]  # meters by name, each with its sign


@dataclass(frozen=True, slots=True)
class Wiring:
    """What sees a device. Each sum is a J/TH of its own; the first one heads the record."""

    sums: tuple[Sum, ...]
    includes: tuple[str, ...] = ()  # what draws power beside what hashes: pumps, fans, host
    nameplate_w: float | None = None  # of all that the first sum sees
    group: tuple[str, ...] = ()  # the devices that share the first sum: it is of none of them alone

    @classmethod
    def side_by_side(cls, meters: Iterable[str]) -> Self:
        """Return the wiring of meters that each see all of a device."""
        return cls(tuple(((1, name),) for name in meters))

    @property
    def meters(self) -> tuple[str, ...]:
        """The meters by name, in order, each once."""
        return tuple(dict.fromkeys(name for each in self.sums for _, name in each))

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a record."""
        return asdict(self) | {
            "sums": [[{"sign": sign, "meter": name} for sign, name in each] for each in self.sums],
            "includes": list(self.includes),
            "group": list(self.group),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read back what to_json wrote. Raises as its types do."""
        sums = [[(int(e["sign"]), str(e["meter"])) for e in each] for each in document["sums"]]
        return cls(
            tuple(map(tuple, sums)),
            tuple(document["includes"]),
            document["nameplate_w"],
            tuple(document["group"]),
        )


def shown(total: Sum) -> str:
    """Show a sum as people write it: 'a + b - c'."""
    text = " ".join(f"{'-' if sign < 0 else '+'} {name}" for sign, name in total)
    return text.removeprefix("+ ")
