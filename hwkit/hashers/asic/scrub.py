"""A capture that may be shown to anybody: what names a person or a place, replaced in the bytes.

The same thing becomes the same other thing everywhere, malformed answers stay malformed in the same
way, and no number is touched: what is read from it is the same but for those names.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Names of members, and what they hold. First come, first served.
_KINDS: Mapping[str, str] = {
    "secret": r"[\w ./-]*pass(word|wd)?|pwd|pw|psk|salt|[\w-]*token|jwt|secret",
    "mac": r"[\w]*mac[ _-]?(addr(ess)?)?|ethaddr",
    "serial": r"[\w ./-]*serial[ _-]?(no|numbers?)?|([\w ./-]*[_ -])?(pcb)?sn\d*|serinum|dna|uid"
    r"|miner_?id|chip ?data\d*",
    "host": r"(conf_)?hostname|host|ssid",
    "user": r"[\w ]*user(name)?|login|account|worker",
    "url": r"[\w ]*url|pool|current pool",
    "address": r"(\w*_)?ip(addr(ess)?)?|address|[\w ]*(gateway|dns[\w ]*|netmask)|bcastaddr|server",
}
_WORDS = re.compile(r"message|reason|[\w ]*error", re.IGNORECASE)
_NAMES = [(re.compile(names, re.IGNORECASE), kind) for kind, names in _KINDS.items()]
_STRING = r'"((?:[^"\\]|\\.)*)"'
_JSON = re.compile(rf'"([^"\\]{{1,60}})"(\s*:\s*)(?:{_STRING}|\[([^\[\]{{}}]*)\])', re.DOTALL)
_TEXT = re.compile(r"(?<=[,|])([^=,|]{1,60})=((?:[^,|\\]|\\.)*)", re.DOTALL)
_BRACKETS = re.compile(r"\b(DNA|MAC|SSID|IP|SN)\[([^\]]*)\]")
_MAC = re.compile(r"\b[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}\b", re.IGNORECASE)
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_POOL = re.compile(r"\bstratum[\w+]*://[^\s\"'\\,|\]]+", re.IGNORECASE)
_VERSION = re.compile(r"version|firmware|^miner$|description|type", re.IGNORECASE)
_FEE = re.compile(r"dev.?fee", re.IGNORECASE)
_DOMAIN = re.compile(r"(?<![\w.-])(?:[a-z0-9-]+\.)+[a-z]{2,}(?![\w.-])", re.IGNORECASE)
_SHORT = 6  # shorter ones could be anything else, elsewhere


class Scrubber:
    """Replaces over all answers of one capture alike."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[tuple[str, str], str] = {}

    def scrub(self, answers: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the answers, all that names somebody replaced."""
        texts = {name: raw.decode("utf-8", "surrogateescape") for name, raw in answers.items()}
        texts = {name: self._named(said, _kind) for name, said in texts.items()}
        texts = {name: self._everywhere(said) for name, said in texts.items()}
        texts = {name: self._named(said, _words) for name, said in texts.items()}
        return {name: said.encode("utf-8", "surrogateescape") for name, said in texts.items()}

    def _named(self, said: str, kind_of: Callable[[str], str | None]) -> str:
        """Replace what stands under a name that tells what it is."""
        text_form = not said.lstrip().startswith(("{", "["))

        def json(found: re.Match[str]) -> str:
            kind = kind_of(found[1])
            if kind is None:
                return found[0]
            if found[3] is not None:
                return f'"{found[1]}"{found[2]}"{self._other(kind, found[3])}"'
            inside = re.sub(_STRING, lambda one: f'"{self._other(kind, one[1])}"', found[4])
            return f'"{found[1]}"{found[2]}[{inside}]'

        def plain(found: re.Match[str]) -> str:
            kind = kind_of(found[1])
            return f"{found[1]}={self._other(kind, found[2])}" if kind else found[0]

        def bracket(found: re.Match[str]) -> str:
            kind = kind_of(found[1])
            return f"{found[1]}[{self._other(kind, found[2])}]" if kind else found[0]

        said = _TEXT.sub(plain, said) if text_form else _JSON.sub(json, said)
        return _BRACKETS.sub(bracket, said)

    def _everywhere(self, said: str) -> str:
        """Replace what is known by now, and what looks like nothing else, wherever it stands."""
        for (kind, own), other in sorted(self._known.items(), key=lambda each: -len(each[0][1])):
            # A host may be called as its model is.
            if len(own) >= _SHORT and kind not in {"address", "host"}:
                said = said.replace(own, other)
        said = _POOL.sub(lambda found: self._other("url", found[0]), said)
        said = _MAC.sub(lambda found: self._other("mac", found[0]), said)
        return _IP.sub(self._address, said)

    def _address(self, found: re.Match[str]) -> str:
        """Replace an address of a network; a version like 16.8.1.3 is none."""
        before = found.string[: found.start()].rpartition('"')[0].rpartition('"')[2]
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        local = address.is_private and not address.is_unspecified and not address.is_loopback
        documentation = address in _DOCUMENTATION
        if _VERSION.search(before) or documentation or not local:
            return found[0]
        return self._other("address", found[0])

    def _other(self, kind: str, own: str) -> str:
        """Return what stands for it: always the same."""
        if not own or own in self._known.values() or (own.isdigit() and kind in {"url", "user"}):
            return own
        if kind == "words":
            said = _IP.sub(lambda found: self._other("address", found[0]), own)
            return _DOMAIN.sub(lambda found: self._other("url", found[0]), said)
        if (kind, own) not in self._known:
            count = 1 + sum(known == kind for known, _ in self._known)
            other = self._known[kind, own] = _OTHERS[kind](own, count)
            if kind == "url" and (bare := _bare(own)) != own:
                self._known.setdefault((kind, bare), _bare(other))
        return self._known[kind, own]


_DOCUMENTATION = ipaddress.ip_network("192.0.2.0/24")


def _bare(url: str) -> str:
    """Return the host of a URL."""
    return re.sub(r"^.*://|[:/#].*$", "", url)


def _mac(own: str, count: int) -> str:
    digits = f"02000000{count:04x}"
    pairs = [digits[i : i + 2] for i in range(0, 12, 2)]
    return ("" if len(own) == 12 else own[2:3]).join(pairs) if len(own) > 11 else "".join(pairs)


def _url(own: str, count: int) -> str:
    scheme, mark, rest = own.rpartition("://")
    port = re.search(r":(\d{1,5})", rest.removeprefix("["))
    fee = "devfee." if _FEE.search(own) else ""
    return f"{scheme}{mark}{fee}pool{count}.example" + (f":{port[1]}" if port else "")


def _user(own: str, count: int) -> str:
    fee = "devfee" if _FEE.search(own) else "account"
    return f"{fee}{count}" + (".worker" if "." in own else "")


def _host_address(own: str, count: int) -> str:
    if own.startswith("255.") or not own.strip("0.:"):
        return own
    return f"192.0.2.{min(count, 254)}"


_OTHERS: Mapping[str, Callable[[str, int], str]] = {
    "secret": lambda _, __: "x",
    "mac": _mac,
    "serial": lambda own, count: f"SERIAL{count:02d}".ljust(min(len(own), 40), "0"),
    "host": lambda _, count: f"host{count}",
    "user": _user,
    "url": _url,
    "address": _host_address,
}


def _kind(name: str) -> str | None:
    return next((kind for names, kind in _NAMES if names.fullmatch(name.strip())), None)


def _words(name: str) -> str | None:
    return "words" if _WORDS.fullmatch(name.strip()) else None
