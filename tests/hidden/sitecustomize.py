"""With this folder on PYTHONPATH a machine without the C extension, without fcntl, without /proc.

Python imports sitecustomize at start, so this also holds in every Python that a test starts.
"""

import functools
import importlib.abc
import os
import sys

HIDDEN = ("hwkit.hashers._native", "fcntl", "/proc")


class _Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname in HIDDEN:
            raise ModuleNotFoundError(f"No module named {fullname!r} (hidden)", name=fullname)


def _refuse(path):
    if isinstance(path, (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (pathlib would ask this very hook)
        if path == "/proc" or path.startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory (hidden)", path)


def _audit(event, args):
    if event in {"open", "os.listdir", "os.scandir", "os.chdir"} and args:
        _refuse(args[0])


def _hide(name):
    """Teach os.<name>, for which Python raises no audit event, that there is no /proc."""
    seen = getattr(os, name)

    @functools.wraps(seen)
    def function(path, *args, **kwargs):
        _refuse(path)
        return seen(path, *args, **kwargs)

    for which in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if seen in which:
            which.add(function)
    setattr(os, name, function)


sys.meta_path.insert(0, _Absent())
for module in HIDDEN:
    sys.modules.pop(module, None)
for name in ("stat", "lstat", "access", "readlink"):
    _hide(name)
sys.addaudithook(_audit)
