"""A real mining program as a miner: measured by `hwkit bench asic:HOST`, and given its pools back.

    HWKIT_LIVE=1 python -m pytest tests/live

It is found on PATH and skipped where absent; it hashes for a minute.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwkit.wire import cgminer
from hwkit.wire.stratum import Pool
from hwkit.wire.stratum_jobs import OneTemplate
from hwkit.work import MAX_TARGET, Job, Target

pytestmark = pytest.mark.skipif(not os.environ.get("HWKIT_LIVE"), reason="HWKIT_LIVE is not set")

HWKIT = Path(sys.executable).with_name("hwkit")
PATIENCE_S = 90  # their API answers only after a while
API = "--api-listen --api-port {port} --api-allow W:127.0.0.1"
PROGRAMS = {
    "bfgminer": f"-S noauto -S cpu:auto --cpu-threads 1 -o {{url}}#notls -u own -p x -T {API}",
}


@pytest.fixture
def own_pool():
    """The pool that a miner works for, which somebody reads."""
    job = Job.create(
        seed=b"own", ntime=int(time.time()), target=Target(MAX_TARGET), extranonce2_size=4
    )
    over = threading.Event()
    with Pool(OneTemplate(job), 2.0**-12) as pool:

        def read():
            while not over.wait(0.5):
                pool.take()

        reader = threading.Thread(target=read)
        reader.start()
        yield "stratum+tcp://{}:{}".format(*pool.address)
        over.set()
        reader.join()


@pytest.fixture
def miner(request, own_pool, tmp_path):
    """A program at work; yield the port of its API."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"{request.param} is absent")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [path, *PROGRAMS[request.param].format(url=own_pool, port=port).split()]
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=Path(path).parent
        ) as process,
    ):
        until = time.monotonic() + PATIENCE_S
        while not alive(port):
            assert time.monotonic() < until
            time.sleep(0.5)
        yield port
        process.kill()


def alive(port):
    try:
        return [pool["Status"] for pool in pools(port)] == ["Alive"]
    except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
        return False


def pools(port):
    return cgminer.ask("127.0.0.1", "pools", port=port).document["POOLS"]


@pytest.mark.parametrize("miner", PROGRAMS, indirect=True)
def test_it_is_measured_and_gets_its_pools_back(miner, tmp_path):
    port = miner
    before = [(pool["POOL"], pool["URL"], pool["Priority"]) for pool in pools(port)]
    done = subprocess.run(
        [
            *(HWKIT, "bench", f"asic:127.0.0.1:{port}", "--time", "60s", "--warmup", "5s"),
            *("--json", "--store", str(tmp_path / "records.sqlite")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HWKIT_STATE": str(tmp_path)},
    )
    assert [(pool["POOL"], pool["URL"], pool["Priority"]) for pool in pools(port)] == before
    assert done.returncode == 0, done.stderr
    [record] = json.loads(done.stdout)["records"]
    delivered = record["delivered"]
    assert not any(delivered["refused"].values())
    # Its counter is read a moment before and after the window: a few shares lie between.
    assert delivered["counters"]["accepted"] == pytest.approx(delivered["shares"], rel=0.05, abs=30)
    gap = record["figures"]["claim_gap"]
    assert abs(gap["value"]) < gap["hi"] - gap["lo"]
