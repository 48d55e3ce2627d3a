"""CUDA devices as hwkit sees them, with fakes in their place: neither Numba nor a GPU is needed."""

import re

import pytest

from hwkit import plugins
from hwkit.errors import NoDevice, NoDriver, PlanError
from hwkit.hashers import cuda, device
from hwkit.hashers.device import DeviceHasher

H100 = cuda.Device(
    place=0,
    device="Fake H100",
    driver="13.0",
    capability=(9, 0),
    multiprocessors=132,
    largest_group=1024,
    pci="0000:65:00.0",
)


@pytest.fixture
def behave(fakes, monkeypatch):
    """Return a function that lets the driver behave as a fake does."""
    monkeypatch.setattr(cuda, "find_spec", lambda _: "there")
    monkeypatch.setattr(cuda, "version", lambda _: "0.30.4")
    monkeypatch.setattr(device, "fault_of", lambda _: None)

    def as_(function):
        monkeypatch.setattr(cuda, "ANSWER", f"fake_device:{function}")

    return as_


def test_every_device_is_listed_or_its_absence_explained(behave):
    behave("cudas")
    found = list(cuda.find(None))
    here = {each.spec.name: each.spec for each in found if isinstance(each, DeviceHasher)}
    absent = [(each.address, each.why) for each in found if isinstance(each, NoDevice)]
    assert {name: spec.resource for name, spec in here.items()} == {
        "cuda:0": "gpu:0000:65:00.0",
        "cuda:2": "gpu:0001:03:00.0",
    }
    # Additions are multiplied where that pipe is one of its own.
    assert [spec.details["multiplied"] for spec in here.values()] == ["additions", "nothing"]
    assert here["cuda:0"].details["capability"] == "9.0"
    why = "Fake GTX 1080: compute capability 6.1, and CUDA 13 begins at 7.5"
    assert absent == [("cuda:1", why)]


@pytest.mark.parametrize(
    ("function", "kind", "why"),
    [
        ("no_cuda_driver", NoDriver, "^no CUDA driver .*: install NVIDIA's, version 580 or later$"),
        ("no_cuda_device", NoDevice, r"CUDA_ERROR_NO_DEVICE"),
        ("crash", NoDevice, r"^crashed \(SIGSEGV\)$"),
        ("fail", NoDevice, "^RuntimeError: no such queue$"),
    ],
)
def test_no_device_and_why(behave, function, kind, why):
    behave(function)
    [absent] = cuda.find(None)
    assert isinstance(absent, kind)
    assert re.search(why, absent.why)
    [addressed] = plugins.hashers("cuda:0")
    assert isinstance(addressed, NoDevice)
    assert re.search(why, addressed.why)


def test_without_numba_cuda(monkeypatch):
    monkeypatch.setattr(cuda, "find_spec", lambda _: None)
    for address in ("cuda", "cuda:0", "cuda:H100"):
        [absent] = plugins.hashers(address)
        assert isinstance(absent, NoDriver)
        assert absent.why == "pip install 'hwkit[cuda]'"


def test_addresses(behave):
    behave("cudas")
    for address in ("cuda", "cuda:0", "cuda:h100"):
        [hasher] = plugins.hashers(address)
        assert isinstance(hasher, DeviceHasher)
        assert hasher.spec.name == "cuda:0"
    for address in ("cuda:1", "cuda:9"):  # too old, and none
        [absent] = plugins.hashers(address)
        assert isinstance(absent, NoDevice)
        assert "cuda:2 (Fake RTX 5090)" in absent.why


def test_options(behave):
    behave("cudas")
    [hasher] = plugins.hashers("cuda:0?multiplied=rotations&nonces=4&group=512")
    assert isinstance(hasher, DeviceHasher)
    assert hasher.kernel.child.name == "cuda:0 rotations multiplied, 4 a thread, group 512"
    for bad in ("multiplied=all", "group=1025", "group=0", "nonces=x", "threads=2"):
        with pytest.raises(PlanError):
            list(plugins.hashers(f"cuda:0?{bad}"))


def test_what_may_be_faster_is_tried_and_never_the_default():
    """Shifts and rotations as products have not been measured: only a tuning may choose them."""
    tried = H100.worth_trying()
    assert {variant.multiplied for variant in tried} == set(cuda.MULTIPLIED)
    assert {variant.multiplied for variant in H100.usual} == {"nothing", "additions"}
    assert len(set(map(str, tried))) == len(tried)


def test_a_tuning_is_of_this_kernel_and_compiler(monkeypatch):
    monkeypatch.setattr(cuda, "version", lambda _: "0.30.4")
    before = H100.identity
    monkeypatch.setattr(cuda, "version", lambda _: "0.30.5")
    assert H100.identity != before
    assert re.fullmatch("cuda_kernel.py [0-9a-f]{64}", before["kernel"])
