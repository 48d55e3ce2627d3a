"""Verification: every figure computed again from the raw rows, every share hashed again."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hwkit.errors import HwkitError, RecordError
from hwkit.harness.figures import share_count_fault
from hwkit.harness.plan import MINERS_CHOICE, NONCES_ONLY, Plan
from hwkit.protocols import Basis
from hwkit.records.record import NewerRecord, canonical, sha256
from hwkit.records.shape import is_number
from hwkit.sha256d import sha256d
from hwkit.units import plain
from hwkit.work import NONCES, Header, Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwkit.protocols import Audit, Window
    from hwkit.records.record import Record

HANDFUL = 1000  # hashes that nobody would forge
LEAST_EXPECTED = 4  # shares: one window of a device that is given about 100 a second has 20
MADE_UP = 1e-9  # what has a smaller probability no honest run will show
CLOCK_SLACK_S = 5  # between making a job and opening its record, on one machine
WORDS = {"finding", "advice", "text", "dominant"}
# What a miner's record says since this came, each with its caveat; one of before has none of it.
LATER = {
    "settings": None,
    "hardware_errors": "HardwareErrors",
    "answering": None,
    "jobs_of_shares": None,
}
ROUNDING = 1e-9  # mathematical libraries differ in the last bits of a logarithm
ROLLED_AHEAD_S = 7200  # what consensus takes


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was verified, and what was found."""

    name: str
    fault: str | None
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Was it as it should be?"""
        return self.fault is None

    def to_json(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        return {
            "name": self.name,
            "verdict": "PASS" if self.passed else "FAIL",
            "detail": self.fault or self.detail,
        }


def verify(record: Record) -> list[Finding]:
    """Check a record against itself, from the bytes up. See docs/verify.md for what that proves.

    Raises NewerRecord for one that is whole, and newer than this hwkit.
    """
    try:
        _ = record.document
    except NewerRecord:
        if sha256(record.text.encode()) == record.digest:
            raise
    except RecordError:
        pass  # the findings say so
    return [_find(name, check, record) for name, check in CHECKS.items()]


def refuse_changed(record: Record) -> None:
    """Raise RecordError for a record whose document or rows do not match their digests."""
    for name in ("document", "rows"):
        if fault := _find(name, CHECKS[name], record).fault:
            raise RecordError(fault)


def _find(name: str, check: Callable[[Record], str], record: Record) -> Finding:
    """Run a check: it returns what it saw, and raises what it found wrong."""
    try:
        return Finding(name, None, check(record))
    except HwkitError as error:
        return Finding(name, str(error))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Anybody may have written these rows: what makes no sense is a finding.
        return Finding(name, f"makes no sense: {type(error).__name__}: {error}")


def _document(record: Record) -> str:
    if sha256(record.text.encode()) != record.digest:
        raise RecordError("the document was changed: it does not match its digest")
    _ = record.document  # of its shape
    return f"sha256 {record.digest}"


def _rows(record: Record) -> str:
    vouched = record.document["rows"]
    if vouched.keys() != record.chunks.keys():
        raise RecordError(
            f"rows of {sorted(record.chunks)}, where {sorted(vouched)} are vouched for"
        )
    total = 0
    for kind, chunks in record.chunks.items():
        if len(chunks) != len(vouched[kind]):
            raise RecordError(f"{len(chunks)} chunks of {kind} instead of {len(vouched[kind])}")
        first = 0
        for number, (chunk, expected) in enumerate(zip(chunks, vouched[kind], strict=True)):
            where = f"{kind} chunk {number} (rows {first} to {first + expected['rows'] - 1})"
            if sha256(chunk.data) != expected["sha256"] or chunk.digest != expected["sha256"]:
                raise RecordError(f"{where} was changed: it does not match its digest")
            if chunk.rows != expected["rows"]:
                raise RecordError(f"{where}: {chunk.rows} rows instead of {expected['rows']}")
            first += chunk.rows
        total += first
        if sum(1 for _ in record.rows(kind)) != first:
            raise RecordError(f"{kind}: the number of rows is not the one stated")
    return f"{total} rows"


def _windows(record: Record) -> str:
    document = record.document
    last = max(document["clock"]["monotonic_ns"], document["began_ns"])
    windows: list[Window] = list(record.read("windows"))
    for number, window in enumerate(windows):
        if not last <= window.opened < window.closed:
            raise RecordError(f"window {number} overlaps what was before, or runs backwards")
        last = window.closed
        if min(window.hashes, window.shares, window.busy_ns or 0) < 0:
            raise RecordError(f"window {number} counts less than nothing")
    if last > document["ended_ns"]:
        raise RecordError("the last window closes after the end of the run")
    return f"{len(windows)} windows in order"


def _figures(record: Record) -> str:
    document = record.document
    for name, value in _as_of(document, record.summary().to_json()).items():
        if found := difference(_wordless(value), _wordless(document[name]), name):
            raise RecordError(f"does not follow from the rows: {found}")
    return f"{len(document['figures'])} figures computed again"


def _as_of(document: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the document is too old to say, if it says nothing of it."""
    for name, caveat in LATER.items():
        if name not in document.get("delivered", {}) and name in ours.get("delivered", {}):
            del ours["delivered"][name]
            ours["caveats"] = [each for each in ours["caveats"] if each["caveat"] != caveat]
    return ours


