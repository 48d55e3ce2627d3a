"""Flows, purchases and futures: properties, and second opinions that share no code."""

import math
from dataclasses import replace
from datetime import date
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import pyxirr
from hypothesis import Phase, assume, example, given, settings
from uncertainties import ufloat

from hwkit.economics import futures as fut
from hwkit.economics.alternatives import offers, side_by_side
from hwkit.economics.cashflow import discount_factor, irr, npv, payback, static_payback_days
from hwkit.economics.catalogue import Nameplate, find, shipped
from hwkit.economics.hashprice import break_even_power_price
from hwkit.economics.machine import MEASURED, Machine
from hwkit.economics.scenario import Scenario, payments, read_scenario
from hwkit.economics.sensitivity import fan, tornado
from hwkit.economics.snapshot import shipped as snapshot
from hwkit.economics.tariff import Tariff, schedule, starts
from hwkit.economics.today import today
from hwkit.economics.verdict import Word, costs_of_delay, judge, statement
from hwkit.errors import PlanError
from hwkit.harness.efficiency import HASHES_PER_DIFFICULTY
from hwkit.units import Figure

FEW = settings(max_examples=25, phases=[phase for phase in Phase if phase is not Phase.explain])
money = st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: round(x, 2))


def machine(th_s=270.0, efficiency=13.5):
    return Machine.of_nameplate(Nameplate("test", th_s, th_s * efficiency))


def terms(tariff=None, **changes):
    scenario = Scenario(**{"runs": 400, **changes})
    return fut.Terms(scenario, snapshot(), tariff or Tariff.of([scenario.usd_per_kwh]))


def judged(candidates, at) -> Any:
    return judge(candidates, at)


def net(price=2970.0, of=None, tariff=None, **changes):
    """The NPV of the expected path."""
    return statement(of or machine(), price, terms(tariff, **changes)).npv


# Flows


@FEW
@given(st.lists(money, min_size=1, max_size=60), st.floats(-0.5, 2))
def test_npv_is_pyxirrs(flows, rate):
    monthly = (1 + rate) ** (1 / 12) - 1
    assert npv(flows, rate) == pytest.approx(pyxirr.npv(monthly, flows), rel=1e-9, abs=1e-6)


@FEW
@given(st.floats(10, 1e5), st.lists(st.floats(0, 1e4), min_size=1, max_size=60))
def test_irr_is_pyxirrs_where_there_is_one(price, incomes):
    assume(sum(incomes) > 0.5 * price)
    flows = [-price, *incomes]
    found = irr(flows)
    assert found.rate is not None
    assert npv(flows, found.rate) == pytest.approx(0, abs=1e-6 * price)
    theirs = pyxirr.irr(flows)
    if theirs is not None and theirs > -0.9:
        assert found.rate == pytest.approx((1 + theirs) ** 12 - 1, rel=1e-5, abs=1e-7)


@FEW
@given(st.lists(st.floats(0.2, 5).map(lambda x: round(x, 1)), min_size=1, max_size=4, unique=True))
def test_every_rate_is_found_and_several_are_none(roots):
    flows = [1.0]
    for root in roots:  # times (x - root)
        shifted = zip([0.0, *flows], [*flows, 0.0], strict=True)
        flows = [before - root * here for before, here in shifted]
    found = irr(flows)
    if len(roots) == 1:
        assert found.rate == pytest.approx(roots[0] ** -12 - 1)
    else:
        assert found.rate is None
        assert found.why is not None
        assert found.why.startswith(f"undefined: {len(roots)} rates")


def test_the_flows_for_which_two_solvers_give_two_answers():
    """numpy_financial 1.0.0 says 10 %, pyxirr 0.10.8 says 20 %: both are right, so neither is."""
    assert pyxirr.irr([-100, 230, -132]) == pytest.approx(0.20)
    assert "undefined: 2 rates" in str(irr([-100, 230, -132]).why)
    losing: Any = irr([-100, 10, 20])
    assert losing.rate < 0
    assert irr([-100, -10]).why == "the money never comes back"
    assert irr([100, 10]).why == "no money is laid out"
    assert irr([]).rate is None
    assert irr([1.0, -2.0, 1.5]).why == "no rate makes these flows worth nothing"


