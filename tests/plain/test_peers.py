"""bench/peers.py: what it makes of peers that are honest, and of those that are not."""

import json
import os
import runpy
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hwkit.errors import ProtocolError
from hwkit.hashers import native

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "cpu:reference" if native.MISSING else "cpu:portable"
PATIENCE_S = 120  # for what a busy machine may take its time with

pytestmark = [
    pytest.mark.skipif(not (ROOT / "bench").exists(), reason="no tree around the tests"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peers.py is for Linux"),
]

# A miner as cpuminer is one, in Python; LIE is a line that makes it another.
MINER = """#!{python}
import hashlib, json, os, select, socket, struct, sys, time

def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()

def say(method, *params):
    wire.sendall(json.dumps(dict(id=4, method=method, params=params)).encode() + b"\\n")

def prefix(serial, previous, coinbase1, coinbase2, branch, version, nbits, ntime, clean):
    root = sha256d(bytes.fromhex(coinbase1 + extranonce1 + "00" * size + coinbase2))
    for node in branch:
        root = sha256d(root + bytes.fromhex(node))
    words = [bytes.fromhex(previous)[at : at + 4][::-1] for at in range(0, 32, 4)]
    numbers = [bytes.fromhex(number)[::-1] for number in (version, ntime, nbits)]
    return numbers[0] + b"".join(words) + root + numbers[1] + numbers[2]

with open(sys.argv[0] + ".pid", "w") as file:
    print(os.getpid(), file=file)
jump, wrong, copies = 0, 0, 1
{lie}
host, port = sys.argv[sys.argv.index("-o") + 1].removeprefix("stratum+tcp://").split(":")
wire = socket.create_connection((host, int(port)))
{late_lie}
say("mining.subscribe", "a miner")
_, extranonce1, size = json.loads(wire.recv(65536))["result"]
say("mining.authorize", "hwkit", "x")
unread, work = b"", None
while True:
    while select.select([wire], [], [], 0 if work else None)[0]:
        *lines, unread = (unread + (wire.recv(65536) or sys.exit())).split(b"\\n")
        for line in map(json.loads, lines):
            if line.get("method") == "mining.set_difficulty":
                target = int((0xFFFF << 208) / line["params"][0])
            if line.get("method") == "mining.notify":
                work, head, place = line["params"], prefix(*line["params"]), 0
    for _ in range(1000):
        if int.from_bytes(sha256d(head + struct.pack(">I", place)), "little") <= target:
            found = struct.pack("<I", place + wrong).hex()
            for _ in range(copies):
                say("mining.submit", "hwkit", work[0], "00" * size, work[7], found)
            place += jump
        place += 1
"""
LIES = {
    "exits": ("sys.exit(3)", "ended with exit code 3 and never asked for work"),
    "crashes": ("os.kill(os.getpid(), 4)", "ended by signal 4"),
    "skips": ("jump = 1 << 24", "it does not hash what it counts"),
    "errs": ("wrong = 1", "a wrong share"),
    "repeats": ("copies = 2", "do not ascend"),
}
LATE_LIES = {
    "leaves": ("sys.exit()", "ended with exit code 0 and closed its connection"),
    "babbles": (r'wire.sendall(b"\x00{]\n")', "speaks no Stratum"),
    "sends a list": (r'wire.sendall(b"[[]]\n")', "speaks no Stratum"),
    "floods": ('while True: wire.sendall(b"x" * 65536)', "more than a mebibyte"),
}
HANGS = {
    "is deaf": ("time.sleep(600)", "", "asked for no work within 1 s"),
    "is mute": ("", "time.sleep(600)", "not enough shares within 1 s"),
    "forks": ("", "os.fork(); time.sleep(600)", "not enough shares within 1 s"),
}


@pytest.fixture
def miner(tmp_path):
    """Return a function that writes a miner and gives the option that names it."""

    def write(name, lie="", late_lie=""):
        path = tmp_path / f"cpuminer {name}"
        path.write_text(MINER.format(python=sys.executable, lie=lie, late_lie=late_lie))
        path.chmod(0o755)
        return f"--peer={path}"

    return write


@pytest.fixture
def program(tmp_path):
    """Return a function that writes a script and gives the option that names it."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)
        return f"--peer={path}"

    return write


def command(*arguments):
    script = ROOT / "bench" / "peers.py"
    return [sys.executable, script, "--kernel", KERNEL, "--piece", "0.05", "--json", *arguments]


def peers(*arguments, **options):
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        **options,
    )


def none_is_left(folder):
    """No process lives in the group of any miner that was started."""
    groups = {path.read_text().strip() for path in folder.glob("*.pid")}
    for stat in Path("/proc").glob("[1-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            assert group not in groups or state in "ZX"
    return True


@pytest.mark.needs(path="/proc/self/task")
def test_an_honest_miner_is_compared_and_a_liar_is_named(miner, tmp_path):
    liars = [miner(name, lie=lie) for name, (lie, _) in LIES.items()]
    liars += [miner(name, late_lie=lie) for name, (lie, _) in LATE_LIES.items()]
    done = peers("--rounds", "3", miner("is honest"), *liars)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    for name, (_, why) in (LIES | LATE_LIES).items():
        assert why in document["missing"].pop(f"cpuminer {name}")
        assert f"cpuminer {name}: " in done.stderr
    assert document["missing"] == {}
    (comparison,) = document["comparisons"]
    assert comparison["peer"] == "cpuminer is honest"
    assert comparison["kernel"] == KERNEL
    assert comparison["pairs"] == 3
    assert comparison["other_work"] is None
    assert comparison["ratio"] == document["ratio"]
    assert 0 < document["ratio"]["lo"] <= document["ratio"]["value"] <= document["ratio"]["hi"]
    assert set(document["rates"]) == {KERNEL, "cpuminer is honest"}
    assert none_is_left(tmp_path)


@pytest.mark.needs(path="/proc/self/task")
@pytest.mark.parametrize("name", HANGS)
def test_a_miner_that_hangs_costs_its_deadline_and_is_ended(miner, tmp_path, name):
    lie, late_lie, why = HANGS[name]
    done = peers("--rounds", "1", "--deadline", "1", miner(name, lie, late_lie))
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert why in document["missing"][f"cpuminer {name}"]
    assert document["comparisons"] == []
    assert document["ratio"] is None
    assert none_is_left(tmp_path)


@pytest.mark.needs(path="/proc/self/task")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_an_interruption_keeps_the_pairs_and_leaves_nothing_running(miner, tmp_path, number):
    child = subprocess.Popen(
        command("--rounds", "10000", miner("is honest")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr
        for line in child.stderr:
            if line.startswith("round 2 "):
                break
        child.send_signal(number)
        said, _ = child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.communicate()
    assert child.returncode == 130
    document = json.loads(said)
    assert document["interrupted"]
    assert document["comparisons"][0]["pairs"] >= 2
    assert none_is_left(tmp_path)


BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_a_program_that_measures_itself_stands_apart(program):
    done = peers(
        "--rounds=1",
        program("openssl", f"{BURN}print('+R:1000:sha256:0.30')"),
        program("openssl-broken", f"{BURN}print('+F:27:sha256:0.30')"),
        program("openssl-lazy", "import time; time.sleep(0.5); print('+R:1000:sha256:3.00')"),
        program("openssl-endless", "while True: print('+R' * 1000)"),
        program("hashcat", f"{BURN}print('1:21400:0:0:9.87:1234567')"),
        program("hashcat-absent", "print('No devices found/left.'); raise SystemExit(255)"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {one["peer"] for one in document["comparisons"]} == {"openssl", "hashcat"}
    assert all(one["other_work"] for one in document["comparisons"])
    assert set(document["missing"]) == {
        "openssl-broken",
        "openssl-lazy",
        "openssl-endless",
        "hashcat-absent",
    }
    assert document["missing"]["hashcat-absent"] == "ended with exit code 255"


def test_a_program_that_is_none_is_named(tmp_path):
    for name in ("cpuminer", "openssl"):
        (tmp_path / name).write_bytes(b"\x7fELF and no more")
        (tmp_path / name).chmod(0o755)
        done = peers("--rounds=1", f"--peer={tmp_path / name}")
        assert done.returncode == 3
        assert "does not start" in json.loads(done.stdout)["missing"][name]


def told(kind, output, wall_s, cpu_s):
    rate = runpy.run_path(str(ROOT / "bench" / "contestants.py"))[kind].rate_h_s
    return rate(output, wall_s, cpu_s)


def test_openssl_is_counted_in_pairs_of_compressions():
    output = b"+DT:sha256:4:16384\n+R:421734:sha256:3.990000\n+F:27:sha256:1731772347.11\n"
    # 16 KiB are 256 blocks, and padding is one more.
    assert told("OpenSSL", output, 4.1, 4.0) == 421734 * 257 / 2 / 4.0


@pytest.mark.parametrize("output", [b"", b"+R:0:sha256:3.99", b"+R:12:sha256", b"\xff" * 100])
def test_rubbish_of_openssl_is_refused(output):
    with pytest.raises(ProtocolError):
        told("OpenSSL", output, 4.1, 4.0)


def test_seconds_of_openssl_that_were_not_used_are_refused():
    with pytest.raises(ProtocolError, match=r"says 3\.99 s, and used 0\.20 s"):
        told("OpenSSL", b"+R:421734:sha256:3.990000", 4.1, 0.2)


def test_hashcat_is_taken_at_its_word_for_the_time_it_had():
    assert told("Hashcat", b"1:21400:0:0:9.87:12000000\n", 10.0, 5.0) == 24_000_000
    with pytest.raises(ProtocolError):
        told("Hashcat", b"1:1400:0:0:9.87:12000000\n", 10.0, 5.0)


def test_what_is_not_on_the_path_is_said(tmp_path):
    done = peers("--rounds=1", env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 3, done.stderr
    missing = json.loads(done.stdout)["missing"]
    assert missing == dict.fromkeys(["cpuminer", "minerd", "openssl", "hashcat"], "not on PATH")


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("--peer=/nowhere/minerd", "no such program"),
        ("--peer=/bin/sh", "which is it?"),
        ("--kernel=none:at-all", "no such kind"),
        ("--core=99999", "processor 99999"),
        ("--rounds=0", "--rounds"),
    ],
)
def test_bad_input_is_a_usage_error(argument, why):
    done = peers(argument)
    assert done.returncode == 2
    assert why in done.stderr
    assert done.stdout == ""