def _readings(record: Record) -> str:
    meters = record.document.get("meters")
    if meters is None:
        return "no meter was there"
    names = [meter["name"] for meter in meters]
    if len(set(names)) < len(names):
        raise RecordError("a meter stands there twice")
    count = 0
    for count, (name, *_) in enumerate(record.rows("readings"), 1):
        if name not in names:
            raise RecordError(f"reading {count - 1} is of {plain(name)!r:.60}, which was not there")
    return f"{count} readings of {len(names)} meters"


def _shares(record: Record) -> str:
    """Hash every share again; the inner loop is kept lean, since long runs hold millions."""
    job = Job.from_json(record.document["job"])
    windows: list[Window] = list(record.read("windows"))
    # A miner may roll nTime, from the job's on and as far ahead as consensus takes.
    clock = record.document["clock"]
    latest = [_at_s(clock, window.closed) + ROLLED_AHEAD_S for window in windows]
    limits = _limits(record, job)
    rolled_versions = job.version_rolling or record.document["device"]["basis"] != Basis.COUNTED
    counted = [0] * len(windows)
    seen = array("Q")
    header_under, from_bytes = job.header_under, int.from_bytes
    number, last, root, limit, since = -1, (-1, ""), b"", 0, 0
    for number, (index, at, serial, rolled, ntime, version, nonce) in enumerate(
        record.rows("shares")
    ):
        if not 0 <= index < len(windows) or not windows[index].opened < at <= windows[index].closed:
            raise RecordError(f"share {number} lies outside its window")
        if (serial, rolled) != last:
            last, root = (serial, rolled), job.merkle_root(serial, bytes.fromhex(rolled))
            limit, since = limits(serial)
        digest = sha256d(header_under(root, ntime, version, nonce))
        if not job.ntime <= ntime <= latest[index]:
            raise RecordError(f"share {number}: its nTime lies before the job or far ahead")
        if at < since:
            raise RecordError(f"share {number} came before its job was sent")
        if from_bytes(digest, "little") > limit:
            raise RecordError(f"share {number} (nonce {nonce:#010x}) does not meet the target")
        if version != job.version and not rolled_versions:
            raise RecordError(f"share {number}: its version is rolled, and only nonces were asked")
        seen.append(from_bytes(digest[:8], "little"))
        counted[index] += 1
    if len(set(seen)) != len(seen):
        raise RecordError("a share stands there twice")
    _refuse_miscounted(windows, counted)
    return f"{number + 1} shares hashed again"


def _refuse_miscounted(windows: list[Window], counted: list[int]) -> None:
    for place, (count, window) in enumerate(zip(counted, windows, strict=True)):
        if count != window.shares:
            raise RecordError(f"window {place} states {window.shares} shares and has {count}")


