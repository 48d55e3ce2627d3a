"""What `bench` and `compare` say of meters: the rig file, surroundings, what is expected."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hwkit.cli.options import find_hashers, find_meters, read_with
from hwkit.errors import PlanError
from hwkit.harness import corrections, rig
from hwkit.harness.efficiency import TERA
from hwkit.harness.entry import Entry
from hwkit.harness.foresee import Expected, Foreseen, foresee
from hwkit.harness.metered import lanes, units
from hwkit.harness.metering import Metering, Sampled
from hwkit.harness.setup import Setup
from hwkit.harness.surroundings import surroundings
from hwkit.harness.wiring import Wiring
from hwkit.protocols import Basis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hwkit.harness.plan import Plan
    from hwkit.protocols import Hasher, Meter, MeterSpec

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
expect_option = click.option(
    "--expect",
    metavar="W,H/s",
    callback=read_with(Expected.parse),
    help="What it draws and does, for what can be reached: 3500W,200TH/s.",
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
        twice = [name for name in self.names if self.names.count(name) > 1]
        if twice:
            raise PlanError(f"a meter is named twice: {twice[0]}")
        conditions |= {name: _typed(text) for name, text in said.items() if text is not None}
        self.surroundings = surroundings(conditions, lambda each: find_meters([each]))

    def refuse_unmetered(self, options: Mapping[str, bool]) -> None:
        """Raise PlanError for an option that was given, is of meters, and finds none."""
        for option, given in options.items():
            if given and not self.meters:
                raise PlanError(f"{option} is of runs with a meter: add --meter ADDRESS")

    @property
    def names(self) -> list[str]:
        """The meters, as a plan names them."""
        return [meter.spec.name for meter in self.meters]

    @property
    def basis(self) -> Basis:
        """What the hashes stand on of the hasher of which least is known."""
        return max((hasher.spec.basis for hasher in self.hashers), key=list(Basis).index)

    @property
    def chain(self) -> int:
        """How many devices, or groups, work one after another at most.

        Raises PlanError for a group of which two can only do that.
        """
        sampled = [Sampled(meter) for meter in self.meters]
        setup = Setup(self.wirings or [Wiring.side_by_side(self.names)] * len(self.hashers))
        entries = [Entry(hasher, n, sampled, setup) for n, hasher in enumerate(self.hashers)]
        return max(len(units(lane)) for lane in lanes(entries))

    def foresee(
        self,
        plan: Plan,
        told: Expected | None,
        store: str | None,
        *,
        asked: bool,
        corrected: bool = True,
    ) -> list[Foreseen]:
        """Say what each device can reach, or each group; nothing without meters.

        A meter that another one has put right is expected to be the instrument at that address.
        Known from `told`, else the nameplate in the rig file, else the newest record in the store.
        Raises PlanError for a precision that was asked for and is out of reach.
        """
        specs = {meter.spec.name: meter.spec for meter in self.meters}
        known = corrections.read() if corrected and specs else []
        right = {kept.name: kept.correction for kept in known}
        found = []
        for number, hasher in enumerate(self.hashers if specs else []):
            if self.wirings is None:
                seeing = list(specs.values())[:1]
            else:
                seeing = [specs[name] for _, name in self.wirings[number].sums[0]]
            expected = told or self._plates(number) or _remembered(hasher, seeing[0], store)
            seeing = [
                right[spec.name].put_right(spec, expected.power_w) if spec.name in right else spec
                for spec in seeing
            ]
            found.append(foresee(plan, hasher.spec, seeing, expected, asked=asked))
        return found

    def _plates(self, number: int) -> Expected | None:
        """Return what the nameplates say of all that a device's meters see."""
        if self.rig is None or self.wirings is None:
            return None
        wiring, devices = self.wirings[number], self.rig.devices
        group = [each for each in devices if each.address in wiring.group] or [devices[number]]
        rates = [each.nameplate_th_s for each in group if each.nameplate_th_s is not None]
        if wiring.nameplate_w is None or len(rates) < len(group):
            return None
        return Expected(wiring.nameplate_w, sum(rates) * TERA, "nameplate")

    @contextmanager
    def open(
        self, *, confirmed: bool, corrected: bool = True
    ) -> Iterator[tuple[Metering | None, Setup]]:
        """Open meters and sensors before a device is touched, and close them whatever happens."""
        with self.surroundings:
            setup = Setup(self.wirings, self.surroundings, confirmed)
            if not self.meters:
                yield None, setup
                return
            known = corrections.read() if corrected else []
            with Metering(self.meters, known) as metering:
                yield metering, setup


def _only_one(device: rig.Device, find: Callable[[Sequence[str]], list[Hasher]]) -> Hasher:
    found = find([device.address])
    if len(found) != 1:
        names = ", ".join(hasher.spec.name for hasher in found) or "nothing"
        raise PlanError(f"{device.where}: it is to be one device, and names {names}")
    return found[0]


def _remembered(hasher: Hasher, spec: MeterSpec, store: str | None) -> Expected:
    """Return what the newest record says; a store that is not there is not made for that."""
    from hwkit.records import Store  # noqa: PLC0415 - SQLAlchemy takes its time
    from hwkit.records.store import default_url  # noqa: PLC0415

    where = store or default_url()
    if "://" not in where and not Path(where).exists():
        return Expected()
    found = Store(where).newest(hasher.spec.name, spec.scope)
    return Expected(found.get("power"), found.get("hashrate"), "its newest record")


def _typed(text: str) -> float | str:
    """Return a number where it is one, else an address."""
    try:
        return float(text)
    except ValueError:
        return text
