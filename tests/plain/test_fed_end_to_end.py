"""`hwkit bench asic:HOST` as a buyer runs it, from the address to the verdict."""

import json
import subprocess

import pytest
from scripted_pool import said
from simulated import simulated_process

from .conftest import HWKIT


def pools_of(process):
    return [
        (pool["URL"], pool["User"], pool["Priority"], pool["Status"])
        for pool in said(process.api_port, "pools")["POOLS"]
    ]


def bench(hwkit, process, *options):
    done = hwkit("bench", f"asic:127.0.0.1:{process.api_port}", *options, "--json")
    return done, json.loads(done.stdout)


def test_a_liar_is_caught_and_gets_its_own_pools_back(hwkit, store):
    with simulated_process("--lie", "1.3", "--rate", "2MH/s") as miner:
        before = pools_of(miner)
        done, printed = bench(
            hwkit, miner, "--time", "40s", "--warmup", "0s", "--meter", "nameplate:100W"
        )
        assert pools_of(miner) == before
    assert done.returncode == 0, done.stderr
    [record] = printed["records"]
    gap = record["figures"]["claim_gap"]
    # Nineteen in twenty intervals hold the truth; twice as wide, all that will ever be tried do.
    assert abs(gap["value"] - 0.30) < gap["hi"] - gap["lo"]
    assert gap["lo"] > 0
    assert "ClaimGap" in {caveat["caveat"] for caveat in record["caveats"]}
    rate = record["figures"]["hashrate"]
    assert abs(rate["value"] - 2e6) < rate["hi"] - rate["lo"]
    assert record["device"]["basis"] == "shares"
    assert record["figures"]["efficiency"]["value"] == pytest.approx(100e12 / rate["value"])
    assert hwkit("verify", "last").returncode == 0
    kept = store.get("last")
    _, called_off, *_ = (job.at for job in kept.read("assigned") if job.clean)
    assert called_off < next(kept.read("windows")).opened, (
        "what it had found before could be kept for the first window"
    )


def test_who_stops_listening_does_not_keep_its_pools_from_it(path):
    with simulated_process("--rate", "2MH/s") as miner:
        before = pools_of(miner)
        with subprocess.Popen(
            [
                *(str(HWKIT), "bench", f"asic:127.0.0.1:{miner.api_port}"),
                *("--time", "5s", "--warmup", "0s", "--store", str(path)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if "delivered" in line:
                    break
            process.stdout.close()
            process.wait(120)
        assert pools_of(miner) == before


def test_one_that_claims_and_delivers_nothing_fails(hwkit):
    with simulated_process("--stall", "0s", "--rate", "2MH/s") as miner:
        before = pools_of(miner)
        done, printed = bench(hwkit, miner, "--time", "15s", "--warmup", "0s")
        assert pools_of(miner) == before
    assert done.returncode == 1, done.stderr
    [record] = printed["records"]
    assert printed["verdict"] == "FAIL"
    assert "NothingDelivered" in {caveat["caveat"] for caveat in record["caveats"]}
    assert record["figures"]["hashrate"]["value"] == 0
    assert hwkit("verify", "last").returncode == 0


def test_one_that_is_set_otherwise_has_figures_by_setting(hwkit):
    # Each 12 s, so that a run of 30 s sees it twice, however long the machine stalled before.
    sets = [f"{12 * n}s:frequency_mhz={(300, 200)[n % 2]}" for n in range(40)]
    settings = [option for each in sets for option in ("--set", each)]
    with simulated_process(
        "--dialect", "luxos", "--rate", "1MH/s", "--hw-errors", "0.1", *settings
    ) as miner:
        done, printed = bench(
            hwkit, miner, "--time", "30s", "--warmup", "0s", "--meter", "nameplate:100W"
        )
    assert done.returncode == 0, done.stderr
    [record] = printed["records"]
    seen = record["delivered"]
    stretches = seen["settings"]["stretches"]
    assert len(stretches) >= 2
    assert {each["settings"]["frequency_mhz"] for each in stretches} == {200.0, 300.0}
    parts = sum(each["shares"] for each in stretches) + seen["settings"]["between"]["shares"]
    assert parts == seen["shares"] == record["counts"]["shares"]
    for each in stretches:
        rate, efficiency = each["hashrate"], each["efficiency"]
        assert efficiency["value"] == pytest.approx(100e12 / rate["value"])
        assert rate["lo"] < rate["value"] < rate["hi"]
    kinds = {caveat["caveat"] for caveat in record["caveats"]}
    assert {"SettingsChanged", "HardwareErrors"} <= kinds
    assert seen["hardware_errors"]["share"]["value"] == pytest.approx(0.1, abs=0.05)
    card = hwkit("records", "show", "last").stdout
    assert "setting 2" in card
    assert "bad nonces" in card
    assert hwkit("verify", "last").returncode == 0