def test_payback_static_and_discounted():
    flows = [-100.0, 30.0, 30.0, 30.0, 30.0]
    assert payback(flows) == pytest.approx(3 + 10 / 30)
    assert payback(flows, 0.15) == pytest.approx(3.4215, abs=1e-4)
    assert payback(flows, 2.0) is None
    assert payback([-100.0, 120.0, -50.0, 40.0]) == pytest.approx(2 + 30 / 40)  # it stays there
    assert payback([5.0]) == 0
    assert static_payback_days(2970, 10.738, 4.374) == pytest.approx(467, abs=0.5)
    assert static_payback_days(2970, 4.0, 4.0) is None


# Purchases


# Section 4.7 of the notes: the same assumptions, an independent monthly model, and its table.
@pytest.mark.parametrize(
    ("name", "price", "flat", "slow", "fast"),
    [
        ("S21 XP (270", 2970, 778, -407, -913),
        ("S23 Hydro (580", 10_660, 731, -3012, -4626),
        ("S19 XP (140", 443, 482, 180, -67),
        ("S19j Pro (104", 123, 48, -86, -101),
    ],
)
def test_purchases_computed_elsewhere(name, price, flat, slow, fast):
    bought = Machine.of_nameplate(find(name, shipped()))
    for growth, published in ((0.0, flat), (0.184, slow), (0.41, fast)):
        value = net(price, bought, difficulty_growth=growth)
        assert value == pytest.approx(published, abs=0.04 * price)


@FEW
@given(st.floats(1, 500), st.floats(1.001, 3))
def test_revenue_rises_with_hashrate(th_s, factor):
    less, more = machine(th_s, 15.0), machine(th_s * factor, 15.0)
    a, b = (statement(each, 0.0, terms()) for each in (less, more))
    assert b.btc > a.btc
    assert b.npv == pytest.approx(factor * a.npv)


@FEW
@given(st.floats(0, 5e4), st.floats(0, 5e4), st.floats(0, 1))
def test_npv_is_linear_in_the_price(a, b, part):
    between = part * a + (1 - part) * b
    assert net(between) == pytest.approx(part * net(a) + (1 - part) * net(b), rel=1e-9, abs=1e-6)


@FEW
@given(st.floats(0, 0.3), st.floats(0, 0.3))
def test_npv_falls_with_the_power_price(a, b):
    low, high = sorted((a, b))
    assert net(usd_per_kwh=low) >= net(usd_per_kwh=high) - 1e-9


@FEW
@given(st.floats(0, 1), st.floats(-0.05, 0.2))
def test_uptime_scales_energy_and_coins_once(uptime, power):
    some, whole = (
        statement(machine(), 0.0, terms(uptime=u, usd_per_kwh=power)) for u in (uptime, 1)
    )
    assert some.kwh == pytest.approx(uptime * whole.kwh)
    assert some.btc == pytest.approx(uptime * whole.btc)
    assert some.npv == pytest.approx(uptime * whole.npv)


def test_uptime_0_costs_no_energy():
    stands = statement(machine(), 1000.0, terms(uptime=0.0, fixed_usd_per_month=50.0))
    assert (stands.kwh, stands.btc) == (0, 0)
    assert sum(stands.flows) == pytest.approx(-1000 + 100)  # what it was bought and sold for


@FEW
@given(st.floats(10, 60), st.floats(0, 0.1))
def test_break_even_really_breaks_even(efficiency, fee):
    one = terms(
        difficulty_growth=0.0, uptime=1.0, overhead=1.0, pool_fee=fee, years=1 / 12, residual=0.0
    )
    limit = break_even_power_price(snapshot().hashprice, efficiency, fee)
    for power, runs in ((0.9999 * limit, True), (1.0001 * limit, False)):
        at = replace(one, tariff=Tariff.of([power]))
        months = fut.months_of(machine(100, efficiency), at, fut.expected(at))
        assert (months.kwh[0, 0] > 0) == runs
        assert months.cash[0, 0] == pytest.approx(0, abs=1e-3 * months.kwh.max() * limit + 1e-9)


@FEW
@given(st.floats(100, 2e4), st.floats(0.01, 0.1), st.floats(0, 0.5))
def test_at_the_bid_the_npv_is_0(price, power, growth):
    changes = {"usd_per_kwh": power, "difficulty_growth": growth, "pay": payments("25%@0,75%@2")}
    bid = statement(machine(), price, terms(**changes)).bid
    assert net(bid, **changes) == pytest.approx(0, abs=1e-6 * bid)


