"""How fast is a kernel beside other people's programs? In pairs, per second of CPU time.

    python bench/peers.py [--kernel cpu:avx512]... [--peer [NAME=]PATH]... [--rounds 15] [--json]

Each round every contestant (contestants.py) has one turn, in random order, one thread on the same
processor. A ratio is the median over the rounds, between the order statistics that hold it. Nothing
of a peer is built or shipped here: what is on PATH is measured, and what is absent is said.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from contestants import Hashcat, Miner, OpenSSL, Ours, Setting

from hwkit.cli.options import find_hashers, json_option, print_json
from hwkit.errors import DeviceFault, HwkitError, PlanError, Unavailable
from hwkit.harness.plan import duration
from hwkit.harness.statistics import median_interval
from hwkit.hashers import cpu, cpuinfo, native
from hwkit.hashers.kernel import KernelHasher
from hwkit.prove import prove
from hwkit.units import Figure, plain, show

KINDS = {"cpuminer": Miner, "minerd": Miner, "openssl": OpenSSL, "hashcat": Hashcat}
INTERRUPTED = 130
PATIENCE_S = 120  # a busy machine lets a nice miner wait, and hashcat compiles first


@click.command()
@click.option("--kernel", "kernels", multiple=True, help="Its address. [default: cpu:auto]")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="[NAME=]PATH",
    help="Only this one; its NAME begins with cpuminer, minerd, openssl or hashcat. "
    "[default: each of these that is on PATH]",
)
@click.option("--rounds", type=click.IntRange(1, 10_000), default=15, show_default=True)
@click.option("--piece", type=click.FloatRange(0.05, 60), default=4, help="CPU seconds of a turn.")
@click.option("--core", type=click.IntRange(0), help="The processor. [default: the last usable]")
@click.option("--deadline", type=click.FloatRange(1), help="Wall seconds a peer's turn may take.")
@json_option
def main(*, kernels, peers, rounds, piece, core, deadline, as_json):
    """Compare hwkit's kernels with other programs on this machine, in turns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            core = pinned(core)
            home = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            setting = Setting(home, core, piece, deadline or 10 * piece + PATIENCE_S)
            theirs, missing = found(peers, setting)
            ours = [Ours(kernel, setting) for kernel in proven(kernels or ["cpu:auto"])]
            for contestant in [*ours, *theirs]:
                stack.callback(contestant.close)
            rates, interrupted = take_turns(ours, theirs, missing, rounds)
    except HwkitError as error:
        click.echo(f"peers: {plain(error)}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    document = {"core": core, "piece_s": piece, "interrupted": interrupted}
    document |= report(ours, theirs, rates, missing)
    if as_json:
        print_json(document)
    else:
        show_report(document)
    nothing = 0 if document["comparisons"] else Unavailable.exit_code
    sys.exit(INTERRUPTED if interrupted else nothing)


def take_turns(ours, theirs, missing, rounds):
    """Return each contestant's rates, one a round; who fails is out, and `missing` says why."""
    rates = {contestant.name: [] for contestant in [*ours, *theirs]}
    interrupted = False
    began = time.monotonic()
    try:
        for n in range(rounds + 1):  # the first warms up
            playing = [c for c in [*ours, *theirs] if c.name not in missing]
            if not set(playing) & set(theirs):
                break
            for contestant in random.sample(playing, len(playing)):
                try:
                    rates[contestant.name].append(contestant.turn())
                except DeviceFault as fault:
                    contestant.close()
                    missing[contestant.name] = plain(fault)
                    click.echo(f"{contestant.name}: {plain(fault)}", err=True)
            left_s = (time.monotonic() - began) / (n + 1) * (rounds - n)
            click.echo(f"round {n} of {rounds}, about {duration(left_s)} left", err=True)
    except KeyboardInterrupt:
        interrupted = True
    return {name: each[1:] for name, each in rates.items()}, interrupted


def report(ours, theirs, rates, missing):
    """Return what --json prints: rates in hashes per second of CPU time, ratios ours to theirs."""
    measured = {c.name for c in [*ours, *theirs] if c.name not in missing and rates[c.name]}
    comparisons = [
        compared(kernel, peer, rates[kernel.name], rates[peer.name])
        for kernel in ours
        for peer in theirs
        if {kernel.name, peer.name} <= measured
    ]
    return {
        "cpu": cpuinfo.model(),
        "compiler": native.compiler(),
        "rates": {name: figure(rates[name], "H/s") for name in sorted(measured)},
        "comparisons": comparisons,
        # The one ratio, where one kernel met one peer.
        "ratio": comparisons[0]["ratio"] if len(comparisons) == 1 else None,
        "missing": missing,
    }


def compared(kernel, peer, our_rates, its_rates):
    # As many as both have: the last round may have been interrupted.
    ratios = [our / its for our, its in zip(our_rates, its_rates, strict=False)]
    return {
        "kernel": kernel.name,
        "peer": peer.name,
        "path": peer.path,
        "other_work": peer.work,
        "ratio": figure(ratios, ""),
        "confidence": median_interval(ratios).confidence,
        "pairs": len(ratios),
    }


def figure(values, unit):
    interval = median_interval(values)
    return Figure(interval.value, interval.lo, interval.hi, unit).to_json()


def show_report(document):
    click.echo(f"One thread on processor {document['core']}, per second of its CPU time:")
    for name, rate in document["rates"].items():
        click.echo(f"  {plain(name):<24} {show(rate['value'], 'H/s')}")
    for one in sorted(document["comparisons"], key=lambda one: one["other_work"] is not None):
        ratio, work = one["ratio"], one["other_work"]
        click.echo(
            f"{one['kernel']} / {plain(one['peer'])} = {ratio['value']:.4f} ({ratio['lo']:.4f} to "
            f"{ratio['hi']:.4f}, {100 * one['confidence']:.3g} %, {one['pairs']} pairs)"
            + (f"; DIFFERENT WORK: {work}" if work else "")
        )
    for name, why in document["missing"].items():
        click.echo(f"no {plain(name)}: {why}")


def pinned(core):
    """Run on one processor, as then does every process started here; return its number."""
    if not sys.platform.startswith("linux"):
        raise Unavailable("peers", "Linux alone tells the CPU time of another process as it runs")
    usable = os.sched_getaffinity(0)
    core = max(usable) if core is None else core
    if core not in usable:
        raise PlanError(f"processor {core}: this process may use {sorted(usable)}")
    os.sched_setaffinity(0, {core})
    os.environ["POCL_MAX_PTHREAD_COUNT"] = "1"  # ours in OpenCL: as the peers have it
    return core


def proven(addresses):
    """Yield the kernels addressed, each proven first."""
    for hasher in find_hashers(list(dict.fromkeys(addresses)), threads=1):
        if not isinstance(hasher, KernelHasher):
            raise PlanError(f"{hasher.spec.name} has no kernel")
        if hasher.spec.resource != cpu.RESOURCE:
            raise PlanError(f"{hasher.spec.name} is no processor: it has no CPU time to compare by")
        if not prove(hasher.kernel).passed:
            raise click.ClickException(f"{hasher.spec.name} is not proven and gets no speed")
        yield hasher.kernel


def found(texts, setting):
    """Return the peers that are here, and of the others the reason."""
    theirs, missing = {}, {}
    for text in texts or KINDS:
        called, path = re.fullmatch(r"(?:([^/=]+)=)?(.*)", text, re.DOTALL).groups()
        name = called or Path(path).name
        kind = next((KINDS[key] for key in KINDS if name.startswith(key)), None)
        if kind is None:
            raise PlanError(f"{text}: which is it? write NAME=PATH, NAME one of {', '.join(KINDS)}")
        if name in theirs:
            raise PlanError(f"two peers are called {name}: write NAME=PATH")
        at = shutil.which(path)
        if at:
            theirs[name] = kind(name, str(Path(at).absolute()), setting)
        elif texts:
            raise PlanError(f"{path}: no such program")
        else:
            missing[name] = "not on PATH"
    return list(theirs.values()), missing


if __name__ == "__main__":
    main()
