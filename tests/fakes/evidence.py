"""Records as evaluations judge them, made up."""

from dataclasses import replace

from hwkit.economics.catalogue import Nameplate
from hwkit.evaluate.lines import lines_of
from hwkit.evaluate.protocol import Protocol
from hwkit.evaluate.seen import Seen
from hwkit.evaluate.spec import Spec
from hwkit.harness.efficiency import Budget
from hwkit.harness.statistics import garwood_interval
from hwkit.units import Figure

PLATE = Nameplate("Miner (100 TH)", 100.0, 3000.0)
BLOCK = '[[step]]\nkind = "block"\n'


def figures(rate=100e12, watts=3000.0, wide=0.01):
    made = {"hashrate": (rate, "H/s"), "power": (watts, "W")}
    made["efficiency"] = (watts / rate * 1e12, "J/TH")
    return {n: Budget({}, wide, wide).figure(v, unit).to_json() for n, (v, unit) in made.items()}


def seen(kind="block", **changes):
    document = {
        "id": "r",
        "state": "complete",
        "counts": {"wall_ns": 600 * 10**9},
        "figures": figures(),
        "device": {"basis": "shares"},
        "caveats": [],
        "metered": [{}],
        "meters": [{"scope": "wall"}],
        "delivered": {
            "shares": 10_000,
            "refused": {"duplicate": 0, "low": 3},
            "gaps": {"longest_s": 1.0, "silent_s": 0.0, "due": 9.0},
            "counters": {"hardware_errors": 1},
            "work": {"hashes": 6e13},
            "dispersion": {"index": 1.0, "p": 0.5, "slices": 10, "slice_s": 60.0},
        },
    }
    return Seen(kind, document | changes, 70.0, 0, None)


def judged(*some, reference=None, steps=()):
    protocol = replace(Protocol.parse(BLOCK, "test"), reference=reference or {})
    found = lines_of(Spec.of(PLATE, 0.05), protocol, some, steps)
    return {each.name: each for each in found}


def of_shares(rate, time_s=600.0, work=1e10):
    """Return what differs of a run that hashed at this rate; its interval is its shares'."""
    n = round(rate * time_s / work)
    found = garwood_interval(n * work, n * work * work, work)
    lo, hi = (found.lo or 0.0) / time_s, found.hi / time_s
    told = {"shares": n, "work": {"hashes": n * work, "squares": n * work**2, "largest": work}}
    power = Budget({}, 0.01, 0.01).figure(3000.0, "W").to_json()
    made = {"power": power, "hashrate": Figure(n * work / time_s, lo, hi, "H/s").to_json()}
    if n:
        value = 3000.0 * time_s / (n * work) * 1e12
        made["efficiency"] = Figure(value, value * 0.97, value * 1.03, "J/TH").to_json()
    gaps = seen().told["gaps"] if n else None
    dispersed = seen().told["dispersion"] if n else None
    delivered = seen().told | told | {"gaps": gaps, "dispersion": dispersed}
    return {"figures": made, "counts": {"wall_ns": time_s * 1e9}, "delivered": delivered}


def part(number, rate, **changes):
    """Return a part of a soak."""
    time_s = changes.pop("time_s", 600.0)
    made = seen("soak", **of_shares(rate, time_s) | changes)
    return replace(made, step="soak", part=number)