@FEW
@given(st.integers(0, 12), st.integers(1, 6), st.floats(0, 0.2), st.floats(0, 0.5))
def test_delay_never_helps_at_a_flat_price(months, more, power, growth):
    base = terms(usd_per_kwh=power, difficulty_growth=growth, fixed_usd_per_month=20.0)
    prompt = statement(machine(), 2970.0, base).npv
    at_once = base.delayed(0)
    assert statement(machine(), 2970.0, at_once).npv == prompt
    waits = [base.delayed(n) for n in (months, months + more)]
    assert [each.scenario.delay for each in waits] == [months, months + more]
    sooner, later = (statement(machine(), 2970.0, each).npv for each in waits)
    assert later <= sooner + 1e-9 <= prompt + 2e-9
    if months == 0:
        lost = costs_of_delay(machine(), 2970.0, base, more)
        assert lost[-1] == pytest.approx(prompt - later)
        assert lost == sorted(lost)


def test_an_order_costs_what_it_says():
    plain = statement(machine(), 3000.0, terms())
    order = {
        "order": date(2026, 10, 3),
        "deliver": date(2027, 1, 3),
        "pay": payments("25%@0,75%@2"),
    }
    late = statement(machine(), 3000.0, terms(**order, landed=0.1))
    assert late.flows[:4] == pytest.approx((-825.0, 0.0, -2475.0, 0.0))
    assert late.flows[4] < plain.flows[1]  # it has missed the difficulty of three months
    assert len(late.flows) == 3 + len(plain.flows)
    dead = statement(machine(), 3000.0, terms(doa=0.5, repair_days=45.65625))  # a month and a half
    assert dead.flows[1] == pytest.approx(plain.flows[1] / 2)
    assert dead.flows[2] == pytest.approx(plain.flows[2] * 0.75)
    assert dead.flows[3] == plain.flows[3]
    failing = statement(machine(), 0.0, terms(fail_rate=0.1, repair_days=36.525))
    assert failing.kwh == pytest.approx(0.99 * plain.kwh)


def ordered(month, year=2026, **more):
    """A purchase of the third of a month, delivered two months later."""
    later = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 3)
    return terms(order=date(year, month, 3), deliver=later, **more)


def test_an_orders_months_count_from_the_snapshots_day():
    """The snapshot is of 2026-10-03; the coins of a block are halved in April 2028."""
    growing = {"difficulty_growth": 0.2, "price_drift": 0.1, "pay": payments("50%@0,50%@2")}
    now, later = ordered(10, **growing), ordered(6, 2028, **growing)
    assert (now.wait, later.wait, later.months) == (0, 20, now.months)
    first, second = (statement(machine(), 2970.0, each) for each in (now, later))
    months = [fut.months_of(machine(), each, fut.expected(each)) for each in (now, later)]
    coins = [each.coins[0, 0] for each in months]
    halved = (1.5625 + snapshot().fees_btc) / (3.125 + snapshot().fees_btc)
    assert coins[1] == pytest.approx(coins[0] * halved / 1.2 ** (20 / 12))
    assert months[1].price[0, 0] == pytest.approx(months[0].price[0, 0] * 1.1 ** (20 / 12))
    assert second.npv < first.npv
    assert second.flows[:3] == first.flows[:3]  # what is paid, and when after the order
    # A machine that comes when an order of now would have been waited for brings as much.
    waited = now.delayed(20)
    assert statement(machine(), 0.0, waited).btc == pytest.approx(second.btc)
    [a], [b] = (judged([(machine(), 2970.0)], each) for each in (now, later))
    assert b.at_most < a.at_most
    assert b.policies["buy"].p95 - b.policies["buy"].p5 > 0  # coins are bought at the order's price
    for early in (date(2026, 10, 2), date(2020, 1, 1)):
        with pytest.raises(PlanError, match="prices and difficulty are of 2026-10-03"):
            terms(order=early, deliver=early)
    with pytest.raises(PlanError, match="more than 60 months after"):
        terms(order=date(2036, 1, 1), deliver=date(2036, 1, 1))


def test_coins_for_an_order_of_later_are_bought_at_the_price_of_its_day():
    calm = {"price_volatility": 0.0, "difficulty_volatility": 0.0, "discount": 0.0}
    at = ordered(10, 2027, price_drift=0.3, pay=payments("100%@0"), **calm)
    bought = fut.worth(machine(), at, fut.draw(at)).bought
    held = at.months / 12  # from the order on, and not from the snapshot's day
    assert bought == pytest.approx(1.3**held - 1)


