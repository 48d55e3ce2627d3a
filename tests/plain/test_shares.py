"""Miners that are fed, from the plan to the record: each really hashes, at targets often met.

What is odd about shares is tested in test_inferred.py, in a time of its own.
"""

import threading
import time
from dataclasses import replace

import pytest
from hashing_miner import Miner, of_work, quick

from hwkit.cli.bench import exit_code
from hwkit.errors import PlanError, RecordError
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.harness.tally import Tally
from hwkit.meters.nameplate import Nameplate
from hwkit.plugins import Address
from hwkit.protocols import Assigned, Basis, CreditedShare, Progress, Submission, Verdict
from hwkit.records import rows
from hwkit.records.differences import differences, refuse_unlike
from hwkit.records.verify import LATER, verify
from hwkit.report.delivered import delivered_rows
from hwkit.report.live import energy_lines
from hwkit.report.terminal import record_card, results
from hwkit.sha256d import sha256d
from hwkit.work import Job, Share, Target


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    quick(monkeypatch)


def run(store, miner, tick=lambda _: None, **changes):
    settings = {"time_s": 1.0, "precision": None, "warmup_s": 0.1} | changes
    session = Session(Plan(**settings), [miner], store, threading.Event())
    (entry,) = session.run(lambda: tick(session))
    return entry


def measured(store, miner, **changes):
    entry = run(store, miner, **changes)
    assert entry.state == "complete", entry.why
    record = store.get(entry.run.id)
    assert faults(record) == {}
    return entry, record


def faults(record):
    return {each.name: each.fault for each in verify(record) if not each.passed}


