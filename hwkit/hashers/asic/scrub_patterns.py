"""What looks like nothing else, wherever it stands: addresses of networks, coins and people."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from hwkit.hashers.asic import scrub_kinds as kinds

if TYPE_CHECKING:
    from collections.abc import Callable

_DOCUMENTATION = ipaddress.ip_network("192.0.2.0/24")  # RFC 5737: of nobody
_FILES = {"conf", "json", "log", "txt", "bin", "img", "bit", "rel", "sh", "py", "so", "local0"}
_HOST = r"(?:[a-z0-9_-]{1,63}\.){1,8}[a-z]{2,24}"
WHOLE_DOMAIN = re.compile(rf"{_HOST}\.?(?::\d{{1,5}})?", re.IGNORECASE)
_DOMAIN = re.compile(rf"(?<![\w.-]){_HOST}(?![\w.-])", re.IGNORECASE)


def in_words(said: str, other: Callable[[str], str]) -> str:
    """Return a sentence, each host that it names replaced."""
    return _DOMAIN.sub(lambda found: other(found[0]) if _is_domain(found[0]) else found[0], said)


def _is_domain(text: str) -> bool:
    return text.rpartition(".")[2].lower() not in _FILES


def _always(_: str, __: str) -> bool:
    return True


def _is_v4(name: str, text: str) -> bool:
    """Is it an address of somebody's? A version like 16.8.1.3 is none, nor is a mask."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    nobody = address.is_unspecified or address.is_loopback or address in _DOCUMENTATION
    if nobody or text.startswith("255."):
        return False
    return not kinds.is_plain(name)


def _is_v6(_: str, text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


def _is_base58(_: str, text: str) -> bool:
    """Is it mixed as chance mixes it? A hexadecimal digest has one case."""
    return text != text.lower() and text != text.upper() and any(map(str.isdigit, text[1:]))


def _is_pool(_: str, text: str) -> bool:
    return "pool" not in text or not re.fullmatch(r".*://(devfee\.)?pool\d+\.example(:\d+)?", text)


# In this order: a URL holds a name and an address, an e-mail address a host.
PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[str, str], bool]], ...] = (
    ("url", re.compile(r"\bstratum[\w+]*://[^\s\"'\\,|\]]+", re.IGNORECASE), _is_pool),
    (
        "url",
        re.compile(
            r"(?<![\w+.-])[a-z][a-z\d+.-]{1,20}://[^\s\"'/@]*@[^\s\"'\\,|\]]+", re.IGNORECASE
        ),
        _always,
    ),
    ("user", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _always),
    (
        "mac",
        re.compile(
            r"(?<![\w:-])[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}(?![\w:-])", re.IGNORECASE
        ),
        _always,
    ),
    ("user", re.compile(r"\b(?:bc|tb|bcrt|ltc)1[a-z0-9]{11,87}\b", re.IGNORECASE), _always),
    ("user", re.compile(r"\b0x[0-9a-f]{40}\b", re.IGNORECASE), _always),
    ("user", re.compile(r"\b[13LDXtqm][1-9A-HJ-NP-Za-km-z]{25,34}\b"), _is_base58),
    (
        "address",
        re.compile(r"(?i)(?<![\w:.])[0-9a-f:]{2,39}(?:(?:\d{1,3}\.){3}\d{1,3})?(?:%\w+)?(?![\w:])"),
        _is_v6,
    ),
    ("address", re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)"), _is_v4),
)
