"""The kernels for aarch64, cross-compiled by the build's own flags and proven under an emulator."""

import os
import platform
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hwkit.hashers.native import check_question
from hwkit.protocols import Hit
from hwkit.prove import agree
from hwkit.prove.questions import MINED, QUARTER, answer
from hwkit.testing import KernelContract
from hwkit.work import MAX_TARGET, Target

ROOT = Path(__file__).resolve().parents[2]
AT_HOME = platform.machine() in {"aarch64", "arm64"}  # then without emulator
EMULATOR = "qemu-aarch64-static" if shutil.which("qemu-aarch64-static") else "qemu-aarch64"
COMPILERS = [
    pytest.param(name, marks=pytest.mark.needs(name), id=name)
    for name in ("aarch64-linux-gnu-gcc", "clang")
]
NAMES = ("portable", "neon", "armv8-sha2")
ASIMD, SHA2 = 1 << 1, 1 << 6  # of AT_HWCAP, in Linux's arch/arm64/include/uapi/asm/hwcap.h

pytestmark = [
    pytest.mark.skipif(not (ROOT / "csrc").exists(), reason="no tree around the tests"),
    pytest.mark.needs("aarch64-linux-gnu-gcc", module="cmake"),
    pytest.mark.needs(module="hwkit.hashers._native"),  # where C is hidden, it is not built either
    pytest.mark.needs(*([] if AT_HOME else [EMULATOR])),
]


class Emulated:
    """A kernel that answers through tests/c/driver.c, wherever that runs."""

    def __init__(self, driver, place, line):
        self._driver = driver
        self._place = place
        name, lanes, capacity, supported = line.split()
        self.name = f"emulated:{name}"
        self.lanes = int(lanes)
        self.capacity = int(capacity)
        self.supported = supported == "1"

    def scan(self, header, target, nonces, versions=()):
        check_question(header, nonces, versions)
        found = [
            (nonce, place, version)
            for place, version in enumerate(versions or [int.from_bytes(header[:4], "little")])
            for nonce in self._scan(version.to_bytes(4, "little") + header[4:], target, nonces)
        ]
        return [Hit(nonce, version) for nonce, _, version in sorted(found)]

    def _scan(self, header, target, nonces):
        first, hits = nonces.start, []
        while first < nonces.stop:
            count = nonces.stop - first
            done, *some = self._driver.ask(
                f"{self._place} {header.hex()} {target.to_bytes().hex()} {first} {count}"
            )
            assert 0 <= done <= count
            first += done
            hits += some
        return hits


class Driver:
    """The running driver: one line to it, one line back."""

    def __init__(self, build, **env):
        command = [*([] if AT_HOME else [EMULATOR]), build / "_native"]
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **env},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout
        lines = iter(self._answers.readline, "\n")
        self.kernels = [Emulated(self, place, line) for place, line in enumerate(lines)]

    def ask(self, question):
        with self._lock:
            self._questions.write(f"{question}\n")
            return [int(number) for number in self._answers.readline().split()]

    def close(self):
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="module", params=COMPILERS)
def build(request, tmp_path_factory):
    """The folder of a build of csrc/ by one compiler, linked to the driver."""
    folder = tmp_path_factory.mktemp(request.param)
    # A sanitizer that is loaded before this Python is for no compiler.
    env = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    settings = [
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_C_COMPILER={request.param}",
        "-DCMAKE_C_COMPILER_TARGET=aarch64-linux-gnu",  # for clang; gcc is named for its own
        f"-DHWKIT_DRIVER={ROOT / 'tests/c/driver.c'}",
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--wrap=getauxval",
        "-DHWKIT_WERROR=ON",
    ]
    for step in (["-S", ROOT / "csrc", "-B", folder, *settings], ["--build", folder]):
        done = subprocess.run(
            [sys.executable, "-m", "cmake", *step],
            check=False, capture_output=True, text=True, env=env,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def kernels(build):
    driver = Driver(build)
    yield {kernel.name: kernel for kernel in driver.kernels}
    driver.close()


def offered(kernels):
    return [kernel for kernel in kernels.values() if kernel.supported]


class TestKernels(KernelContract):
    @pytest.fixture(params=NAMES)
    def kernel(self, request, kernels):
        kernel = kernels[f"emulated:{request.param}"]
        if AT_HOME and not kernel.supported:
            pytest.skip("this processor does not run it")
        return kernel


def test_all_of_them_are_offered_and_no_other(kernels):
    assert list(kernels) == [f"emulated:{name}" for name in NAMES]
    assert AT_HOME or all(kernel.supported for kernel in kernels.values())


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (0, NAMES[:1]),
        (~(ASIMD | SHA2), NAMES[:1]),
        (SHA2, NAMES[:1]),
        (ASIMD, NAMES[:2]),
        (ASIMD | SHA2, NAMES),
    ],
)
def test_a_kernel_is_offered_where_the_processor_has_its_instructions(build, features, names):
    driver = Driver(build, HWCAP=f"{features % (1 << 64):#x}")
    driver.close()
    supported = [kernel.name for kernel in driver.kernels if kernel.supported]
    assert supported == [f"emulated:{name}" for name in names]


def test_every_length_of_two_steps_from_every_offset_in_them(kernels):
    for kernel in offered(kernels):
        for first in range(2 * kernel.lanes):
            for length in range(2 * kernel.lanes + 2):
                question = replace(MINED, target=QUARTER, nonces=range(first, first + length))
                found = kernel.scan(question.header, question.target, question.nonces)
                assert tuple(found) == answer(question), (kernel.name, question)


def test_they_find_the_same_hits_in_a_long_stretch(kernels):
    question = replace(MINED, target=Target(MAX_TARGET >> 12), nonces=MINED.nonces[: 1 << 18])
    portable, *others = offered(kernels)
    assert [check.fault for check in agree([portable, *others], question)] == [None] * len(others)
    hits = portable.scan(question.header, question.target, question.nonces)
    assert len(hits) == pytest.approx(64, abs=40)  # five standard deviations


@pytest.mark.needs("aarch64-linux-gnu-objdump")
@pytest.mark.parametrize(("instruction", "kernel"), [("sha256h2", "armv8_sha2"), ("sri", "neon")])
def test_instructions_stay_in_their_kernels(build, instruction, kernel):
    dump = ["aarch64-linux-gnu-objdump", "--disassemble"]
    users = {
        path.name
        for path in build.rglob("*.c.o")
        if f"\t{instruction}\t" in subprocess.check_output([*dump, path], text=True)
    }
    assert users == {f"scan_{kernel}.c.o"}