def _limits(record: Record, job: Job) -> Callable[[int], tuple[int, int]]:
    """Return what tells, by its serial, what a job's shares must meet, and from when on they can.

    Raises RecordError for a job sent at two targets, and where it is asked for one never sent.
    """
    if record.document["device"]["basis"] == Basis.COUNTED:
        return lambda _: (job.target.value, 0)
    sent = {job.serial: (job.target.value, 0)}
    for each in record.read("assigned"):
        target = each.target.value
        if sent.setdefault(each.serial, (target, each.at))[0] != target:
            raise RecordError(f"job {each.serial} was sent at two targets")

    def limits(serial: int) -> tuple[int, int]:
        if serial not in sent:
            raise RecordError(f"a share is of job {serial}, which was never sent")
        return sent[serial]

    return limits


def _crowd(document: dict[str, Any]) -> str:
    """Hold hashes against targets: those of a target made up afterwards lie just below it."""
    spread = document.get("delivered", {}).get("spread")
    if spread is None:
        return "not counted: nothing to hold the shares against"
    # Massart's bound of a one-sided distance (Annals of Probability 18, 1990).
    if math.exp(-2 * spread["shares"] * spread["crowded"] ** 2) < MADE_UP:
        raise RecordError(
            f"{spread['shares']} shares crowd just below their targets, which chance does not do"
        )
    return f"{spread['shares']} shares lie below their targets as chance has it"


def _share_count(record: Record) -> str:
    document = record.document
    if document["device"]["basis"] != Basis.COUNTED:
        return _crowd(document)
    windows: list[Window] = list(record.read("windows"))
    hashes = sum(window.hashes for window in windows)
    shares = sum(window.shares for window in windows)
    target = Job.from_json(document["job"]).target
    fault = share_count_fault(hashes, shares, target)
    if fault:
        raise RecordError(fault)
    if HANDFUL < hashes < LEAST_EXPECTED * target.work:
        raise RecordError(f"{shares} shares of so hard a target say nothing of {hashes} hashes")
    return f"{shares} shares, {float(hashes / target.work):.1f} expected of {hashes} hashes"


def _audits(record: Record) -> str:
    windows: list[Window] = list(record.read("windows"))
    audits: list[Audit] = list(record.read("audits"))
    job = Job.from_json(record.document["job"])
    stretches: dict[tuple[int, int, str, int], list[int]] = {}
    for number, audit in enumerate(audits):
        if not 0 <= audit.first < audit.first + audit.count <= NONCES:
            raise RecordError(f"audit {number} is of no nonces that there are")
        if not 0 <= audit.window < len(windows) or audit.hashes > windows[audit.window].hashes:
            raise RecordError(f"audit {number} is of more than its window holds")
        if (audit.group is not None) != job.version_rolling:
            raise RecordError(f"audit {number} is of other work than the job")
        for version in job.versions(audit.group):
            place = (audit.window, audit.serial, audit.extranonce2.hex(), version)
            stretches.setdefault(place, []).append(number)
    found = [0] * len(audits)
    for index, _, serial, rolled, _, version, nonce in record.rows("shares") if audits else ():
        for number in stretches.get((index, serial, rolled, version), ()):
            first = audits[number].first
            found[number] += first <= nonce < first + audits[number].count
    for number, (audit, there) in enumerate(zip(audits, found, strict=True)):
        if audit.hits != there:
            raise RecordError(f"audit {number} found {audit.hits} hits where {there} shares stand")
    return f"{len(audits)} audits agree with the shares"


def _time(record: Record) -> str:
    document = record.document
    clock, job = document["clock"], Job.from_json(document["job"])
    began_s = _utc_s(clock["utc"])

    end_s = _at_s(clock, document["ended_ns"])
    opened_s = _utc_s(document["began"])
    if abs(opened_s - _at_s(clock, document["began_ns"])) > CLOCK_SLACK_S:
        raise RecordError("the record began at another time than its clock says")
    if not record.id.startswith(f"{datetime.fromtimestamp(opened_s, UTC):%Y%m%dT%H%M%S}"):
        raise RecordError("the record's id names another time than its beginning")
    if not began_s - CLOCK_SLACK_S <= job.ntime <= end_s + CLOCK_SLACK_S:
        raise RecordError("the job's nTime lies outside the run")
    return f"nTime {job.ntime} lies in the run"


