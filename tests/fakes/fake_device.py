"""What a child process may run into, each as the function that it is to run."""

import ctypes
import os
import signal
import time


def echo(request, alive):
    return request


def crash(request, alive):
    os.kill(os.getpid(), signal.SIGSEGV)


forked: list[int] = []


def fork(request, alive):
    """Start a process that keeps all files open, then crash."""
    if forked:
        crash(request, alive)
    forked.append(os.fork())
    if not forked[0]:
        time.sleep(3600)
    return forked[0]


def leave(request, alive):
    os._exit(7)


def hang(request, alive):
    time.sleep(3600)


def hang_for_good(request, alive):
    """As a driver may: Python's lock is not let go, no thread of this process runs on."""
    ctypes.PyDLL(None).pause()


def work_long(request, alive):
    for _ in range(request[0]):
        time.sleep(0.1)
        alive()
    return "done"


def fail(request, alive):
    raise RuntimeError("no such\n  queue")


def chat(request, alive):
    print("PoCL: a warning", flush=True)
    os.write(1, b"and another\n")
    return "done"


def babble(request, alive):
    """Write into every file there is, as a driver with a wild pointer for a descriptor."""
    for number in range(3, 32):
        try:
            os.write(number, request[0].encode() + b"\n")
        except OSError:
            continue
    time.sleep(3600)


def told(**changes):
    return {
        "device": "Fake GPU 9000",
        "vendor": "Fake",
        "driver": "1.0",
        "is_cpu": False,
        "compute_units": 8,
        "largest_group": 256,
        "vector_width": 1,
        "pci": None,
        "available": True,
        "has_compiler": True,
    } | changes


def platform(name, *devices):
    return {"platform": name, "version": "OpenCL 3.0", "devices": devices}


def many(request, alive):
    """List devices of every kind."""
    twice = platform("Fake", told(), told(device="Fake Processor", is_cpu=True, vector_width=16))
    others = [
        told(device="Gone", available=False),
        told(device="Binary", has_compiler=False),
        told(device="Fake GPU 9001"),
    ]
    return [twice, platform("Empty"), twice, platform("Other", *others)]


def none(request, alive):
    return []


def blind(request, alive):
    """Answer as a kernel that is very fast and finds nothing."""
    return None if request[0] == "open" else [[[] for _ in request[1]], 1]


def sees_things(request, alive):
    """Report a nonce of every stretch, hit or not."""
    return None if request[0] == "open" else [[[request[3]] for _ in request[1]], 1]


def repeats(request, alive):
    return None if request[0] == "open" else [[[request[3]] * 2 for _ in request[1]], 1]


def strays(request, alive):
    return None if request[0] == "open" else [[[request[3] - 1] for _ in request[1]], 1]


def mumbles(request, alive):
    return None if request[0] == "open" else ["hits"]


def crashes_at_work(request, alive):
    return None if request[0] == "open" else crash(request, alive)


def hangs_at_work(request, alive):
    """Answer until a stretch is longer than what the device is warmed up with."""
    return blind(request, alive) if request[0] == "open" or request[4] < 2 else hang(request, alive)


def cuda_told(name, capability, pci):
    numbers = {"multiprocessors": 132, "largest_group": 1024}
    return {"device": name, "capability": capability, "pci": pci, **numbers}


def cudas(request, alive):
    devices = [
        cuda_told("Fake H100", [9, 0], "0000:65:00.0"),
        cuda_told("Fake GTX 1080", [6, 1], "0000:66:00.0"),
        cuda_told("Fake RTX 5090", [12, 0], "0001:03:00.0"),
    ]
    return {"why": None, "driver": "13.0", "oldest": [7, 5], "devices": devices}


def no_cuda_driver(request, alive):
    return {"why": "CUDA driver library cannot be found.", "devices": []}


def no_cuda_device(request, alive):
    return {"why": "Call to cuInit results in CUDA_ERROR_NO_DEVICE (100)", "devices": []}