def test_an_order_as_late_as_may_be_has_its_delays_priced():
    late = terms(order=date(2026, 10, 3), deliver=date(2031, 7, 1))
    assert late.scenario.delay == 57
    assert len(costs_of_delay(machine(), 2970.0, late)) == 3
    assert "delivery" in {bar.what for bar in tornado(machine(), 2970.0, late)}
    last = terms(order=date(2026, 10, 3), deliver=date(2031, 9, 1))
    assert "delivery" not in {bar.what for bar in tornado(machine(), 2970.0, last)}


@pytest.mark.parametrize("scheme", ["fpps", "pps"])
def test_a_day_pays_what_the_scheme_pays(scheme):
    """Break even, all-in cost and static payback; the machine's first months say the same."""
    known, fee = snapshot(), 0.02
    rewards = 3.125 + (0 if scheme == "pps" else known.fees_btc)
    per_day = 0.27 * 86_400e15 * rewards / (known.difficulty * HASHES_PER_DIFFICULTY) * (1 - fee)
    at = terms(pool_scheme=scheme, uptime=1.0, difficulty_growth=0.0)
    seen = today(machine(), 2970.0, at.scenario, known)
    revenue = per_day * known.usd_per_btc
    assert seen.revenue_per_day == pytest.approx(revenue)
    kwh = 3.645 * 24 * 1.03
    assert seen.break_even_usd_per_kwh.value == pytest.approx(revenue / kwh)
    assert seen.costs.per_btc == pytest.approx(seen.costs.total / per_day)
    found: Any = statement(machine(), 2970.0, at)
    assert found.static_payback_days == pytest.approx(2970 / (revenue - kwh / 1.03 * 0.05))
    first = fut.months_of(machine(), at, fut.expected(at)).coins[0, 0]
    assert first == pytest.approx(per_day * 365.25 / 12)


def test_pool_schemes():
    fpps, pps = (statement(machine(), 0.0, terms(pool_scheme=s)).btc for s in ("fpps", "pps"))
    assert pps < fpps
    luck = {"pool_scheme": "pplns", "pool_share": 0.001, "price_volatility": 0.0}
    calm, lucky = (
        fut.worth(machine(), terms(difficulty_volatility=0.0, **{**luck, **more}), futures)
        for more in ({"pool_scheme": "fpps"}, {})
        for futures in [fut.draw(terms(difficulty_volatility=0.0, **luck))]
    )
    assert np.mean(lucky.running) == pytest.approx(np.mean(calm.running), rel=0.02)
    assert np.std(lucky.running) > 1.02 * np.std(calm.running)
    solo = fut.worth(machine(), terms(pool_scheme="solo"), fut.draw(terms()))
    assert np.median(solo.running) < 0  # most never find a block, and all pay for power


# Futures


def test_futures_are_reproduced_by_their_seed_and_differ_by_it():
    first, same, other = (
        judged([(machine(), 2970.0)], terms(seed=seed))[0].to_json() for seed in (7, 7, 8)
    )
    assert first == same
    assert first["policies"] != other["policies"]
    assert first["expected"] == other["expected"]


def test_futures_have_the_moments_and_the_correlation_asked_for():
    changes = {"runs": 40_000, "price_drift": 0.1, "difficulty_growth": 0.2, "correlation": 0.5}
    drawn = fut.draw(terms(**changes))
    years = (np.arange(48) + 0.5) / 12
    assert drawn.price.mean(axis=0) == pytest.approx(84_714 * 1.1**years, rel=0.05)
    assert np.median(drawn.difficulty, axis=0) == pytest.approx(134.67e12 * 1.2**years, rel=0.02)
    steps = np.diff(np.log([drawn.price, drawn.difficulty]), axis=2)
    assert steps.std(axis=(1, 2)) * math.sqrt(12) == pytest.approx([0.48, 0.241], rel=0.01)
    assert np.corrcoef(steps[0].ravel(), steps[1].ravel())[0, 1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "order",
    [
        {},
        {
            "order": date(2026, 10, 3),
            "deliver": date(2027, 2, 3),
            "pay": payments("40%@0,60%@5"),
            "landed": 0.2,
        },
    ],
)
def test_without_volatility_or_error_futures_are_the_expected_path(order):
    exact = replace(
        machine(),
        hashrate=Figure(270e12, 270e12, 270e12, "H/s"),
        power=Figure(3645.0, 3645.0, 3645.0, "W"),
    )
    calm = {"price_volatility": 0.0, "difficulty_volatility": 0.0, **order}
    [verdict] = judged([(exact, 2970.0)], terms(**calm))
    sell, buy = (verdict.policies[name] for name in ("sell", "buy"))
    assert sell.p5 == pytest.approx(sell.p95) == pytest.approx(verdict.statement.npv)
    assert sell.positive == 0
    dues = [2970 * part * (1 + order.get("landed", 0)) for part, _ in calm.get("pay", [(1, 0)])]
    months = [month for _, month in calm.get("pay", [(1, 0)])]
    paid = sum(due * 1.15 ** (-month / 12) for due, month in zip(dues, months, strict=True))
    last = len(verdict.statement.flows) - 1
    assert buy.p50 == pytest.approx(sum(dues) * 1.15 ** (-last / 12) - paid)
    [patient] = judged([(exact, 2970.0)], terms(discount=0.0, **calm))
    assert patient.policies["hold"].p50 == pytest.approx(patient.policies["sell"].p50)