def _marks(record: Record) -> str:
    plan, coinbase = record.document["plan"], Job.from_json(record.document["job"]).coinbase2
    seen = []
    if plan["challenge"] is not None:
        if plan["challenge"].encode() not in coinbase:
            raise RecordError("the challenge is not in the coinbase")
        seen.append(f"challenge {plan['challenge']!r}")
    if plan["beacon"] is not None:
        beacon = Header.from_hex(plan["beacon"])
        if beacon.pack() not in coinbase or not beacon.is_proven:
            raise RecordError("the beacon is not in the coinbase, or is no mined header")
        seen.append(f"beacon {beacon.hash[::-1].hex()}")
    return " and ".join(seen) or "none asked for: when the work was done is the author's word"


def _job(record: Record) -> str:
    """Hold the job to the plan: shares of any other, a real block's say, prove no work of ours."""
    document = record.document
    job = Job.from_json(document["job"])
    plan = Plan(**document["plan"])
    basis = Basis(document["device"]["basis"])
    if plan.job(job.ntime, job.target, document.get("entry", 0), basis).roll(job.serial) != job:
        raise RecordError("the job is not the one that the plan's seed makes")
    work = document["device"].get("work", NONCES_ONLY)
    if work != (plan.work if basis is Basis.COUNTED else MINERS_CHOICE):
        raise RecordError(f"the device's work, {work}, is not the plan's, {plan.work}")
    if document["proof"] is not None and document["proof"]["verdict"] != "PASS":
        raise RecordError("the kernel was not proven")
    return "made by the plan's seed"


CHECKS: dict[str, Callable[[Record], str]] = {
    "document": _document,
    "rows": _rows,
    "job": _job,
    "windows": _windows,
    "readings": _readings,
    "figures": _figures,
    "shares": _shares,
    "share count": _share_count,
    "audits": _audits,
    "time": _time,
    "challenge and beacon": _marks,
}


def _utc_s(text: str) -> float:
    """Read an ISO 8601 time with its zone. Raises RecordError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise RecordError(f"{text!r} is a time without a zone")
    return moment.timestamp()


def _at_s(clock: dict[str, Any], monotonic_ns: int) -> float:
    """Return the time of day, in seconds since 1970, at a moment of the monotonic clock."""
    return _utc_s(clock["utc"]) + (monotonic_ns - int(clock["monotonic_ns"])) / 1e9


def _wordless(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Leave out what caveats and findings say in words, which a later hwkit may say better."""
    if isinstance(value, list):
        return [_wordless(each) for each in value]
    if isinstance(value, dict):
        return {key: _wordless(each) for key, each in value.items() if key not in WORDS}
    return value


def difference(ours: Any, stated: Any, path: str) -> str | None:  # noqa: ANN401 - JSON
    """Say where two values differ; None: nowhere, but for how machines round logarithms."""
    if isinstance(ours, dict) and isinstance(stated, dict):
        keys = sorted(ours.keys() | stated.keys())
        faults = (difference(ours.get(key), stated.get(key), f"{path}.{key}") for key in keys)
        return next(filter(None, faults), None)
    if isinstance(ours, list) and isinstance(stated, list) and len(ours) == len(stated):
        places = enumerate(zip(ours, stated, strict=True))
        faults = (difference(a, b, f"{path}[{place}]") for place, (a, b) in places)
        return next(filter(None, faults), None)
    if isinstance(ours, float) and is_number(stated):
        same = math.isclose(ours, stated, rel_tol=ROUNDING)
    else:
        same = canonical(ours) == canonical(stated)
    return None if same else f"{path} is {ours!r} and not {stated!r:.80}"
