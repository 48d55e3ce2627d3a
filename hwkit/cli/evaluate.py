"""`hwkit evaluate`: accept or refuse a device, by a protocol, against its nameplate."""

from __future__ import annotations

import math
import select
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

import hwkit
from hwkit.cli.evaluate_text import print_evaluation
from hwkit.cli.interrupts import until_interrupted
from hwkit.cli.metered import Bench, confirm_option, inlet_option, mains_option
from hwkit.cli.models import known_models, models_option
from hwkit.cli.options import (
    FiniteRange,
    find_hashers,
    json_option,
    meter_option,
    no_corrections_option,
    print_json,
    store_option,
    tuned,
)
from hwkit.cli.restoring import by_hand, manual_option, restored
from hwkit.economics.catalogue import find
from hwkit.errors import (
    DeviceFault,
    HwkitError,
    NotPermitted,
    PlanError,
    Unavailable,
    WrongHash,
)
from hwkit.evaluate import identity, schedule
from hwkit.evaluate import state as states
from hwkit.evaluate.judging import judged
from hwkit.evaluate.outside import NATIVE, Native, Outlet, Person, Switch, internet, place_of
from hwkit.evaluate.protocol import BLOCK, Protocol
from hwkit.evaluate.run import AGAIN_S, WAITING, Interrupted, Runner, ordered, put_back
from hwkit.evaluate.spec import Spec
from hwkit.harness.plan import Plan
from hwkit.harness.wiring import Wiring
from hwkit.plugins import Address
from hwkit.protocols import Restorable
from hwkit.records import Store
from hwkit.report.live import Live
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event

    from hwkit.evaluate.state import State
    from hwkit.harness.session import Session
    from hwkit.protocols import Hasher

EXIT = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 5}
INTERRUPTED = 130
LOOK_S = 0.2
OF = {"outlet": "outlet", "settings": "setter"}  # by what a step needs, the option
INTERNET = "1.1.1.1:443"
WATCHED = "its pools cannot be changed: what it delivers cannot be seen, only what it claims"


