"""One long call: a loss that no short question shows."""

import random

import pytest

from hwkit.errors import DeviceLost
from hwkit.hashers.reference import ReferenceKernel
from hwkit.prove import prove
from hwkit.prove.long import long_call
from hwkit.prove.questions import MINED

NONCES = 1 << 15
RIGHT = ReferenceKernel()


class Lossy(ReferenceKernel):
    """Leaves out what `loses` says, in calls that are long."""

    def __init__(self, loses):
        self.loses = loses

    def scan(self, header, target, nonces, versions=()):
        hits = super().scan(header, target, nonces, versions)
        long = len(nonces) >= NONCES
        return [hit for hit in hits if not (long and self.loses(hit.nonce))]


def call(kernel, seed=1):
    return long_call(kernel, RIGHT, MINED.header, NONCES, random.Random(seed))


def test_a_right_kernel_passes():
    assert [call(RIGHT, seed).fault for seed in range(3)] == [None] * 3


@pytest.mark.parametrize(
    "loses",
    [
        lambda nonce: nonce >= NONCES // 2,
        lambda nonce: nonce % 8 == 0,
        lambda nonce: nonce % 64 == 0,  # too few for the count alone
        lambda nonce: NONCES // 4 <= nonce < NONCES // 4 + NONCES // 16,
    ],
)
def test_what_is_lost_in_long_calls_is_noticed(loses):
    kernel = Lossy(loses)
    assert call(kernel).fault


def test_what_short_questions_cannot_see():
    """So this check is needed: the proof asks for no call as long as a device's."""
    kernel = Lossy(lambda nonce: nonce % 8 == 0)
    kernel.scan = lambda *args: (  # type: ignore[method-assign]
        Lossy.scan(kernel, *args) if len(args[2]) == NONCES + 1 else RIGHT.scan(*args)
    )
    assert prove(kernel).passed
    check = long_call(kernel, RIGHT, MINED.header, NONCES + 1, random.Random(1))
    assert check.fault


def test_what_is_reported_without_cause_is_noticed():
    class Sees(ReferenceKernel):
        def scan(self, header, target, nonces, versions=()):
            hits = list(super().scan(header, target, nonces, versions))
            return hits + [hit.__class__(hit.nonce ^ 1, hit.version) for hit in hits[:100]]

    assert "reported without cause" in str(call(Sees()).fault)


def test_no_answer_is_a_wrong_answer():
    class Gone(ReferenceKernel):
        def scan(self, header, target, nonces, versions=()):
            raise DeviceLost("fake:0: crashed (SIGSEGV)")

    assert "DeviceLost" in str(call(Gone()).fault)