def names(record):
    return {caveat["caveat"] for caveat in record.document["caveats"]}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A record of two difficulties, with duplicates and lines that are no shares."""
    from hwkit.records import Store  # noqa: PLC0415

    store = Store(str(tmp_path_factory.mktemp("mixed") / "records.sqlite"))
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        _, record = measured(store, Miner(twice=True, unread=True), time_s=2.0)
    yield record
    store.close()


def test_shares_are_credited_at_the_difficulty_of_their_job(mixed):
    figure, counts = mixed.figures["hashrate"], mixed.document["counts"]
    assert figure.value == pytest.approx(counts["hashes"] * 1e9 / counts["wall_ns"])
    assert figure.lo < figure.value < figure.hi
    levels = mixed.document["delivered"]["difficulties"]
    credited = [level["shares"] * work for level, work in zip(levels, (512, 2048), strict=True)]
    assert min(credited) > 0
    assert sum(credited) == counts["hashes"]
    # By all that it says it has tried, too.
    gap = mixed.figures["claim_gap"]
    assert abs(gap.value) < 2 * (gap.hi - gap.lo)  # four standard deviations either way


def test_what_was_refused_stands_apart_and_raw(mixed):
    refused = list(mixed.read("submissions"))
    kinds = {each.verdict for each in refused}
    assert kinds == {Verdict.DUPLICATE, Verdict.WRONG}
    assert {each.raw for each in refused if each.verdict is Verdict.WRONG} == {b"{\xff"}
    counted = mixed.document["delivered"]["refused"]
    assert 0 < counted["duplicate"] <= len(refused)
    assert {"Duplicates", "WrongShares"} <= names(mixed)
    assert any("connected 127.0.0.1" in what for _, what in mixed.rows("events"))


def test_shares_stand_at_their_arrival(mixed):
    times = [credited.at for credited in mixed.read("shares")]
    assert times == sorted(times)
    assert len(set(times)) > 0.9 * len(times)  # not all at the report's time


def assigned(record, change):
    return [rows.from_assigned(change(each)) for each in record.read("assigned")]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda each: replace(each, target=of_work(4096)), "shares"),  # harder than it was
        (lambda each: replace(each, target=of_work(128)), "figures"),  # easier
        (lambda each: replace(each, serial=each.serial + 1000), "shares"),
        (lambda each: replace(each, at=each.at + 10**10), "shares"),  # after its shares
    ],
    ids=["harder", "easier", "another", "later"],
)
def test_a_job_that_was_changed_is_found(mixed, resealed, change, check):
    forged = resealed(mixed, assigned=assigned(mixed, change))
    assert check in faults(forged)


def test_difficulties_made_up_after_the_fact_are_found(store, resealed):
    """One share a job, at the difficulty that it happened to reach: what a forger would say."""

    def look(session):
        seen = session.entries[0].delivered
        if seen is not None and seen.assigned > 20:
            session._stop.set()

    entry = run(store, Miner(works=(64,), job_s=0.02), look, time_s=600.0)
    record = store.get(entry.run.id)
    assert faults(record) == {}
    job = Job.from_json(record.document["job"])
    kept: dict[int, tuple[CreditedShare, Target]] = {}
    for credited in record.read("shares"):
        digest = int.from_bytes(sha256d(job.header(credited.share)), "little")
        kept.setdefault(credited.share.serial, (credited, Target(digest)))
    assert len(kept) > 12
    worth = [0.0] * len(list(record.read("windows")))
    number = [0] * len(worth)
    for credited, target in kept.values():
        worth[credited.window] += float(target.work)
        number[credited.window] += 1
    windows = [
        replace(window, hashes=round(hashes), shares=shares)
        for window, hashes, shares in zip(record.read("windows"), worth, number, strict=True)
    ]

    def as_reached(sent):
        return replace(sent, target=kept[sent.serial][1]) if sent.serial in kept else sent

    forged = resealed(
        record,
        figures=True,
        windows=[rows.from_window(window) for window in windows],
        shares=[rows.from_share(credited) for credited, _ in kept.values()],
        assigned=assigned(record, as_reached),
    )
    assert forged.figures["hashrate"].value > 0
    assert faults(forged).keys() == {"share count"}


def test_a_job_sent_twice_at_two_targets_is_found(mixed, resealed):
    sent = assigned(mixed, lambda each: each)
    twice = [*sent, rows.from_assigned(replace(next(mixed.read("assigned")), target=of_work(99)))]
    assert "two targets" in faults(resealed(mixed, assigned=twice))["shares"]


def test_a_liar_is_caught(store):
    entry, record = measured(store, Miner(works=(64,), lie=1.3))
    gap = record.figures["claim_gap"]
    assert gap.lo < 0.30 < gap.hi
    assert gap.value > 0.1
    assert exit_code([entry]) == 0  # what it delivers is known


def test_a_claim_without_a_share_is_a_failure_and_no_small_number(store):
    entry, record = measured(store, Miner(hides=True))
    assert "NothingDelivered" in names(record)
    assert exit_code([entry]) == 1
    entry.state = "interrupted"  # too early to say so
    assert exit_code([entry]) == 130
    assert "claim_gap" not in record.figures


def test_neither_share_nor_claim_is_a_bound(store, capsys):
    entry, record = measured(store, Miner(works=(2048,), hides=True, claims=False))
    rate = record.figures["hashrate"]
    bound = 2.9957 * 2048e9 / record.document["counts"]["wall_ns"]
    assert (rate.value, rate.hi) == (0.0, pytest.approx(bound, rel=1e-3))
    assert exit_code([entry]) == 0
    record_card(record)
    assert "at most" in capsys.readouterr().out


def test_it_stops_once_the_shares_are_precise(store):
    entry, record = measured(store, Miner(works=(64,)), time_s=60.0, precision=0.05)
    assert entry.why == "precision reached"
    assert record.figures["hashrate"].relative <= 0.05
    assert record.document["delivered"]["shares"] > 1400


def test_the_live_line_tells_the_rate_and_what_is_left(store):
    lines: set[str] = set()

    def look(session):
        lines.update(energy_lines(session))
        if any("H/s" in line for line in lines):
            session._stop.set()

    run(store, Miner(works=(64,)), look, time_s=600.0, precision=0.0001)
    assert any("±0.01 % in" in line or "ends in" in line for line in lines)


def test_what_it_claims_is_never_precise(store):
    entry, record = measured(store, Miner(basis=Basis.CLAIMED, lie=2.0), precision=0.5, time_s=2.0)
    assert entry.why == "time"
    assert record.figures["hashrate"].U == 0
    assert "ClaimedHashes" in names(record)


def test_the_warm_up_begins_with_its_first_job(store):
    _, record = measured(store, Miner(waits_s=0.7), warmup_s=0.3, time_s=0.3)
    sent = next(record.read("assigned")).at
    assert next(record.read("windows")).opened - sent >= 0.3e9


class Renewed(Miner):  # type: ignore[misc]
    """One whose jobs can be called off."""

    renewed = 0

    def renew(self):
        self.renewed = time.monotonic_ns()


def test_what_was_found_before_a_window_cannot_be_kept_for_it(store):
    miner = Renewed(works=(64,))
    _, record = measured(store, miner, warmup_s=0.5)
    sent = {job.serial: job.at for job in record.read("assigned")}
    first = next(record.read("windows"))
    credited = [share for share in record.read("shares") if share.at > first.opened]
    assert credited
    assert all(sent[share.share.serial] > miner.renewed for share in credited)
    assert first.opened > min(at for at in sent.values() if at > miner.renewed)


def test_who_sends_nothing_of_new_work_does_not_keep_a_window_from_opening(store, monkeypatch):
    monkeypatch.setattr("hwkit.harness.turn.FRESH_S", 0.2)
    _, record = measured(store, Renewed(hides=True))
    assert next(record.read("windows"), None) is not None


def test_what_happens_is_kept_while_it_happens(store):
    seen = []

    def look(session):
        (entry,) = session.entries
        if entry.run is not None and not entry.windows:
            seen.append(len(list(store.get(entry.run.id).rows("assigned"))))
            if seen[-1] or time.monotonic() > deadline:
                session._stop.set()  # as Ctrl-C does

    deadline = time.monotonic() + 20
    run(store, Miner(), look, warmup_s=60.0, time_s=60.0)
    assert seen[-1] > 0


def first_good(events):
    return next(e for e in events if isinstance(e, Submission) and e.verdict is Verdict.GOOD)


def change_share(**fields):
    def change(report):
        if not report.shares:
            return report
        share = replace(report.shares[0], **fields)
        return replace(report, shares=(share, *report.shares[1:]), events=_without(report))

    return change


def _without(report):
    """Its events, but what would name the shares as they were."""
    return tuple(each for each in report.events if not isinstance(each, Submission))


def again(report):
    return replace(report, shares=(*report.shares, *report.shares[:1]))


def two_targets(report):
    sent = [each for each in report.events if isinstance(each, Assigned)]
    other = [replace(each, target=of_work(77)) for each in sent]
    return replace(report, events=(*sent, *other, *_without(report)))


def unsent(report):
    return replace(
        report,
        events=tuple(each for each in report.events if not isinstance(each, Assigned)),
    )


def early(report):
    return replace(report, events=tuple(replace(each, at=report.at + 1) for each in report.events))


def shareless(report):
    return replace(report, shares=()) if report.shares else report


LIES = {
    "a share that is none": (change_share(nonce=1), "false share"),
    "a share of a job that was never sent": (unsent, "another job"),
    "a share from the past": (change_share(ntime=1_000_000_000), "nTime"),
    "a share twice": (again, "twice"),
    "a job at two targets": (two_targets, "two targets"),
    "an event after its report": (early, "after its report"),
    "a good share that is not reported": (shareless, "not among"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_hasher_that_says_good_is_not_believed(store, lie):
    change, why = LIES[lie]
    entry = run(store, Miner(works=(128,), change=change), time_s=5.0)
    assert entry.state == "void"
    assert why in entry.why


def test_shares_of_jobs_long_over_are_forgotten_and_no_longer_taken(monkeypatch):
    monkeypatch.setattr("hwkit.harness.tally.REMEMBERED", 3)
    job = Plan(seed="x").job(int(time.time()), of_work(1), basis=Basis.SHARES)
    tally = Tally(job, Basis.SHARES)

    def credit(serial, nonce):
        share = Share(serial, bytes(4), job.ntime, job.version, nonce)
        sent = Assigned(serial, of_work(1), time.monotonic_ns(), clean=False, connection=1)
        tally.take(Progress(time.monotonic_ns(), shares=(share,), events=(sent,)))

    for serial in range(1, 7):
        credit(serial, 0)
    assert sum(map(len, tally._seen.values())) == 3
    assert len(tally.shares) == 6
    tally.forget()
    assert tally.shares == []


def test_full_chunks_are_not_held_once_they_are_written(store, facts):
    job = Plan(seed="test").job(1, of_work(1))
    opened = store.open(facts, {})
    for number in range(5000):
        opened.assigned(Assigned(number, job.target, number, clean=False, connection=1))
    opened.commit()
    assert [len(chunk.data) for chunk in opened._full["assigned"]] == [0, 0]
    opened.assigned(Assigned(5000, job.target, 5000, clean=True, connection=1))
    opened.commit()
    assert [each.serial for each in store.get(opened.id).read("assigned")] == list(range(5001))


def test_j_th_by_a_meter_stands_on_the_same_shares(store):
    meter = Nameplate(Address.parse("nameplate:5W?tolerance=1%"))
    meter._spec = replace(meter.spec, interval_s=0.05)
    told = {"claimed_power_w": 4.0}
    with Metering([meter]) as metering:
        plan = Plan(time_s=1.0, precision=None, warmup_s=0.1, meters=("nameplate:5W",))
        miner = Miner(works=(64, 256), told=told)
        session = Session(plan, [miner], store, threading.Event(), metering=metering)
        (entry,) = session.run()
    assert entry.state == "complete", entry.why
    assert entry.run
    record = store.get(entry.run.id)
    assert faults(record) == {}
    (seen,) = record.document["metered"]
    delivered = record.document["delivered"]
    assert seen["work"]["shares"] == delivered["shares"]
    assert seen["work"]["hashes"] == pytest.approx(delivered["work"]["hashes"], abs=1)
    # A window in which difficulty changed counts as of one, so that a few more seem to be there.
    assert seen["work"]["effective_shares"] >= 0.99 * delivered["work"]["effective_shares"]
    rate = record.figures["hashrate"]
    assert record.figures["efficiency"].value == pytest.approx(5e12 / rate.value, rel=0.01)
    assert "shares" in seen["efficiency"]["budget"]["terms"]
    results(session, [record], None)  # wide with J/TH: what is nobody's must go
    lines = dict(delivered_rows(record.document))
    assert "by its own word" in lines["it claims"]


def test_unlike_bases_are_not_ranked(store, mixed):
    _, claimed = measured(store, Miner(basis=Basis.CLAIMED), time_s=0.5)
    with pytest.raises(PlanError, match="basis: shares against claimed"):
        refuse_unlike(differences(mixed.document, claimed.document))


def test_the_report_names_the_basis_and_what_was_refused(store, capsys):
    told = {"hardware_errors": 3.0}
    miner = Miner(works=(64,), lie=1.3, twice=True, told=told)
    plan = Plan(time_s=1.0, precision=None, warmup_s=0.1)
    session = Session(plan, [miner], store, threading.Event())
    (entry,) = session.run()
    assert entry.run
    record = store.get(entry.run.id)
    results(session, [record], None)
    said = capsys.readouterr().out
    for words in ("basis", "shares", "claim gap", "duplicate", "hardware errors"):
        assert words in said
    record_card(record)
    card = capsys.readouterr().out
    assert ", shares" in card
    assert "audited" not in card


@pytest.mark.parametrize(
    "misshapen",
    [
        {"delivered": []},
        {"delivered": {"shares": 3}},
        {"delivered": {"claimed": {"hashrate_h_s": "fast", "by": "hand"}}},
        {"delivered": {"gaps": {"longest_s": 1.0, "due": 1.0, "silent_s": 1.0}}},
    ],
)
def test_a_document_of_another_shape_is_refused(mixed, resealed, misshapen):
    forged = resealed(mixed, lambda into: into.update(misshapen))
    with pytest.raises(RecordError, match="not a record of schema"):
        _ = forged.document


def test_presets_and_plan_follow_the_shares():
    plan = Plan.preset("standard", Basis.SHARES)
    assert plan.time_s > Plan.preset("standard").time_s
    said = plan.estimate(["asic:192.0.2.1"], basis=Basis.SHARES)
    assert "±1 % of the rate takes 38,415 shares, 1 h 4 min" in said
    assert "shares" not in plan.estimate(["cpu:c"])
    metered = Plan.preset("quick", Basis.SHARES, meters=("m",))
    assert "1,537 shares" in metered.estimate(["asic:192.0.2.1"], basis=Basis.SHARES)


def test_a_setting_that_changes_parts_the_record(store, resealed):
    miner = Miner(told={"frequency_mhz": 500.0})

    def turn_down(session):
        if len(session.entries[0].windows) >= 8:
            miner.told["frequency_mhz"] = 400.0

    entry = run(store, miner, turn_down, time_s=2.0)
    record = store.get(entry.run.id)
    assert faults(record) == {}
    first, second = record.document["delivered"]["settings"]["stretches"]
    assert first["settings"] == {"frequency_mhz": 500.0}
    assert second["settings"] == {"frequency_mhz": 400.0}
    assert "SettingsChanged" in names(record)
    lines = dict(delivered_rows(record.document))
    assert "frequency_mhz 400" in lines["setting 2"]
    # A record from before there were such figures has none, and is none the worse.

    def of_before(document):
        for name in LATER:
            document["delivered"].pop(name, None)

    def forged(document):
        document["delivered"]["settings"]["stretches"][1]["hashrate"]["value"] *= 1.01

    assert faults(resealed(record, of_before)) == {}
    assert "figures" in faults(resealed(record, forged))
