"""Instruments that answer over HTTP with JSON: data, and one function each that recognises it.

Sources: shelly-api-docs.shelly.cloud (Gen1 "HTTP API"; Gen2 Switch, PM1, EM1, EM, Authentication),
tasmota.github.io (Commands: Status; JSON-Status-Responses), ESP-Miner's openapi.yaml, DMTF DSP2046
(Chassis, Power, EnvironmentMetrics).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from hwkit.errors import NoDevice, PlanError
from hwkit.meters.addressing import KWH, POINTERS, WH, asked_fields
from hwkit.protocols import Provenance, Scope
from hwkit.wire.credentials import credentials
from hwkit.wire.fields import Field, has, text
from hwkit.wire.http import BadStatus, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hwkit.meters.http import HttpMeter
    from hwkit.plugins import Address


@dataclass(frozen=True, slots=True)
class Profile:
    """Where one kind of instrument keeps its numbers; in paths, {channel} is the address'."""

    path: str
    fields: Mapping[str, Field]
    required: tuple[str, ...] = ("watts",)
    quantum_j: float | None = None
    valid: str | None = None  # a field that is false when the instrument doubts itself
    secret: str = ""  # a query that goes with the path, and is never shown

    def of(self, channel: int) -> Profile:
        """Return the profile of one channel."""
        path = self.path.replace("{channel}", str(channel))
        fields = {
            name: Field(at.pointer.replace("{channel}", str(channel)), at.scale)
            for name, at in self.fields.items()
        }
        return Profile(path, fields, self.required, self.quantum_j, self.valid)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What stands behind a scheme, and how to find out which profile it has."""

    words: str  # what it is, for a person
    recognise: Callable[[HttpMeter], tuple[Profile, dict[str, str | None]]]
    scope: Scope
    provenance: Provenance
    options: tuple[str, ...] = ()
    quantum_j: float | None = None  # the coarsest that it may turn out to have
    tls: bool = False
    path: bool = False  # does the address name the document?


# Shelly. Gen1 counts watt-minutes at /meter and Wh at /emeter; Gen2 and later Wh everywhere, with
# three decimals at switches and two at clamps, whose counters move once a minute.
SHELLY = {
    "meter": Profile(
        "/meter/{channel}",
        {"watts": Field("/power"), "joules": Field("/total", 60.0)},
        quantum_j=60.0,
        valid="/is_valid",
    ),
    "emeter": Profile(
        "/emeter/{channel}",
        {
            "watts": Field("/power"),
            "joules": Field("/total", WH),
            "volts": Field("/voltage"),
            "amperes": Field("/current"),
            "power_factor": Field("/pf"),
        },
        quantum_j=0.1 * WH,
        valid="/is_valid",
    ),
} | {
    component.lower(): Profile(
        f"/rpc/{component}.GetStatus?id={{channel}}",
        {
            "watts": Field("/apower"),
            "joules": Field("/aenergy/total", WH),
            "volts": Field("/voltage"),
            "amperes": Field("/current"),
            "power_factor": Field("/pf"),
            "hertz": Field("/freq"),
        },
        quantum_j=0.001 * WH,
    )
    for component in ("Switch", "PM1")
}
SHELLY["em1"] = Profile(  # power and counter are two components: one document has both
    "/rpc/Shelly.GetStatus",
    {
        "watts": Field("/em1:{channel}/act_power"),
        "joules": Field("/em1data:{channel}/total_act_energy", WH),
        "volts": Field("/em1:{channel}/voltage"),
        "amperes": Field("/em1:{channel}/current"),
        "power_factor": Field("/em1:{channel}/pf"),
        "hertz": Field("/em1:{channel}/freq"),
    },
    quantum_j=0.01 * WH,
)
SHELLY["em"] = Profile(  # three phases together
    "/rpc/Shelly.GetStatus",
    {
        "watts": Field("/em:{channel}/total_act_power"),
        "joules": Field("/emdata:{channel}/total_act", WH),
        "amperes": Field("/em:{channel}/total_current"),
    },
    quantum_j=0.01 * WH,
)


def _shelly(meter: HttpMeter) -> tuple[Profile, dict[str, str | None]]:
    name, channel = meter.spec.name, channel_of(meter.address)
    told = meter.get("/shelly")  # both generations answer it without a password
    second = has(told, "/gen")
    if not second and not has(told, "/type"):
        raise NoDevice(name, "it answers, but not as a Shelly does")
    facts = {
        "model": text(told, "/model" if second else "/type"),
        "serial": text(told, "/mac"),
        "firmware": text(told, "/fw_id" if second else "/fw"),
    }
    meter.log_in("digest" if second else "basic", "admin")  # Gen2's user is always admin
    profile = asked_profile(meter.address)
    if profile is None and second:
        status = meter.get("/rpc/Shelly.GetStatus")
        for kind, power in (("switch", "apower"), ("pm1", "apower"), ("em1", "act_power")):
            if has(status, f"/{kind}:{channel}/{power}"):
                return SHELLY[kind].of(channel), facts
        if has(status, f"/em:{channel}/total_act_power"):
            return SHELLY["em"].of(channel), facts
        raise NoDevice(name, f"it measures no power at channel {channel}: see ?channel=")
    if profile is None:
        profile = SHELLY["emeter" if has(told, "/num_emeters") else "meter"].of(channel)
    return profile, facts


def asked_profile(address: Address) -> Profile | None:
    """Return the profile that an address names, if it does. Raises PlanError for an unknown one."""
    if address.scheme != "shelly" or "profile" not in address.options:
        return None
    asked = address.options["profile"]
    if asked not in SHELLY:
        known = ", ".join(SHELLY)
        raise PlanError(f"address {address}: no profile {asked!r}; there are {known}")
    return SHELLY[asked].of(channel_of(address))


def channel_of(address: Address) -> int:
    """Return `?channel=`, counted from 0."""
    said = address.options.get("channel", "0")
    if not said.isascii() or not said.isdigit() or len(said) > 3:
        raise PlanError(f"address {address}: channel is a number from 0, not {said!r}")
    return int(said)


# Tasmota. Status 8 was replaced by Status 10, and answers like it where both are known. Total has
# three decimals unless EnergyRes says otherwise.
def _tasmota(meter: HttpMeter) -> tuple[Profile, dict[str, str | None]]:
    secret = tasmota_login(meter.hostname)
    channel = f"/{channel_of(meter.address)}" if "channel" in meter.address.options else ""
    facts: dict[str, str | None] = {}
    for status in (8, 10):
        path = f"/cm?cmnd=Status%20{status}"
        answer = meter.host.get(path, secret).document
        if has(answer, "/WARNING"):
            raise Refused(f"{meter.spec.name}: refuses these credentials")
        if not has(answer, "/StatusSNS/ENERGY"):
            continue
        firmware = meter.host.get("/cm?cmnd=Status%202", secret).document
        network = meter.host.get("/cm?cmnd=Status%205", secret).document
        facts = {
            "model": text(firmware, "/StatusFWR/Hardware"),
            "firmware": text(firmware, "/StatusFWR/Version"),
            "serial": text(network, "/StatusNET/Mac"),
        }
        energy = "/StatusSNS/ENERGY"
        fields = {
            "watts": Field(f"{energy}/Power{channel}"),
            "joules": Field(f"{energy}/Total{channel}", KWH),
            "volts": Field(f"{energy}/Voltage"),
            "amperes": Field(f"{energy}/Current{channel}"),
            "power_factor": Field(f"{energy}/Factor{channel}"),
            "hertz": Field(f"{energy}/Frequency"),
        }
        if channel and not isinstance(answer["StatusSNS"]["ENERGY"].get("Total"), list):
            del fields["joules"]  # of all channels together
        return Profile(path, fields, secret=secret), facts
    raise NoDevice(meter.spec.name, "it answers, but not as a Tasmota with a power meter does")


def tasmota_login(host: str) -> str:
    """Return what goes with each of a Tasmota's paths, of the user's credentials for it."""
    words = credentials(host)
    if "password" not in words:
        return ""
    user, password = words.get("user", "admin"), words["password"]  # its user is always admin
    return f"&user={quote(user, safe='')}&password={quote(password, safe='')}"


def _axeos(meter: HttpMeter) -> tuple[Profile, dict[str, str | None]]:
    told = meter.get("/api/system/info")
    facts = {
        "model": text(told, "/ASICModel"),
        "serial": text(told, "/macAddr"),
        "firmware": text(told, "/version"),
    }
    fields = {
        "watts": Field("/power"),
        "volts": Field("/voltage", 0.001),
        "amperes": Field("/current", 0.001),
    }
    return Profile("/api/system/info", fields), facts


def _redfish(meter: HttpMeter) -> tuple[Profile, dict[str, str | None]]:
    meter.log_in("basic")
    name = meter.spec.name
    chassis = meter.address.options.get("chassis") or _only_chassis(meter)
    base = f"/redfish/v1/Chassis/{quote(chassis, safe='')}"
    told = meter.get(base)
    facts = {
        "model": text(told, "/Model"),
        "serial": text(told, "/SerialNumber"),
        "firmware": None,
    }
    newer = {
        "watts": Field("/PowerWatts/Reading"),
        "joules": Field("/EnergyJoules/Reading"),
    }
    older = {"watts": Field("/PowerControl/0/PowerConsumedWatts")}
    for path, fields in ((f"{base}/EnvironmentMetrics", newer), (f"{base}/Power", older)):
        try:
            answer = meter.get(path)
        except BadStatus as error:
            if error.status != 404:
                raise
            continue
        if has(answer, fields["watts"].pointer):
            if path == f"{base}/EnvironmentMetrics" and not has(answer, "/EnergyJoules/Reading"):
                in_kwh = newer | {"joules": Field("/EnergykWh/Reading", KWH)}
                return Profile(path, in_kwh), facts
            return Profile(path, fields), facts
    raise NoDevice(name, f"chassis {chassis} tells no power, neither old way nor new")


def _only_chassis(meter: HttpMeter) -> str:
    listed = meter.get("/redfish/v1/Chassis")
    found: list[str] = []
    while has(listed, f"/Members/{len(found)}/@odata.id") and len(found) < 16:
        path = text(listed, f"/Members/{len(found)}/@odata.id") or ""
        found.append(path.rstrip("/").rpartition("/")[2])
    if len(found) != 1:
        several = f"{len(found)} chassis: name one with ?chassis=" + " or ".join(found)
        raise NoDevice(meter.spec.name, several if found else "it lists no chassis")
    return found[0]


# Any other: the address says where the numbers are.
def _generic(meter: HttpMeter) -> tuple[Profile, dict[str, str | None]]:
    fields = asked_fields(meter.address)
    meter.log_in(meter.address.options.get("auth", "basic"))
    path = quote(meter.path or "/", safe="/%:@!$&'()*+,;=~")
    query = meter.address.options.get("query")  # '?' ends an address' own path
    if query is not None:
        path += "?" + quote(query, safe="=&,:/")
    return Profile(path, fields, required=tuple(fields)), {}


INSTRUMENTS = {
    "shelly": Instrument(
        "a Shelly, and port and channel right",
        _shelly,
        Scope.WALL,
        Provenance.METER,
        ("channel", "profile"),
        quantum_j=0.1 * WH,
    ),
    "tasmota": Instrument(
        "a Tasmota, and the port right",
        _tasmota,
        Scope.WALL,
        Provenance.METER,
        ("channel",),
        quantum_j=0.001 * KWH,
    ),
    # A Bitaxe measures at its own input, behind the power supply.
    "axeos": Instrument("one with AxeOS", _axeos, Scope.DEVICE, Provenance.BOARD),
    "redfish": Instrument(
        "a service processor with Redfish",
        _redfish,
        Scope.WALL,
        Provenance.PSU,
        ("chassis", "tls"),
        tls=True,
    ),
    "http": Instrument(
        "any",
        _generic,
        Scope.WALL,
        Provenance.METER,
        ("tls", "auth", "scale", "query", *POINTERS),
        path=True,
    ),
}
