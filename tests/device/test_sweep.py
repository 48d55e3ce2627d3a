"""Nothing is left out: every device finds the same nonces of a header as kernels of other authors.

2^26 nonces here, all 2^32 in `make soak`, at a difficulty (2^-16) that 2^-16 of them meet.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec

import pytest

from hwkit import plugins
from hwkit.hashers.cpu import auto
from hwkit.hashers.device import DeviceKernel
from hwkit.hashers.kernel import KernelHasher, usable_cpus
from hwkit.prove.questions import MINED
from hwkit.work import NONCES, Target

TARGET = Target.from_difficulty(2**-16)
PIECE = 1 << 22
SLOW = {"cpu:reference": 0, "cpu:portable": 1 << 22, "cpu:sse41": 1 << 24}  # what is bearable
HASHERS = {
    hasher.spec.name: hasher for hasher in plugins.hashers() if isinstance(hasher, KernelHasher)
}
SWEPT = [name for name in HASHERS if SLOW.get(name) != 0]


def nonces_of(name, count):
    """Return what a hasher's kernel finds among the first nonces, asked in pieces, side by side."""
    kernel, threads = HASHERS[name].kernel, max(2, usable_cpus())
    # A device gets all in one question, which its launches are then as long as they ever are for.
    piece = count if isinstance(kernel, DeviceKernel) else PIECE
    pieces = [range(first, min(first + piece, count)) for first in range(0, count, piece)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda piece: kernel.scan(MINED.header, TARGET, piece), pieces)
        return [hit.nonce for hits in found for hit in hits]


@cache
def expected(count):
    """Return the nonces on which two kernels agree that share no code: C's and Numba's."""
    two = [nonces_of(name, count) for name in ("cpu:auto", "cpu:numba")]
    assert two[0] == two[1]
    assert abs(len(two[0]) - count / (1 << 16)) < 6 * (count / (1 << 16)) ** 0.5
    return two[0]


@pytest.fixture(scope="module", autouse=True)
def fastest():
    """Put the fastest C kernel beside them, and refuse to call one kernel two."""
    if find_spec("numba") is None:
        pytest.skip("no second author: pip install 'hwkit[numba]'")
    HASHERS["cpu:auto"] = auto()


@pytest.mark.parametrize("name", SWEPT)
def test_the_same_nonces_are_found(name):
    count = min(1 << 26, SLOW.get(name, NONCES))
    assert nonces_of(name, count) == [nonce for nonce in expected(1 << 26) if nonce < count]


@pytest.mark.soak
@pytest.mark.parametrize("name", SWEPT)
def test_the_same_nonces_are_found_among_all(name):
    assert nonces_of(name, NONCES) == expected(NONCES)
