"""Verification catches whatever was changed, and no document makes it fall over."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hwkit.errors import RecordError
from hwkit.records.record import Chunk, Record, canonical, sha256
from hwkit.records.rows import COLUMNS
from hwkit.records.verify import CHECKS, verify
from hwkit.work import Header

MEASURED = ("windows", "shares", "audits", "readings", "events")


def faults(record):
    return {finding.name: finding.fault for finding in verify(record) if not finding.passed}


def rows(record, kind):
    return [list(row) for row in record.rows(kind)]


def column(kind, name):
    return [*COLUMNS[kind]].index(name)


def with_rows(resealed, record, kind, change, *, figures=True):
    """The record with rows changed as a forger would: every digest and figure follows."""
    some = rows(record, kind)
    some = change(some) or some
    return resealed(record, figures=figures, **{kind: [tuple(row) for row in some]})


def test_what_was_measured_passes(measured):
    assert faults(measured) == {}
    assert [finding.name for finding in verify(measured)] == [*CHECKS]
    assert all(finding.detail for finding in verify(measured))
    assert set(measured.chunks) >= {"windows", "shares", "readings", "events"}


def test_a_record_rebuilt_without_a_change_passes(measured, resealed):
    assert resealed(measured, figures=True).text == measured.text


@pytest.mark.parametrize("kind", MEASURED)
def test_every_changed_byte_is_found_and_named(measured, kind):
    if kind not in measured.chunks:
        pytest.skip("nothing was audited: there is no second kernel here")
    chunk = measured.chunks[kind][0]

    @given(st.integers(0, len(chunk.data) - 1), st.integers(1, 255))
    def holds(place, bits):
        data = bytearray(chunk.data)
        data[place] ^= bits
        found = faults(
            replace(measured, chunks=measured.chunks | {kind: [replace(chunk, data=bytes(data))]})
        )
        assert f"{kind} chunk 0 (rows 0 to {chunk.rows - 1}) was changed" in found["rows"]

    holds()


def test_every_changed_byte_of_the_document_is_found(measured):
    @given(st.integers(0, len(measured.text) - 1), st.characters(max_codepoint=0x17F))
    def holds(place, char):
        if measured.text[place] != char:
            text = measured.text[:place] + char + measured.text[place + 1 :]
            assert "was changed" in faults(replace(measured, text=text))["document"]

    holds()


def test_the_second_of_two_chunks_is_named(measured, resealed):
    some = [*measured.rows("shares")]
    halves = [Chunk.of("shares", some[:10]), Chunk.of("shares", some[10:])]
    record = Record.sealed(measured.document, measured.chunks | {"shares": halves})
    assert faults(record) == {}
    data = halves[1].data[:-1] + bytes([halves[1].data[-1] ^ 1])
    forged = replace(
        record, chunks=record.chunks | {"shares": [halves[0], replace(halves[1], data=data)]}
    )
    assert f"shares chunk 1 (rows 10 to {len(some) - 1}) was changed" in faults(forged)["rows"]
    for chunks in (halves[:1], halves[::-1], [*halves, halves[1]], []):
        assert "rows" in faults(replace(record, chunks=record.chunks | {"shares": chunks}))
    assert "rows" in faults(
        replace(record, chunks={k: v for k, v in record.chunks.items() if k != "shares"})
    )


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def changed(document, path, value):
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value


def test_every_figure_that_is_changed_is_found(measured, resealed):
    """Naively the digest gives it away, and with the digest the rows do."""
    document = measured.document
    stated = {name: document[name] for name in ("figures", "counts", "spread", "audit", "caveats")}
    for path in leaves(stated):
        value: Any = stated
        for key in path:
            value = value[key]
        forged = value * 1.001 + 1 if isinstance(value, int | float) else "forged"
        naive = json.loads(measured.text)
        changed(naive, path, forged)
        naive = replace(measured, text=canonical(naive))
        assert "document" in faults(naive), path
        assert "figures" in faults(replace(naive, digest=sha256(naive.text.encode()))), path


def test_a_figure_that_was_added_or_left_out(measured, resealed):
    more = resealed(measured, lambda d: d["figures"].update(efficiency=d["figures"]["hashrate"]))
    assert "efficiency" in faults(more)["figures"]
    less = resealed(measured, lambda d: d["figures"].pop("hashrate_by_shares"))
    assert "hashrate_by_shares" in faults(less)["figures"]
    calm = resealed(measured, lambda d: d["caveats"].append(None))
    assert "figures" in faults(calm)


def test_the_last_bits_of_a_figure_may_differ(measured, resealed):
    """Another machine's logarithm rounds otherwise: that is no forgery."""

    def nudge(document):
        figure = document["figures"]["hashrate"]
        figure["value"] *= 1 + 1e-14

    record = resealed(measured, nudge)
    assert record.text != measured.text
    assert faults(record) == {}


