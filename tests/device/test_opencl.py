"""Every OpenCL device that is here: each variant keeps its contract, and all agree."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from hwkit import plugins
from hwkit.hashers import native as compiled
from hwkit.hashers import opencl
from hwkit.hashers.device import DeviceHasher, best_known
from hwkit.hashers.opencl import Device, Variant
from hwkit.hashers.reference import ReferenceKernel
from hwkit.prove import agree
from hwkit.prove.questions import HALF, MINED, ROLLED, Question, answer
from hwkit.testing import HasherContract, KernelContract

FOUND = [] if find_spec("pyopencl") is None else list(opencl._listed())
DEVICES = [device for device in FOUND if isinstance(device, Device)]
VARIANTS = [
    (device, Variant(width, rotation, additions, min(group, device.largest_group)))
    for device in DEVICES
    for width, rotation, additions, group in [
        (1, "shifts", "add", 64),
        (1, "rotate", "multiply", 64),
        (4, "rotate", "add", 1),
        (8, "shifts", "add", 16),
        (16, "shifts", "multiply", 16),
        (16, "rotate", "add", 8),
    ]
    if f"width {width}" not in device.left_out
]


def by_name(pair):
    device, variant = pair
    return f"{device.address} {variant}"


@pytest.fixture(scope="module", params=VARIANTS, ids=by_name)
def kernel(request):
    device, variant = request.param
    hasher = device.hasher(variant)
    yield hasher.kernel
    hasher.kernel.child.end()


@pytest.fixture(scope="module", params=DEVICES, ids=lambda device: device.address)
def hasher(request):
    *_, hasher = best_known(request.param)
    assert isinstance(hasher, DeviceHasher)
    yield hasher
    hasher.kernel.child.end()


@pytest.mark.needs(module="pyopencl")
def test_there_is_a_device():
    """Where pyopencl is installed; a system without a runtime says so."""
    assert DEVICES, FOUND


class TestKernels(KernelContract):
    @pytest.fixture
    def kernel(self, kernel):
        return kernel


class TestHashers(HasherContract):
    @pytest.fixture
    def hasher(self, hasher):
        return hasher


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.address)
def test_a_device_is_found_by_its_address_and_name(device):
    for address in (device.address, f"opencl:{device.device}"):
        [hasher] = plugins.hashers(address)
        assert isinstance(hasher, DeviceHasher)
        assert hasher.spec.name == device.address


def test_all_hits_are_found_across_launches(kernel):
    """Past what fits a launch, and its list of candidates, at rates of hits that overflow it."""
    other = ReferenceKernel() if compiled.MISSING else compiled.kernels()[0]
    some = replace(MINED, nonces=MINED.nonces[: 1 << 22])
    many = replace(MINED, target=HALF, nonces=MINED.nonces[1 << 22 :][: 1 << 15])
    versions = replace(ROLLED, nonces=ROLLED.nonces[: 1 << 14])
    for question in (some, many, versions):
        [check] = agree([other, kernel], question, piece=1 << 20)
        assert check.fault is None


def test_it_times_its_own_work(hasher):
    """The processor's time of a device that is the processor, else the device's own."""
    before = hasher.kernel.scan(MINED.header, MINED.target, MINED.nonces[: 1 << 10]).busy_ns
    after = hasher.kernel.scan(MINED.header, MINED.target, MINED.nonces[: 1 << 20]).busy_ns
    assert 0 < before < after


ON_OCLGRIND = """
import json, sys
from hwkit.hashers.hoist import uniforms
from hwkit.hashers import opencl_device
from hwkit.hashers.opencl_device import Device
opencl_device.LONG_GRID = 1  # here it would take half an hour
header, width = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
device = Device(0, width, 8, *sys.argv[3:])
found, _ = device.scan([uniforms(header[:76])], (1 << 31) - 1, 0, 251, lambda: None)
print(json.dumps(sorted(found[0])))
"""


# Not with -DSHIFTS: LLVM makes a rotation of two shifts (llvm.fshl), which oclgrind 21.10 lacks.
@pytest.mark.needs("oclgrind", module="pyopencl")
@pytest.mark.parametrize(
    ("width", "options"), [(1, ["-DMULTIPLY"]), (4, []), (8, ["-DMULTIPLY"]), (16, [])]
)
def test_no_race_and_no_uninitialised_read(tmp_path, width, options):
    log = tmp_path / "log"
    command = ["oclgrind", "--data-races", "--uninitialized", "--log", log]
    command += [sys.executable, "-c", ON_OCLGRIND, MINED.header.hex(), str(width), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    question = Question(MINED.header, HALF, range(251))
    assert json.loads(done.stdout) == [hit.nonce for hit in answer(question)]
    assert log.read_text(encoding="utf-8") == ""


OVERFLOWING = """
import json, sys
from hwkit.hashers import launches, opencl_device
launches.CAPACITY = opencl_device.CAPACITY = 16
opencl_device.LONG_GRID = 1
pieces = launches.Launches._pieces
launches.Launches._pieces = lambda self, first, count, _: pieces(self, first, count, 1 << 30)
from hwkit.hashers.hoist import uniforms
header, width = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
device = opencl_device.Device(0, width, 8)
found, _ = device.scan([uniforms(header[:76])], (1 << 31) - 1, 0, 1000, lambda: None)
print(json.dumps(sorted(found[0])))
"""


@pytest.mark.needs(module="pyopencl")
@pytest.mark.parametrize("width", [1, 8])
def test_more_candidates_than_there_is_room_for(width):
    """None is lost: the count tells, and they are asked for again."""
    command = [sys.executable, "-c", OVERFLOWING, MINED.header.hex(), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    question = Question(MINED.header, HALF, range(1000))
    assert json.loads(done.stdout) == [hit.nonce for hit in answer(question)]
