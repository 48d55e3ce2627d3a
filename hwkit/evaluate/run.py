"""Taking the steps of a protocol, each through harness.session; whatever ends it, it can go on."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hwkit.errors import (
    DeviceFault,
    NotPermitted,
    PlanError,
    ProtocolError,
    Unavailable,
    WrongHash,
)
from hwkit.evaluate.identity import recognise, recognised
from hwkit.evaluate.protocol import BLOCK, MODES, POWER_CYCLE, SOAK, SWEEP, Step
from hwkit.harness.plan import Plan, duration
from hwkit.harness.session import Session
from hwkit.protocols import Basis
from hwkit.units import plain

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from hwkit.evaluate.outside import Native, Outlet, Person, Switch
    from hwkit.evaluate.state import State
    from hwkit.harness.entry import Entry
    from hwkit.harness.metering import Metering
    from hwkit.harness.setup import Setup
    from hwkit.protocols import Hasher, RunSink, Window
    from hwkit.records import Store

    Switcher = Native | Outlet | Person | Switch

WAITING, DONE, NOT_TESTED = "waiting", "done", "not-tested"
BACK = 0.9  # of its rate: it is back
BACK_SHARES = 100  # that say so: their rate is known to 10 %
AGAIN_S = 2.0  # a device that starts is asked again
KEPT = ("firmware", "mode", "frequency_mhz", "power_target_w")  # what a restart is to keep


class Interrupted(Exception):
    """The user wants it to end; what was measured is kept."""


@dataclass(slots=True)
class Runner:
    """Takes steps of one evaluation with a device and its meters."""

    state: State
    hasher: Hasher
    records: Store
    stop: threading.Event
    metering: Metering | None
    setup: Setup
    meters: tuple[str, ...]
    follow: Callable[[Session], AbstractContextManager[Callable[[], None]]]
    say: Callable[[str], None]
    outlet: Outlet | Switch | Person | None = None
    setter: Native | Switch | Person | None = None
    challenge: str | None = None
    identify: Callable[[], dict[str, str]] = dict  # ask the device what it is
    settings: dict[str, str] = field(default_factory=dict)  # as it told them last

    def take(self, steps: list[Step]) -> None:
        """Take all steps that are not done.

        Raises Interrupted; WrongHash, noted before; PlanError where another machine answers.
        """
        told = {each["name"]: each for each in self.state.document["steps"]}
        todo = [step for step in steps if told[step.name]["state"] == WAITING]
        try:
            for number, step in enumerate(todo):
                left = duration(sum(each.longest_s for each in todo[number:]))
                self.say(f"{step.name} ({number + 1} of {len(todo)}; at most {left} left)")
                self.put_back()  # what could not be before
                if self._is_as_it_was(step, told[step.name]):
                    self._step(step, told[step.name])
        finally:
            self.put_back()

    def put_back(self) -> None:
        """Put back what a step has changed; see put_back."""
        put_back(self.state, {"outlet": self.outlet, "setting": self.setter}, self.say)

    def _is_as_it_was(self, step: Step, told: dict[str, Any]) -> bool:
        """Tell whether a step can be taken; not in a setting that an earlier one has left."""
        left = self.state.document["pending"].get("setting")
        if left is None or step.kind in {MODES, SWEEP}:
            return True
        told |= {"state": NOT_TESTED, "why": f"it is still set to {left}: that was not put back"}
        self.state.save()
        return False

    def _step(self, step: Step, told: dict[str, Any]) -> None:
        kinds = {
            BLOCK: self._block,
            SOAK: self._soak,
            POWER_CYCLE: self._cycles,
            MODES: self._settings,
            SWEEP: self._settings,
        }
        try:
            kinds[step.kind](step, told)
        except WrongHash as error:
            self.state.document["wrong"] = str(error)
            told |= {"state": DONE, "why": str(error)}
            self.state.save()
            raise
        except NotPermitted as error:
            told |= {"state": NOT_TESTED, "why": plain(error.why)}
        except (DeviceFault, Unavailable) as error:
            told |= {"state": NOT_TESTED, "why": plain(f"it failed: {error}")}
        else:
            told["state"] = DONE
        self.state.save()

    def _block(self, step: Step, told: dict[str, Any]) -> None:
        told["records"] = []  # one that a crash cut short is measured again
        self._measure(step, told, step.time, step.precision, warmup_s=step.warmup)

    def _soak(self, step: Step, told: dict[str, Any]) -> None:
        """Measure in parts: what was committed before a crash counts."""
        while (left_s := step.time - self._measured_s(told)) > 1.0:
            self._measure(step, told, min(step.part, left_s), None)

    def _cycles(self, step: Step, told: dict[str, Any]) -> None:
        """Cut its power and see how it comes back, so many times."""
        assert self.outlet is not None  # noqa: S101 - else it is not tested
        cycles = told.setdefault("cycles", [])
        while len(cycles) < step.times:
            before = dict(self.settings)
            self._pending("outlet", "off")
            self.outlet.to("off")
            if self.stop.wait(step.off):
                raise Interrupted
            _undo(self.state, "outlet", self.outlet)
            on = time.monotonic_ns()
            entry = self._after(step, told, on + round(step.within * 1e9))
            usual_h_s = self._usual_h_s(entry)
            back_s = _back_s(entry, on, usual_h_s)
            after = {name: value for name, value in self.settings.items() if name in before}
            changed = ", ".join(n for n in after if n in KEPT and after[n] != before[n])
            if back_s is not None and back_s > step.within:
                back_s = None
            cycle = {"back_s": back_s, "changed": changed, "why": entry.why}
            answers = entry.error is None or isinstance(entry.error, ProtocolError)
            if answers and not usual_h_s:
                cycle["no_rate"] = True
            if back_s is not None:
                cycle |= {"record": told["records"][-1], "back_ns": on + round(back_s * 1e9)}
            cycles.append(cycle)
            self.state.save()

    def _after(self, step: Step, told: dict[str, Any], until: int) -> Entry:
        """Measure it after its power was cut: once it answers, which it may not do until then."""
        while True:
            before = len(told["records"])
            entry = self._measure(step, told, step.time, None, raises=False)
            lost = isinstance(entry.error, DeviceFault) and not entry.hashes
            if not lost or time.monotonic_ns() >= until:
                return entry
            del told["records"][before:]  # nothing is in it
            # One that is only watched is measured by what it tells: no record of each refusal.
            watched = entry.hasher.spec.basis is Basis.CLAIMED and self.state.document["identity"]
            silent = True
            while silent and time.monotonic_ns() < until:
                if self.stop.wait(AGAIN_S):
                    raise Interrupted
                silent = bool(watched) and not self.identify()

    def _settings(self, step: Step, told: dict[str, Any]) -> None:
        assert self.setter is not None  # noqa: S101 - else it is not tested
        values, refused = told.setdefault("values", {}), told.setdefault("refused", {})
        for value in step.values:
            if value in values:
                continue
            self._pending("setting", value)
            try:
                self.setter.to(step.word(value))
            except Unavailable as error:  # it has no such value, or will not have it
                refused[value] = plain(error)
                self.state.save()
                continue
            self._measure(step, told, step.time, step.precision, warmup_s=step.warmup)
            values[value] = told["records"][-1]
            self.state.save()
        try:
            _undo(self.state, "setting", self.setter)
        except (DeviceFault, Unavailable) as error:  # what was measured stands
            told["left"] = plain(error)
        if not values:
            raise NotPermitted(step.name, "; ".join(dict.fromkeys(refused.values())))

    def _measure(
        self,
        step: Step,
        told: dict[str, Any],
        time_s: float,
        precision: float | None,
        *,
        warmup_s: float = 0.0,
        raises: bool = True,
    ) -> Entry:
        """Measure once, as bench does; the record's name is on disk before it begins."""
        plan = Plan(
            time_s=time_s,
            precision=precision,
            warmup_s=warmup_s,
            settle=step.settle,
            meters=self.meters,
            challenge=self.challenge,
        )
        session = Session(
            plan,
            [self.hasher],
            _Noting(self, told),
            self.stop,
            metering=self.metering,
            setup=self.setup,
        )
        with self.follow(session) as tick:
            [entry] = session.run(tick)
        self._remember(entry)
        self._recognise(told, failed=entry.error is not None)
        if self.stop.is_set():
            raise Interrupted
        if entry.state == "unproven":
            raise WrongHash(f"{entry.name} is not proven: {entry.why}", b"", 0, "", "")
        if isinstance(entry.error, WrongHash):
            raise entry.error
        if entry.error is not None and raises:
            told["lost"] = isinstance(entry.error, DeviceFault)
            raise DeviceFault(str(entry.error))
        return entry

    def _recognise(self, told: dict[str, Any], *, failed: bool = False) -> None:
        """See that it was the machine that was begun with: what another one did is not kept.

        One whose measurement failed may be restarting, and answer nothing.
        """
        document = self.state.document
        known = document.setdefault("identity", {})
        now = self.identify()
        if not recognised(known, now):  # a call may have gone unanswered
            now = self.identify()
        if not recognised(known, now) and (now or not failed):
            told["unrecognised"] = told.get("unrecognised", 0) + 1
        try:
            recognise(known, now, document["address"])
        except PlanError:
            told["records"].pop()
            self.state.save()
            raise

    def _pending(self, name: str, word: str) -> None:
        self.state.document["pending"][name] = word
        self.state.save()

    def _remember(self, entry: Entry) -> None:
        for probe in entry.probes:
            if probe.name in KEPT:
                told = " ".join(probe.words) if probe.value is None else f"{probe.value:g}"
                self.settings[probe.name] = told

    def _measured_s(self, told: dict[str, Any]) -> float:
        kept = [self.records.get(name).document for name in told["records"]]
        return sum(float(each["counts"]["wall_ns"]) for each in kept) / 1e9

    def _usual_h_s(self, entry: Entry) -> float:
        """Return the rate that it is to come back to: the block's, else its own of now."""
        for step in self.state.document["steps"]:
            if step["kind"] == BLOCK and step["records"]:
                figures = self.records.get(step["records"][-1]).figures
                if "hashrate" in figures:
                    return figures["hashrate"].value
        found = entry.summary.figures.get("hashrate") if entry.summary else None
        return found.value if found else 0.0


