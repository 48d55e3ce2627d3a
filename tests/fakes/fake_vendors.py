"""What a library in a child process may run into, as the function that reads a miner."""

import os
import signal
import sys
import time

from hwkit.hashers.asic import vendors_child

asked: list[object] = []


def hang(request, alive):
    time.sleep(3600)


def crash(request, alive):
    os.kill(os.getpid(), signal.SIGSEGV)


def raises(request, alive):
    raise RuntimeError("called `Option::unwrap()` on a `None` value")


def babbles(request, alive):
    """Print 100 MB, then what is no answer."""
    for _ in range(100):
        os.write(1, b"x" * (1 << 20))
    sys.stdout.flush()
    return "a text"


def floods(request, alive):
    return {"hostname": "x" * 100_000_000}


def is_long(request, alive):
    return {"hostname": "x" * (1 << 21)}


def eats(request, alive):
    vendors_child.bound_memory()
    return {"hostname": str(len(bytearray(vendors_child.MEMORY)))}


def knows_nobody(request, alive):
    return None


def tells(request, alive):
    asked.append(request)
    host, login = request
    return {"hostname": f"{host} {login}", "serial_number": str(len(asked))}
