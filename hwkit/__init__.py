"""What SHA256d hashing hardware really delivers, proven and measured."""

from hwkit.errors import HwkitError, PlanError, Unavailable, WrongHash
from hwkit.units import Figure
from hwkit.work import Header, Job, Share, Target

__version__ = "0.1.0"
__all__ = [
    "Figure",
    "Header",
    "HwkitError",
    "Job",
    "PlanError",
    "Share",
    "Target",
    "Unavailable",
    "WrongHash",
]
