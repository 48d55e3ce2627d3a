"""Figures and comparisons from windows made by hand: what each number says, and each caveat."""

import random
from dataclasses import replace

import pytest

from hwkit.errors import PlanError, Unmeasurable
from hwkit.harness.comparison import compare
from hwkit.harness.figures import share_count_fault, summarise
from hwkit.protocols import Audit, Window
from hwkit.records.differences import differences, refuse_unlike
from hwkit.work import Target

S = 1_000_000_000
TARGET = Target((1 << 236) - 1)  # work of 2^20 hashes a share


def window(number, rate=1e6, *, busy=1.0, clock_hz=3e9, shares=1):
    opened = 10 * S + number * S
    return Window(
        number, opened, opened + S // 2, int(rate / 2), int(busy * S / 2), shares, clock_hz
    )


def summary(windows, audits=(), **changes):
    options = {"threads": 1, "precision": None, "audited": True} | changes
    return summarise(windows, audits, TARGET, **options)


def caveats(windows, **changes):
    return {caveat["caveat"]: caveat for caveat in summary(windows, **changes).to_json()["caveats"]}


def test_rates_are_hashes_over_wall_time_and_over_cpu_time():
    figures = summary([window(n, 2e6, busy=0.5) for n in range(20)]).figures
    assert figures["hashrate"].value == pytest.approx(2e6)
    assert figures["hashrate_per_cpu_second"].value == pytest.approx(4e6)
    assert figures["cycles_per_hash"].value == pytest.approx(3e9 / 4e6)


def test_the_rate_by_shares_is_their_work_over_the_time():
    figure = summary([window(n, shares=2) for n in range(50)]).figures["hashrate_by_shares"]
    assert figure.value == pytest.approx(100 * 2**20 / 25)
    assert figure.lo < figure.value < figure.hi


def test_without_hashes_there_is_no_figure():
    empty = summary([window(0, 0)])
    assert empty.figures == {}
    assert empty.spread is None
    assert summary([]).figures == {}


def test_without_cpu_time_there_is_no_cpu_figure():
    figures = summary([replace(window(n), busy_ns=None) for n in range(9)]).figures
    assert figures.keys() == {"hashrate", "hashrate_by_shares"}


def test_an_audit_states_what_it_would_have_caught():
    audit = summary([window(0)], [Audit(0, 0, b"", 0, 1000, 29)]).audit
    assert audit["missing_at_most"] == pytest.approx(0.098, abs=0.001)
    assert summary([window(0)]).audit["missing_at_most"] is None


def test_a_quiet_run_has_no_caveats():
    draw = random.Random(0)
    assert caveats([window(n, 1e6 * draw.gauss(1, 0.005)) for n in range(40)]) == {}


def test_what_an_audit_of_a_card_saw_too_little_of_is_said():
    """A processor scans so little of its work again that a loss may pass."""
    windows = [window(n) for n in range(20)]
    assert caveats(windows, card=True)["ThinAudit"]["hits"] == 0
    seen = [Audit(0, 0, b"", 0, 1000, 5)]
    assert "ThinAudit" not in {type(c).__name__ for c in summary(windows, seen, card=True).caveats}


def test_few_windows_is_said_with_the_confidence_that_they_bear():
    assert caveats([window(n) for n in range(3)])["FewWindows"]["confidence"] == 0.75


def test_a_missed_precision_is_said_with_the_one_reached():
    draw = random.Random(0)
    windows = [window(n, 1e6 * draw.gauss(1, 0.1)) for n in range(20)]
    caveat = caveats(windows, precision=0.01)["Imprecise"]
    assert caveat["wanted"] == 0.01
    assert caveat["reached"] > 0.01


def test_a_drift_is_said_with_its_size():
    draw = random.Random(0)
    windows = [window(n, 1e6 * (1 - n / 400) * draw.gauss(1, 0.005)) for n in range(40)]
    assert caveats(windows)["NotSteady"]["drift"] == pytest.approx(-0.1, abs=0.02)


def test_a_falling_clock_is_said():
    windows = [window(n, clock_hz=3e9 if n < 20 else 2.5e9) for n in range(40)]
    assert caveats(windows)["Throttled"]["to_hz"] == 2.5e9


def test_stolen_processor_time_is_said():
    assert caveats([window(n, busy=0.6) for n in range(9)])["Oversubscribed"]["share"] == 0.6


def test_a_missing_auditor_is_said():
    assert "NotAudited" in caveats([window(n) for n in range(9)], audited=False)


@pytest.mark.parametrize(
    ("shares", "wrong"), [(500, False), (560, False), (300, True), (700, True)]
)
def test_a_share_count_that_chance_does_not_explain_is_a_fault(shares, wrong):
    assert bool(share_count_fault(500 << 20, shares, TARGET)) is wrong


def pair(draw, ratio, rounds=60, noise=0.02, drift=0.2):
    """Two runs in turns on a machine that drifts by a fifth, with noise in each window."""
    sides: tuple[list[Window], list[Window]] = [], []
    for n in range(rounds):
        machine = 1e8 * (1 + drift * n / rounds)
        for side, factor in zip(sides, (ratio, 1.0), strict=True):
            side.append(window(n, machine * factor * draw.gauss(1, noise)))
    return sides


