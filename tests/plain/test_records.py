"""The store: what is opened, appended and sealed is there again, whoever else writes or dies."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from hwkit.errors import NoDriver, NotPermitted, RecordError
from hwkit.harness.figures import summarise
from hwkit.protocols import CreditedShare, Window
from hwkit.records import Store, owner
from hwkit.records.rows import CHUNK_ROWS
from hwkit.records.verify import verify
from hwkit.work import MAX_TARGET, Share, Target


def append(run, facts, numbers):
    """Add windows of one share each, real since the target is 2^256 - 1; return the windows."""
    windows = []
    for number in numbers:
        at = time.monotonic_ns()
        windows.append(Window(number, at, at + 100, 1, 90, 1, None))
        run.window(windows[-1])
        run.share(CreditedShare(number, at + 50, share(facts, number)))
        while time.monotonic_ns() < at + 100:
            pass
    return windows


def share(facts, number):
    return Share(0, bytes(8), facts["job"]["ntime"], 0x20000000, number)


def ending(record_windows, state="complete"):
    summary = summarise(
        record_windows, [], Target(MAX_TARGET), threads=None, precision=None, audited=False
    )
    return {"state": state, "why": "time", "ended_ns": time.monotonic_ns()} | summary.to_json()


def sealed(store, facts, count=3, identity=None):
    run = store.open(facts, identity or {})
    run.seal(ending(append(run, facts, range(count))))
    return store.get(run.id)


def faults(record):
    return [finding for finding in verify(record) if not finding.passed]


def scribble(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount


def python(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


# A process that opens a run, commits one window, says its id and waits for a line.
OPEN = """
import json, sys, time
from hwkit.protocols import Window
from hwkit.records import Store, owner
run = Store(sys.argv[1]).open(json.loads(sys.argv[2]), {})
at = time.monotonic_ns() - 1000
run.window(Window(0, at, at + 100, 1, 90, 1, None))
run.commit()
run.window(Window(1, at + 100, at + 200, 1, 90, 1, None))  # never committed
print(run.id, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "count", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS, 2 * CHUNK_ROWS + 1]
)
@pytest.mark.parametrize("step", [700, CHUNK_ROWS, 10**9])
def test_chunks_grow_until_they_are_full(store, path, facts, count, step):
    run = store.open(facts, {})
    for first in range(0, count, step):
        append(run, facts, range(first, min(first + step, count)))
        run.commit()
    run.seal(ending([*store.get(run.id).read("windows")]))
    record = Store(str(path)).get(run.id)
    for kind in ("windows", "shares") if count else ():
        full, rest = divmod(count, CHUNK_ROWS)
        assert [chunk.rows for chunk in record.chunks[kind]] == [CHUNK_ROWS] * full + [rest] * (
            rest > 0
        )
    assert [window.round for window in record.read("windows")] == [*range(count)]
    assert [credited.share.nonce for credited in record.read("shares")] == [*range(count)]
    assert faults(record) == []