@FEW
@given(st.integers(1, 24), st.floats(-0.2, 0.6))
def test_a_calendar_month_brings_the_same_whenever_the_machine_came(months, growth):
    base = terms(difficulty_growth=growth, residual=0.0)
    late = base.delayed(months)
    prompt, later = (statement(machine(), 0.0, each).flows for each in (base, late))
    assert later[: months + 1] == (0.0,) * (months + 1)
    assert later[months + 1 : 49] == pytest.approx(prompt[months + 1 :])


def test_the_measured_uncertainty_is_carried_through():
    """Without markets what is left is the machine: as `uncertainties` has it."""
    known = Machine(
        "m",
        MEASURED,
        Figure(270e12, 264.6e12, 275.4e12, "H/s"),
        Figure(3645.0, 3535.65, 3754.35, "W"),
    )
    calm = terms(price_volatility=0.0, difficulty_volatility=0.0, runs=40_000, years=1)
    running = fut.worth(known, calm, fut.draw(calm)).running
    one = fut.worth(replace(known, power=Figure(3e3, 3e3, 3e3, "W")), calm, fut.expected(calm))
    revenue = (one.running[0] + 3e3 * _power_cost(calm)) / 270
    theirs = ufloat(270, 2.7) * revenue - ufloat(3645, 54.675) * _power_cost(calm)
    assert running.std() == pytest.approx(theirs.std_dev, rel=0.02)
    assert running.mean() == pytest.approx(theirs.nominal_value, rel=0.005)


def _power_cost(at):
    """Discounted $ a W of power for the whole life, run throughout."""
    kwh = 365.25 / 12 * 24 / 1000 * at.scenario.uptime * at.scenario.overhead
    months = range(1, at.scenario.months + 1)
    return sum(kwh * 0.05 * discount_factor(m, at.scenario.discount) for m in months)


# Verdicts


def test_a_verdict_says_what_to_pay_and_how_sure_it_is():
    priced = [(machine(), price) for price in (500.0, 2900.0, 9000.0)]
    cheap, fair, dear = judged(priced, terms(runs=2000))
    assert [each.price for each in (cheap, fair, dear)] == [500.0, 2900.0, 9000.0]
    assert cheap.word is Word.BUY
    assert cheap.probability > 0.9
    assert fair.word is Word.WAIT
    assert dear.word is Word.BUY_BTC
    assert cheap.at_most == fair.at_most == dear.at_most
    at_limit = judged([(machine(), cheap.at_most)], terms(runs=2000))[0]
    assert at_limit.word is Word.BUY
    assert min(at_limit.probability, at_limit.ahead_of_btc) == pytest.approx(0.5, abs=0.01)
    stricter = judged([(machine(), 2900.0)], terms(runs=2000, confidence=0.9))[0]
    assert stricter.at_most < cheap.at_most
    [unpriced] = judged([(machine(), None)], terms(runs=2000))
    assert unpriced.at_most == cheap.at_most
    assert unpriced.words.startswith("buy at most at $")
    [hopeless] = judged([(machine(100, 90.0), None)], terms(usd_per_kwh=0.5))
    assert hopeless.at_most >= 0


