"""What OpenCL runtimes need of their surroundings before pyopencl loads them."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

SYSTEM = Path("/etc/OpenCL/vendors")


def prepare() -> None:
    """Set the environment so that each runtime that is installed can be used."""
    _offer_intels()
    _give_pocl_a_cache()


def _give_pocl_a_cache() -> None:
    """Where PoCL cannot write its cache it has no device, and does not say why: as in a container.

    Then it gets a folder of ours among the temporary ones.
    """
    if "POCL_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        (home / "pocl").mkdir(parents=True, exist_ok=True)
        writable = os.access(home / "pocl", os.W_OK)
    except OSError:
        writable = False
    if not writable and hasattr(os, "getuid"):
        folder = Path(tempfile.gettempdir()) / f"hwkit-pocl-{os.getuid()}"
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.lstat().st_uid == os.getuid():  # nobody else's, who might plant code there
                os.environ["POCL_CACHE_DIR"] = str(folder)


def _offer_intels() -> None:
    """Have the OpenCL loader look at it beside the system's; before pyopencl is imported.

    Its own .icd file names a folder of its maker's build machine. The loader takes one folder of
    such files (OCL_ICD_VENDORS), so we give it one with the system's and a right one. Nothing is
    done where it is not installed, where the user has set that folder, or where none can be made.
    """
    runtime = Path(sys.prefix) / "lib" / "libintelocl.so"
    if "OCL_ICD_VENDORS" in os.environ or not runtime.exists():
        return
    folder = user_cache_path("hwkit") / "opencl-vendors"
    with suppress(OSError):
        wanted = {"hwkit-intel.icd": f"{runtime}\n"}
        if SYSTEM.is_dir():
            wanted |= {file.name: file.read_text() for file in SYSTEM.glob("*.icd")}
        folder.mkdir(parents=True, exist_ok=True)
        for stale in {file.name for file in folder.iterdir()} - wanted.keys():
            (folder / stale).unlink(missing_ok=True)
        for name, text in wanted.items():
            file = folder / name
            if not file.exists() or file.read_text() != text:
                new = folder / f".{name}.{os.getpid()}"
                new.write_text(text)
                new.replace(file)  # whole: another process may be reading
        os.environ["OCL_ICD_VENDORS"] = str(folder)
