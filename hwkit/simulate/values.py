"""What the templates of answers name: a miner's counters and settings, as makes say them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.simulate.pools import place
from hwkit.work import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hwkit.simulate.miner import Miner
    from hwkit.simulate.pools import Pool

PAGE_POOLS = 3  # that a web page has room for
CHIPS_OK = " " + " ".join(["ooo"] * 38)


def common_values(miner: Miner) -> dict[str, Any]:
    """Return what templates name of the miner as a whole."""
    from_zero = bool(miner.dialect.say("averages_from_zero"))
    claimed, averages = miner.counters.claimed(from_zero=from_zero)
    elapsed = max(miner.counters.elapsed_s, 1e-3)
    rates = {**averages, "av": claimed / elapsed}
    pools = miner.pools.list
    active = miner.pools.active
    errors, found = miner.counters.hardware_errors, miner.counters.found
    accepted, rejected = _sum(pools, "accepted"), _sum(pools, "rejected")
    good, bad = _sum(pools, "difficulty_accepted"), _sum(pools, "difficulty_rejected")
    lost = _sum(pools, "difficulty_stale")
    behaviour = miner.behaviour
    ideal = (
        behaviour.rate_h_s * miner.speed if behaviour.rate_h_s else rates["av"]
    ) * behaviour.lie
    power = miner.power_w
    settings = miner.pools.settings | behaviour.settings_at(elapsed)
    job = miner.work and miner.work.job
    values: dict[str, Any] = {
        "firmware": miner.dialect.say("firmware"),
        "model": miner.dialect.say("model"),
        "uptime_s": int(elapsed),
        "total_hashes": int(claimed),
        "elapsed": int(elapsed),
        "total_mh": claimed / 1e6,
        "accepted": accepted,
        "rejected": rejected,
        "stale": _sum(pools, "stale"),
        "failures": _sum(pools, "failures"),
        "jobs": _sum(pools, "jobs"),
        "works": _sum(pools, "works"),
        "hw": errors,
        "hw_third": errors // 3,
        "hw_rest": errors - 2 * (errors // 3),
        "hw_percent": _percent(errors, found),
        "utility": 60 * accepted / elapsed,
        "work_utility": 60 * good / elapsed,
        "difficulty_accepted": good,
        "difficulty_rejected": bad,
        "difficulty_stale": lost,
        "rejected_percent": _percent(bad, good + bad + lost),
        "stale_percent": _percent(lost, good + bad + lost),
        "best": max((pool.best for pool in pools), default=0),
        "last_job": miner.last_job_at,
        "last_share": max((pool.last_share_at for pool in pools), default=0),
        "last_difficulty": active.last_difficulty if active else 0,
        "active": pools.index(active) if active else 0,
        "pool_count": len(pools),
        "boards": miner.dialect.say("boards"),
        "temperature": 65.0,
        "frequency": int(float(settings["frequency_mhz"])),
        "voltage_mv": int(settings.get("voltage_mv", 0)),
        "mode": settings["mode"],
        "freq_level": settings.get("freq_level"),
        "power_target": float(settings.get("power_target_w", 0)),
        "power": power,
        "power_ma": power / 5.175 * 1e3,
        "power_dc": 0.945 * power,
        "tuning": word(miner.tuning),
        "tuned": int(not miner.tuning),
        "stable": word(not miner.tuning),
        "difficulty": active.difficulty if active else 0.0,
        "rolls": word(bool(job and job.version_rolling)),
        "previous": job.prev_hash[::-1].hex() if job else "0" * 64,
        "network_difficulty": float(_network_difficulty(job.nbits)) if job else 0.0,
        "chips_ok": CHIPS_OK,
        "description": miner.dialect.say("description"),
        "j_per_th": power / ideal * 1e12 if ideal else 0.0,
    }
    for window, rate in {**rates, "ideal": ideal, "third": rates["av"] / 3}.items():
        values |= {
            f"mhs_{window}": _decimal(rate / 1e6),
            f"ghs_{window}": _decimal(rate / 1e9),
            f"ths_{window}": _decimal(rate / 1e12),
        }
    return values | {f"h_{window}": rate for window, rate in rates.items()}


def board_values(miner: Miner, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what templates name of each board: its part of the whole, the first with the rest."""
    boards = int(values["boards"])
    for board in range(boards):

        def part(whole: int, board: int = board) -> int:
            return whole // boards + (whole % boards if board == 0 else 0)

        own: dict[str, Any] = {
            "board": board,
            "board_accepted": part(values["accepted"]),
            "board_rejected": part(values["rejected"]),
            "board_hw": part(miner.counters.hardware_errors),
            "board_utility": values["utility"] / boards,
            "board_total_mh": values["total_mh"] / boards,
            "board_difficulty": values["difficulty_accepted"] / boards,
            "board_mhs_ideal": _decimal(float(values["mhs_ideal"]) / boards),
            "board_ghs_ideal": _decimal(float(values["ghs_ideal"]) / boards),
            "board_ths_ideal": _decimal(float(values["ths_ideal"]) / boards),
        }
        for name, rate in values.items():
            if name.startswith("h_"):
                own[f"board_mhs_{name[2:]}"] = _decimal(rate / boards / 1e6)
                own[f"board_ths_{name[2:]}"] = _decimal(rate / boards / 1e12)
        yield {**values, **own}


