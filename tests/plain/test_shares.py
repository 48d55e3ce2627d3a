"""Miners that are fed: what their shares prove, what they claim, and what a record of it holds.

Each really hashes, at targets that a reference kernel meets often.
"""

import threading

import pytest
from hashing_miner import Miner, quick

from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.records.verify import verify


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    quick(monkeypatch)


def run(store, miner, **changes):
    settings = {"time_s": 1.0, "precision": None, "warmup_s": 0.1} | changes
    session = Session(Plan(**settings), [miner], store, threading.Event())
    (entry,) = session.run()
    return entry


def faults(record):
    return [f"{each.name}: {each.fault}" for each in verify(record) if not each.passed]


def test_shares_are_credited_at_the_difficulty_of_their_job(store):
    miner = Miner()
    entry = run(store, miner)
    assert entry.state == "complete", entry.why
    record = store.get(entry.run.id)
    assert faults(record) == []
    figure, counts = record.figures["hashrate"], record.document["counts"]
    assert figure.lo < counts["hashes"] * 1e9 / counts["wall_ns"] < figure.hi
    levels = record.document["delivered"]["difficulties"]
    credited = [level["shares"] * work for level, work in zip(levels, (512, 2048), strict=True)]
    assert sum(credited) == counts["hashes"]
    assert min(level["shares"] for level in levels) > 0
    # By what it says that it has tried, too.
    assert record.figures["claim_gap"].lo < 0 < record.figures["claim_gap"].hi
