"""The mainnet headers: each proves itself."""

from datetime import UTC, datetime
from itertools import pairwise

from hwkit.vectors import mainnet_headers
from hwkit.work import Header


def test_more_than_a_thousand_headers_each_proven_by_its_own_nbits():
    headers = mainnet_headers()
    assert len(headers) == 1077
    assert all(len(raw) == 80 for raw in headers.values())
    assert [h for h, raw in headers.items() if not Header.unpack(raw).is_proven] == []


def test_heights_are_sorted_from_genesis_on():
    heights = list(mainnet_headers())
    assert heights[0] == 0
    assert all(a < b for a, b in pairwise(heights))


def test_neighbours_are_chained():
    """Both sides of every difficulty change are there, and the later names the earlier."""
    headers = {height: Header.unpack(raw) for height, raw in mainnet_headers().items()}
    followed = [height for height in headers if height + 1 in headers]
    assert len(followed) > 400
    assert all(headers[height + 1].prev_hash == headers[height].hash for height in followed)


def test_all_eras_are_there():
    headers = [Header.unpack(raw) for raw in mainnet_headers().values()]
    years = {datetime.fromtimestamp(header.ntime, UTC).year for header in headers}
    assert years >= set(range(2009, 2025))
    assert {1, 2, 3, 4} <= {header.version for header in headers}
    rolled = [h for h in headers if h.version >> 29 == 1 and h.version & 0x1FFFE000]
    assert len(rolled) > 100  # BIP 320: overt version rolling
    assert min(header.nonce for header in headers) < 1 << 24
    assert max(header.nonce for header in headers) > 0xFF << 24