def test_of_200_comparisons_of_a_thing_with_itself_at_most_6_find_a_difference():
    draw = random.Random(2026)
    words = [compare(*pair(draw, 1.0), paired=True).word for _ in range(200)]
    assert sum(word in {"FASTER", "SLOWER"} for word in words) <= 6


def test_a_planted_slowdown_of_3_percent_is_named_in_95_of_100():
    draw = random.Random(2026)
    words = [compare(*pair(draw, 0.97), paired=True).word for _ in range(100)]
    assert words.count("SLOWER") >= 95
    words = [compare(*pair(draw, 1.03), paired=True).word for _ in range(100)]
    assert words.count("FASTER") >= 95


def test_same_needs_an_interval_within_one_percent():
    draw = random.Random(1)
    assert compare(*pair(draw, 1.0, rounds=200, noise=0.01), paired=True).word == "SAME"
    assert compare(*pair(draw, 1.0, rounds=10, noise=0.05), paired=True).word == "AMBIGUOUS"
    assert compare(*pair(draw, 1.5, rounds=5), paired=True).word == "AMBIGUOUS"


def test_unpaired_runs_are_compared_too():
    draw = random.Random(1)
    a, b = pair(draw, 1.1, drift=0)
    result = compare(a, b[:40], paired=False)
    assert (result.word, result.paired, result.windows) == ("FASTER", False, 40)


def test_two_runs_apart_need_more_than_their_windows_say():
    draw = random.Random(1)
    a, b = pair(draw, 1.025, drift=0, noise=0.005)
    assert compare(a, b, paired=True).word == "FASTER"
    assert compare(a, b, paired=False).word == "AMBIGUOUS"
    a, b = pair(draw, 1.2, drift=0)
    assert compare(a, b, paired=False).word == "FASTER"
    assert compare(a, b, paired=False, disturbed=True).word == "AMBIGUOUS"


def test_more_threads_than_processors_are_no_theft():
    windows = [window(n, busy=2.0) for n in range(9)]
    assert "Oversubscribed" not in caveats(windows, threads=16, usable=2)
    assert "Oversubscribed" in caveats(windows, threads=4, usable=4)


def test_threads_that_share_cores_are_said():
    windows = [window(n, busy=4.0) for n in range(9)]
    shared = caveats(windows, threads=4, usable=4, cores=2)["SharedCores"]
    assert (shared["threads"], shared["cores"]) == (4, 2)
    for fits in ({"threads": 2, "usable": 4, "cores": 2}, {"threads": 9, "usable": 2, "cores": 2}):
        assert "SharedCores" not in caveats(windows, **fits)
    assert "SharedCores" not in caveats(windows, threads=4, usable=4)  # not told


def test_unlike_cores_are_said_and_no_core_s_clock_stands_for_them():
    windows = [window(n, clock_hz=3e9 if n < 20 else 2e9) for n in range(40)]
    mixed = summary(windows, core_types=["performance", "efficiency"])
    assert [caveat.finding for caveat in mixed.caveats] == ["performance and efficiency"]
    assert "cycles_per_hash" not in mixed.figures
    alike = summary(windows, core_types=["performance"])
    assert "cycles_per_hash" in alike.figures
    assert [type(caveat).__name__ for caveat in alike.caveats] == ["Throttled"]


def test_a_quota_below_the_threads_is_said_and_is_nobody_s_theft():
    windows = [window(n, busy=1.5) for n in range(9)]
    held = caveats(windows, threads=2, usable=2, quota=1.5)
    assert held.keys() == {"Quota"}
    assert held["Quota"]["processors"] == 1.5
    assert "Quota" not in caveats(windows, threads=2, usable=2, quota=2.0)
    assert "Oversubscribed" in caveats(windows, threads=2, usable=2, quota=2.0)


def test_pairs_are_windows_of_one_round():
    draw = random.Random(1)
    a, b = pair(draw, 1.1)
    assert compare(a[5:], b[:50], paired=True).windows == 45
    with pytest.raises(Unmeasurable, match="no round in common"):
        compare(a[:10], b[20:], paired=True)


def test_the_rate_compared_is_per_cpu_second_only_where_both_have_it():
    draw = random.Random(1)
    a, b = pair(draw, 1.0)
    assert compare(a, b, paired=True).rate == "per CPU second"
    a = [replace(w, busy_ns=None) for w in a]
    assert compare(a, b, paired=True).rate == "by wall clock"


def test_without_hashes_there_is_nothing_to_compare():
    with pytest.raises(Unmeasurable):
        compare([window(0, 0)], [window(0)], paired=True)


def test_unlike_is_not_ranked():
    a = {"device": {"basis": "counted", "name": "x"}, "host": {"cpu": {"model": "A"}}}
    b = {"device": {"basis": "claimed", "name": "x"}, "host": {"cpu": {"model": "B"}}}
    differing = differences(a, b)
    assert differing == {"basis": ("counted", "claimed"), "processor": ("A", "B")}
    with pytest.raises(PlanError, match="--mixed"):
        refuse_unlike(differing)
    refuse_unlike({"processor": ("A", "B")})
