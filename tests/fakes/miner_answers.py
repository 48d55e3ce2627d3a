"""Answers of miners, one file a device in tests/plain/miners: written by us, with our numbers."""

import json
import re
from pathlib import Path

from hwkit.hashers.asic import captures
from hwkit.hashers.asic.dialects import recognise

MINERS = {
    path.stem: path
    for path in sorted((Path(__file__).parents[1] / "plain" / "miners").glob("*.txt"))
}


def sections(name):
    """Return the sections of a file by what stands behind '=='."""
    parts = re.split(r"^== (\S+)\n", MINERS[name].read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def raws(name):
    return {k: v.rstrip("\n").encode() for k, v in sections(name).items() if k != "expect"}


def answers(name, **changes):
    """Return the answers of a file; `changes` take the place of whole answers."""
    said = raws(name) | {key: json.dumps(value).encode() for key, value in changes.items()}
    return {key: captures.answer(raw, key) for key, raw in said.items()}


def read(name, **changes):
    said = answers(name, **changes)
    return recognise(said).read(said)
