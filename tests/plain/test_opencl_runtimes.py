"""Where the OpenCL loader is sent to look."""

import os
import sys
import tempfile

import pytest

from hwkit.hashers import opencl_runtimes


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return the prefix with Intel's runtime in it, the system's folder and ours."""
    prefix, system = tmp_path / "prefix", tmp_path / "system"
    (prefix / "lib").mkdir(parents=True)
    system.mkdir()
    (system / "amd.icd").write_text("libamdocl64.so\n")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(opencl_runtimes, "SYSTEM", system)
    monkeypatch.setattr(opencl_runtimes, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setenv("OCL_ICD_VENDORS", "")
    monkeypatch.delenv("OCL_ICD_VENDORS")
    return prefix, system, tmp_path / "hwkit" / "opencl-vendors"


def test_intels_is_offered_beside_the_systems(folders):
    prefix, system, ours = folders
    (prefix / "lib" / "libintelocl.so").touch()
    opencl_runtimes._offer_intels()
    assert os.environ.pop("OCL_ICD_VENDORS") == str(ours)
    offered = {file.name: file.read_text().strip() for file in ours.iterdir()}
    intel = {"hwkit-intel.icd": str(prefix / "lib" / "libintelocl.so")}
    assert offered == intel | {"amd.icd": "libamdocl64.so"}
    (system / "amd.icd").unlink()
    opencl_runtimes._offer_intels()
    assert [file.name for file in ours.iterdir()] == ["hwkit-intel.icd"]


def test_without_it_nothing_is_changed(folders):
    opencl_runtimes._offer_intels()
    assert "OCL_ICD_VENDORS" not in os.environ
    assert not folders[2].exists()


def test_what_the_user_has_set_stays(folders, monkeypatch):
    (folders[0] / "lib" / "libintelocl.so").touch()
    monkeypatch.setenv("OCL_ICD_VENDORS", "/elsewhere")
    opencl_runtimes._offer_intels()
    assert os.environ["OCL_ICD_VENDORS"] == "/elsewhere"


def test_where_no_folder_can_be_made_nothing_is_changed(folders):
    (folders[0] / "lib" / "libintelocl.so").touch()
    folders[2].parent.write_text("a file in the way")
    opencl_runtimes._offer_intels()
    assert "OCL_ICD_VENDORS" not in os.environ


def test_where_pocl_cannot_write_its_cache_it_gets_another(tmp_path, monkeypatch):
    """Without one it has no device."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("POCL_CACHE_DIR", "")
    monkeypatch.delenv("POCL_CACHE_DIR")
    opencl_runtimes._give_pocl_a_cache()
    folder = tmp_path / f"hwkit-pocl-{os.getuid()}"
    assert os.environ.pop("POCL_CACHE_DIR") == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fine"))
    opencl_runtimes._give_pocl_a_cache()
    assert "POCL_CACHE_DIR" not in os.environ
