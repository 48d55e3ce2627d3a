"""A session of hashers that are objects here: windows of 0.05 s, as many as are counted on."""

import threading

from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel


def plan(**changes):
    return Plan(**{"time_s": 0.4, "precision": None, "warmup_s": 0.05, "turn_s": 0.05} | changes)


def honest(kernel=None):
    return KernelHasher.lift(kernel or ReferenceKernel(), "cpu", 1)


def run(store, *hashers, stop=None, windows=None, **changes):
    """Measure to the end of the plan, or until every hasher has so many windows.

    What a test counts on is given as a number of windows: on a busy machine, or under a
    sanitizer, a time holds any number of them.
    """

    def enough(session):
        return all(len(entry.windows) >= windows for entry in session.entries)

    if windows is not None:
        changes["time_s"] = 600
    return Session(
        plan(**changes), hashers, store, stop or threading.Event(), enough=windows and enough
    ).run()