def test_a_commit_that_fails_is_made_up_for_by_the_next(store, facts, monkeypatch):
    run = store.open(facts, {})
    windows = append(run, facts, range(CHUNK_ROWS + 5))

    def full(*_):
        raise NotPermitted("store", "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "append", full)
        for _ in range(2):
            with pytest.raises(NotPermitted):
                run.commit()
    windows += append(run, facts, range(CHUNK_ROWS + 5, CHUNK_ROWS + 10))
    run.seal(ending(windows))
    record = store.get(run.id)
    assert [*record.read("windows")] == windows
    assert faults(record) == []


def test_a_run_whose_record_was_deleted_says_so(store, path, facts):
    run = store.open(facts, {})
    scribble(path, "DELETE FROM record")
    with pytest.raises(RecordError, match="gone"):
        run.commit()


def test_lookup(store, facts):
    ids = sorted(sealed(store, facts).id for _ in range(2))
    assert store.get(ids[0]).id == ids[0]
    assert store.get(ids[1][:-1]).id == ids[1] or ids[0].startswith(ids[1][:-1])
    assert store.get("last").id == ids[-1]
    with pytest.raises(RecordError, match="several"):
        store.get(ids[0][:4])
    for none in ("", "%", "_", "nothing", ids[0] + "0", "' OR 1=1 --"):
        with pytest.raises(RecordError, match="no record"):
            store.get(none)


def test_last_of_none(store):
    with pytest.raises(RecordError, match="no records"):
        store.get("last")


def test_an_id_that_begins_another(store, facts):
    short = sealed(store, {**facts, "id": "20260101T000000"}).id
    sealed(store, {**facts, "id": "20260101T000000-more"})
    assert store.get(short).id == short


@pytest.mark.needs(path="/proc/self/stat")
def test_a_run_reads_running_while_its_process_lives_and_interrupted_after(store, path, facts):
    with python(OPEN, path, json.dumps(facts)) as child:
        name = child.stdout.readline().strip()
        running = store.get(name)
        assert running.document["state"] == "running"
        assert [row.state for row in store.listing()] == ["running"]
        child.kill()
    dead = store.get(name)
    assert dead.document["state"] == "interrupted"
    assert dead.document["counts"]["windows"] == 1
    assert [row.state for row in store.listing()] == ["interrupted"]
    assert {finding.name for finding in faults(dead)} == {"shares"}  # OPEN writes none
    assert store.get(name).digest == dead.digest


@pytest.mark.needs(path="/proc/self/stat")
@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "running"),
        ({"boot": "another"}, "interrupted"),
        ({"started": "1"}, "interrupted"),  # the process id was given to another process
        ({"pid": 2**22 + 1}, "interrupted"),
        ({"host": "elsewhere"}, "running"),  # not for us to see: it has committed of late
    ],
)
def test_whose_run_it_is(store, path, facts, change, state):
    run = store.open(facts, {})
    with closing(sqlite3.connect(path)) as connection:
        written_by = json.loads(connection.execute("SELECT owner FROM record").fetchone()[0])
    scribble(path, "UPDATE record SET owner = ?", json.dumps(written_by | change))
    assert store.get(run.id).document["state"] == state
    if change.get("host"):
        scribble(path, "UPDATE record SET touched = touched - 100")
        assert store.get(run.id).document["state"] == "interrupted"


def test_a_run_that_is_sealed_while_it_is_read_does_not_read_interrupted(store, facts, monkeypatch):
    run = store.open(facts, {})

    def dies(*_):
        run.seal(ending([]))
        monkeypatch.setattr(owner, "is_alive", lambda *_: False)
        return False

    monkeypatch.setattr(owner, "is_alive", dies)
    assert store.get(run.id).document["state"] == "complete"
    run = store.open(facts, {})
    monkeypatch.setattr(owner, "is_alive", dies)
    assert [row.state for row in store.listing()] == ["complete", "complete"]


def test_reindex_fills_what_was_scribbled_over(store, path, facts):
    sealed(store, facts)
    store.open(facts, {})
    before = store.listing()
    scribble(
        path,
        "UPDATE record SET schema = 9, began = 'x', device = 'x', basis = 'x', state = 'x', "
        "session = 'x', hashrate_h_s = -1",
    )
    assert store.listing() != before
    assert store.reindex() == 2
    assert store.listing() == before
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT schema, basis, session FROM record").fetchall()
    assert found == [(1, "counted", facts["session"])] * 2


# Opens a run beside others, each commit a window of its own.
WRITE = """
import json, sys, time
from hwkit.protocols import Window
from hwkit.records import Store, owner
facts = json.loads(sys.argv[2])
sys.stdin.readline()
run = Store(sys.argv[1]).open(facts, {"hostname": "x"})
for number in range(int(sys.argv[3])):
    at = time.monotonic_ns() - 100
    run.window(Window(number, at, at + 100, 1, 90, 1, None))
    run.event(at, f"window {number}")
    run.commit()
print(run.id, flush=True)
"""


