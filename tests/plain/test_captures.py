"""Real answers of 40 devices and firmwares, each held against what a person reads off its bytes."""

import csv
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from hwkit.hashers.asic import captures, read_capture
from hwkit.hashers.asic.scrub import Scrubber

CAPTURES = Path(os.environ.get("HWKIT_CAPTURES", Path(__file__).parents[3] / "shared" / "captures"))
EXPECTED = tomllib.loads(Path(__file__).with_name("captures.toml").read_text())
SCALES = {"th_s": 1e12, "mh_s": 1e6, "ksol_s": 1e3}
# What names somebody or somewhere, and is replaced in a capture.
NAMES = {"serial", "mac", "hostname", "pools", "errors"}
# Where INDEX.tsv says other than the bytes beside it.
INDEX_ERRS = {
    ("bitaxe/Supra-401-AxeOS-2.0.0", "hashrate_ths"): "hashRate 1000 is GH/s by openapi.yaml",
    ("bfgminer/cpu-5.5.0", "hashrate_ths"): "of another moment: these bytes say 1.855 MH/s",
    ("avalon/Home-Q-cgminer-4.11.1-25052801-14a19a2", "wattage"): "of litestats-parsed: see below",
}

pytestmark = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason=f"no recorded answers at {CAPTURES}: set HWKIT_CAPTURES"
)


def copy(name, folder, **files):
    """Copy a capture; `files` give answers of other names: stats="stats-parsed.json"."""
    shutil.copytree(CAPTURES / name, folder)
    for command, file in files.items():
        shutil.copy(CAPTURES / name / file, folder / f"{command.replace('_', '-')}.json")
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_a_device_says_what_its_bytes_say(name):
    told = read_capture(CAPTURES / name)
    for key, value in EXPECTED[name].items():
        if key in {"hottest", "absent", "findings"}:  # below
            continue
        assert SAID.get(key, value_of(key))(told) == pytest.approx(value), key
    found = {finding.field for finding in told.findings}
    assert found == set(EXPECTED[name].get("findings", ())), told.findings


def value_of(key):
    field = key.replace("_th_s", "_h_s")
    scale = 1e12 if key.endswith("_th_s") else 1
    return lambda told: (
        said / scale if isinstance(said := getattr(told, field).value, float) else said
    )


SAID = {
    "dialect": lambda told: told.dialect,
    "provenance": lambda told: told.power_w.provenance,
    "scope": lambda told: told.power_w.scope,
    "total_th": lambda told: told.total_hashes.value / 1e12,
    "boards_th_s": lambda told: [board.value / 1e12 for board in told.boards_h_s],
    "fans": lambda told: [fan.value for fan in told.fans_rpm],
    "repairs": lambda told: list(told.repairs),
} | {
    key: lambda told, scale=scale: told.hashrate_h_s.value / scale for key, scale in SCALES.items()
}


@pytest.mark.parametrize("name", [name for name in EXPECTED if "hottest" in EXPECTED[name]])
def test_temperatures_are_of_what_their_label_says(name):
    told = read_capture(CAPTURES / name)
    for label, hottest in EXPECTED[name]["hottest"].items():
        found = [each.value for each in told.temperatures_c if each.label == label]
        assert max(found, default=None) == pytest.approx(hottest), label


@pytest.mark.parametrize("name", [name for name in EXPECTED if "absent" in EXPECTED[name]])
def test_what_is_not_said_is_absent_and_never_zero(name):
    told = read_capture(CAPTURES / name)
    assert [getattr(told, field) or None for field in EXPECTED[name]["absent"]] == [None] * len(
        EXPECTED[name]["absent"]
    )


def test_every_recording_has_its_expectations():
    assert {f"{path.parent.name}/{path.name}" for path in CAPTURES.glob("*/*/")} == set(EXPECTED)


