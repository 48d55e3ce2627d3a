"""Records: what a run leaves behind, whole, and how anyone can compute its figures again."""

from hwkit.records.record import Record
from hwkit.records.store import Store, default_url

__all__ = ["Record", "Store", "default_url"]
