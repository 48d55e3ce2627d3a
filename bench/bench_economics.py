"""100,000 futures of 4 years: at most 2 s of processor time and 1 GB, in a process of its own."""

import json
import os
import subprocess
import sys

FUTURES = 100_000
MOST_S, MOST_BYTES = 2.0, 1 << 30
WORTH = f"""
import json, resource, time
from hwkit.economics import catalogue, futures, snapshot
from hwkit.economics.machine import Machine
from hwkit.economics.scenario import Scenario
from hwkit.economics.tariff import Tariff

terms = futures.Terms(Scenario(runs={FUTURES}), snapshot.shipped(), Tariff.of([0.05]))
machine = Machine.of_nameplate(catalogue.find("S21 XP (270 TH)", catalogue.shipped()))
before = time.process_time()
drawn = futures.draw(terms)
npv = futures.worth(machine, terms, drawn).npv(2970.0)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.process_time() - before, used.ru_maxrss * 1024, len(npv)]))
"""


def test_futures(benchmark):
    seen = []

    def draw():
        done = subprocess.run(
            [sys.executable, "-c", WORTH],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        seen.append(json.loads(done.stdout))

    benchmark.pedantic(draw, rounds=5, warmup_rounds=1)
    cpu_s, peak, count = (min(column) for column in zip(*seen, strict=True))
    benchmark.extra_info |= {"cpu_s": round(cpu_s, 3), "peak_mb": round(peak / 2**20)}
    print(benchmark.extra_info)
    assert count == FUTURES
    assert cpu_s <= MOST_S
    assert peak <= MOST_BYTES
