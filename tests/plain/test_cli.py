"""The command line: one line for each error, one document for --json, quiet when nobody reads."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hwkit.cli import COMMANDS, cli, main
from hwkit.records import Store
from hwkit.records.exchange import to_line
from hwkit.records.record import sha256

HWKIT = Path(sys.executable).with_name("hwkit")


def refused(done, code, *words):
    """One line on stderr, nothing on stdout, this exit code."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("hwkit: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert len(done.stderr) < 1000
    for word in words:
        assert word in done.stderr


@pytest.fixture
def kept(store, measured):
    """This test's store, with one record in it."""
    store.add(measured)
    store.close()
    return measured


@contextmanager
def mounted(folder, options):
    """A tmpfs, where this user may mount one."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


HEADER = "00" * 79
BAD_USAGE = {
    "no such command": ["bogus"],
    "no such option": ["bench", "--bogus"],
    "no such command of records": ["records", "bogus"],
    "an option without its value": ["bench", "--time"],
    "verify nothing": ["verify"],
    "compare one": ["compare", "last"],
    "unknown kind of address": ["bench", "bogus:1"],
    "unknown option of a kernel": ["bench", "cpu:reference?speed=1"],
    "malformed address": ["bench", ":"],
    "empty address": ["bench", ""],
    "address without key": ["bench", "null?threads"],
    "address with an unknown key": ["bench", "null?speed=1"],
    "no threads": ["bench", "cpu:reference?threads=0"],
    "threads of text": ["bench", "--threads", "many"],
    "absurd threads": ["bench", "--threads", "1000000"],
    "no processor": ["bench", "--affinity", "first"],
    "a processor that no machine has": ["bench", "null", "--affinity", "0-99999999999"],
    "a processor that is not here": ["compare", "null", "null", "--affinity", "8191"],
    "a processor twice": ["bench", "cpu:reference?affinity=0,0"],
    "no precision": ["bench", "--precision", "0"],
    "absurd precision": ["bench", "--precision", "1e300%"],
    "negative precision": ["bench", "--precision", "-1%"],
    "precision that is no number": ["bench", "--precision", "nan"],
    "precision of text": ["bench", "--precision", "much"],
    "no time": ["bench", "--time", "0s"],
    "time without a unit": ["bench", "--time", "10"],
    "a hundred years": ["bench", "--time", "36500d"],
    "time of nines": ["bench", "--time", "9" * 400 + "s"],
    "beacon too short": ["bench", "--beacon", HEADER],
    "beacon not mined": ["bench", "--beacon", "00" * 80],
    "beacon not hex": ["bench", "--beacon", "x" * 160],
    "long challenge": ["bench", "--challenge", "x" * 81],
    "empty challenge": ["bench", "--challenge", ""],
    "check what has no kernel": ["check", "null"],
    "compare one of each": ["compare", "last", "null"],
    "roll versions of what was measured": ["compare", "last", "last", "--version-rolling"],
    "import from nowhere": ["records", "import", "/nowhere/x.jsonl"],
    "export and --json on one stdout": ["records", "export", "--json"],
}


@pytest.mark.parametrize("name", BAD_USAGE)
@pytest.mark.parametrize("as_json", [False, True], ids=["plain", "json"])
def test_bad_usage_is_one_line_and_exit_code_2(name, as_json, monkeypatch, capfd):
    more = ["--json"] if as_json and "--json" not in BAD_USAGE[name] else []
    monkeypatch.setattr(sys, "argv", ["hwkit", *BAD_USAGE[name], *more])
    with pytest.raises(SystemExit) as left:
        main()
    said = capfd.readouterr()
    refused(SimpleNamespace(returncode=left.value.code, stdout=said.out, stderr=said.err), 2)


def test_an_error_is_the_same_from_outside(hwkit):
    refused(hwkit("bench", "bogus:1", store=None), 2, "no such kind")


def test_what_is_not_here_is_exit_code_3(hwkit):
    with_kernel = hwkit("bench", "cpu:portable", "--plan", store=None)
    if with_kernel.returncode:  # built without a compiler
        refused(with_kernel, 3, "the C extension was not built")
        return
    refused(hwkit("bench", "cpu:bogus"), 2, "no such kernel")
    absent = json.loads(hwkit("devices", "--json", store=None).stdout)["absent"]
    names = [each["address"] for each in absent if each["address"].startswith("cpu:")]
    if not names:
        pytest.skip("this processor runs every kernel")
    refused(hwkit("bench", names[0]), 3, names[0], "does not offer")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nonsense://x", 2),
        (":memory:", 2),
        ("oracle://user:secret@h/x", 3),
        ("/dev/null/x.sqlite", 3),
        ("/proc/nowhere/x.sqlite", 3),
        ("/dev", 3),
        ("file", 2),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["records", "list", "--json"],
        ["records", "show", "last"],
        ["records", "export"],
        ["records", "reindex"],
        ["verify", "last", "--json"],
        ["compare", "a", "b"],
        ["bench", "null", "--time", "1s", "--json"],
    ],
    ids=" ".join,
)
def test_a_store_that_is_none(hwkit, tmp_path, url, code, command):
    if url == "file":
        url = tmp_path / "not-a-database"
        url.write_text("no database" * 100)
    done = hwkit(*command, store=url)
    refused(done, code)
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "records show x",
        "records show last --json",
        "verify last",
        "records export x",
        "compare x y",
    ],
)
def test_a_record_that_is_not_there(hwkit, command):
    refused(hwkit(*command.split()), 2, "no record")


def test_a_read_only_disk(hwkit, tmp_path, kept, path):
    with mounted(tmp_path / "disk", "size=4m") as disk:
        store = disk / "records.sqlite"
        store.write_bytes(path.read_bytes())
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refused(hwkit("bench", "null", "--time", "1s", store=store), 3, str(store))
        refused(hwkit("records", "list", store=disk / "new.sqlite"), 3, "new.sqlite")
        refused(hwkit("records", "import", stdin=to_line(kept), store=store), 3, str(store))


def test_a_store_opened_read_only(hwkit, kept, path):
    url = f"sqlite:///file:{path}?mode=ro&uri=true"
    assert json.loads(hwkit("records", "list", "--json", store=url).stdout)[0]["id"] == kept.id
    refused(hwkit("records", "reindex", store=url), 3, "readonly")
    assert not Path("file:").exists()


def test_a_disk_that_fills_up(hwkit, tmp_path, kept):
    with mounted(tmp_path / "disk", "size=128k") as disk:
        store = disk / "records.sqlite"
        filler = disk / "filler"
        assert hwkit("records", "list", store=store).returncode == 0
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        refused(hwkit("records", "import", stdin=to_line(kept), store=store), 3, "disk")
        filler.unlink()
        assert hwkit("records", "list", "--json", store=store).stdout.strip() == "[]"


def test_an_output_that_is_full(kept, path):
    with Path("/dev/full").open("w", encoding="ascii") as full:
        done = subprocess.run(
            [HWKIT, "records", "list", "--store", path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr == "hwkit: cannot write: No space left on device\n"


def test_a_newer_schema(hwkit, kept, path):
    text = kept.text.replace('"schema":1', '"schema":2')
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE record SET document = ?", [text])
    assert "was changed" in hwkit("verify", "last").stdout
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE record SET digest = ?", [sha256(text.encode())])
    for command in ("records show last", "records export last", "verify last"):
        refused(hwkit(*command.split()), 2, "schema 2", "update hwkit")
    refused(hwkit("records", "reindex"), 2, "update hwkit")
    assert json.loads(hwkit("records", "list", "--json").stdout)[0]["id"] == kept.id
    line = to_line(kept).replace('\\"schema\\":1', '\\"schema\\":2')
    refused(hwkit("records", "import", stdin=line), 2, "line 1")


def test_an_import_that_breaks_off_says_where_and_keeps_what_came_before(hwkit, measured):
    good = to_line(measured)
    for bad in ("{", good[:-100], "\0", '{"hwkit_record": 1}', good.replace("complete", "void", 1)):
        refused(hwkit("records", "import", "--json", stdin=f"\n{good}\n{bad}\n"), 2, "line 3")
        assert len(json.loads(hwkit("records", "list", "--json").stdout)) == 1


def test_an_import_of_no_text(hwkit, tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(b"\xff\xfe" * 100)
    refused(hwkit("records", "import", raw), 2, "line 1")


def test_records_there_and_back(hwkit, kept, tmp_path):
    out, other = tmp_path / "out.jsonl", tmp_path / "other.sqlite"
    done = hwkit("records", "export", "--output", out, "--json")
    assert json.loads(done.stdout) == {"exported": 1, "output": str(out)}
    assert out.read_text() == hwkit("records", "export").stdout
    for added, known in ((1, 0), (0, 1)):
        done = hwkit("records", "import", out, "--json", store=other)
        assert json.loads(done.stdout) == {"added": added, "known": known}
    assert hwkit("verify", kept.id, store=other).returncode == 0
    assert hwkit("records", "export", store=other).stdout == out.read_text()


def test_an_export_that_cannot_be_written_leaves_nothing(hwkit, kept, tmp_path):
    refused(hwkit("records", "export", "-o", "/proc/x.jsonl"), 3, "/proc/x.jsonl")
    refused(hwkit("records", "export", "-o", tmp_path / "no" / "x.jsonl"), 3, "x.jsonl")
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    refused(hwkit("records", "export", "last", "bogus", "-o", out), 2, "bogus")
    assert out.read_text() == "before"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".out")]  # noqa: PTH208


def test_a_run_that_still_runs_is_not_exported(hwkit, store, facts):
    run = store.open(facts, {})
    assert hwkit("records", "export").stdout == ""
    refused(hwkit("records", "export", run.id), 2, "still running")


@pytest.mark.parametrize(
    "command",
    [
        ["devices"],
        ["check", "cpu:reference"],
        ["bench", "null", "--time", "0.5s", "--warmup", "0s"],
        ["bench", "null", "--plan"],
        ["records", "list"],
        ["records", "show", "last"],
        ["records", "reindex"],
        ["records", "import", "/dev/null"],
        ["verify", "last"],
        ["compare", "last", "last"],
    ],
    ids=" ".join,
)
def test_json_is_one_document(hwkit, kept, command):
    store = {} if command[0] in {"bench", "records", "verify", "compare"} else {"store": None}
    done = hwkit(*command, "--json", **store)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict | list)


def test_what_bench_prints_is_what_verify_verifies(hwkit, path):
    done = hwkit("bench", "cpu:reference", "--time", "1s", "--warmup", "0.1s", "--json")
    (record,) = json.loads(done.stdout)["records"]
    assert done.returncode == 0
    assert hwkit("verify", record["id"]).returncode == 0
    assert record == json.loads(hwkit("records", "show", record["id"], "--json").stdout)
    store = Store(str(path))
    text = store.get(record["id"]).text
    rate = json.dumps(record["figures"]["hashrate"]["value"])
    store.close()
    assert text.count(rate) >= 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE record SET document = ?", [text.replace(rate, f"9{rate}")])
    tampered = hwkit("verify", record["id"], "--json")
    assert tampered.returncode == 1
    assert json.loads(tampered.stdout)["verdict"] == "FAIL"


def test_bench_rolls_versions_where_it_is_told_to(hwkit):
    rolled = ["--version-rolling", "--time", "1s", "--warmup", "0.1s"]
    done = hwkit("bench", "cpu:reference", *rolled, "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)["records"]
    assert record["plan"]["version_rolling"] is True
    assert record["device"]["work"] == "version rolling"
    assert hwkit("verify", "last").returncode == 0
    table = hwkit("bench", "cpu:reference", *rolled).stdout.splitlines()
    assert "work" in table[0]
    assert "version rolling" in table[1]
    assert "version rolling" in hwkit("bench", "null", "--version-rolling", "--plan").stdout
    plain = hwkit("bench", "cpu:reference", *rolled[1:]).stdout
    assert "work" not in plain.splitlines()[0]
    assert "version rolling" not in plain


def test_unlike_work_is_not_ranked_unless_asked_for(hwkit, store, measured, rolling):
    store.add(measured)
    store.add(rolling)
    store.close()
    one, other = measured.id, rolling.id
    for pair in ((one, other), (other, one)):
        refused(hwkit("compare", *pair), 2, "work: ", "version rolling", "--mixed")
        refused(hwkit("compare", *pair, "--json"), 2, "--mixed")
    done = hwkit("compare", other, one, "--mixed")
    assert done.returncode == 0
    said = "Unlike is ranked against unlike, as --mixed asks for: "
    assert f"{said}work: version rolling against nonces only." in done.stdout
    assert "MH/s, version rolling" in done.stdout or "kH/s, version rolling" in done.stdout
    mixed = json.loads(hwkit("compare", other, one, "--mixed", "--json").stdout)["mixed"]
    assert mixed == ["work: version rolling against nonces only"]
    assert hwkit("compare", other, other).returncode == 0
    assert json.loads(hwkit("compare", one, one, "--json").stdout)["mixed"] == []


def test_version_rolling_stands_beside_the_figure(hwkit, store, measured, rolling, resealed):
    """And no text in a record makes another of it."""
    text = '"work":"version rolling"'
    named = resealed(measured, lambda d: (d.update(why=text), d["device"].update(name=text)))
    for record in (named, rolling):
        store.add(record)
    store.close()
    works = {
        row["id"]: row["work"] for row in json.loads(hwkit("records", "list", "--json").stdout)
    }
    assert works == {named.id: "nonces only", rolling.id: "version rolling"}
    listed = {line.split()[0]: line for line in hwkit("records", "list").stdout.splitlines()}
    assert "H/s, version rolling" in listed[rolling.id]
    assert "H/s, version rolling" not in listed[named.id]
    card = hwkit("records", "show", rolling.id).stdout
    assert "counted, version rolling" in card
    rates = [line for line in card.splitlines() if "H/s" in line or "cycles/H" in line]
    assert rates
    assert all("%), version rolling" in line for line in rates)


@pytest.mark.needs(module="hwkit.hashers._native")
def test_live_comparisons_roll_versions_on_both_sides(hwkit):
    asked = ["cpu:portable", "cpu:portable", "--time", "0.5s", "--version-rolling"]
    done = hwkit("compare", *asked, "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    compared = json.loads(done.stdout)
    for side in ("a", "b"):
        record = json.loads(hwkit("records", "show", compared[side], "--json").stdout)
        assert record["device"]["work"] == "version rolling"


def test_a_broken_pipe_is_quiet(kept, store, path, resealed):
    for number in range(200):  # more than a pipe holds
        store.add(resealed(kept, lambda d, n=number: d.update(id=f"{d['id'][:15]}-{n:03}")))
    store.close()
    for command in ("records export", "records list", "verify last last last"):
        done = subprocess.run(
            [
                "bash",
                "-c",
                f"{HWKIT} {command} --store {path} | head -c 1 | wc -c; echo $PIPESTATUS",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["1", "0"], done
        assert done.stderr == ""


def test_bare_hwkit_says_what_to_type_next():
    done = subprocess.run([HWKIT], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Next: hwkit bench --quick" in done.stdout


def test_devices_says_which_meters_have_to_be_addressed(hwkit):
    found = json.loads(hwkit("devices", "--json", store=None).stdout)
    absent = {each["address"] for each in found["absent"]}
    for kind in ("csv", "exec", "manual", "nameplate"):
        assert kind in found["meters_by_address"]
    assert not absent & set(found["meters_by_address"])
    assert ", nameplate" in hwkit("devices", store=None).stdout


def test_devices_says_what_the_processor_is(hwkit):
    found = json.loads(hwkit("devices", "--json", store=None).stdout)["processor"]
    assert found["usable"] >= 1
    assert {"model", "cores", "packages", "core_groups", "quota"} <= found.keys()
    (line,) = [
        line
        for line in hwkit("devices", store=None).stdout.splitlines()
        if line.startswith("Processor: ")
    ]
    assert f"{found['usable']} processor" in line


def test_help_names_every_command_and_imports_none():
    code = (
        "import sys, hwkit.cli; sys.argv = ['hwkit', '--help']\n"
        "try: hwkit.cli.main()\n"
        "except SystemExit as done: assert not done.code\n"
        "heavy = {'sqlalchemy', 'rich', 'numba', 'cffi', 'hwkit.harness', 'hwkit.records'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_a_record_cannot_steer_the_terminal(hwkit, store, measured, resealed):
    """Nor is what it holds taken for markup, which has a syntax to get wrong."""
    evil = "\x1b[2J\x1b]0;x\x07[/red][bold]:skull:"

    def change(document):
        document["device"]["name"] = document["why"] = document["host"]["cpu"]["model"] = evil
        document["state"] = document["host"]["compiler"] = evil
        document["figures"]["hashrate"]["unit"] = evil
        document["figures"][evil] = document["figures"]["hashrate"]
        document["caveats"] = [{"caveat": evil, "finding": evil, "advice": evil}]
        document["id"] = document["id"][:15]

    store.add(resealed(measured, change))
    for command in ("records list", "records show last", "verify last", "compare last last"):
        done = hwkit(*command.split())
        assert done.returncode in {0, 1}, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert "[/red][bold]:skull:" in hwkit("records", "show", "last").stdout