def pool_values(miner: Miner, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what templates name of each pool."""
    for number, pool in enumerate(miner.pools.list):
        sent = pool.difficulty_accepted + pool.difficulty_rejected + pool.difficulty_stale
        host, _ = place(pool.url)
        yield {
            **values,
            "pool": number,
            "pool_from_1": number + 1,
            "pool_url": _quoted(pool.url),
            "pool_user": _quoted(pool.user),
            "pool_password": _quoted(pool.password),
            "pool_status": pool.status,
            "pool_status_small": pool.status.lower(),
            "pool_priority": pool.priority,
            "pool_jobs": pool.jobs,
            "pool_works": pool.works,
            "pool_accepted": pool.accepted,
            "pool_rejected": pool.rejected,
            "pool_stale": pool.stale,
            "pool_failures": pool.failures,
            "pool_last_share": pool.last_share_at,
            "pool_since_share": _since(pool.last_share_at),
            "pool_difficulty": pool.difficulty,
            "pool_stratum_difficulty": pool.difficulty if pool.active else 0.0,
            "pool_short_difficulty": _short(pool.difficulty) if pool.difficulty else "",
            "pool_difficulty_accepted": pool.difficulty_accepted,
            "pool_difficulty_rejected": pool.difficulty_rejected,
            "pool_difficulty_stale": pool.difficulty_stale,
            "pool_last_difficulty": pool.last_difficulty,
            "pool_best": pool.best,
            "pool_active": word(pool.active),
            "pool_host": _quoted(host),
            "pool_active_host": _quoted(host) if pool.active else "",
            "pool_rejected_percent": _percent(pool.difficulty_rejected, sent),
            "pool_stale_percent": _percent(pool.difficulty_stale, sent),
        }


def page_values(miner: Miner) -> dict[str, Any]:
    """Return what the templates of web pages name: the pools as configured, and more."""
    values = common_values(miner)
    for number in range(PAGE_POOLS):
        configured = miner.pools.configured
        pool = configured[number] if number < len(configured) else None
        host, port = place(pool.url) if pool else ("", 0)
        values |= {
            f"pool{number}_url": _quoted(pool.url if pool else ""),
            f"pool{number}_user": _quoted(pool.user if pool else ""),
            f"pool{number}_password": _quoted(pool.password if pool else ""),
            f"pool{number}_host": _quoted(host),
            f"pool{number}_port": port,
        }
    reasons: dict[str, int] = {}
    for each in miner.pools.list:
        for reason, count in each.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    told = [{"message": reason, "count": count} for reason, count in reasons.items()]
    values |= {"reasons": json.dumps(told), "second_pool": int(values["active"] > 0)}
    return values


def _sum(pools: Sequence[Pool], name: str) -> Any:  # noqa: ANN401 - a count or a difficulty
    return sum(getattr(pool, name) for pool in pools)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _decimal(number: float) -> str:
    """Write a rate with two decimals, as firmwares do, and more for one of our small rates."""
    return f"{number:.2f}" if number == 0 or number >= 1e4 else f"{number:.{_places(number)}f}"


def _places(number: float) -> int:
    places = 2
    while number < 1e4 and places < 12:
        number, places = number * 10, places + 1
    return places


def _short(difficulty: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if difficulty >= size:
            return f"{difficulty / size:.0f}{letter}"
    return f"{difficulty:g}"


def _since(at: int) -> str:
    if not at:
        return "0"
    seconds = max(int(time.time()) - at, 0)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _network_difficulty(nbits: int) -> float:
    try:
        return float(Target.from_nbits(nbits).difficulty)
    except PlanError:
        return 0.0


def _quoted(text: str) -> str:
    return json.dumps(text)[1:-1]


def word(value: object) -> str:
    """Write a truth as JSON does, and anything else as it is."""
    return str(value).lower() if isinstance(value, bool) else str(value)