def test_the_index_agrees():
    held = 0
    index = (CAPTURES / "INDEX.tsv").read_text().splitlines()
    for row in csv.DictReader(index, delimiter="\t"):
        name = "/".join(row["path"].split("/")[:2])
        told = read_capture(CAPTURES / name)
        said = {
            "hashrate_ths": told.hashrate_h_s and told.hashrate_h_s.value / 1e12,
            "wattage": told.power_w and told.power_w.value,
            "chips": told.chips and told.chips.value,
            "hw_errors": told.hardware_errors and told.hardware_errors.value,
        }
        for key, value in said.items():
            number = re.match(r"[0-9.]+(?= ?\(rounded\)| ?\(claimed\)| at capture|$)", row[key])
            if number is None or (name, key) in INDEX_ERRS:
                continue
            rounded = 0.005 if "(" in row[key] else 1e-6
            assert value == pytest.approx(float(number[0]), rel=rounded), (name, key, row[key])
            held += 1
    assert held > 200


def test_every_answer_is_read():
    paths = [path for path in CAPTURES.glob("*/*/*") if path.is_file()]
    assert len(paths) >= 309
    for path in paths:
        assert captures.answer(path.read_bytes(), path.name).document is not None


def test_the_text_form_says_the_same(tmp_path):
    for name in ("cgminer/nodev-4.11.1", "bfgminer/cpu-5.5.0"):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        for path in (CAPTURES / name).glob("text_*.txt"):
            if "+" not in path.name:
                shutil.copy(path, folder)
        text, json = read_capture(folder), read_capture(CAPTURES / name)
        for field in ("hashrate_h_s", "accepted", "total_hashes", "elapsed_s", "hardware_errors"):
            assert getattr(text, field) == getattr(json, field), field
        assert [pool.url for pool in text.pools] == [pool.url for pool in json.pools]
        # A user's comma in cpu-5.5.0 lost its backslash where the recording was made anonymous.
        assert set(text.repairs) <= {"pools: unescaped comma"}


def test_error_codes(tmp_path):
    told = read_capture(
        copy(
            "whatsminer/M20SV10-btminer-api-1.4.0",
            tmp_path / "1",
            summary="summary-with-errors.json",
        )
    )
    assert [error.value for error in told.errors] == ["110", "600"]
    told = read_capture(
        copy(
            "whatsminer/M50SVH50-btminer-api-2.0.5",
            tmp_path / "2",
            get_error_code="get-error-code-with-errors.json",
        )
    )
    assert [error.value for error in told.errors] == ["218", "110"]
    told = read_capture(
        copy(
            "whatsminer/M60SVK40-btminer-api-3.0.2",
            tmp_path / "3",
            get_device_info="get-device-info-with-errors.json",
        )
    )
    assert told.errors[0].value == "264: Power xfer error. code: 0xffffffffc0000000"
    assert len(told.errors) == 5


def test_an_avalon_that_somebody_has_taken_apart_already(tmp_path):
    folder = tmp_path / "q"
    folder.mkdir()
    source = CAPTURES / "avalon/Home-Q-cgminer-4.11.1-25052801-14a19a2"
    shutil.copy(source / "litestats-parsed.json", folder / "litestats.json")
    shutil.copy(source / "version.json", folder)
    told = read_capture(folder)
    assert told.power_w is not None
    assert told.hashrate_h_s is not None
    assert told.power_w.value == 1598
    assert told.hashrate_h_s.value == pytest.approx(93.8974e12)
    assert [fan.value for fan in told.fans_rpm] == [2671, 2665, 2661, 2679]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scrubbed_capture_says_the_same_but_for_names(name, tmp_path):
    raws = {path.name: path.read_bytes() for path in (CAPTURES / name).iterdir()}
    for file, raw in Scrubber().scrub(raws).items():
        (tmp_path / file).write_bytes(raw)
    before, after = read_capture(CAPTURES / name).to_json(), read_capture(tmp_path).to_json()
    assert {k: v for k, v in after.items() if k not in NAMES} == {
        k: v for k, v in before.items() if k not in NAMES
    }
    left = b"\n".join(path.read_bytes() for path in tmp_path.iterdir())
    own = {before[key]["value"] for key in ("serial", "mac") if before[key]}
    own |= {pool["url"] for pool in before["pools"]} | {pool["user"] for pool in before["pools"]}
    assert [each for each in own if each and len(each) > 5 and each.encode() in left] in (
        [],
        ["02:00:00:00:00:01"],  # what it would become
    )