@dataclass(frozen=True, slots=True)
class _Noting:
    """A sink that writes down which record was opened, before anything is measured."""

    runner: Runner
    told: dict[str, Any]

    def open(self, facts: dict[str, Any], identity: dict[str, str]) -> RunSink:
        """Begin a run in the store; see protocols.Sink."""
        name = self.runner.state.document["id"]
        run = self.runner.records.open(facts | {"evaluation": name}, identity)
        self.told["records"].append(run.id)
        self.runner.state.save()
        return run


def put_back(state: State, by: Mapping[str, Switcher | None], say: Callable[[str], None]) -> None:
    """Put back what a step has changed, in this process or one that died; say what cannot be.

    That stays on disk, to be put back when the evaluation is gone on with.
    """
    for name in list(state.document["pending"]):
        try:
            _undo(state, name, by[name])
        except (DeviceFault, Unavailable) as error:
            say(f"hwkit: {name} is not put back: {error}")


def _undo(state: State, name: str, by: Switcher | None) -> None:
    if by is None:
        return
    by.to({"outlet": "on", "setting": "restore"}[name])
    state.document["pending"].pop(name, None)
    state.save()


def ordered(steps: tuple[Step, ...], by_hand: set[str]) -> list[Step]:
    """Return the steps, those that need a person last: they hold up nothing."""
    return sorted(steps, key=lambda step: bool(by_hand & set(step.needs)))


def _back_s(entry: Entry, on: int, usual_h_s: float) -> float | None:
    """Return when it was back at 90 % of its rate, s after the power; None: it was not."""
    recent: deque[Window] = deque()
    shares = hashes = 0
    for window in entry.windows:
        recent.append(window)
        shares, hashes = shares + window.shares, hashes + window.hashes
        while len(recent) > 1 and shares - recent[0].shares >= BACK_SHARES:
            first = recent.popleft()
            shares, hashes = shares - first.shares, hashes - first.hashes
        enough = shares >= BACK_SHARES or window is entry.windows[-1]
        span_s = (window.closed - recent[0].opened) / 1e9
        if enough and hashes / span_s >= BACK * usual_h_s > 0:
            return (recent[0].opened - on) / 1e9
    return None