@pytest.mark.parametrize("factor", [0, 2, 10])
def test_hashes_that_the_shares_do_not_bear(measured, resealed, factor):
    """All that a forger can make fit, fits: the shares, which he would have to find, do not."""

    def claim(windows):
        for window in windows:
            window[column("windows", "hashes")] *= factor

    found = faults(with_rows(resealed, measured, "windows", claim))
    assert "standard deviations" in found["share count"]


def test_a_share_taken_away(measured, resealed):
    forged = with_rows(resealed, measured, "shares", lambda shares: shares[1:])
    assert "states" in faults(forged)["shares"]


def test_a_share_that_stands_twice(measured, resealed):
    shares = rows(measured, "shares")
    window = shares[0][0]
    windows = rows(measured, "windows")
    windows[window][column("windows", "shares")] += 1
    forged = resealed(measured, figures=True, shares=[shares[0], *shares], windows=windows)
    assert faults(forged)["shares"] == "a share stands there twice"


@pytest.mark.parametrize("name", ["serial", "extranonce2", "ntime", "version", "nonce"])
def test_a_share_changed_in_one_part(measured, resealed, name):
    def change(shares):
        value = shares[3][column("shares", name)]
        new = "01" + value[2:] if isinstance(value, str) else value + (name == "version") * 7191 + 1
        shares[3][column("shares", name)] = new

    assert "shares" in faults(with_rows(resealed, measured, "shares", change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("window", value) for value in (-1, 10**9)),
        *(("at", value) for value in (0, 1 << 80)),
        *(("serial", value) for value in (-1, 1 << 40)),
        *(("extranonce2", value) for value in ("zz", "", "é" * 8)),
        *(("ntime", value) for value in (-1, 1 << 33)),
        *(("version", value) for value in (-1, 1 << 40)),
        *(("nonce", value) for value in (-1, 1 << 32, 10**4000)),
    ],
)
def test_a_share_that_cannot_be(measured, resealed, name, value):
    def change(shares):
        shares[0][column("shares", name)] = value

    found = faults(with_rows(resealed, measured, "shares", change))
    assert "shares" in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opened", 0),
        ("closed", 0),
        ("closed", 1 << 62),
        ("hashes", -1),
        ("busy_ns", -1),
        ("shares", -1),
        ("shares", 0),
    ],
)
def test_a_window_that_cannot_be(measured, resealed, name, value):
    def change(windows):
        windows[1][column("windows", name)] = value

    assert faults(with_rows(resealed, measured, "windows", change)).keys() & {"windows", "shares"}


def test_windows_in_another_order(measured, resealed):
    found = faults(with_rows(resealed, measured, "windows", lambda windows: windows[::-1]))
    assert "overlaps" in found["windows"]


def test_windows_missing(measured, resealed):
    found = faults(with_rows(resealed, measured, "windows", lambda windows: windows[:-1]))
    assert "outside its window" in found["shares"]


def test_windows_before_the_run_began(measured, resealed):
    def later(document):
        document["began_ns"] = document["ended_ns"]

    assert "windows" in faults(resealed(measured, later))


def test_rows_of_the_wrong_types(measured, resealed):
    strangers: list[Any] = ["1", 1.5, None, [], {}, True]
    for value in strangers:

        def change(windows, value=value):
            windows[0][column("windows", "hashes")] = value

        some = rows(measured, "windows")
        change(some)
        forged = resealed(measured, windows=[tuple(row) for row in some])
        assert "windows.hashes" in faults(forged)["rows"]


