"""Headers: what the tally does for each share, and verify for millions."""

import pytest

from hwkit.harness.plan import Plan
from hwkit.sha256d import sha256d
from hwkit.work import Header, Share, Target

JOB = Plan(seed="bench").job(1_700_000_000, Target(1))
SHARE = Share(0, bytes(8), JOB.ntime, JOB.version, 1)
RAW = JOB.header(SHARE)
HEADER = Header.unpack(RAW)
ROOT = JOB.merkle_root(0, bytes(8))

CALLS = {
    "Header.pack": HEADER.pack,
    "Header.unpack": lambda: Header.unpack(RAW),
    "Job.header": lambda: JOB.header(SHARE),
    "Job.header_under": lambda: JOB.header_under(ROOT, JOB.ntime, JOB.version, 1),
    "sha256d": lambda: sha256d(RAW),
    "Target.is_met_by": lambda: JOB.target.is_met_by(ROOT),
}


@pytest.mark.parametrize("name", CALLS)
def test_call(benchmark, name):
    benchmark.pedantic(CALLS[name], rounds=200, iterations=500, warmup_rounds=5)
    benchmark.extra_info["µs at best"] = round(benchmark.stats.stats.min * 1e6, 3)
    print(name, benchmark.extra_info)