def test_policies():
    [verdict] = judged([(machine(), 2970.0)], terms(price_drift=1.5, runs=2000))
    sell, hold, buy = (verdict.policies[name].p50 for name in ("sell", "hold", "buy"))
    assert hold > sell  # who expects prices to soar keeps the coins
    [held] = judged([(machine(), 2970.0)], terms(price_drift=1.5, runs=2000, policy="hold"))
    assert held.probability == held.policies["hold"].positive
    assert buy > 0


def test_who_holds_is_ranked_and_told_by_what_holding_brings():
    calm = {"price_volatility": 0.0, "difficulty_volatility": 0.0, "price_drift": 1.0}
    exact = replace(
        machine(),
        hashrate=Figure(270e12, 270e12, 270e12, "H/s"),
        power=Figure(3645.0, 3645.0, 3645.0, "W"),
    )
    for policy in ("sell", "hold"):
        at = terms(policy=policy, **calm)
        [verdict] = judged([(exact, 2970.0)], at)
        assert verdict.statement.npv == pytest.approx(verdict.policies[policy].p50)
        assert verdict.statement.bid == pytest.approx(np.median(_worth(exact, at).bids(policy)))
        drawn = fan(exact, 2970.0, at)
        assert drawn.bands[50][-1] == pytest.approx(verdict.policies[policy].p50)
        # Who holds has paid for power all the while.
        assert (drawn.bands[50][-2] < -2970) == (policy == "hold")
    # Between two prices the thirstier one is worse where coins are sold, and better where held.
    old, new = machine(200, 25.0), machine(270, 13.5)
    at = {policy: terms(policy=policy, **calm) for policy in ("sell", "hold")}
    worth = {
        policy: [statement(each, 0.0, by).npv for each in (old, new)] for policy, by in at.items()
    }
    low, high = (1000 * a / b for a, b in worth.values())
    assert low < high
    two = [(old, (low + high) / 2), (new, 1000.0)]
    assert [judged(two, by)[0].price == 1000 for by in at.values()] == [True, False]


def _worth(of, at):
    return fut.worth(of, at, fut.draw(at))


def test_fan_and_tornado_are_of_the_verdict():
    order = {
        "order": date(2026, 10, 3),
        "deliver": date(2026, 12, 3),
        "pay": payments("50%@0,50%@1"),
    }
    at = terms(runs=2000, **order)
    drawn = fan(machine(), 2970.0, at)
    assert drawn.months == tuple(range(2 + 48 + 1))
    assert drawn.bands[50][0] == -1485
    [verdict] = judged([(machine(), 2970.0)], at)
    assert drawn.bands[50][-1] == pytest.approx(verdict.policies["sell"].p50)
    assert drawn.bands[5][-1] == pytest.approx(verdict.policies["sell"].p5)
    bars = tornado(machine(), 2970.0, at)
    assert [bar.swing for bar in bars] == sorted((bar.swing for bar in bars), reverse=True)
    assert bars[0].what == "BTC price"
    late = next(bar for bar in bars if bar.what == "delivery")
    assert late.npv_low - late.npv_high == pytest.approx(
        costs_of_delay(machine(), 2970.0, at, 3)[2]
    )
    assert next(bar for bar in bars if bar.what == "power").npv_low > verdict.statement.npv


# Tariffs

prices = st.lists(st.floats(-0.05, 0.5), min_size=1, max_size=60)


@FEW
@given(prices, st.floats(0, 0.3), st.floats(0, 0.05))
def test_the_greedy_rule_is_the_best_schedule_without_restarts(hours, earned, credit):
    tariff = Tariff.of(hours, credit=credit)
    best, ran = schedule(hours, earned, credit)
    assert tariff.margin(np.array([earned]))[0] == pytest.approx(best, abs=1e-12)
    by_hand = sum(max(earned - hour, credit) for hour in hours) / len(hours)
    assert best == pytest.approx(by_hand, abs=1e-12)
    if not any(abs(earned - credit - hour) < 1e-12 for hour in hours):
        assert tariff.hours(np.array([earned]))[0] == pytest.approx(sum(ran) / len(ran))


@FEW
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=9), st.floats(0, 0.2), st.floats(0, 4))
@example([0.3, 0.05, 0.3, 0.05], 0.1, 1.0)
def test_a_schedule_with_restarts_is_the_best_of_all(hours, earned, restart_h):
    def value(ran):
        run = sum(earned - hour for hour, on in zip(hours, ran, strict=True) if on)
        return (run - restart_h * earned * starts(ran)) / len(hours)

    best, ran = schedule(hours, earned, restart_h=restart_h)
    assert value(ran) == pytest.approx(best, abs=1e-12)
    every = [[bool(n >> k & 1) for k in range(len(hours))] for n in range(1 << len(hours))]
    assert max(map(value, every)) == pytest.approx(best, abs=1e-12)


