"""Recorded answers of a miner: a folder with one file a command, read as if it answered now."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwkit.errors import PlanError
from hwkit.hashers.asic.dialects import recognise
from hwkit.hashers.asic.scrub import Scrubber
from hwkit.wire import repair
from hwkit.wire.cgminer import Reply, parse, status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hwkit.hashers.asic.scrub import Left
    from hwkit.hashers.asic.telemetry import Telemetry

LARGEST = 1 << 20  # bytes of an answer
MOST = 200  # files of a capture
ENDINGS = (".json", ".txt")
# What cgminer and its kin answer with which status code (api.c).
CODES = {
    7: "pools",
    9: "devs",
    11: "summary",
    22: "version",
    69: "devdetails",
    70: "stats",
    78: "coin",
}


def read(folder: str | Path) -> Telemetry:
    """Return what a folder of answers says. See hwkit.hashers.asic.read_capture."""
    answers = load(folder)
    return recognise(answers).read(answers)


def load(folder: str | Path) -> dict[str, Reply]:
    """Return the answers of a folder by command; `at` of each is 0, for nobody knows.

    A file is called as its command is; one that is called otherwise is taken for what its status
    code says, where nothing else is. Raises PlanError for a folder without answers, ProtocolError
    for a file that cannot be read as one.
    """
    place = Path(folder)
    try:
        paths = [path for path in sorted(place.iterdir(), key=_order) if path.suffix in ENDINGS]
    except OSError as error:
        raise PlanError(f"capture {place}: it cannot be read: {error.strerror}") from error
    if not paths or len(paths) > MOST:
        raise PlanError(f"capture {place}: it has {len(paths)} files .json or .txt, one a command")
    named: dict[str, Reply] = {}
    for path in paths:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise PlanError(f"capture {path}: it is larger than any answer")
        named.setdefault(_name(path), answer(raw, path.name))
    return _missing(named) | named


def write(folder: Path, answers: Mapping[str, bytes]) -> tuple[list[Path], list[Left]]:
    """Write answers, scrubbed, into a new folder, one file a command.

    Return the files, and what was left in them that may name somebody. Raises PlanError where the
    folder is there already, or cannot be made.
    """
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise PlanError(f"{folder} is there already: give another with -o") from None
    except OSError as error:
        raise PlanError(f"{folder}: it cannot be made: {error.strerror}") from error
    written = []
    scrubber = Scrubber()
    for name, raw in scrubber.scrub(answers).items():
        is_json = raw.lstrip()[:1] in {b"{", b"["}
        path = folder / f"{file_name(name)}{'.json' if is_json else '.txt'}"
        path.write_bytes(raw)
        written.append(path)
    return written, scrubber.left


def file_name(name: str) -> str:
    """Return a name that is one on any system."""
    return re.sub(r"[^\w+.-]+", "-", name).strip("-.") or "answer"


def answer(raw: bytes, peer: str) -> Reply:
    """Return the answer in bytes of a file or of HTTP: any JSON, or the text form of cgminer.

    Raises ProtocolError.
    """
    begin = raw[:64].lstrip()
    if begin[:1] in (b"{", b"["):
        document, repairs = repair.loads(raw, peer)
        return Reply(raw, document, repairs, 0, None)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        said = parse(raw, peer)
        return Reply(raw, said.document, said.repairs, 0, None)
    return Reply(raw, document, (), 0, None)


def _missing(named: dict[str, Reply]) -> dict[str, Reply]:
    """Return answers to commands that no file is called by: of joined ones, and by their codes."""
    found: dict[str, Reply] = {}
    for name, reply in named.items():
        document: Any = reply.document
        if "+" in name and isinstance(document, dict):  # a joined command wraps each in a list
            for command, inner in document.items():
                if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                    part = Reply(reply.raw, inner[0], reply.repairs, 0, None)
                    found.setdefault(command, part)
        elif isinstance(document, dict) and (said := status(document)) and not said.failed:
            command = CODES.get(said.code or 0, "")
            if command:
                found.setdefault(command, reply)
    return found


def _order(path: Path) -> tuple[int, str]:
    """Put stats.json before stats-parsed.json."""
    return len(path.stem), path.stem


def _name(path: Path) -> str:
    stem = path.stem.partition("~")[0].replace("-", "_").lower()
    for prefix in ("rpc_", "web_", "text_"):
        stem = stem.removeprefix(prefix)
    return stem
