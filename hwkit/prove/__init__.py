"""Is this kernel right? Its answers, held against the reference's, exhaustively."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.prove.questions import ANSWERED, CHECKS, SENSELESS, Question, answer, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hwkit.protocols import Hit, Kernel

__all__ = ["Check", "Proof", "ProofStopped", "Question", "agree", "prove", "prove_all"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked: how many questions were asked, and what first went wrong."""

    name: str
    questions: int
    fault: str | None = None
    nonce: int | None = None  # the first nonce that differs, where one does

    @property
    def passed(self) -> bool:
        """Was every answer right?"""
        return self.fault is None


@dataclass(frozen=True, slots=True)
class Proof:
    """All checks of one kernel."""

    kernel: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Did every check pass?"""
        return all(check.passed for check in self.checks)

    @property
    def fault(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if not check.passed), None)

    def to_json(self) -> dict[str, Any]:
        """Return verdict and checks as --json prints and records keep them."""
        return {
            "kernel": self.kernel,
            "verdict": "PASS" if self.passed else "FAIL",
            "checks": [
                {
                    "name": check.name,
                    "verdict": "PASS" if check.passed else "FAIL",
                    "questions": check.questions,
                    "fault": check.fault,
                    "nonce": check.nonce,
                }
                for check in self.checks
            ],
        }


class ProofStopped(Exception):
    """A proof was left before its end: it says nothing of the kernel."""


def prove(kernel: Kernel, stopped: Callable[[], bool] = lambda: False) -> Proof:
    """Ask the kernel every question of every check and compare with the reference, hit by hit.

    Raises ProofStopped when `stopped`, asked before each question, says so.
    """
    checks = []
    for name, ask in CHECKS.items():
        checks.append(_run(kernel, name, ask(kernel), stopped))
    return Proof(kernel.name, (*checks, _refusals(kernel)))


def prove_all(kernels: Sequence[Kernel], stopped: Callable[[], bool] = lambda: False) -> Proof:
    """Prove kernels that work as one. Raises ProofStopped."""
    proofs = [prove(kernel, stopped) for kernel in kernels]
    name = " and ".join(proof.kernel for proof in proofs)
    return Proof(name, tuple(check for proof in proofs for check in proof.checks))


def agree(kernels: Sequence[Kernel], question: Question, piece: int = 1 << 20) -> list[Check]:
    """Hold kernels against the first of them over one long range, piece by piece."""
    first, *others = kernels
    faults: dict[str, Check] = {}
    for start in range(question.nonces.start, question.nonces.stop, piece):
        nonces = range(start, min(start + piece, question.nonces.stop))
        part = replace(question, nonces=nonces)
        expected = tuple(_scan(first, part))
        for kernel in others:
            if kernel.name not in faults:
                check = _compare(kernel, "agree", part, expected, 1)
                if not check.passed:
                    faults[kernel.name] = check
    return [faults.get(kernel.name, Check("agree", 1)) for kernel in others]


def _run(
    kernel: Kernel, name: str, questions: Sequence[Question], stopped: Callable[[], bool]
) -> Check:
    for number, question in enumerate(questions, 1):
        if stopped():
            raise ProofStopped
        check = _compare(kernel, name, question, None, number)
        if not check.passed:
            return check
    return Check(name, len(questions))


def _compare(
    kernel: Kernel, name: str, question: Question, expected: Sequence[Hit] | None, number: int
) -> Check:
    """Hold one answer against the expected one; None: against the reference's."""
    try:
        got = tuple(_scan(kernel, question))
    except Exception as error:  # noqa: BLE001 - no answer is a wrong answer, whatever the reason
        fault = f"{question}: no answer, but {type(error).__name__}: {error}"
        return Check(name, number, fault, question.nonces.start)
    if expected is None:
        known = ANSWERED.get(question)
        if known is not None and digest(got) == known:
            return Check(name, number)
        expected = answer(question)
    if got == tuple(expected):
        return Check(name, number)
    missed, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missed or extra:
        nonce = min(hit.nonce for hit in (*missed[:1], *extra[:1]))
        fault = "missed" if missed and missed[0].nonce == nonce else "reported without cause"
    else:
        nonce = next(
            (g.nonce for g, e in zip(got, expected, strict=False) if g != e), got[-1].nonce
        )
        fault = "out of order" if len(got) == len(expected) else "reported twice"
        if len(got) < len(expected):  # of a version that was asked about twice
            fault = "missed"
    return Check(name, number, f"{question}: nonce {nonce:#010x} {fault}", nonce)


def _refusals(kernel: Kernel) -> Check:
    """What is no stretch of the nonce space, no header or no version is refused, not bent."""
    for number, question in enumerate(SENSELESS, 1):
        what = f"{question.nonces}, {len(question.header)} bytes, versions {question.versions}"
        try:
            _scan(kernel, question)
        except PlanError:
            continue
        except Exception as error:  # noqa: BLE001 - a refusal is a PlanError, which callers catch
            fault = f"{what}: {type(error).__name__}, not PlanError"
        else:
            fault = f"{what}: scanned, not refused"
        return Check("refusals", number, fault, question.nonces.start)
    return Check("refusals", len(SENSELESS))


def _scan(kernel: Kernel, question: Question) -> Sequence[Hit]:
    return kernel.scan(question.header, question.target, question.nonces, question.versions)


def prove_sha256(sha256: Callable[[bytes], bytes], checkpoints: int = 100) -> Check:
    """Hold an implementation of SHA-256 against NIST's vectors, as many checkpoints as asked."""
    from hwkit.vectors import nist_messages, nist_monte_carlo  # noqa: PLC0415 - 400 kB of text

    asked = 0
    for known in nist_messages():
        asked += 1
        if sha256(known.message) != known.digest:
            fault = f"wrong digest of NIST's message of {len(known.message)} bytes"
            return Check("NIST CAVP", asked, fault)
    monte_carlo = nist_monte_carlo()
    seed = monte_carlo.seed
    for number, checkpoint in enumerate(monte_carlo.checkpoints[:checkpoints]):
        last = [seed, seed, seed]
        for _ in range(1000):
            last = [*last[1:], sha256(b"".join(last))]
        seed = last[-1]
        asked += 1
        if seed != checkpoint:
            return Check("NIST CAVP", asked, f"wrong digest at Monte Carlo checkpoint {number}")
    return Check("NIST CAVP", asked)