def test_audits_that_disagree(measured, resealed):
    if "audits" not in measured.chunks:
        pytest.skip("nothing was audited: there is no second kernel here")

    def forged(name, value):
        def change(audits):
            audits[0][column("audits", name)] = value

        return faults(with_rows(resealed, measured, "audits", change))

    assert "hits" in forged("hits", 9)["audits"]
    for name, value in (("count", 1 << 40), ("count", 0), ("count", -5), ("first", -1)):
        assert "audits" in forged(name, value)
    for name, value in (("first", (1 << 32) - 1), ("window", -1), ("window", 10**6)):
        assert "audits" in forged(name, value)
    assert "audits" in forged("count", 1 << 31)  # more than its window hashed


def test_version_rolling_is_verified_with_its_versions(rolling, resealed):
    assert faults(rolling) == {}
    assert rolling.work == "version rolling"
    versions = {credited.share.version for credited in rolling.read("shares")}
    assert len(versions) > 1

    def outside(shares):
        shares[0][column("shares", "version")] ^= 1

    found = faults(with_rows(resealed, rolling, "shares", outside))
    assert "outside the job's mask" in found["shares"]


def said(document, *, rolled):
    """Say everywhere of a document what work it is of."""
    document["plan"]["version_rolling"] = document["job"]["version_rolling"] = rolled
    document["device"]["work"] = "version rolling" if rolled else "nonces only"


def test_version_rolling_that_says_it_was_nonces_only(rolling, measured, resealed):
    for part in ("plan", "job"):
        found = faults(resealed(rolling, lambda d, p=part: d[p].update(version_rolling=False)))
        assert "seed" in found["job"]
    found = faults(resealed(rolling, lambda d: d["device"].update(work="nonces only")))
    assert found == {"job": "the device's work, nonces only, is not the plan's, version rolling"}
    found = faults(resealed(rolling, lambda d: said(d, rolled=False)))
    assert "only nonces were asked" in found["shares"]
    if "audits" in measured.chunks:
        found = faults(resealed(measured, lambda d: said(d, rolled=True)))
        assert "of other work" in found["audits"]


def test_audits_of_versions_that_are_none_or_others(rolling, resealed):
    if "audits" not in rolling.chunks:
        pytest.skip("nothing was audited: there is no second kernel here")
    for group, words in ((None, "other work"), (4096, "no group"), (-1, "no group"), (1, "hits")):

        def change(audits, group=group):
            for audit in audits:
                audit[column("audits", "group")] = group

        found = faults(with_rows(resealed, rolling, "audits", change))
        assert words in found["audits"]


def test_a_record_from_before_there_was_version_rolling(measured, resealed):
    """What is absent means nonces only."""

    def older(document):
        del document["plan"]["version_rolling"]
        del document["job"]["version_rolling"]
        del document["device"]["work"]

    record = resealed(measured, older)
    assert faults(record) == {}
    assert record.work == "nonces only"


def test_a_job_of_another_time(measured, resealed):
    for seconds in (-86400, 86400):

        def move(document, seconds=seconds):
            document["job"]["ntime"] += seconds

        assert "nTime" in faults(resealed(measured, move))["time"]


def test_shares_rolled_outside_the_run(measured, resealed):
    def roll(shares):
        for share in shares:
            share[column("shares", "ntime")] += 86400

    assert "nTime" in faults(with_rows(resealed, measured, "shares", roll))["shares"]


def test_a_run_moved_in_time(measured, resealed):
    """Clock and beginning together: the shares' nTime stays where the work was done."""

    def move(document):
        document["clock"]["utc"] = document["began"] = "2030-01-01T00:00:00+00:00"
        document["id"] = "20300101T000000-forged"

    assert "time" in faults(resealed(measured, move))
    for key, value in (("began", "2030-01-01T00:00:00+00:00"), ("id", "20300101T000000-x")):
        assert "time" in faults(resealed(measured, lambda d, k=key, v=value: d.update({k: v})))
    for text in ("", "now", "2026-01-01T00:00:00", "9999-99-99", "2026-01-01"):
        assert "time" in faults(resealed(measured, lambda d, t=text: d["clock"].update(utc=t)))


