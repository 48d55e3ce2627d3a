"""Intel's OpenCL runtime for processors from pip, found although it does not say where it is."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

SYSTEM = Path("/etc/OpenCL/vendors")


def offer() -> None:
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
