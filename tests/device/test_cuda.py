"""Every CUDA device that is here: each variant keeps its contract, and all agree."""

from dataclasses import replace
from importlib.util import find_spec

import pytest

from hwkit import plugins
from hwkit.hashers import cuda
from hwkit.hashers import native as compiled
from hwkit.hashers.cuda import Device, Variant
from hwkit.hashers.device import DeviceHasher, best_known
from hwkit.hashers.reference import ReferenceKernel
from hwkit.prove import agree
from hwkit.prove.questions import HALF, MINED, ROLLED
from hwkit.testing import HasherContract, KernelContract
from hwkit.work import NONCES

FOUND = [] if find_spec("numba_cuda") is None else list(cuda._listed())
DEVICES = [device for device in FOUND if isinstance(device, Device)]
VARIANTS = [
    (device, Variant(multiplied, nonces, group))
    for device in DEVICES
    for multiplied, nonces, group in [
        ("nothing", 1, 64),
        ("additions", 16, 256),
        ("shifts", 3, 128),
        ("rotations", 16, 512),
    ]
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


class TestKernels(KernelContract):
    @pytest.fixture
    def kernel(self, kernel):
        return kernel


class TestHashers(HasherContract):
    @pytest.fixture
    def hasher(self, hasher):
        return hasher


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.address)
def test_a_device_is_found_by_its_address(device):
    [hasher] = plugins.hashers(device.address)
    assert isinstance(hasher, DeviceHasher)
    assert hasher.spec.name == device.address
    hasher.kernel.child.end()


def test_all_hits_are_found_across_launches(kernel):
    """Past what fits a launch, and its list of candidates, at rates of hits that overflow it."""
    other = ReferenceKernel() if compiled.MISSING else compiled.kernels()[0]
    some = replace(MINED, nonces=MINED.nonces[: 1 << 22])
    many = replace(MINED, target=HALF, nonces=MINED.nonces[1 << 22 :][: 1 << 15])
    versions = replace(ROLLED, nonces=ROLLED.nonces[: 1 << 14])
    last = replace(MINED, nonces=range(NONCES - (1 << 22) - 3, NONCES))
    for question in (some, many, versions, last):
        [check] = agree([other, kernel], question, piece=1 << 20)
        assert check.fault is None


def test_it_times_its_own_work(hasher):
    before = hasher.kernel.scan(MINED.header, MINED.target, MINED.nonces[: 1 << 10]).busy_ns
    after = hasher.kernel.scan(MINED.header, MINED.target, MINED.nonces[: 1 << 20]).busy_ns
    assert 0 < before < after
