"""What commands share: options, how addresses become hashers, JSON on stdout."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from hwkit import plugins
from hwkit.errors import PlanError, Unavailable
from hwkit.harness.tuning import tune
from hwkit.hashers import topology
from hwkit.hashers.device import DeviceHasher
from hwkit.hashers.kernel import KernelHasher
from hwkit.units import plain

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from hwkit.protocols import Hasher, Meter

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print exactly one JSON document to stdout."
)
store_option = click.option(
    "--store",
    metavar="URL",
    envvar="HWKIT_STORE",
    help="Where records are: a SQLite file or a SQLAlchemy URL. [default: this user's data folder]",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    help="Threads of each CPU kernel. [default: one a processor that it may use]",
)
meter_option = click.option(
    "--meter",
    "meters",
    multiple=True,
    metavar="ADDRESS",
    help="What sees its power, for J/TH; the first heads the result. [repeatable]",
)
no_corrections_option = click.option(
    "--no-corrections",
    is_flag=True,
    help="Take meters as they read, whatever `hwkit meter compare` has found.",
)
no_tune_option = click.option(
    "--no-tune",
    is_flag=True,
    help="Run each OpenCL and CUDA device as it was tuned before, or as is usual; tune nothing.",
)
retune_option = click.option(
    "--retune", is_flag=True, help="Tune each OpenCL and CUDA device again."
)
version_rolling_option = click.option(
    "--version-rolling",
    is_flag=True,
    help="Roll versions (BIP 320), 16 a nonce: other work, never ranked against nonces only.",
)


class FiniteRange(click.FloatRange):
    """A float within bounds, as click's, which takes nan for one: no comparison holds of it."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return it. Raises BadParameter for nan, an infinity or what lies outside."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


def read_with(read: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a click callback that reads an option's text; what it cannot read is a usage error."""

    def callback(context: click.Context, parameter: click.Parameter, text: str | None) -> Any:  # noqa: ANN401
        try:
            return None if text is None else read(text)
        except PlanError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return callback


affinity_option = click.option(
    "--affinity",
    metavar="LIST",
    callback=read_with(topology.affinity),
    help="Pin the threads of each CPU kernel to these processors in turn: 0,2-5. [default: none]",
)


def find_hashers(
    addresses: Sequence[str],
    threads: int | None = None,
    affinity: tuple[int, ...] | None = None,
    absent: Callable[[Unavailable], None] = lambda _: None,
) -> list[Hasher]:
    """Return the hashers addressed, or all of this machine, telling what of it is absent.

    Raises Unavailable for an address that is not here, PlanError for one that is none.
    """
    found: list[Hasher] = []
    wanted: Sequence[str | None] = addresses or [None]
    for address in wanted:
        for hasher in plugins.hashers(address):
            if isinstance(hasher, Unavailable):
                if address is not None:
                    raise hasher
                absent(hasher)
            elif isinstance(hasher, KernelHasher):
                # What an address says of itself is meant for it.
                own = plugins.Address.parse(address).options if address else {}
                found.append(
                    _placed(
                        hasher,
                        None if "threads" in own else threads,
                        None if "affinity" in own else affinity,
                    )
                )
            else:
                found.append(hasher)
    return found


def find_meters(addresses: Sequence[str]) -> list[Meter]:
    """Return the meters addressed. Raises Unavailable for one that is not here, PlanError."""
    found: list[Meter] = []
    for address in addresses:
        for meter in plugins.meters(address):
            if isinstance(meter, Unavailable):
                raise meter
            found.append(meter)
    return found


def tuned(
    hashers: Sequence[Hasher], stop: threading.Event, *, no_tune: bool, retune: bool
) -> list[Hasher]:
    """Return the hashers, those of GPUs with the variant that measures best; say so on stderr."""
    if no_tune and retune:
        raise PlanError("--no-tune and --retune: one of them")
    if no_tune or not any(isinstance(each, DeviceHasher) for each in hashers):
        return list(hashers)

    def say(text: str) -> None:
        click.echo(plain(text), err=True)

    return [
        tune(each, stop.is_set, say, again=retune) if isinstance(each, DeviceHasher) else each
        for each in hashers
    ]


def _placed(
    hasher: KernelHasher, threads: int | None, affinity: tuple[int, ...] | None
) -> KernelHasher:
    if hasher.kernel.name == "cpu:reference":  # holds the interpreter lock: one thread
        threads, affinity = None, affinity and affinity[:1]
    if affinity:
        hasher = hasher.with_affinity(affinity)
    return hasher.with_threads(threads) if threads else hasher


def print_json(document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print the one document of --json."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))
