"""Each profile is well-formed and its figures plausible; and what is wrong with one is found."""

import importlib
import math
import tomllib
from importlib.resources import files

import pytest

from hwkit.errors import PlanError
from hwkit.meters import profiles
from hwkit.meters.polled import QUANTITIES, reading
from hwkit.meters.profiles import Quantity
from hwkit.meters.scpi import ScpiMeter
from hwkit.plugins import Address, meters

KINDS = ("modbus", "scpi", "snmp")
ALL = [(kind, name) for kind in KINDS for name in profiles.known(kind)]
# Of what is sold: the classes of IEC 62053, the steps of displays and counters, seconds.
LIMITS = {"of_reading": (0.0001, 0.05), "of_range": (0, 0.01)}
FACTORS = {
    "watts": (1e-3, 1e3),
    "joules": (1e-3, 3.6e6),
    "volts": (1e-3, 1),
    "amperes": (1e-3, 1),
    "power_factor": (1e-3, 1),
    "hertz": (1e-2, 1),
}
STEPS = {"watts": (1e-3, 100), "joules": (0.1, 3.6e6)}


def driver(kind):
    return importlib.import_module(f"hwkit.meters.{kind}")


def source(kind, name):
    return (files("hwkit.meters") / "data" / kind / f"{name}.toml").read_text(encoding="utf-8")


def parsed(kind, document):
    return profiles.parse("test", document, driver(kind).ROW, driver(kind).SETTINGS)


def implausible(profile):
    """Return what no instrument on the market is like."""
    found = [fault for each in profile.quantities for fault in odd(each)]
    if len(profile.sources) < 2:
        found.append("two documents that agree")
    if not {"watts", "joules"} & {each.name for each in profile.quantities}:
        found.append("neither power nor energy")
    for key, (low, high) in LIMITS.items():
        if profile.accuracy and not low <= getattr(profile.accuracy, key) <= high:
            found.append(key)
    if not 0.05 <= profile.interval_s <= 60 or profile.averaging_s > 60:
        found.append("seconds")
    return found


def odd(quantity):
    low, high = FACTORS[quantity.name]
    if not low <= abs(quantity.factor) <= high * 1.0001:
        yield f"factor of {quantity.name}"
    if quantity.step is not None:
        low, high = STEPS.get(quantity.name, (math.inf, 0))
        if not low <= quantity.step <= high:
            yield f"step of {quantity.name}"
        whole = "oid" in quantity.where or "int" in quantity.where.get("type", "")
        if whole and not math.isclose(quantity.step, abs(quantity.factor)):
            yield "a whole number that does not step by one"
    elif quantity.name == "joules":
        yield "a counter without its step"
    if quantity.modulus is not None and quantity.modulus < 1e6 * (quantity.step or math.inf):
        yield "a counter that wraps in a day"


def duplicates(profile):
    """Return what stands twice: a quantity of one part, or two at one place."""
    for key in (
        lambda each: (each.where.get("of"), each.name),
        lambda each: tuple(sorted((k, v) for k, v in each.where.items() if k != "of")),
    ):
        seen = [key(each) for each in profile.quantities]
        if len(set(seen)) < len(seen):
            return True
    return False


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_each_profile_is_well_formed_and_plausible(kind, name):
    profile = parsed(kind, tomllib.loads(source(kind, name)))
    assert implausible(profile) == []
    assert not duplicates(profile)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_each_profile_makes_a_meter(kind, name):
    meter = driver(kind).__dict__[f"{kind.capitalize()}Meter"]
    spec = meter(Address.parse(f"{kind}:192.0.2.60?profile={name}")).spec
    assert spec.name == f"{kind}:192.0.2.60?profile={name}"
    assert spec.details["profile"] == name
    assert spec.model


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_wrong_factor_or_a_missing_line_is_found(kind, name):
    document = tomllib.loads(source(kind, name))
    for row in document["quantities"]:
        kept = row.get("scale")
        for wrong in (1e7, 1e-10):
            row["scale"] = (kept or 1) * wrong
            assert implausible(parsed(kind, document)), row
        row.pop("scale")
        if kept is not None:
            row["scale"] = kept
    twice = document | {"quantities": document["quantities"] * 2}
    assert duplicates(parsed(kind, twice))
    assert implausible(parsed(kind, document | {"sources": ["hearsay"]}))
    assert implausible(parsed(kind, document | {"interval_s": 3600}))
    accuracy = {"of_reading": 0.1, "source": "a bad plug"}
    assert implausible(parsed(kind, document | {"accuracy": accuracy}))
    for key in ("model", "sources", "scope", "quantities"):
        with pytest.raises(PlanError, match=f"'{key}'|{key}"):
            parsed(kind, {k: v for k, v in document.items() if k != key})


GOOD = """
model = "A"
sources = ["a", "b"]
scope = "wall"
[[quantities]]
quantity = "watts"
unit = "kW"
query = "POW?"
scale = 0.5
"""


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ('"kW"', '"kWh"', "watts in kWh: that is a unit of joules"),
        ('"kW"', '"hp"', "unit must be one of"),
        ('"watts"', '"at"', "quantity must be one of"),
        ("0.5", "0", "makes nothing of anything"),
        ("0.5", "nan", "makes nothing of anything"),
        ("0.5", "'0.5'", "scale must be number"),
        ("scale", "scales", "must not contain {'scales'} properties"),
        ('query = "POW?"', "", r"must contain \['query'\] properties"),
        ("[[quantities]]", "[quantities]", "quantities must be array"),
        ('"wall"', '"socket"', "scope must be one of"),
        ('["a", "b"]', "[]", "sources must contain at least 1 items"),
        ("model", "modulo", "must contain"),
        ("0.5", "0.5\nmodulus = -1", "modulus must be bigger than 0"),
        ("0.5", "0.5\nscale = 1", "it is no TOML: Cannot overwrite"),
    ],
)
def test_a_profile_of_the_user_s_own(tmp_path, was, becomes, fault):
    file = tmp_path / "own.toml"
    file.write_text(GOOD)
    (meter,) = meters(f"scpi:h?profile={file}")
    assert isinstance(meter, ScpiMeter)
    assert meter.spec.model == "A"
    assert was in GOOD
    file.write_text(GOOD.replace(was, becomes))
    with pytest.raises(PlanError, match=f"profile {file}: .*{fault}") as caught:
        next(meters(f"scpi:h?profile={file}"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_profile(tmp_path):
    file = tmp_path / "own.toml"
    file.write_bytes(b"model = '\xff'")
    with pytest.raises(PlanError, match="it is no UTF-8"):
        next(meters(f"scpi:h?profile={file}"))
    file.write_bytes(b"#" * (profiles.LARGEST + 1))
    with pytest.raises(PlanError, match="larger than any profile"):
        next(meters(f"scpi:h?profile={file}"))


def test_raw_numbers_become_a_reading():
    watts = Quantity("watts", 10.0, {}, absent=(-1,))
    joules = Quantity("joules", 3.6e6, {})
    found = reading(100, 301, [(watts, 335), (joules, None)])
    assert (found.at, found.took_ns, found.watts, found.joules) == (200, 201, 3350, None)
    assert found.flags == ("joules absent",)
    for raw, flag in ((-1, "absent"), (math.nan, "absent"), (math.inf, "over range")):
        found = reading(0, 1, [(watts, raw)])
        assert (found.watts, found.flags) == (None, (f"watts {flag}",))
    assert reading(0, 1, [(joules, 1e308)]).flags == ("joules over range",)
    assert {"watts", "joules", "volts", "amperes", "power_factor", "hertz"} == QUANTITIES