@click.command("evaluate")
@click.argument("address", required=False)
@click.option("--spec", "model", metavar="MODEL", help="What it is sold as: hwkit models.")
@click.option(
    "--protocol",
    "protocol_name",
    default="standard",
    show_default=True,
    metavar="quick|standard|accept|FILE",
    help="Which steps, how long, within which limits.",
)
@click.option(
    "--efficiency",
    type=FiniteRange(0, min_open=True),
    metavar="J/TH",
    help="Its limit, where the contract says one.",
)
@meter_option
@inlet_option
@mains_option
@models_option
@click.option(
    "--outlet",
    metavar="ADDRESS",
    help="Cuts its power: shelly:HOST, tasmota:HOST, snmp:HOST?profile=...&outlet=3, exec:PROGRAM. "
    "[opt-in]",
)
@click.option(
    "--settings",
    "setter",
    metavar="native|PROGRAM",
    help="Sets modes, frequencies, power targets: by its own API, or a program. [opt-in]",
)
@click.option("--person", is_flag=True, help="Somebody is here, to switch and to set: asked last.")
@click.option(
    "--internet",
    default=INTERNET,
    show_default=True,
    metavar="HOST:PORT|none",
    help="Record whether the network reaches it: some firmware stops without its fee pool.",
)
@click.option("--challenge", metavar="TEXT", help="Put into the coinbase, as bench does.")
@click.option("--plan", "only_plan", is_flag=True, help="Print the schedule, and stop.")
@click.option("--resume", metavar="ID", help="Go on with one that was cut short; or 'last'.")
@confirm_option
@no_corrections_option
@manual_option
@store_option
@json_option
def command(
    *,
    store: str | None,
    resume: str | None,
    only_plan: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Accept or refuse the device at ADDRESS: measure it by a protocol, judge it line by line.

    A line passes only where its limit is met by more than U (k = 2), fails where it is exceeded by
    more than U, and is else INCONCLUSIVE, with what would decide it. Of TH/s and W the limits are
    the nameplate's tolerances; J/TH has one of its own.

    Exit codes: 0 PASS, 1 FAIL, 5 INCONCLUSIVE. What is interrupted goes on with --resume.
    """
    if resume is not None:
        if given["address"] or given["model"]:
            raise PlanError("--resume goes on with what was begun: give neither address nor --spec")
        state = states.read(store, resume)
        states.refuse_ended(state)
    else:
        if not given["address"] or not given["model"]:
            raise PlanError("name a device and what it is sold as: evaluate ADDRESS --spec MODEL")
        before = None if only_plan else states.unfinished(store, given["address"])
        if before:
            said = f"hwkit: {before} was not ended: evaluate --resume {before} goes on with it"
            click.echo(said, err=True)
        state = states.begun(store, _document(given))
    with state.claimed() if not only_plan else nullcontext():
        if state.document["state"] == states.RUNNING or only_plan:
            _evaluate(state, store, only_plan=only_plan, as_json=as_json)
        else:
            _put_back(state, as_json=as_json)


def _document(given: dict[str, Any]) -> dict[str, Any]:
    """Return what an evaluation begins with."""
    protocol = Protocol.named(given["protocol_name"])
    plate = find(given["model"], known_models(given["own"]))
    if given["model"].casefold() != plate.model.casefold():
        _say(f"hwkit: --spec {given['model']!r} is taken as {plate.model}")
    if given["person"] and not sys.stdin.isatty():
        raise PlanError("--person: there is no terminal to ask at")
    if given["efficiency"] is not None and not 0 < given["efficiency"] < math.inf:
        raise PlanError(f"--efficiency {given['efficiency']:g}: it lies above 0, and is finite")
    if given["internet"] != "none":
        place_of(given["internet"])
    spec = Spec.of(plate, protocol.limits.efficiency, given["efficiency"])
    steps = [
        {"name": each.name, "kind": each.kind, "state": WAITING, "why": "", "records": []}
        for each in protocol.steps
    ]
    kept = {"meters", "inlet", "mains", "outlet", "setter", "person", "internet", "challenge"}
    kept |= {"confirm", "no_corrections", "manual"}
    return {
        "hwkit": hwkit.__version__,
        "address": given["address"],
        "spec": spec.to_json(),
        "protocol": protocol.to_json(),
        "options": {name: given[name] for name in sorted(kept)} | {"meters": [*given["meters"]]},
        "steps": steps,
        "pending": {},
    }


def _evaluate(state: State, store: str | None, *, only_plan: bool, as_json: bool) -> None:
    document, options = state.document, state.document["options"]
    spec, protocol = Spec.from_json(document["spec"]), Protocol.from_json(document["protocol"])
    bench = _bench(document["address"], options)
    block = next(step for step in protocol.steps if step.kind == BLOCK)
    plan = Plan(time_s=block.time, precision=block.precision, meters=tuple(bench.names))
    foreseen = bench.foresee(
        plan, spec.expected, store, asked=False, corrected=not options["no_corrections"]
    )
    cannot = _cannot(protocol, options)
    for line in schedule.lines(
        spec, protocol, cannot, foreseen[0] if foreseen else None, bench.basis
    ):
        click.echo(plain(line), err=True)
    document["foreseen"] = [each.to_json() for each in foreseen]
    if only_plan:
        if as_json:
            print_json({name: document[name] for name in ("spec", "protocol", "foreseen")})
        return
    if "internet" not in document:
        asked = options["internet"]
        document["internet"] = internet(None if asked == "none" else asked)
    for step in document["steps"]:
        if step["name"] in cannot:
            step |= {"state": "not-tested", "why": cannot[step["name"]]}
    state.save()
    click.echo(f"evaluation {document['id']}", err=True)
    interrupted = _take(state, store, bench, spec, protocol)
    document |= judged(document, Store(store))
    document["state"] = "running" if interrupted else "complete"
    state.save()
    if as_json:
        print_json(document)
    else:
        print_evaluation(document, store)
    not_restored = 0 if document["restored"] else DeviceFault.exit_code
    sys.exit(INTERRUPTED if interrupted else EXIT[document["verdict"]] or not_restored)


def _put_back(state: State, *, as_json: bool) -> None:
    """Put back what an evaluation that has its verdict could not; nothing else is done."""
    document, options = state.document, state.document["options"]
    address, pending = document["address"], [*document["pending"]]
    identity.recognise(dict(document["identity"]), identity.asked(address), address)
    by_hand = {"outlet": not options["outlet"], "setting": not options["setter"]}
    if any(by_hand[each] for each in pending) and not sys.stdin.isatty():
        raise PlanError(f"{' and '.join(pending)}: there is no terminal to ask at")
    with until_interrupted() as stop:
        try:
            named = options["outlet"]
            outlet = Outlet(named) if named else _person(stop, "outlet")
            setter = _named(state, _person(stop, "settings"))
            put_back(state, {"outlet": outlet, "setting": setter}, _say)
        except Interrupted:
            sys.exit(INTERRUPTED)
    left = document["pending"]
    document["restored"] = not left and not document["faults"]
    state.save()
    done = [each for each in pending if each not in left]
    if as_json:
        print_json(document)
    elif done:
        click.echo(f"evaluation {document['id']} had ended; put back: {' and '.join(done)}")
    sys.exit(DeviceFault.exit_code if left else 0)


def _person(stop: Event, what: str) -> Person:
    return Person(partial(_ask, stop), what)


def _bench(address: str, options: dict[str, Any]) -> Bench:
    """Find the one device and its meters."""
    addresses = by_hand([address]) if options["manual"] else (address,)
    said = {"inlet_c": options["inlet"], "mains_v": options["mains"]}
    bench = Bench(addresses, options["meters"], None, said, find_hashers)
    if len(bench.hashers) != 1:
        names = ", ".join(hasher.spec.name for hasher in bench.hashers) or "nothing"
        raise PlanError(f"an evaluation is of one device, and {address} names {names}")
    return bench


def _cannot(protocol: Protocol, options: dict[str, Any]) -> dict[str, str]:
    """Return which steps cannot be taken, and why."""
    there = {"outlet": options["outlet"], "settings": options["setter"]}
    words = {"outlet": "--outlet ADDRESS", "settings": "--settings native"}
    return {
        step.name: f"it needs {words[need]}, or --person"
        for step in protocol.steps
        for need in step.needs
        if not there[need] and not options["person"]
    }


def _take(state: State, store: str | None, bench: Bench, spec: Spec, protocol: Protocol) -> bool:
    """Take the steps; return whether it was interrupted."""
    options = state.document["options"]
    interrupted = False
    with until_interrupted() as stop, ExitStack() as stack:
        metering, setup = stack.enter_context(
            bench.open(confirmed=options["confirm"], corrected=not options["no_corrections"])
        )
        if bench.names:
            wiring = Wiring.side_by_side(bench.names)
            setup = replace(setup, wirings=[replace(wiring, nameplate_w=spec.power_w)])
        [hasher] = tuned(bench.hashers, stop, no_tune=False, retune=False)
        person = {each: _person(stop, each) for each in OF}
        by_person = (
            {each for each in person if not options[OF[each]]} if options["person"] else set()
        )
        outlet = _outlet(state, person["outlet"] if "outlet" in by_person else None)
        identify = partial(identity.asked, state.document["address"])
        known = state.document.setdefault("identity", {})
        identity.recognise(known, identify(), state.document["address"])
        hasher, faults = _restored(stack, hasher, state, protocol, stop)
        setter = _setter(state, person["settings"] if "settings" in by_person else None)
        runner = Runner(
            state,
            hasher,
            Store(store),
            stop,
            metering,
            setup,
            tuple(bench.names),
            _follow,
            _say,
            outlet=outlet,
            setter=setter,
            challenge=options["challenge"],
            identify=identify,
        )
        try:
            runner.take(ordered(protocol.steps, by_person))
        except Interrupted:
            interrupted = True
        except WrongHash as error:
            _say(f"hwkit: {error}")
    state.document["restored"] = not faults and not state.document["pending"]
    state.document["faults"] = [str(fault) for fault in faults]
    return interrupted


def _outlet(state: State, person: Person | None) -> Outlet | Person | None:
    """Return what switches its power, and see that it is on, whatever was before."""
    named, pending = state.document["options"]["outlet"], state.document["pending"]
    outlet = Outlet(named) if named else None
    if outlet is not None and outlet.look():
        pending["outlet"] = "on"
    elif "outlet" in pending and (switch := outlet or person) is not None:
        switch.to("on")
    return outlet or person


def _setter(state: State, person: Person | None) -> Native | Switch | Person | None:
    """Return what sets it; settings that a process which died has left are put back."""
    setter = _named(state, person)
    if isinstance(setter, Native):
        setter.look()
    return setter


def _named(state: State, person: Person | None) -> Native | Switch | Person | None:
    named = state.document["options"]["setter"]
    if named == NATIVE:
        return Native.of(state.document["address"])
    return Switch.parse(named) if named else person


def _restored(
    stack: ExitStack, hasher: Hasher, state: State, protocol: Protocol, stop: Event
) -> tuple[Hasher, list[HwkitError]]:
    """Look at the device and see that it is given back; one that may not be changed is watched.

    Where its power was off before, it is waited for as long as the protocol gives it.
    """
    patience_s = max(step.within for step in protocol.steps) * (
        "outlet" in state.document["pending"]
    )
    until = time.monotonic() + patience_s
    while True:
        try:
            return _looked_at(stack, hasher, state)
        except (Unavailable, DeviceFault):
            if time.monotonic() >= until or stop.wait(AGAIN_S):
                raise


def _looked_at(stack: ExitStack, hasher: Hasher, state: State) -> tuple[Hasher, list[HwkitError]]:
    try:
        return hasher, stack.enter_context(restored([hasher]))
    except NotPermitted as why:
        address = state.document["address"]
        if not isinstance(hasher, Restorable) or not address.startswith("asic:"):
            raise
        _say(f"hwkit: {why}: {WATCHED}")
        state.document["watched"] = plain(why)
        state.save()
        parsed = Address.parse(address)
        web = f"?web={parsed.options['web']}" if "web" in parsed.options else ""
        [watched] = find_hashers([f"asic-api:{parsed.place}{web}"])
        return watched, []


@contextmanager
def _follow(session: Session) -> Iterator[Callable[[], None]]:
    with Live(session) as live:
        yield live.tick


def _ask(stop: Event, text: str) -> None:
    """Wait for Enter. Raises Interrupted where the user would rather have it end."""
    _say(text)
    while not select.select([sys.stdin], [], [], LOOK_S)[0]:
        if stop.is_set():
            raise Interrupted
    sys.stdin.readline()


def _say(line: str) -> None:
    click.echo(plain(line), err=True)
