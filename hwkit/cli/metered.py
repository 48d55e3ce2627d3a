"""What `bench` and `compare` say of meters: the rig file, surroundings, what is expected."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import find_hashers, find_meters
from hwkit.errors import PlanError
from hwkit.harness import rig
from hwkit.harness.setup import Setup
from hwkit.harness.surroundings import surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hwkit.harness.metering import Metering
    from hwkit.harness.wiring import Wiring
    from hwkit.protocols import Hasher, Meter

rig_option = click.option(
    "--rig",
    "rig_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Devices, their meters and wiring, in TOML (docs/metering.md).",
)
inlet_option = click.option(
    "--inlet", metavar="C", help="Inlet air in °C: 24.5, or file:PATH?scale=0.001 to sample."
)
mains_option = click.option(
    "--mains", metavar="V", help="Nominal mains voltage: 230; or a meter that reads it."
)
confirm_option = click.option(
    "--confirm", is_flag=True, help="Readings that cannot be (0.3 to 2 x nameplate) are meant so."
)


class Bench:
    """What is to be measured, and by what: devices, meters and how they are wired."""

    def __init__(
        self,
        addresses: Sequence[str],
        meters: Sequence[str],
        rig_file: Path | None,
        said: dict[str, str | None],
        find: Callable[[Sequence[str]], list[Hasher]] = find_hashers,
    ) -> None:
        """Find them all; nothing is opened. `said` is what --inlet and --mains say."""
        conditions: dict[str, float | str] = {}
        self.wirings: list[Wiring] | None = None
        self.rig: rig.Rig | None = None
        if rig_file is None:
            self.hashers = find(addresses)
            self.meters: list[Meter] = find_meters(meters)
        else:
            if meters:
                raise PlanError("--rig and --meter: one of them, the rig file names its meters")
            self.rig = rig.read(rig_file).only(addresses)
            self.hashers = [_only_one(device, find) for device in self.rig.devices]
            self.meters, self.wirings = rig.wire(self.rig, lambda each: find_meters([each]))
            conditions |= self.rig.conditions
        conditions |= {name: _typed(text) for name, text in said.items() if text is not None}
        self.surroundings = surroundings(conditions, lambda each: find_meters([each]))

    @property
    def names(self) -> list[str]:
        """The meters, as a plan names them."""
        return [meter.spec.name for meter in self.meters]

    @contextmanager
    def open(self, *, confirmed: bool) -> Iterator[tuple[Metering | None, Setup]]:
        """Open meters and sensors before a device is touched, and close them whatever happens."""
        with self.surroundings:
            setup = Setup(self.wirings, self.surroundings, confirmed)
            if not self.meters:
                yield None, setup
                return
            from hwkit.harness.metering import Metering  # noqa: PLC0415

            with Metering(self.meters) as metering:
                yield metering, setup


def _only_one(device: rig.Device, find: Callable[[Sequence[str]], list[Hasher]]) -> Hasher:
    found = find([device.address])
    if len(found) != 1:
        names = ", ".join(hasher.spec.name for hasher in found) or "nothing"
        raise PlanError(f"{device.where}: it is to be one device, and names {names}")
    return found[0]


def _typed(text: str) -> float | str:
    """Return a number where it is one, else an address."""
    try:
        return float(text)
    except ValueError:
        return text
