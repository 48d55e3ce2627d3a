"""`hwkit check`: prove kernels against the reference."""

from __future__ import annotations

import hashlib
import random
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hwkit.cli.options import find_hashers, json_option, print_json
from hwkit.errors import PlanError, Unavailable
from hwkit.hashers import cpu, cpuinfo, native
from hwkit.hashers.device import DeviceKernel
from hwkit.hashers.kernel import KernelHasher
from hwkit.prove import Check, agree, prove, prove_sha256
from hwkit.prove.long import long_call
from hwkit.prove.questions import MINED, ROLLED
from hwkit.sha256d import plain_sha256
from hwkit.units import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.protocols import Hasher, Kernel

# The plain-Python compression takes 60 µs a block: one checkpoint of 1,000 steps is enough to wait.
PLAIN_CHECKPOINTS = 1
LONG_CALL_S = 1.0


@click.command("check")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--full", is_flag=True, help="Also hold all kernels to one another over millions.")
@json_option
def command(addresses: tuple[str, ...], *, full: bool, as_json: bool) -> None:
    """Prove kernels (all of this machine, or those at ADDRESS) against the reference.

    Prints PASS or FAIL for each, with the first nonce that differs; exits 1 when one fails.
    """
    absent: list[Unavailable] = []
    hashers = find_hashers(addresses, absent=absent.append)
    kernels = [kernel for hasher in hashers for kernel in _kernels(hasher)]
    say = (lambda _: None) if as_json else click.echo
    proofs = [_proof(kernel, say) for kernel in kernels]
    for each in absent:
        say(f"SKIP  {each.address:<20} {plain(each.why)}")
    others: list[tuple[str, Check]] = []
    if not addresses:
        others += [(f"sha256: {name}", check) for name, check in _sha256()]
        others.append(("kernels offered", _offered()))
    if full and len(kernels) > 1:
        for question, what in ((MINED, ""), (ROLLED, ", version rolling")):
            others += zip(
                [f"{kernel.name} = {kernels[0].name}{what}" for kernel in kernels[1:]],
                agree(kernels, question),
                strict=True,
            )
    for name, check in others:
        say(f"{_word(check)}  {name:<20} {check.fault or check.name}")
    passed = all(proof["verdict"] == "PASS" for proof in proofs) and all(
        c.passed for _, c in others
    )
    if as_json:
        print_json(
            {
                "verdict": "PASS" if passed else "FAIL",
                "kernels": proofs,
                "absent": [{"address": each.address, "why": each.why} for each in absent],
                "others": [_other(name, check) for name, check in others],
            }
        )
    sys.exit(0 if passed else 1)


def _proof(kernel: Kernel, say: Callable[[str], None]) -> dict[str, Any]:
    proof = prove(kernel)
    if proof.passed and isinstance(kernel, DeviceKernel):
        nonces = int(kernel.nonces_per_ns * LONG_CALL_S * 1e9)
        other = cpu.auto().kernel
        check = long_call(kernel, other, MINED.header, nonces, random.Random())  # noqa: S311
        proof = replace(proof, checks=(*proof.checks, check))
    asked = sum(check.questions for check in proof.checks)
    if proof.passed:
        say(f"PASS  {kernel.name:<20} {len(proof.checks)} checks, {asked:,} questions")
    for check in proof.checks:
        if not check.passed:
            say(f"FAIL  {kernel.name:<20} {check.name}: {check.fault}")
    return proof.to_json()


def _kernels(hasher: Hasher) -> Sequence[Kernel]:
    if not isinstance(hasher, KernelHasher):
        raise PlanError(f"{hasher.spec.name} has no kernel: only closed questions can be proven")
    return hasher.kernels


def _sha256() -> list[tuple[str, Check]]:
    """Prove what the proofs stand on: every SHA-256 of ours, with NIST's vectors."""
    found = [("hashlib", prove_sha256(lambda message: hashlib.sha256(message).digest()))]
    if not native.MISSING:
        found.append(("C", prove_sha256(native.sha256)))
    found.append(("plain Python", prove_sha256(plain_sha256, PLAIN_CHECKPOINTS)))
    return found


def _offered() -> Check:
    """A kernel that the processor has and hwkit does not offer is a silent fault of the build."""
    flags = cpuinfo.flags()
    if native.MISSING:
        return Check("not built: see hwkit devices", 0)
    promised = cpu.promised(flags)
    if promised is None:
        return Check("the processor's flags cannot be read here", 0)
    if missing := cpu.missing_kernels(flags):
        fault = f"{', '.join(sorted(missing))}: the processor has it and hwkit does not offer it"
        return Check("offered", len(promised), fault)
    return Check(f"all {len(promised)} that the processor's flags promise", len(promised))


def _word(check: Check) -> str:
    """Return PASS or FAIL, and SKIP for what could not be asked."""
    if not check.questions:
        return "SKIP"
    return "PASS" if check.passed else "FAIL"


def _other(name: str, check: Check) -> dict[str, Any]:
    return {
        "name": name,
        "verdict": _word(check),
        "detail": check.fault or check.name,
        "questions": check.questions,
        "nonce": check.nonce,
    }
