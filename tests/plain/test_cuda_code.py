"""The CUDA kernel without a GPU: simulated, compiled, run as PTX, and taken apart as machine code.

Assembled for a real architecture it can be counted and not run: that it is right there, and how
fast, only tests/device/test_cuda.py and a GPU can say.
"""

import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from hwkit.hashers.cuda import MULTIPLIED
from hwkit.hashers.hoist import uniforms
from hwkit.prove.questions import HALF, MINED, Question, answer
from hwkit.sha256d import sha256d
from hwkit.work import NONCES, Target

FAKES = Path(__file__).parent.parent / "fakes"
pytestmark = pytest.mark.needs(module="numba_cuda")

# Which pipe does it: NVIDIA's names (CUDA Binary Utilities, instruction set reference). What a
# hash needs is of these, but for some 20 instructions that load arguments.
ALU = {"IADD", "IADD3", "VIADD", "LOP3", "SHF", "LEA", "ISETP", "PRMT", "SEL", "IABS", "VIMNMX"}


@cache
def kernels():
    """hwkit.hashers.cuda_kernel, not simulated."""
    return import_module("hwkit.hashers.cuda_kernel")


@cache
def ptx(capability, kernel, signature=None):
    """What numba-cuda makes of a kernel for a compute capability, without a driver."""
    cuda = import_module("numba.cuda")
    with pytest.MonkeyPatch.context() as patch:
        # What the functions that a kernel calls are compiled for is asked of the device.
        device = SimpleNamespace(compute_capability=capability)
        patch.setattr("numba.cuda.dispatcher.get_current_device", lambda: device)
        text, _ = cuda.compile_ptx(kernel, signature or kernels().SIGNATURE, cc=capability)
    return text


@cache
def scan(multiplied):
    return kernels().scan(multiplied)


@cache
def assembled(text, capability):
    """Machine code, as numba-cuda assembles it."""
    core = import_module("cuda.core")
    options = core.LinkerOptions(arch="sm_{}{}".format(*capability))
    return core.Linker(core.ObjectCode.from_ptx(text.encode()), options=options).link("cubin").code


