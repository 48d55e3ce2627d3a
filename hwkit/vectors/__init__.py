"""Known answers, as data: NIST's SHA-256 vectors and real mainnet block headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_DATA = files(__name__)


@dataclass(frozen=True, slots=True)
class KnownDigest:
    """A message and its SHA-256."""

    message: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """NIST's chained test: a seed, and the digests it leads to after each 1,000 steps."""

    seed: bytes
    checkpoints: tuple[bytes, ...]


@cache
def nist_messages() -> tuple[KnownDigest, ...]:
    """Return the 129 short and long messages (0 to 6,400 bytes) of NIST CAVP."""
    return tuple(
        KnownDigest(bytes.fromhex(message)[: int(bits) // 8], bytes.fromhex(digest))
        for name in ("SHA256ShortMsg.rsp", "SHA256LongMsg.rsp")
        for bits, message, digest in re.findall(
            r"^Len = (\d+)\s+Msg = (\w+)\s+MD = (\w+)", _text(name), re.MULTILINE
        )
    )


@cache
def nist_monte_carlo() -> MonteCarlo:
    """Return the Monte Carlo vector of NIST CAVP: 100 checkpoints."""
    text = _text("SHA256Monte.rsp")
    seed = re.findall(r"^Seed = (\w+)", text, re.MULTILINE)
    digests = re.findall(r"^MD = (\w+)", text, re.MULTILINE)
    return MonteCarlo(bytes.fromhex(seed[0]), tuple(map(bytes.fromhex, digests)))


@cache
def mainnet_headers() -> dict[int, bytes]:
    """Return real 80-byte block headers by height, genesis first."""
    raw = (_DATA / "mainnet.bin").read_bytes()
    heights = [int(line) for line in _text("mainnet.heights.txt").split()]
    return {height: raw[80 * i : 80 * i + 80] for i, height in enumerate(heights)}


def _text(name: str) -> str:
    return (_DATA / name).read_text(encoding="ascii")