def test_processes_that_write_at_once_lose_nothing(path, facts):
    """They make the store together, too."""
    commits = 60
    writers = [python(WRITE, path, json.dumps(facts), commits) for _ in range(3)]
    for writer in writers:  # all at once, when each has imported what it needs
        writer.stdin.write("go\n")
        writer.stdin.flush()
    names = [writer.communicate()[0].strip() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    store = Store(str(path))
    for name in names:
        record = store.get(name)
        assert [window.round for window in record.read("windows")] == [*range(commits)]
        assert [what for _, what in record.read("events")] == [
            f"window {number}" for number in range(commits)
        ]
    store.close()


def test_a_store_is_made_once_by_many(tmp_path):
    for number in range(10):
        path = tmp_path / f"{number}.sqlite"
        failures: list[Exception] = []

        def make(path=path, failures=failures):
            try:
                Store(str(path)).close()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                failures.append(error)

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM hwkit_store").fetchone() == (1,)


def test_reading_does_not_wait_for_a_writer(store, path, facts):
    name = sealed(store, facts).id
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert store.get(name).id == name
        assert time.monotonic() - began < 5
        connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("sqlite://", RecordError),
        (":memory:", RecordError),
        ("", RecordError),
        ("nonsense://x", RecordError),
        ("postgresql://h:port/x", RecordError),
        ("://", RecordError),
        ("oracle://user:secret@h/x", NoDriver),
        ("/proc/nowhere/x.sqlite", NotPermitted),
        ("/dev/null/x.sqlite", NotPermitted),
        ("/dev", NotPermitted),
        ("sqlite:////sys/x.sqlite", NotPermitted),
    ],
)
def test_what_is_no_store(url, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as raised:
        Store(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert [*tmp_path.iterdir()] == []


def test_a_url_that_is_none_is_shown_without_its_password():
    with pytest.raises(RecordError) as raised:
        Store("nonsense://user:secret@host/x")
    assert "secret" not in str(raised.value)


def test_files_that_are_no_store_of_ours(path):
    path.write_text("no database" * 100)
    with pytest.raises(RecordError, match="not a database"):
        Store(str(path))
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(RecordError, match="not of hwkit records"):
        Store(str(path))
    assert path.read_bytes() == before


def test_a_newer_store_and_one_without_its_tables(store, path, facts):
    sealed(store, facts)
    scribble(path, "UPDATE hwkit_store SET shape = 2")
    with pytest.raises(RecordError, match="update hwkit"):
        Store(str(path))
    scribble(path, "UPDATE hwkit_store SET shape = 1")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE chunk")
    with pytest.raises(RecordError, match="without chunk"):
        Store(str(path))


def test_a_record_of_a_newer_hwkit(store, path, facts):
    name = sealed(store, facts).id
    text = store.get(name).text.replace('"schema":1', '"schema":2')
    scribble(path, "UPDATE record SET document = ?", text)
    assert [row.id for row in store.listing()] == [name]  # it is listed all the same
    with pytest.raises(RecordError, match="schema 2; this hwkit reads up to 1"):
        _ = store.get(name).document
    with pytest.raises(RecordError, match="update hwkit"):
        store.reindex()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"id":"x","schema":1}', "{" * 99])
def test_a_document_that_was_overwritten(store, path, facts, text):
    name = sealed(store, facts).id
    scribble(path, "UPDATE record SET document = ?", text)
    with pytest.raises(RecordError):
        _ = store.get(name).document
    with pytest.raises(RecordError):
        store.reindex()
    scribble(path, "UPDATE record SET digest = NULL")
    with pytest.raises(RecordError):
        store.get(name)


def test_a_damaged_file(store, path, facts):
    for _ in range(20):
        sealed(store, facts)
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises((RecordError, NotPermitted)) as raised:
        Store(str(path)).get("last")
    assert "\n" not in str(raised.value)
