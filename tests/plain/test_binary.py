"""The compiled extension, taken apart: what it exports, and who uses which instructions.

A kernel compiled for one instruction set must not lend its flags to anything that runs before we
have asked the processor: a portable function with an AVX instruction in it kills old machines.
"""

import bisect
import importlib
import platform
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.needs("objdump", "readelf", "nm", module="hwkit.hashers._native"),
    pytest.mark.skipif(
        platform.machine() not in {"x86_64", "AMD64"}, reason="about x86 instructions"
    ),
]

# Which instructions (as objdump prints them) may be used by whom.
ONLY_IN = {
    "zmm": (r"%zmm|%k[0-7]\b", {"scan_avx512.c", "scan_shani_avx512.c"}),
    "ymm": (r"%ymm", {"scan_avx2.c", "scan_avx512.c", "scan_shani_avx512.c"}),
    "vex": (r"^v(?!er[rw]\b)", {"scan_avx2.c", "scan_avx512.c", "scan_shani_avx512.c"}),
    "sha": (r"^sha(1|256)", {"scan_shani.c", "scan_shani_avx512.c"}),
    "sse4.1": (
        r"^(pm(in|ax)(sb|ud|sd|uw)|pblend|p(ins|ext)r[bdq]|ptest|pmulld|pmov[sz]x|packusdw)",
        {"scan_sse41.c", "scan_shani.c", "scan_shani_avx512.c"},
    ),
    "ssse3": (
        r"^(pshufb|palignr|phadd|phsub|pabs|psign|pmulhrsw|pmaddubsw)",
        {"scan_sse41.c", "scan_shani.c"},
    ),
}


def output(*command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def functions(path):
    """Each function's address with the source file that it came from, in order of addresses."""
    file, found = "", []
    for line in output("readelf", "--symbols", "--wide", path):
        match line.split():
            case [_, _, _, "FILE", *_, "ABS"]:
                file = ""
            case [_, _, _, "FILE", *_, name]:
                file = name
            case [_, address, _, "FUNC", _, _, section, name] if section != "UND":
                # The linker lists what it made local behind the last file, under no file's name.
                kernel = re.match(r"hwk_(?:scan_(?!versions)|versions_)(\w+)", name)
                owner = f"scan_{kernel[1]}.c" if kernel and not file else file or name
                found.append((int(address, 16), owner))
    return sorted(found)


@pytest.fixture(scope="module")
def instructions():
    """The instructions of each source file: {"scan_avx2.c": {"vpaddd %ymm0,%ymm1,%ymm2", ...}}."""
    path = str(importlib.import_module("hwkit.hashers._native").__file__)
    if b"__asan_init" in Path(path).read_bytes():
        pytest.skip("a sanitizer has added code of its own")
    starts, owners = zip(*functions(path), strict=True)
    if "scan_portable.c" not in owners:
        pytest.skip("the extension was stripped of its symbols after it was built")
    used: dict[str, set[str]] = {owner: set() for owner in owners}
    for line in output("objdump", "-d", "--no-show-raw-insn", "--section=.text", path):
        code = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
        if code:
            at = bisect.bisect_right(starts, int(code[1], 16)) - 1
            used[owners[max(at, 0)]].add(code[2])
    return used


def test_exports_its_entry_point_only(native):
    lines = output("nm", "--dynamic", "--defined-only", native.__file__)
    assert [line.split()[-1] for line in lines] == ["PyInit__native"]


@pytest.mark.parametrize("what", ONLY_IN)
def test_instructions_beyond_the_baseline_stay_in_their_kernels(instructions, what):
    pattern, allowed = ONLY_IN[what]
    users = {
        owner: hits[:3]
        for owner, texts in instructions.items()
        if (hits := sorted(text for text in texts if re.search(pattern, text)))
    }
    strays = {owner: hits for owner, hits in users.items() if owner not in allowed}
    assert strays == {}
    assert users != {}, f"no kernel uses {what}: has a flag been lost?"


@pytest.mark.parametrize(
    ("kernel", "pattern"),
    [("avx512", r"vprord.*%zmm"), ("avx2", r"vpaddd.*%ymm"), ("sse41", r"paddd.*%xmm"),
     ("shani", r"sha256rnds2"), ("shani_avx512", r"vprord.*%zmm"),
     ("shani_avx512", r"sha256rnds2")],
)  # fmt: skip
def test_each_kernel_uses_what_it_is_named_for(instructions, kernel, pattern):
    assert any(re.search(pattern, text) for text in instructions[f"scan_{kernel}.c"])
