"""What the bench pool bears: shares a second on one core, and a thousand connections.

    python bench/pool.py [--time 60] [--connections 200] [--held 1000] [--json]

The miners are a process of their own (pool_load.py), on another processor where there is one. Every
share is one packet, hashed again, put into the event stream and from there into a SQLite store,
which is read back at the end: all in the pool's process, whose CPU time is what counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click
from bench_records import facts

from hwkit.protocols import Assigned, CreditedShare, Link, Submission, Verdict
from hwkit.records import Store
from hwkit.sha256d import sha256d
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import Job, Share, Target

HERE = Path(__file__).parent
DIFFICULTY = 2.0**-32  # all hashes but one in 65,536 are shares: they cost the miners nothing
WANTED = 12_000  # shares a CPU second


class Load:
    """The miners' process."""

    def __init__(self, pool, connections, seconds, *rate):
        host, port = pool.address
        words = [host, port, connections, seconds, *rate]
        self._child = subprocess.Popen(
            [sys.executable, HERE / "pool_load.py", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self._child.pid, processors[-1:])
        self.processor = processors[0]

    def __enter__(self):
        assert self._child.stdout.readline() == "ready\n"
        return self

    def begin(self):
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    @property
    def working(self):
        return self._child.poll() is None

    def ended(self):
        return json.loads(self._child.stdout.readline())

    def __exit__(self, *_):
        self._child.communicate("\n")


def one_template():
    return Job.create(
        seed=b"bench",
        ntime=int(time.time()),
        target=Target.from_difficulty(DIFFICULTY),
        extranonce2_size=4,
    )


def throughput(connections, seconds):
    """Return shares a second of wall and of CPU time, and what each end counted."""
    job = one_template()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "records.sqlite"))
        utc = datetime.now(UTC)
        run = store.open(facts(job, time.monotonic_ns(), utc), {"hostname": "bench"})
        with Pool(OneTemplate(job), DIFFICULTY, job_s=10.0) as pool:
            with Load(pool, connections, seconds) as load:
                for thread in Path("/proc/self/task").iterdir():
                    os.sched_setaffinity(int(thread.name), [load.processor])
                load.begin()
                began, cpu = time.monotonic(), time.process_time()
                until = began + seconds
                seen = Counter()
                while time.monotonic() < until:
                    second = time.monotonic() + 1
                    while time.monotonic() < second:
                        time.sleep(0.05)
                        store_events(pool.take(), run, seen)
                    run.commit()
                wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
                counted = seen[Verdict.GOOD]
                said = load.ended()
                store_events(pool.take(), run, seen)
            store_events(pool.take(), run, seen)
        run.commit()
        stored = rehashed(store, run.id, job)
        store.close()
    return {
        "connections": connections,
        "shares": seen[Verdict.GOOD],
        "miners' accepted": said["accepted"],
        "stored and hashed again from the store": stored,
        "other verdicts": {k.value: n for k, n in seen.items() if k is not Verdict.GOOD},
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "shares/s": counted / wall_s,
        "shares/CPU s": counted / cpu_s,
        "miners' CPU s": said["cpu_s"],
    }


def store_events(events, run, seen):
    for event in events:
        if isinstance(event, Submission):
            seen[event.verdict] += 1
            if event.verdict is Verdict.GOOD:
                run.share(CreditedShare(0, event.at, event.share))
            else:
                run.event(event.at, f"{event.verdict}: {event.share or event.raw}")
        elif isinstance(event, Assigned):
            run.event(event.at, f"job {event.serial} at {event.target.value:x}")
        elif isinstance(event, Link):
            run.event(event.at, f"{event.what} {event.words}")


def rehashed(store, name, job):
    """Return how many different shares that meet the target the store gives back."""
    seen = set()
    for row in store.get(name).rows("shares"):
        share = Share(*row[2:3], bytes.fromhex(row[3]), *row[4:])
        digest = sha256d(job.header(share))
        assert job.target.is_met_by(digest)
        seen.add(digest)
    return len(seen)


def held(connections, seconds):
    """Return how the pool's memory stands with so many connections, early and late."""
    grown = []
    with Pool(OneTemplate(one_template()), DIFFICULTY, job_s=1.0) as pool:
        before = resident_mib()
        with Load(pool, connections, seconds, connections) as load:
            load.begin()
            began, shares = time.monotonic(), 0
            while time.monotonic() - began < seconds:
                time.sleep(0.2)
                shares += sum(isinstance(event, Submission) for event in pool.take())
                grown.append(resident_mib())
            said = load.ended()
            shares += sum(isinstance(event, Submission) for event in pool.take())
    third = len(grown) // 3
    return {
        "connections": connections,
        "shares": shares,
        "sent": said["sent"],
        "MiB before": before,
        "MiB at a third": max(grown[:third]),
        "MiB at the end": max(grown[-third:]),
    }


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


@click.command()
@click.option("--time", "seconds", default=60.0, help="Seconds of each.")
@click.option("--connections", default=200, help="Of the first: each with one share under way.")
@click.option("--held", "many", default=1000, help="Of the second: each with a share a second.")
@click.option("--json", "as_json", is_flag=True)
def main(seconds, connections, many, as_json):
    """Print both; fail below what is promised."""
    found = {"held": held(many, seconds), "throughput": throughput(connections, seconds)}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, values in found.items():
            print(name)
            for key, value in values.items():
                print(f"  {key:<40} {value}")
    assert found["throughput"]["shares/CPU s"] >= WANTED
    assert found["held"]["MiB at the end"] <= 1.05 * found["held"]["MiB at a third"]


if __name__ == "__main__":
    main()
