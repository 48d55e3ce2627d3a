"""`hwkit simulate`: a miner that speaks a real one's API, and really hashes over Stratum."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hwkit import plugins
from hwkit.cli.interrupts import ending_signals
from hwkit.cli.options import FiniteRange, json_option, read_with
from hwkit.errors import PlanError, Unavailable
from hwkit.harness.plan import seconds
from hwkit.hashers.kernel import KernelHasher
from hwkit.simulate.behaviour import SETTINGS, Behaviour
from hwkit.simulate.dialect import Dialect, names
from hwkit.simulate.hashing import usual_kernel
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.miner import Miner
from hwkit.simulate.pools import Pools, read_pool
from hwkit.units import plain, show
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import MAX_TARGET, Job, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hwkit.protocols import Kernel
    from hwkit.simulate.pools import Pool as OwnPool

PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
USUAL_RATE = "5MH/s"
UNKNOWN_RATE_H_S = 20e6


def rate(text: str) -> float | None:
    """Read a hash rate, 5MH/s; None for 'max'. Raises PlanError."""
    if text == "max":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(?:H/s)?", text.strip())
    if not found:
        raise PlanError(f"{text!r} is no hash rate: write 5MH/s, or max")
    return float(found[1]) * PREFIXES[found[2]]


def moment(text: str) -> float:
    """Read seconds, 90s or 1.5min. Raises PlanError."""
    return seconds(text)


def throttle(text: str) -> tuple[float, float]:
    """Read AFTER:FACTOR, 60s:0.5. Raises PlanError."""
    after, colon, factor = text.partition(":")
    if not colon or not re.fullmatch(r"\d*\.?\d+", factor):
        raise PlanError(f"{text!r}: write AFTER:FACTOR, as 60s:0.5")
    return moment(after), float(factor)


def setting(text: str) -> tuple[float, str, str]:
    """Read AFTER:NAME=VALUE, 60s:mode=eco. Raises PlanError."""
    after, colon, rest = text.partition(":")
    name, equals, value = rest.partition("=")
    if not (colon and equals and value):
        raise PlanError(f"{text!r}: write AFTER:NAME=VALUE, as 60s:mode=eco")
    return moment(after), name, value


@click.command("simulate")
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=4028,
    show_default=True,
    help="Where it answers as a miner does; 0: any free port, which is printed.",
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where its web page answers, if its make has one beside the API. [default: any]",
)
@click.option("--web-user", default="root", show_default=True, help="Who may use that page.")
@click.option("--web-password", default="simulated", show_default=True)
@click.option("--listen", default="127.0.0.1", show_default=True, help="The address it answers on.")
@click.option(
    "--dialect",
    type=click.Choice(names()),
    default="cgminer",
    show_default=True,
    help="Whose words it speaks.",
)
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="URL,USER,PASS",
    callback=lambda _context, _parameter, values: [
        read_with(read_pool)(_context, _parameter, v) for v in values
    ],
    help="A pool of its own, best first: stratum+tcp://HOST:PORT,USER,PASS. [repeatable; default: "
    "one that this command runs; with --state those in FILE, none at first]",
)
@click.option(
    "--rate",
    "rate_h_s",
    default=USUAL_RATE,
    show_default=True,
    callback=read_with(lambda text: (rate(text),)),
    help="How fast it hashes, really; max: as fast as it can.",
)
@click.option("--threads", type=click.IntRange(1, 4096), default=1, show_default=True)
@click.option("--kernel", metavar="ADDRESS", help="What hashes: cpu:auto. [default: a fast one]")
@click.option("--no-version-rolling", is_flag=True, help="Do not ask the pool for BIP 310's.")
@click.option(
    "--floor", type=FiniteRange(0), metavar="D", help="Report no nonce below this difficulty."
)
@click.option(
    "--lie", type=FiniteRange(0), default=1.0, metavar="F", help="Claim F times what it does: 1.3"
)
@click.option(
    "--reject",
    type=FiniteRange(0, 1),
    default=0.0,
    metavar="F",
    help="This fraction of its shares is wrong.",
)
@click.option(
    "--hw-errors",
    type=FiniteRange(0, 1),
    default=0.0,
    metavar="F",
    help="This fraction of the nonces found is bad: counted, and not sent.",
)
@click.option("--stall", callback=read_with(moment), metavar="AFTER", help="Then claim on only.")
@click.option(
    "--throttle",
    callback=read_with(throttle),
    metavar="AFTER:F",
    help="From then on hash at F of its rate, and say so: 60s:0.5",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="AFTER:NAME=VALUE",
    callback=read_with(lambda texts: tuple(setting(text) for text in texts)),
    help=f"From then on say that it is set so; NAME: {', '.join(SETTINGS)}. [repeatable]",
)
@click.option("--tuning", callback=read_with(moment), metavar="TIME", help="Tune itself at first.")
@click.option("--reboot-at", callback=read_with(moment), metavar="TIME", help="Reboot once, then.")
@click.option(
    "--reboot-takes", default="3s", callback=read_with(moment), metavar="TIME", show_default=True
)
@click.option("--reboot-on-pool-change", is_flag=True, help="As Antminers do.")
@click.option(
    "--forget", is_flag=True, help="Lose, when it restarts, what the API has changed, unless saved."
)
@click.option("--no-write", is_flag=True, help="Refuse to change pools (code 45).")
@click.option("--malformed", type=click.Choice(list(MALFORMATIONS)), help="Spoil each answer so.")
@click.option("--power", type=FiniteRange(0), metavar="W", help="What it claims to draw.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep pools and settings here: to end this process is then to cut a miner's power.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of its faults.")
@click.option("--verbose", is_flag=True, help="Tell on stderr what it does.")
@json_option
def command(*, as_json: bool, verbose: bool, **given: Any) -> None:  # noqa: ANN401
    """Simulate a miner: it speaks a real one's API, and really hashes over Stratum.

    It needs no hardware, and is to hwkit what a miner is: `hwkit asic show 127.0.0.1`.

    What it delivers is real work at the rate you give it, on any pool; what it says of that is true
    unless told otherwise, as with --lie, --stall or --hw-errors. Once it answers it prints a line;
    with --json that is a document with its ports. SIGINT, SIGTERM and SIGHUP end it.

    \b
    A miner that claims 30 % more than it does, on a pool of yours:
        hwkit simulate --lie 1.3 --pool stratum+tcp://127.0.0.1:3333,me,x
    One that somebody turns down after a minute:
        hwkit simulate --dialect luxos --set 60s:frequency_mhz=250 --throttle 60s:0.8
    An Antminer, whose pools are changed by its web page (user root, password simulated), and which
    then is gone for 20 s:
        hwkit simulate --dialect bitmain --web-port 8080 --reboot-takes 20s
    A Whatsminer, whose API takes encrypted changes by this password, and none where there is none:
        HWKIT_SIMULATE_PASSWORD=... hwkit simulate --dialect whatsminer3 --api-port 4433
    """  # noqa: D301 - click's mark of what is not to be wrapped
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    dialect = Dialect.named(given["dialect"])
    if given["power"] is not None and not dialect.tells_power:
        telling = ", ".join(name for name in names() if Dialect.named(name).tells_power)
        raise PlanError(f"--power: a {dialect.name} miner tells none; of those that do: {telling}")
    if given["web_port"] and not dialect.has_web:
        raise PlanError(f"--web-port: a {dialect.name} miner has no page beside its API")
    [rate_h_s] = given["rate_h_s"]
    behaviour = Behaviour(
        rate_h_s=rate_h_s,
        threads=given["threads"],
        version_rolling=not given["no_version_rolling"],
        floor=given["floor"],
        lie=given["lie"],
        reject=given["reject"],
        hardware_errors=given["hw_errors"],
        stall_s=given["stall"],
        throttle=given["throttle"],
        sets=given["sets"],
        reboot_at_s=given["reboot_at"],
        reboot_takes_s=given["reboot_takes"],
        reboots_on_pool_change=given["reboot_on_pool_change"],
        user=given["web_user"],
        password=given["web_password"],
        admin_password=os.environ.get("HWKIT_SIMULATE_PASSWORD"),
        malformed=given["malformed"],
        writable=not given["no_write"],
        tuning_s=given["tuning"] or 0.0,
        power_w=given["power"],
        seed=given["seed"],
    )
    kernel = _kernel(given["kernel"])
    with ExitStack() as stack:
        pools = given["pools"]
        if not pools and given["state"] is None:
            pools = [stack.enter_context(_pool_of_its_own(rate_h_s))]
        miner = Miner(
            dialect,
            behaviour,
            Pools(pools, given["state"], forgets=given["forget"]),
            kernel,
            host=given["listen"],
            api_port=given["api_port"],
            web_port=given["web_port"],
        )
        asyncio.run(_until_ended(miner, lambda: _announce(miner, as_json=as_json)))


@contextmanager
def _pool_of_its_own(rate_h_s: float | None) -> Iterator[OwnPool]:
    """Run a pool on loopback: a miner has one to work for, and to be given back to."""
    job = Job.create(
        seed=os.urandom(16), ntime=int(time.time()), target=Target(MAX_TARGET), extranonce2_size=4
    )
    difficulty = max(rate_h_s or UNKNOWN_RATE_H_S, 1.0) / 2**32  # a share a second
    ended = threading.Event()
    with Pool(OneTemplate(job), difficulty) as pool:

        def keep_taking() -> None:
            while not ended.wait(1.0):
                pool.take()

        taking = threading.Thread(target=keep_taking, name="its own pool", daemon=True)
        taking.start()
        try:
            host, port = pool.address
            yield read_pool(f"stratum+tcp://{host}:{port},owner,x")
        finally:
            ended.set()
            taking.join()


def _kernel(address: str | None) -> Kernel:
    if address is None:
        return usual_kernel()
    for hasher in plugins.hashers(address):
        if isinstance(hasher, Unavailable):
            raise hasher
        if isinstance(hasher, KernelHasher):
            return hasher.kernel
    raise PlanError(f"kernel {address!r}: a simulated miner hashes with a kernel, as cpu:auto")


async def _until_ended(miner: Miner, ready: Any) -> None:  # noqa: ANN401
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(miner.run(lambda _: ready()))
    for number in ending_signals():
        loop.add_signal_handler(number, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return


def _announce(miner: Miner, *, as_json: bool) -> None:
    where = {"host": miner.host, "api_port": miner.api_port, "web_port": miner.web_port or None}
    if as_json:
        click.echo(json.dumps({**where, "dialect": miner.dialect.name, "pid": os.getpid()}))
        return
    rate_h_s = miner.behaviour.rate_h_s
    pace = "as fast as it can" if rate_h_s is None else f"at {show(rate_h_s, 'H/s')}"
    pools = ", ".join(pool.url for pool in miner.pools.by_priority) or "none yet"
    at = f"{miner.host}:{miner.api_port}"
    click.echo(
        plain(f"A {miner.dialect.name} miner answers at {at}; it hashes {pace}. Pools: {pools}")
    )