def test_another_challenge(measured, resealed):
    forged = resealed(measured, lambda d: d["plan"].update(challenge="chosen later"))
    found = faults(forged)
    assert found.keys() == {"job", "challenge and beacon"}
    assert found["challenge and beacon"] == "the challenge is not in the coinbase"
    inserted = resealed(
        measured,
        lambda d: (
            d["plan"].update(challenge="chosen later"),
            d["job"].update(
                coinbase2=d["job"]["coinbase2"].replace(
                    b"for the test".hex(), b"chosen later".hex()
                )
            ),
        ),
    )
    assert "does not meet the target" in faults(inserted)["shares"]


def test_shares_of_a_target_too_hard_to_be_met_prove_nothing(measured, resealed):
    def harder(document):
        document["job"]["target"] = "0" * 64

    found = faults(resealed(measured, harder))
    assert {"share count", "shares"} & found.keys()


def test_the_job_must_be_the_plan_s(measured, resealed):
    """A real block's header is anybody's work: its coinbase and branch are public."""

    def other(document):
        document["job"]["prev_hash"] = "11" * 32

    assert "job" in faults(resealed(measured, other))


def test_a_beacon_that_is_none(measured, resealed):
    header = Header(1, bytes(32), bytes(32), 0, 0x1D00FFFF, 0).pack().hex()
    for beacon in (header, "", "zz", "00" * 80, "x" * 10**5):
        found = faults(resealed(measured, lambda d, b=beacon: d["plan"].update(beacon=b)))
        assert found.keys() == {"job", "challenge and beacon"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def everywhere(value, path=()):
    """Every place in a document, branches too."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from everywhere(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from everywhere(value[0], (*path, 0))


def test_any_document_is_a_finding_and_never_a_traceback(measured):
    """Whatever stands at whatever place, digests right."""
    places = [*everywhere(measured.document)]

    @given(st.sampled_from(places), JSON)
    @example(("device", "threads"), 10**4000)
    @example(("plan", "precision"), 10**400)
    @example(("plan", "precision"), 0)
    @example(("device", "threads"), -1)
    @example(("device", "basis"), "claimed")
    @example(("counts",), [[[[]]]])
    @example(("job", "target"), "f" * 65)
    @example(("job", "target"), "-1")
    @example(("job", "target"), "0")
    @example(("job", "version_mask"), -1)
    @example(("job", "extranonce2_size"), 10**20)
    @example(("job", "ntime"), 10**30)
    @example(("ended_ns",), -(10**25))
    @example(("rows", "windows"), [{"rows": -1, "sha256": ""}])
    def holds(path, value):
        document = measured.document
        changed(document, path, value)
        try:
            text = canonical(document)
        except ValueError:
            return
        findings = verify(replace(measured, text=text, digest=sha256(text.encode())))
        assert [finding.name for finding in findings] == [*CHECKS]
        json.dumps([finding.to_json() for finding in findings], allow_nan=False)

    holds()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "[" * 10**6,
        '{"a":' * 10**5,
        "1" * 10**5,
        "NaN",
        "\ud800",
        '{"id":"x"}',
        '{"schema":1,"id":"x"}',
        '{"schema":1,"id":"x","rows":{}}',
        '{"schema":99,"id":"x"}',
    ],
    ids=range(12),
)
def test_no_document_at_all(measured, text):
    digest = sha256(text.encode(errors="replace"))
    findings = verify(replace(measured, text=text, digest=digest))
    # Audits are held against rows alone.
    assert {finding.name for finding in findings if finding.passed} <= {"audits"}


def test_a_key_that_stands_twice(measured):
    """A reader who takes the first of two keys would see another figure than verify."""
    text = measured.text[:-1] + ',"why":"forged"}'
    found = faults(replace(measured, text=text, digest=sha256(text.encode())))
    assert "one form" in found["document"]


def test_a_share_target_that_all_meet_does_not_let_more_be_claimed(measured, resealed):
    """Of a softer target more shares would be due than stand there."""

    def soften(document):
        document["job"]["target"] = "f" * 64

    assert "share count" in faults(resealed(measured, soften))


def test_a_target_that_is_harder_fails_the_shares(measured, resealed):
    def harden(document):
        document["job"]["target"] = "0" * 20 + "f" * 44

    assert "does not meet the target" in faults(resealed(measured, harden))["shares"]


def test_reading_what_was_forged_is_a_record_error(measured, resealed):
    forged = resealed(measured, lambda d: d.update(host=None))
    with pytest.raises(RecordError, match=r"host is no object"):
        _ = forged.document
