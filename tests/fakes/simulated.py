"""Simulated miners for tests: on a thread of this process, or as `hwkit simulate` of its own."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from hwkit.simulate.behaviour import Behaviour
from hwkit.simulate.dialect import Dialect
from hwkit.simulate.hashing import usual_kernel
from hwkit.simulate.miner import Miner
from hwkit.simulate.pools import Pools, read_pool

HWKIT = Path(sys.executable).with_name("hwkit")
START_S = 60.0  # a machine may stall for seconds
USUAL_H_S = 200e3  # quiet: many may run beside each other


@contextmanager
def simulated(
    dialect="cgminer",
    *,
    pools=(),
    state=None,
    host="127.0.0.1",
    api_port=0,
    web_port=0,
    **behaviour,
):
    """Run a miner on a thread; yield it (its api_port, web_port, pools and counters).

    `pools` are texts URL,USER,PASS; the rest is Behaviour's. What goes wrong in it is raised here.
    """
    behaviour.setdefault("rate_h_s", USUAL_H_S)
    ready, failed = threading.Event(), []
    running: list = []

    async def run():
        miner = Miner(
            Dialect.named(dialect),
            Behaviour(**behaviour),
            Pools([read_pool(text) for text in pools], state),
            usual_kernel(),
            host=host,
            api_port=api_port,
            web_port=web_port,
        )
        task = asyncio.create_task(miner.run(lambda _: ready.set()))
        running.extend((miner, asyncio.get_running_loop(), task))
        await task

    def target():
        try:
            asyncio.run(run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again in the test
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=target, name="simulated miner", daemon=True)
    thread.start()
    try:
        assert ready.wait(START_S), "the simulated miner does not start"
        if failed:
            raise failed[0]
        yield running[0]
    finally:
        if running:
            _, loop, task = running
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
        thread.join(START_S)
    if failed:
        raise failed[0]


class Process:
    """`hwkit simulate` in a process of its own; kill() is to cut a miner's power."""

    def __init__(self, process):
        self.popen = process
        line = process.stdout.readline()
        assert line, f"{process.args} ended with {process.wait(START_S)}"
        told = json.loads(line)
        self.api_port, self.web_port = told["api_port"], told["web_port"]

    def kill(self):
        self.popen.kill()
        self.popen.wait()


@contextmanager
def simulated_process(*arguments, **popen):
    """Run `hwkit simulate --json ARGUMENTS`, on free ports and quietly unless told; yield it."""
    command = [str(HWKIT), "simulate", "--json", *map(str, arguments)]
    if "--api-port" not in arguments:
        command += ["--api-port", "0"]
    if "--rate" not in arguments:
        command += ["--rate", f"{USUAL_H_S:.0f}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **popen) as process:
        try:
            yield Process(process)
        finally:
            process.kill()