def test_curtailment_and_restarts_in_a_purchase():
    hours = [0.02] * 20 + [0.4] * 4
    mean = sum(hours) / 24
    assert net(tariff=Tariff.of(hours)) > net(usd_per_kwh=mean)
    restarts = net(tariff=Tariff.of(hours * 10, restart_h=2.0))
    assert net(usd_per_kwh=mean) < restarts < net(tariff=Tariff.of(hours))
    assert net(tariff=Tariff.of(hours, credit=0.1)) > net(tariff=Tariff.of(hours))
    dearer = Tariff.of(hours * 10, restart_h=2.0).scaled(1.5)
    assert net(tariff=dearer) == pytest.approx(
        net(tariff=Tariff.of([1.5 * hour for hour in hours] * 10, restart_h=2.0)), abs=1
    )


def test_a_tariff_of_nonsense_is_refused():
    for bad in ([], [math.nan], [1e9]):
        with pytest.raises(PlanError):
            Tariff.of(bad)


# Assumptions


@pytest.mark.parametrize(
    "changes",
    [
        {"uptime": 1.2},
        {"uptime": -0.1},
        {"years": 0},
        {"usd_per_kwh": 50},
        {"pool_scheme": "tides"},
        {"pool_scheme": "pplns"},
        {"policy": "hodl"},
        {"order": date(2026, 1, 1)},
        {"order": date(2026, 1, 1), "deliver": date(2025, 1, 1)},
        {"order": date(2026, 1, 1), "deliver": date(2036, 1, 1)},
        {"pay": ((0.5, 0),)},
        {"pay": ((1.0, -1),)},
        {"confidence": 1.0},
        {"runs": 10**7},
        {"price_drift": math.nan},
    ],
)
def test_assumptions_that_make_no_sense_are_refused(changes):
    with pytest.raises(PlanError):
        Scenario(**changes)


def test_a_scenario_file():
    text = (
        'uptime = 0.9\npay = "25%@0, 75%@2"\norder = 2026-10-03\ndeliver = 2026-12-03\nruns = 500'
    )
    scenario = Scenario(**read_scenario(text, "f"))
    assert (scenario.uptime, scenario.runs, scenario.delay) == (0.9, 500, 2)
    assert scenario.pay == ((0.25, 0), (0.75, 2))
    assert scenario.to_json()["deliver"] == "2026-12-03"
    for bad, says in {
        "uptme = 1": "no assumption 'uptme'",
        'uptime = "all"': "uptime is a number",
        "uptime = true": "uptime is a number",
        "runs = 1.5": "runs is a whole number",
        "order = 1": "order is a date",
        "pay = 1": "pay is a text",
        'pay = "all"': "'all' is no part",
        "policy = 1": "policy is a text",
        "= 1": "not TOML",
        "#" * (2 << 20): "by hand",
    }.items():
        with pytest.raises(PlanError, match=says):
            read_scenario(bad, "f")


# Other uses of a kWh


def test_three_uses_of_a_kwh_side_by_side():
    """Section 4.9 of the notes: S21 XP 0.125, hosting 0.166 and 0.211, a 4090 at $0.34 0.76."""
    uses = side_by_side([machine()], snapshot())
    assert {use.kind for use in uses} == {"mining", "hosting", "rental"}
    mining, *_ = uses
    assert mining.usd_per_kwh == pytest.approx(0.125, abs=0.001)
    hosting = {use.what: use.usd_per_kwh for use in uses if use.kind == "hosting"}
    assert hosting["Core Scientific-CoreWeave hosting"] == pytest.approx(0.166, abs=0.001)
    assert hosting["TeraWulf-Fluidstack hosting"] == pytest.approx(0.211, abs=0.001)
    rented = [use.usd_per_kwh for use in uses if use.what == "RTX 4090"]
    assert max(rented) == pytest.approx(0.76, abs=0.005)
    h100 = next(offer for offer in offers() if offer.what == "H100" and offer.usd == 2.35)
    assert h100.usd_per_kwh(0.6, watts=1275) == pytest.approx(1.11, abs=0.005)
    assert all(use.date and use.source for use in uses)
