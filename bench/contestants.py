"""The contestants of peers.py: kernels of hwkit, miners, and programs that do other work.

A miner is not asked how fast it is. It gets jobs from a Stratum server in here; the nonces from one
share of it to another are its hashes, and the CPU time of its whole process from one to the other
is what they took. As of our kernel, each share is hashed again, and as many must come as so many
hashes give. Between its turns it is stopped (SIGSTOP), and at the end its process group is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hwkit.errors import DeviceLost, DeviceTimeout, PlanError, ProtocolError
from hwkit.harness.plan import Plan
from hwkit.harness.statistics import poisson_z
from hwkit.hashers.kernel import TimedHits
from hwkit.sha256d import sha256d
from hwkit.wire.stratum_jobs import Sent
from hwkit.work import NONCES, Share, Target

SHARES_PER_S = 4  # sending 8 costs cpuminer-opt 0.2 % of its time, minerd 0.1 %
FIRST_COUNT = 1 << 14  # nonces, until the rate is known
FIRST_SHARE = 1 << 16  # hashes for one, until the rate is known
UNLIKELY_Z = 5  # of an honest contestant once in two million turns
MOST_BYTES = 1 << 20  # that a peer may say in one turn


class Setting(NamedTuple):
    """What holds for every turn."""

    home: str  # a peer's home and working directory
    core: int
    piece_s: float  # CPU time measured in a turn
    deadline_s: float  # wall time that a peer may take for one


class Counted:
    """A contestant whose hashes are counted, and held against the shares found among them."""

    work = None  # not other than ours: the nonces of one 80-byte header

    def __init__(self, name):
        self.name = name
        self._job = Plan(seed=name).job(int(time.time()), Target((1 << 256) // FIRST_SHARE))
        self._found, self._expected = 0, 0.0

    def turn(self):
        """Return hashes per second of CPU time. Raises DeviceFault."""
        job = self._job = self._job.roll(1)
        hashes, cpu_ns, shares = self._scan(job)
        for share in shares:
            try:
                right = job.target.is_met_by(sha256d(job.header(share)))
            except PlanError as error:
                raise ProtocolError(f"a share of no job: {error}", b"") from error
            if not right:
                raise ProtocolError(f"a wrong share: nonce {share.nonce:#010x}", b"")
        self._found += len(shares)
        self._expected += float(hashes / job.target.work)
        if abs(poisson_z(self._found, self._expected)) > UNLIKELY_Z:
            lack = f"{self._found} shares where its nonces give {self._expected:.0f}"
            raise ProtocolError(f"{lack}: it does not hash what it counts", b"")
        rate_h_s = hashes * 1e9 / cpu_ns
        self._job = replace(job, target=Target(int((1 << 256) * SHARES_PER_S / rate_h_s)))
        return rate_h_s

    def close(self):
        pass


class Ours(Counted):
    """A kernel of hwkit, in this thread; or in its process, which counts its own CPU time."""

    def __init__(self, kernel, setting):
        super().__init__(kernel.name)
        self._kernel = kernel
        self._count = FIRST_COUNT
        for _ in range(3):  # the first call may compile, and the second is short
            hashes, cpu_ns, _ = self._scan(self._job)
            self._count = min(int(hashes * setting.piece_s * 1e9 / cpu_ns) + 1, NONCES)

    def _scan(self, job):
        roll = bytes(job.extranonce2_size)
        header = job.header(Share(job.serial, roll, job.ntime, job.version, 0))
        began = time.thread_time_ns()
        hits = self._kernel.scan(header, job.target, range(self._count))
        cpu_ns = time.thread_time_ns() - began
        if isinstance(hits, TimedHits):
            cpu_ns = hits.busy_ns
        shares = [Share(job.serial, roll, job.ntime, hit.version, hit.nonce) for hit in hits]
        return self._count, cpu_ns, shares


class Miner(Counted):
    """A miner with the options of cpuminer that scans a job's nonces upwards."""

    def __init__(self, name, path, setting):
        super().__init__(name)
        self.path, self._setting = path, setting
        self._child = self._wire = None
        self._unread = b""

    def close(self):
        if self._wire:
            self._wire.close()
        if self._child and self._child.returncode is None:
            end(self._child)

    def _scan(self, job):
        sent = Sent(job, job.serial, job.target, job.ntime)
        until = time.monotonic() + self._setting.deadline_s
        try:
            if self._child is None:
                self._start(until)
            self._settle()
            self._send(method="mining.set_difficulty", params=[float(job.target.difficulty)])
            self._send(method="mining.notify", params=sent.notification(clean=True))
            os.killpg(self._child.pid, signal.SIGCONT)
            result = self._measure(sent, until)
            os.killpg(self._child.pid, signal.SIGSTOP)
        except OSError as error:
            why = how_it_ended(self._child) if self._child else "does not start"
            raise DeviceLost(f"{why}: {error.strerror or error}") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ProtocolError(f"speaks no Stratum: {error}", b"") from error
        return result

    def _start(self, until):
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"stratum+tcp://127.0.0.1:{server.getsockname()[1]}"
            options = ["-a", "sha256d", "-t", "1", "-o", url, "-u", "hwkit", "-p", "x"]
            self._child = start([self.path, *options], self._setting.home, subprocess.DEVNULL)
            while not select.select([server], [], [], 0.1)[0]:
                if exited(self._child):
                    raise DeviceLost(f"{how_it_ended(self._child)} and never asked for work")
                if time.monotonic() > until:
                    raise DeviceTimeout(f"asked for no work within {self._setting.deadline_s:g} s")
            self._wire = server.accept()[0]
        self._wire.settimeout(1)  # to send: what we say fits into a socket's buffer
        for _, asked in self._requests(until):
            if asked["method"] == "mining.authorize":
                return

    def _settle(self):
        """Give its threads our processor and, if we may, our priority: cpuminer chooses others."""
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        for task in Path(f"/proc/{self._child.pid}/task").iterdir():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setaffinity(int(task.name), {self._setting.core})
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, int(task.name), ours)

    def _measure(self, sent, until):
        """Return the hashes from its first share to one a piece later, their time, the shares."""
        roll, version = None, sent.template.version
        for cpu_ns, asked in self._requests(until):
            if asked["method"] != "mining.submit" or asked["params"][1] != sent.id:
                continue  # as a share of the turn before
            extranonce2, ntime, nonce = asked["params"][2:5]
            place = int.from_bytes(bytes.fromhex(nonce), "little")  # it counts in SHA-256's order
            if roll != (extranonce2, ntime):
                roll, shares = (extranonce2, ntime), []
                first = last = place
                began_ns = cpu_ns
                continue
            if place <= last:
                raise ProtocolError("its nonces do not ascend: nobody can count its hashes", b"")
            last = place
            rolled = bytes.fromhex(extranonce2), int(ntime, 16), version, int(nonce, 16)
            shares.append(Share(sent.serial, *rolled))
            if cpu_ns - began_ns >= self._setting.piece_s * 1e9:
                return last - first, cpu_ns - began_ns, shares
        raise AssertionError  # requests end by raising

    def _requests(self, until):
        """Yield each request, answered, with the CPU time that its process had used by then.

        The miner's thread and we share a processor: while we look, its clock stands still.
        """
        taken = 0
        while select.select([self._wire], [], [], max(until - time.monotonic(), 0))[0]:
            data = self._wire.recv(1 << 16)
            cpu_ns = cpu_time_ns(self._child)
            taken += len(data)
            if not data:
                raise DeviceLost(f"{how_it_ended(self._child)} and closed its connection")
            if taken > MOST_BYTES:
                raise ProtocolError("says more than a mebibyte in one turn", data)
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                self._answer(asked["id"], asked["method"])
                yield cpu_ns, asked
        raise DeviceTimeout(f"not enough shares within {self._setting.deadline_s:g} s")

    def _answer(self, number, method):
        subscribed = [[["mining.notify", "1"]], self._job.extranonce1.hex()]
        result = {
            "mining.subscribe": [*subscribed, self._job.extranonce2_size],
            "mining.authorize": True,
            "mining.submit": True,
        }.get(method)
        error = None if result else [20, "unknown method", None]
        self._send(id=number, result=result, error=error)

    def _send(self, **message):
        self._wire.sendall(json.dumps({"id": None, **message}).encode() + b"\n")


