"""A store, what a run's document says, one record that was really measured, and the command."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.hashers.kernel import KernelHasher
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Reading
from hwkit.records import Store
from hwkit.records.record import Chunk, Record, summary_of
from hwkit.work import MAX_TARGET, Target

FAKES = Path(__file__).parents[1] / "fakes"
HWKIT = Path(sys.executable).with_name("hwkit")
# As harness.host has it, of a host of nobody's.
HOST = {
    "cpu": {"model": "none", "flags": None, "count": 1, "usable": 1, "governor": None}
    | {"virtual": None},
    "machine": "none",
    "system": "none",
    "kernel": "0",
    "python": "3",
    "compiler": None,
    "packages": {},
    "load": None,
}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    """A machine's GPUs are tests/device's affair."""
    monkeypatch.setenv("HWKIT_WITHOUT", "opencl,cuda")


@pytest.fixture(autouse=True, scope="session")
def one_proof_of_the_reference():
    """Prove the reference once for all sessions: each would take more than a second for it."""
    proving = import_module("hwkit.prove")  # `hwkit.prove` is its function
    prove = proving.prove
    of_reference = cache(lambda: prove(ReferenceKernel()))

    def proof(kernel, stopped=lambda: False):
        known = type(kernel) is ReferenceKernel and not stopped()
        return of_reference() if known else prove(kernel, stopped)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proving, "prove", proof)
        yield


@pytest.fixture
def quick_windows(monkeypatch):
    """Windows of a tenth of a second beside meters: what they are made of is the same."""
    monkeypatch.setattr("hwkit.harness.metered.METERED_WINDOW_S", 0.1)
    monkeypatch.setattr("hwkit.harness.metered.AUDITS_AT_END_S", 0.5)
    monkeypatch.setattr("hwkit.harness.metering.LEAST_LAG_S", 0.05)


@pytest.fixture
def fakes(monkeypatch):
    """A child process may import what is in tests/fakes."""
    paths = [str(FAKES), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


@pytest.fixture
def path(tmp_path):
    """Where this test's store is."""
    return tmp_path / "records.sqlite"


@pytest.fixture
def store(path):
    records = Store(str(path))
    yield records
    records.close()


@pytest.fixture
def facts():
    """What the harness tells of a run that it opens: every header is a share, each one hash."""
    job = Plan(seed="test").job(int(time.time()), Target(MAX_TARGET))
    return {
        "session": "0123456789abcdef",
        "hwkit": "0",
        "clock": {"utc": datetime.now(UTC).isoformat(), "monotonic_ns": time.monotonic_ns()},
        "plan": Plan(seed="test", precision=None).to_json(),
        "job": job.to_json(),
        "device": {"name": "test", "basis": "counted", "resource": "none"}
        | {"threads": None, "details": {}},
        "proof": None,
        "auditor": None,
        "host": HOST,
    }


class Adorned:
    """A sink that puts readings and events into each run, as meters will."""

    def __init__(self, store):
        self.store = store

    def open(self, facts, identity):
        run = self.store.open(facts, identity)
        for second in range(3):
            at = time.monotonic_ns()
            run.reading("meter:test", Reading(at, joules=second * 10.5, flags=("made-up",)))
        run.event(time.monotonic_ns(), "opened")
        return run


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """A sealed record of the reference kernel, really measured; with rows of every kind."""
    return measure(tmp_path_factory.mktemp("measured"), time_s=2.0)


@pytest.fixture(scope="session")
def rolling(tmp_path_factory):
    """Another, of version rolling."""
    return measure(tmp_path_factory.mktemp("rolling"), time_s=1.0, version_rolling=True)


def measure(folder, **changes):
    store = Store(str(folder / "records.sqlite"))
    kernel = KernelHasher.lift(ReferenceKernel(), "cpu", 1)
    plan = Plan(precision=None, warmup_s=0.2, turn_s=0.1, challenge="for the test", **changes)
    session = Session(plan, [kernel], Adorned(store), threading.Event())
    entry = session.run()[0]
    assert entry.state == "complete", entry.why
    assert entry.run
    record = store.get(entry.run.id)
    store.close()
    return record


@pytest.fixture(scope="session")
def resealed():
    """Return a function that rebuilds a record as a forger would: all that he can, fits."""

    def rebuild(record, change=None, *, figures=False, **kinds):
        document = record.document
        chunks = dict(record.chunks)
        for kind, rows in kinds.items():
            chunks[kind] = [Chunk.of(kind, rows)]
        if figures:
            document |= summary_of(document, chunks).to_json()
        if change:
            change(document)
        return Record.sealed(document, chunks)

    return rebuild


@pytest.fixture
def hwkit(path):
    """Return a function that runs the installed command on this test's store."""

    def run(*arguments, store=path, stdin=None, **options):
        named = [] if store is None else ["--store", str(store)]
        return subprocess.run(
            [HWKIT, *map(str, arguments), *named],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env={**os.environ, "COLUMNS": "200"},
            **options,
        )

    return run


def meter(*arguments, **options):
    """Run `hwkit meter`."""
    return subprocess.run(
        [HWKIT, "meter", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.fixture
def peer():
    """Return a function that puts a TCP server on loopback: `serve(stream)` has each connection."""
    servers = []

    def start(serve, port=0):
        server = socket.create_server(("127.0.0.1", port))
        servers.append(server)
        threading.Thread(target=accept, args=(server, serve), daemon=True).start()
        return server.getsockname()[1]

    def accept(server, serve):
        while True:
            try:
                stream, _ = server.accept()
            except OSError:
                return  # closed below
            threading.Thread(target=attend, args=(stream, serve), daemon=True).start()

    def attend(stream, serve):
        with stream, suppress(OSError):
            serve(stream)

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """Return a function that says who we are to 127.0.0.1."""

    def say(**words):
        path = tmp_path / "credentials.toml"
        path.write_text('["127.0.0.1"]\n' + "".join(f'{k} = "{v}"\n' for k, v in words.items()))
        monkeypatch.setenv("HWKIT_CREDENTIALS", str(path))

    return say
