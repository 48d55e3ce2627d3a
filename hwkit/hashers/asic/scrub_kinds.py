"""What the names in miners' answers say of what stands under them, and what is put in its place."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRET = "secret"  # noqa: S105 - a kind of thing
NAMED_BY_NUMBERS = {"user", "serial", "mac"}
# By letters and digits alone, in lower case: worker_name, workerName and "Worker Name" are one.
# First come, first served.
_KINDS: Mapping[str, str] = {
    SECRET: r".*pass(w(or)?d|phrase|code)?\d*|.*pass(word|phrase)s|.*(pwd|psk)|pw\d*|salt|.*token"
    r"|jwt|.*secret|.*credentials?|(.*(api|wifi|wpa|wep|wlan|ssh|private|auth|access|license|session))?key"
    r"|.*authorization|auth|.*cookie|session(id)?|.*(cert|certificate|privkey)",
    "mac": r".*mac(addr(ess)?)?(es|s)?\d*|.*(eth|hw)addr(ess)?|bssid",
    "serial": r".*serial(no|num(ber)?)?s?\d*|.*sns?\d*|serinum|dna|(.*[^l])?u?uid|guid|hwid"
    r"|.*(miner|device|machine)id|chipdata\d*",
    "host": r".*hostname|host|.*ssid|(device|miner|rig|wifi)name|nickname|alias|location|place|site"
    r"|rack|.*farm(name)?|label|.*timezone|tz",
    "user": r".*user(name|id)?s?\d*|usr|.*login|.*account(name|id)?s?|.*worker(name|id)?s?\d*"
    r"|.*wallet(addr(ess)?)?|.*(btc|bch|bitcoin|payout|coinbase)addr(ess)?|.*e?mail|owner|customer",
    "url": r".*url\d*|pools?|currentpool|.*proxy|.*endpoint|.*uri|domain(name)?",
    "address": r"(.*(my|ext|external|pub|public|local|lan|wan|cur|conf|static|net|remote|miner|peer"
    r"|_))?ip(v?[46])?(addr(ess)?)?(es|s)?\d*|address|.*(gateway|dns.*|netmask)|gw|bcastaddr"
    r"|.*server\d*|(.*[^y])?ntp\d*|.*syslog",
}
_NAMES = [(re.compile(names), kind) for kind, names in _KINDS.items()]
_WORDS = re.compile(r".*(message|reason|error|err)|msg|log|text|detail|hint")
# Under these a dialect looks for what it is and how it is, and nobody's name was ever seen.
_PLAIN = re.compile(
    r".*(version|vers?|firmware|fw|fwtype|model(name)?|type|variant|algorithm|description|desc"
    r"|compiletime|kernel|platform|status|state|statu|mode|strategy|miner|code|driver|command|cmd)"
    r"|luxminer|cgminer|bmminer|boser|sw|api|prod|core|cpu|soc|brand|chip(name|id)|board(name|id)?"
    r"|full|current|major|idf|githash|chainacs\d+|asic|hashmethod|ctrlboard|id|connector|netdevice"
    r"|software|hardware|cpuhardware|mmid\d+(summary)?|hbinfo|devicecode|currentblockhash|startupstring"
)
NOBODY = re.compile(
    r"true|false|yes|no|on|off|none|\(?null\)?|unknown|n/?a|(en|dis)abled?|dhcp|static|auto|default"
    r"|\d{0,3}|[*-]*|<\w+>",
    re.IGNORECASE,
)
# A number with its unit, several of them, a time, a version; words that answers are made of.
HARMLESS = re.compile(
    r"|[-+]?[\d.][\d.,:/ x%_-]*[°%]?[a-z/%]{0,5}[\d²]?|0x[\da-f.]+"
    r"|\d{4}-\d\d-\d\d[t ][\d:.]+(z|[+-][\d:]+)?|[a-z]{3},? .{0,12}\d\d:\d\d:\d\d.{0,20}"
    r"|v?\d+\.[\w.+-]*|[\[\](){}o. x-]*"
    r"|alive|dead|running|stopped|idle|mining|normal|active|inactive|ok!?|success|succeeded|failed"
    r"|failover|high|low|turbo|sleep|balanced?|custom|connected!?|summary|release|stable|current"
    r"|unreachable|disabled?|enabled?|sha256d?|privileged access ok|\d+ \w+\(s\)|invalid command"
    r"|fan\d|pool\d|(avalon|bitmain|cgminer|bfgminer|bmminer|bosminer|btminer)[\w .-]*|a?sc[ -]?\d*"
    r"|ant(miner)? ?[a-z]\d+[\w +.-]*|true|false|yes|no|on|off|none|null|unknown|n/?a|auto|default",
    re.IGNORECASE,
)
_FEE = re.compile(r"dev.?fee", re.IGNORECASE)


@lru_cache(4096)
def kind(name: str) -> str | None:
    """Return what stands under a name; None: the name does not say."""
    squeezed = _squeezed(name)
    return next((kind for names, kind in _NAMES if names.fullmatch(squeezed)), None)


@lru_cache(4096)
def is_plain(name: str) -> bool:
    """Is what stands under it a make, a version, a state: of the miner, never of its owner?"""
    return _PLAIN.fullmatch(_squeezed(name)) is not None


def is_all_within(name: str, kind: str | None) -> bool:
    """Does an object under such a name hold nothing else? A session may be one of mining."""
    return kind in {SECRET, *NAMED_BY_NUMBERS} and _squeezed(name) != "session"


def is_words(name: str) -> bool:
    """Are sentences under it, in which hosts may be named?"""
    return _WORDS.fullmatch(_squeezed(name)) is not None


def other(kind: str, own: str, count: int) -> str:
    """Return what stands for the count-th of its kind."""
    return _OTHERS[kind](own, count)


def bare(url: str) -> str:
    """Return the host of a URL."""
    return re.sub(r"^.*://(?:[^/@]*@)?|[:/#].*$", "", url)


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name[-80:]).lower()


def _mac(own: str, count: int) -> str:
    digits = f"02000000{count & 0xFFFF:04x}"
    pairs = [digits[i : i + 2] for i in range(0, 12, 2)]
    return ("" if len(own) == 12 else own[2:3]).join(pairs) if len(own) > 11 else "".join(pairs)


def _url(own: str, count: int) -> str:
    scheme, mark, rest = own.rpartition("://")
    rest = rest.rpartition("@")[2]
    port = re.search(r":(\d{1,5})(?!\d)", rest.removeprefix("["))
    fee = "devfee." if _FEE.search(own) else ""
    known = scheme if re.fullmatch(r"[a-z][a-z\d+.-]{0,20}", scheme, re.IGNORECASE) else "x"
    named = f"{fee}pool{count}.example" + (f":{port[1]}" if port else "")
    return f"{known}{mark}{named}" if mark else named


def _user(own: str, count: int) -> str:
    fee = "devfee" if _FEE.search(own) else "account"
    return f"{fee}{count}" + (".worker" if "." in own else "")


def _address(own: str, count: int) -> str:
    if own.startswith("255.") or not own.strip("0.:"):
        return own
    return f"2001:db8::{count:x}" if ":" in own else f"192.0.2.{min(count, 254)}"


_OTHERS: Mapping[str, Callable[[str, int], str]] = {
    SECRET: lambda _, __: "x",
    "mac": _mac,
    "serial": lambda own, count: f"SERIAL{count:02d}".ljust(min(len(own), 40), "0"),
    "host": lambda _, count: f"host{count}",
    "user": _user,
    "url": _url,
    "address": _address,
}
