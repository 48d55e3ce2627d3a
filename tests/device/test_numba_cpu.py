"""cpu:numba beyond the contract that test_cpu.py holds it to: what Numba may do to it."""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hwkit import plugins
from hwkit.errors import NoDriver
from hwkit.harness import audit
from hwkit.hashers import cpu, native
from hwkit.hashers.kernel import KernelHasher
from hwkit.prove import prove
from hwkit.prove.questions import MINED, answer

pytestmark = pytest.mark.needs(module="numba")


@pytest.fixture
def module():
    return importlib.import_module("hwkit.hashers.numba_cpu")


@pytest.fixture
def kernel(module):
    return module.NumbaKernel()


def test_it_is_right_across_the_seams_of_its_calls(kernel):
    """Pieces of no whole number of steps; the last has a nonce."""
    kernel.piece = 1000
    assert prove(kernel).fault is None
    question = replace(MINED, nonces=MINED.nonces[: 100 * 1000 + 1])
    assert tuple(kernel.scan(MINED.header, MINED.target, question.nonces)) == answer(question)


def loses_a_lane(flag, words, top, first, flags):
    flag(words, top, first, flags)
    flags[7::32] = False


def leaves_out_the_last_step(flag, words, top, first, flags):
    flags[:] = False
    flag(words, top, first, flags[:-32])


def is_off_by_one_nonce(flag, words, top, first, flags):
    flag(words, top, first ^ first.dtype.type(1), flags)


def compares_with_less(flag, words, top, first, flags):
    flag(words, top - top.dtype.type(top > 0), first, flags)


def knows_one_version(flag, words, top, first, flags):
    flag(words * (words != words[0]), top, first, flags)


@pytest.mark.parametrize(
    "fault",
    [
        loses_a_lane,
        leaves_out_the_last_step,
        is_off_by_one_nonce,
        compares_with_less,
        knows_one_version,
    ],
)
def test_a_fault_beside_the_loop_is_found(module, kernel, monkeypatch, fault):
    flag = module._compiled()
    monkeypatch.setattr(module, "_compiled", lambda: partial(fault, flag))
    assert not prove(kernel).passed


def test_a_fault_in_the_loop_is_found(module, tmp_path):
    """Compiled with a comparison that leaves out the top word's own value."""
    text = Path(module.__file__).read_text(encoding="utf-8")
    assert text.count("<= top") == 1
    path = tmp_path / "numba_broken.py"
    path.write_text(text.replace("<= top", "< top"), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("numba_broken", path)
    assert spec
    assert spec.loader
    broken = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(broken)
    fault = prove(broken.NumbaKernel()).fault
    assert fault
    assert "missed" in str(fault.fault)


@pytest.fixture(scope="module")
def uncached():
    """What a user without a home gets, of an installation that is another's."""
    module = importlib.import_module("hwkit.hashers.numba_cpu")
    caching = importlib.import_module("numba.core.caching")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caching.CacheImpl, "_locator_classes", [])
        return module._compiled.__wrapped__()


def test_it_compiles_where_nothing_can_be_cached(module, kernel, monkeypatch, uncached):
    monkeypatch.setattr(module, "_compiled", lambda: uncached)
    question = replace(MINED, nonces=MINED.nonces[: 1 << 16])
    assert tuple(kernel.scan(MINED.header, MINED.target, question.nonces)) == answer(question)


def test_the_machine_code_is_vectors_and_does_nothing_twice(module, uncached):
    """One scalar operation in the loop would be nine times slower, and just as right."""
    if module.TOGETHER != 32:
        pytest.skip("counted with AVX-512")
    [text] = uncached.inspect_asm().values()
    rotates, additions = (len(re.findall(rf"\t{name}\s", text)) for name in ("vprold", "vpaddd"))
    # csrc/ needs 1,026 and 1,045 for 16 nonces (docs/kernels.md), and here are twice as many.
    assert 2 * 1000 < rotates <= 2 * 1026
    assert 2 * 1000 < additions <= 2 * 1045


def test_nothing_else_imports_it(native):
    """Neither help nor another kernel's address nor, beside C's vector code, cpu:auto."""
    code = (
        "import sys, hwkit.cli, hwkit.harness.session; from hwkit import plugins\n"
        "from hwkit.hashers import cpu\n"
        "list(plugins.hashers('cpu:portable')); cpu.contenders()\n"
        "assert any(kernel.lanes > 1 for kernel in cpu.contenders())\n"
        "assert not {'numba', 'numpy', 'llvmlite'} & set(sys.modules)\n"
        "list(plugins.hashers('cpu:numba'))\n"
        "assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_c_it_is_what_auto_picks_and_the_reference_audits_it(monkeypatch):
    def absent():
        raise NoDriver("cpu", "not built")

    monkeypatch.setattr(native, "kernels", absent)
    for cached in (cpu._fastest, audit._proven):
        cached.cache_clear()
    try:
        [auto] = plugins.hashers("cpu:auto")
        auditor = audit.auditor_for({"cpu:numba"})
    finally:
        for cached in (cpu._fastest, audit._proven):
            cached.cache_clear()
    assert isinstance(auto, KernelHasher)
    assert auto.spec.name == "cpu:numba"
    assert auto.spec.details["measured_h_s"].keys() == {"cpu:reference", "cpu:numba"}
    assert auditor
    assert auditor.kernel.name == "cpu:reference"


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("numba", "ModuleNotFoundError('no numba')", "pip install 'hwkit[numba]'"),
        ("numba", "ImportError('Numba needs NumPy 2.4')", "does not load: Numba needs NumPy 2.4"),
    ],
)
def test_where_it_cannot_be_imported_the_reason_is_told(tmp_path, name, error, why):
    (tmp_path / f"{name}.py").write_text(f"raise {error}", encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("hwkit"), "devices"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    [line] = [line for line in done.stdout.splitlines() if "cpu:numba" in line]
    assert why in line