class Told:
    """A program that does other work and says how fast it was: never ranked with ours."""

    def __init__(self, name, path, setting):
        self.name, self.path, self._setting = name, path, setting

    def turn(self):
        """Return hashes per second of CPU time, by its own count. Raises DeviceFault."""
        setting = self._setting
        command = [self.path, *self.options(setting.piece_s)]
        try:
            output, wall_s, cpu_s = output_of(command, setting.home, setting.deadline_s)
        except OSError as error:
            raise DeviceLost(f"does not start: {error.strerror}") from error
        return self.rate_h_s(output, wall_s, cpu_s)

    def close(self):
        pass


class OpenSSL(Told):
    work = "one stream of SHA-256 over 16 KiB; two compressions are counted as a hash"

    @staticmethod
    def options(piece_s):
        seconds = max(round(piece_s), 1)
        return ["speed", "-mr", "-evp", "sha256", "-bytes", "16384", "-seconds", str(seconds)]

    @staticmethod
    def rate_h_s(output, wall_s, cpu_s):
        line = re.search(rb"\+R:([1-9]\d{0,17}):[\w-]+:(\d{1,9}\.\d+)", output)
        if line is None:
            raise ProtocolError("prints no line +R:count:name:seconds", output)
        if abs(float(line[2]) - cpu_s) > 0.1 + 0.1 * cpu_s:
            raise ProtocolError(f"says {float(line[2])} s, and used {cpu_s:.2f} s", output)
        return int(line[1]) * (16384 // 64 + 1) / 2 / cpu_s


class Hashcat(Told):
    work = "double SHA-256 of passwords in OpenCL, at the speed that it says"

    @staticmethod
    def options(piece_s):
        return ["--benchmark", "-m", "21400", "-D", "1", "--machine-readable", "--quiet"]

    @staticmethod
    def rate_h_s(output, wall_s, cpu_s):
        line = re.search(rb"^\d+:21400:[-\d:.]*:([1-9]\d{0,17})\s*$", output, re.MULTILINE)
        if line is None:
            raise ProtocolError("prints no line device:21400:...:speed", output)
        return int(line[1]) * wall_s / cpu_s  # as if it never slept: that favours it


def output_of(command, home, deadline_s):
    """Return what a program prints until it ends, and the wall and CPU seconds that it took."""
    began = time.monotonic()
    child = start(command, home, subprocess.PIPE)
    try:
        output = read_all(child.stdout, began + deadline_s)
        while not exited(child):
            if time.monotonic() > began + deadline_s:
                raise DeviceTimeout(f"did not end within {deadline_s:g} s")
            time.sleep(0.005)
        wall_s = time.monotonic() - began
    finally:
        child.stdout.close()
        usage = end(child)
    cpu_s = usage.ru_utime + usage.ru_stime
    if child.returncode != 0:
        raise DeviceLost(how_it_ended(child))
    if cpu_s < wall_s / 100:
        raise ProtocolError(f"used {cpu_s:.3f} s of CPU time in {wall_s:.1f} s", output)
    return output, wall_s, cpu_s


def read_all(pipe, until):
    output = b""
    while select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
        data = os.read(pipe.fileno(), 1 << 16)
        output += data
        if not data:
            return output
        if len(output) > MOST_BYTES:
            raise ProtocolError("prints more than a mebibyte", output)
    raise DeviceTimeout("did not end before its deadline")


def start(command, home, output):
    """Start a program in a process group of its own and away from the user's files."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("XDG_")}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=home,
        env=kept | {"HOME": home, "LC_ALL": "C", "no_proxy": "*", "POCL_MAX_PTHREAD_COUNT": "1"},
        process_group=0,
    )


def cpu_time_ns(child):
    """Return the CPU time of all its threads: clock_getcpuclockid(3), which Python lacks."""
    return time.clock_gettime_ns((~child.pid << 3) | 2)


def exited(child):
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def end(child):
    """Kill what is left of its group; return what it used."""
    os.killpg(child.pid, signal.SIGKILL)  # its leader is not waited for yet: the number is its own
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage


def how_it_ended(child):
    """Say it, and end what has not ended."""
    if child.returncode is None:
        patience = time.monotonic() + 1  # a connection closes a little before its process ends
        while not exited(child):
            if time.monotonic() > patience:
                end(child)
                return "lives on"
            time.sleep(0.01)
        end(child)
    if child.returncode < 0:
        return f"ended by signal {-child.returncode} ({signal.strsignal(-child.returncode)})"
    return f"ended with exit code {child.returncode}"