def tool(name, *arguments, path, code):
    """What a tool of NVIDIA's says of machine code."""
    find = import_module("cuda.pathfinder").find_nvidia_binary_utility
    path.write_bytes(code)
    command = [find(name), *arguments, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def instructions(tmp_path):
    """Return a function that counts a kernel's instructions, by name."""

    def count(code):
        text = tool("nvdisasm", "-c", path=tmp_path / "cubin", code=code)
        names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", text)
        return Counter(names)

    return count


@pytest.fixture
def stack(tmp_path):
    """Return a function that gives a kernel's bytes of stack frame and of local memory."""

    def of(code):
        text = tool("cuobjdump", "-res-usage", path=tmp_path / "cubin", code=code)
        [(frame, local)] = re.findall(r"STACK:(\d+) .*LOCAL:(\d+)", text)
        return int(frame), int(local)

    return of


# --- machine code ----------------------------------------------------------------------------

BUDGET = [
    ((8, 0), "nothing", 2300),
    ((9, 0), "nothing", 2300),
    ((12, 0), "nothing", 2500),
    ((8, 0), "additions", 1850),
    ((9, 0), "additions", 1850),
    ((9, 0), "shifts", 1700),
    ((9, 0), "rotations", 1580),
]


@pytest.mark.parametrize(("capability", "multiplied", "most"), BUDGET)
def test_the_machine_code_keeps_its_budget(instructions, stack, capability, multiplied, most):
    """No stack, no local memory, no call, and no more of the pipe that holds SHA-256 back."""
    code = assembled(ptx(capability, scan(multiplied)), capability)
    counted = instructions(code)
    alu = sum(counted[name] for name in ALU)
    name = "sm_{}{}".format(*capability)
    print(f"{name}, {multiplied}: {alu} ALU, {counted['IMAD']} IMAD, {counted.total()} in all")
    assert counted["LOP3"] > 600, counted  # it is the hash that was counted, and once
    assert 1500 < alu <= most, counted
    assert alu + counted["IMAD"] + 150 > counted.total(), counted  # nothing else is of account
    assert not {"LDL", "STL"} & set(counted)
    assert stack(code) == (0, 0)


def test_a_stack_would_be_found(instructions, stack):
    cuda = import_module("numba.cuda")
    uint32 = import_module("numba").uint32

    def rolled(found):
        words = cuda.local.array(16, uint32)
        for at in range(64):
            words[at & 15] = found[words[at + 1 & 15] & 255] + at
        found[0] = words[found[1] & 15]

    code = assembled(ptx((9, 0), rolled, "void(uint32[::1])"), (9, 0))
    assert {"LDL", "STL"} <= set(instructions(code))
    assert stack(code)[0] >= 64


# --- PTX -------------------------------------------------------------------------------------


@pytest.fixture
def ptx_of(monkeypatch):
    """Return what makes PTX a program that can be run."""
    monkeypatch.syspath_prepend(FAKES)
    return import_module("ptx").Ptx


def hits_of(program, question, *, capacity, threads=3):
    """Run a program over a question's nonces; return how many hits it counted, and those kept."""
    header, nonces = question.header, question.nonces
    room = 1 + capacity
    words = [*uniforms(header[:76]), *map(int, kernels().FACTORS)]
    words += [question.target.value >> 224, nonces.start, len(nonces)]
    array = [0, 0, room, 4, 0, room, 4]  # as Numba hands one over: the 5th is its address
    memory = [0] * room
    for thread in range(threads):
        program.run(words + array, memory, thread, threads)
    return memory[0], memory[1:]


@pytest.mark.parametrize("capability", [(8, 0), (12, 0)])
@pytest.mark.parametrize("multiplied", MULTIPLIED)
def test_what_is_compiled_is_right(ptx_of, capability, multiplied):
    """To the end of the nonce space, with threads that have unequally many."""
    text = ptx(capability, scan(multiplied))
    question = Question(MINED.header, HALF, range(NONCES - 25, NONCES))
    count, found = hits_of(ptx_of(text), question, capacity=25)
    assert sorted(found[:count]) == [hit.nonce for hit in answer(question)]


def test_hits_without_room_are_counted(ptx_of):
    question = Question(MINED.header, HALF, range(25))
    count, found = hits_of(ptx_of(ptx((8, 0), scan("nothing"))), question, capacity=3)
    nonces = [hit.nonce for hit in answer(question)]
    assert count == len(nonces) > 3
    assert len(set(found) & set(nonces)) == 3


@pytest.mark.parametrize(
    ("right", "wrong"), [("setp.gt.u32", "setp.ge.u32"), ("and.b32", "or.b32")]
)
def test_a_fault_would_be_found(ptx_of, right, wrong):
    """In the comparison, which is to let the target's own top word through, and in the hash."""
    text = ptx((8, 0), scan("nothing"))
    nonces = range(25)
    highest = sorted(sha256d(MINED.header[:76] + struct.pack("<I", n))[28:][::-1] for n in nonces)
    question = Question(MINED.header, Target(int.from_bytes(highest[12]) + 1 << 224), nonces)
    question = replace(question, target=Target(question.target.value - 1))
    for sound, program in (True, text), (False, text.replace(right, wrong, 1)):
        count, found = hits_of(ptx_of(program), question, capacity=25)
        assert (sorted(found[:count]) == [hit.nonce for hit in answer(question)]) is sound


# --- the simulator ---------------------------------------------------------------------------

SIMULATED = """
import json, sys, warnings
warnings.simplefilter("ignore") # numpy on what wraps around
from hwkit.hashers import launches
launches.CAPACITY = int(sys.argv[3])
from types import SimpleNamespace
from numba import cuda
from numba.cuda.simulator.kernelapi import FakeCUDAModule
# What the simulator lacks.
cuda.event.query = lambda event: True
FakeCUDAModule.libdevice = SimpleNamespace(
    umulhi=lambda x, y: int(x) * int(y) >> 32,
    byte_perm=lambda x, y, choice: int.from_bytes(int(x).to_bytes(4, "little")),
)
from hwkit.hashers import cuda_device
cuda_device.answer(["open", 0, sys.argv[2], 3, 16], None)
header, (first, count) = json.loads(sys.argv[1]), json.loads(sys.argv[4])
print(cuda_device.answer(["scan", [header, header], (1 << 31) - 1, first, count], lambda: None)[0])
"""


@pytest.mark.parametrize(
    ("multiplied", "capacity", "nonces"),
    [
        ("nothing", 1024, range(NONCES - 256, NONCES)),
        ("additions", 16, range(60)),  # more hits than there is room for: asked again
        ("shifts", 1024, range(20)),
        ("rotations", 1024, range(20)),
    ],
)
def test_the_childs_side_is_right_on_the_simulator(multiplied, capacity, nonces):
    known = json.dumps(uniforms(MINED.header[:76]))
    arguments = [known, multiplied, str(capacity), json.dumps([nonces.start, len(nonces)])]
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED, *arguments],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [hit.nonce for hit in answer(Question(MINED.header, HALF, nonces))]
    assert [sorted(found) for found in json.loads(done.stdout)] == [expected, expected]
