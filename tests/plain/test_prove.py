"""The proof must be able to fail: each check, for each fault that a kernel may plausibly have."""

import itertools
from dataclasses import replace

import pytest

from hwkit.errors import DeviceLost, NoDevice, PlanError
from hwkit.hashers import native
from hwkit.hashers.native import check_question
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Hit
from hwkit.prove import Question, agree, prove, questions
from hwkit.prove.questions import ALL, ANSWERED, CHECKS, MINED, QUARTER, _hashes, answer, digest
from hwkit.vectors import mainnet_headers
from hwkit.work import MAX_TARGET, NONCES, Target

LOW = (1 << 224) - 1


class Sound:
    """A right kernel, with places at which the kernels below go wrong."""

    name = "test:sound"
    lanes = 8
    capacity = 64

    def scan(self, header, target, nonces, versions=()):
        self.check(header, nonces, versions)
        return self.order(self.found(header, target, nonces, versions), versions)

    def check(self, header, nonces, versions):
        check_question(header, nonces, versions)

    def found(self, header, target, nonces, versions):
        """Hits by nonce, then in the order of versions."""
        own = (int.from_bytes(header[:4], "little"),)
        columns = [
            self.hashes(version.to_bytes(4, "little") + header[4:76], nonces)
            for version in versions or own
        ]
        hits = []
        for nonce, *row in zip(nonces, *columns, strict=True):
            for version, value in zip(versions or own, row, strict=True):
                if self.meets(value, target.value):
                    hits.append(Hit(nonce, version))
        return [hit for number, hit in enumerate(hits) if self.keeps(hits, number, nonces)]

    def hashes(self, prefix, nonces):
        return _hashes(prefix, nonces)  # kept by the proof: else each kernel here takes a second

    def meets(self, value, limit):
        return value <= limit

    def keeps(self, hits, number, nonces):
        return True

    def order(self, hits, versions):
        return hits

    def step(self, nonce, nonces):
        return (nonce - nonces.start) // self.lanes


@pytest.fixture(autouse=True)
def shorter_calls(monkeypatch):
    """A million hashes are seconds for a kernel in Python."""
    monkeypatch.setattr(questions, "LONGEST", 1 << 15)


def test_a_sound_kernel_passes():
    proof = prove(Sound())
    assert proof.passed
    assert proof.fault is None
    assert [check.name for check in proof.checks] == [*CHECKS, "refusals"]
    assert all(check.questions >= 2 for check in proof.checks)
    assert sum(check.questions for check in proof.checks) > 1800
    assert proof.to_json()["verdict"] == "PASS"


# --- kernels with one fault each -------------------------------------------------------------


class LooksAtZerosOnly(Sound):
    """Above difficulty 1 any hash with 32 zero bits is taken for a hit."""

    def meets(self, value, limit):
        return value <= max(limit, LOW)


class FindsNothingHard(Sound):
    """Takes a target whose top word is 0 for no target."""

    def meets(self, value, limit):
        return limit > LOW and value <= limit


class StrictlyLess(Sound):
    def meets(self, value, limit):
        return value < limit


class TopWordOnly(Sound):
    def meets(self, value, limit):
        return value >> 224 <= limit >> 224


class TopTwoWordsOnly(Sound):
    def meets(self, value, limit):
        return value >> 192 <= limit >> 192


class TopWordStrictly(Sound):
    """Throws a candidate away whose top word equals the target's."""

    def meets(self, value, limit):
        return value >> 224 < limit >> 224 or limit <= LOW and value <= limit  # noqa: RUF021


def signed(value, bits):
    return value - (1 << bits) if value >> bits - 1 else value


class SignedTopWord(Sound):
    def meets(self, value, limit):
        top = signed(value >> 224, 32), signed(limit >> 224, 32)
        return top[0] < top[1] or top[0] == top[1] and value <= limit  # noqa: RUF021


class SignedLowerWord(Sound):
    """Where the top words are equal, compares the next as signed."""

    def meets(self, value, limit):
        if value >> 224 != limit >> 224:
            return value < limit
        second = [signed(x >> 192 & 0xFFFFFFFF, 32) for x in (value, limit)]
        return second[0] < second[1] or second[0] == second[1] and value <= limit  # noqa: RUF021


class ZeroMeansNoTarget(Sound):
    def meets(self, value, limit):
        return value <= (limit or MAX_TARGET)


class LimitPlusOneWraps(Sound):
    """hash < target + 1, in 256 bits."""

    def meets(self, value, limit):
        return value < (limit + 1) % (1 << 256)


class BigEndianTarget(Sound):
    def meets(self, value, limit):
        return value <= int.from_bytes(limit.to_bytes(32, "little"), "big")


class FindsNothing(Sound):
    def meets(self, value, limit):
        return False


class FindsEverything(Sound):
    def meets(self, value, limit):
        return True


class LaneFiveIsBlind(Sound):
    def keeps(self, hits, number, nonces):
        return (hits[number].nonce - nonces.start) % self.lanes != 5


class SecondOfTwoIsLost(Sound):
    """Exactly two hits in a step: keeps the first."""

    def keeps(self, hits, number, nonces):
        here = [hit for hit in hits if self.same_step(hit, hits[number], nonces)]
        return len(here) != 2 or here[0] == hits[number]

    def same_step(self, one, other, nonces):
        return self.step(one.nonce, nonces) == self.step(other.nonce, nonces)


class OneHitAStep(Sound):
    def keeps(self, hits, number, nonces):
        here = self.step(hits[number].nonce, nonces)
        return number == 0 or self.step(hits[number - 1].nonce, nonces) != here


class LostPastCapacity(Sound):
    def keeps(self, hits, number, nonces):
        return number < self.capacity


class LostAtTheSeam(Sound):
    """The hit that found the buffer full is not asked about again."""

    def keeps(self, hits, number, nonces):
        return number == 0 or number % self.capacity != 0


class LostPastCapacityWithVersions(Sound):
    def scan(self, header, target, nonces, versions=()):
        hits = super().scan(header, target, nonces, versions)
        return hits[: self.capacity] if len(versions) > 1 else hits


class LastPartialStepIsDropped(Sound):
    def keeps(self, hits, number, nonces):
        return hits[number].nonce < nonces.start + len(nonces) // self.lanes * self.lanes


class ScansAStepPastTheEnd(Sound):
    def found(self, header, target, nonces, versions):
        steps = -(-len(nonces) // self.lanes)
        stop = min(nonces.start + steps * self.lanes, NONCES)
        return super().found(header, target, range(nonces.start, stop), versions)


class NoCountIsOneStep(Sound):
    """do { } while (done < count)."""

    def found(self, header, target, nonces, versions):
        nonces = nonces or range(nonces.start, nonces.start + self.lanes)
        return super().found(header, target, nonces, versions)


class StartsAligned(Sound):
    """Rounds the first nonce up to a whole step."""

    def keeps(self, hits, number, nonces):
        return hits[number].nonce >= -(-nonces.start // self.lanes) * self.lanes


class GivesUpOnLongRanges(Sound):
    def keeps(self, hits, number, nonces):
        return hits[number].nonce - nonces.start < 4096


class GivesUpLateInACall(Sound):
    """Its buffer is full, or its schedule stale, after more nonces than a short question has."""

    def keeps(self, hits, number, nonces):
        return hits[number].nonce - nonces.start < 6000


class EverySixteenthStepIsLostLate(Sound):
    def keeps(self, hits, number, nonces):
        nonce = hits[number].nonce
        return nonce - nonces.start < 5000 or self.step(nonce, nonces) % 16 != 15


class NonceZeroIsNone(Sound):
    def keeps(self, hits, number, nonces):
        return hits[number].nonce != 0


class LastNonceIsNone(Sound):
    """A 32-bit end that cannot be 2^32."""

    def keeps(self, hits, number, nonces):
        return hits[number].nonce != NONCES - 1


class CarryIsLost(Sound):
    """Adds the lane to the low bits alone."""

    bits = 16

    def hashes(self, prefix, nonces):
        high = nonces.start >> self.bits << self.bits
        return tuple(
            _hashes(prefix, range(at, at + 1))[0] if at != nonce else right
            for nonce, right in zip(nonces, super().hashes(prefix, nonces), strict=True)
            for at in [high | nonce & (1 << self.bits) - 1]
        )


class CarryIsLostPast24Bits(CarryIsLost):
    bits = 24


class CarryIsLostAtTheSign(CarryIsLost):
    bits = 31


class WordSwappedNonce(Sound):
    def hashes(self, prefix, nonces):
        return tuple(_hashes(prefix, range(at, at + 1))[0] for at in map(swapped, nonces))


def swapped(nonce):
    return int.from_bytes(nonce.to_bytes(4, "little"), "big")


class IgnoresBytes(Sound):
    ignored = range(68, 72)  # nTime

    def hashes(self, prefix, nonces):
        for at in self.ignored:
            prefix = prefix[:at] + b"\0" + prefix[at + 1 :]
        return super().hashes(prefix, nonces)


class IgnoresNBits(IgnoresBytes):
    ignored = range(72, 76)


class KeepsAnOldMidstate(Sound):
    """Computes the midstate again only when version or previous hash have changed."""

    kept = tuple(range(36))

    def __init__(self):
        self.first = {}

    def hashes(self, prefix, nonces):
        key = bytes(prefix[at] for at in self.kept)
        return super().hashes(self.first.setdefault(key, prefix[:64]) + prefix[64:], nonces)


class KeepsAnOldMidstateOfAllButOneByte(KeepsAnOldMidstate):
    kept = (*range(63), 64)


class KeepsAnOldTarget(Sound):
    """Uploads the target only with another header."""

    def __init__(self):
        self.last = (b"", ALL)

    def scan(self, header, target, nonces, versions=()):
        if header != self.last[0]:
            self.last = (header, target)
        return super().scan(header, self.last[1], nonces, versions)


class KeepsOldHits(Sound):
    """Does not clear its buffer: where nothing is found, the last call's hits are."""

    def __init__(self):
        self.last = []

    def order(self, hits, versions):
        self.last = hits or self.last
        return self.last


class IgnoresVersions(Sound):
    def scan(self, header, target, nonces, versions=()):
        self.check(header, nonces, versions)
        return super().scan(header, target, nonces)


class FirstVersionOnly(Sound):
    def scan(self, header, target, nonces, versions=()):
        self.check(header, nonces, versions)
        return super().scan(header, target, nonces, versions[:1])


class VersionByVersion(Sound):
    def order(self, hits, versions):
        return sorted(hits, key=lambda hit: (versions and versions.index(hit.version), hit.nonce))


class VersionsSorted(Sound):
    def order(self, hits, versions):
        return sorted(hits)


class VersionsMixedUp(Sound):
    """Finds the right hits and says the wrong version."""

    def order(self, hits, versions):
        return [Hit(hit.nonce, versions[0]) if versions else hit for hit in hits]


class VersionsFoldedIntoOne(Sound):
    """Answers once for a version that was asked about twice."""

    def order(self, hits, versions):
        return list(dict.fromkeys(hits))


class VersionsPastTheFirst16AreLost(Sound):
    def found(self, header, target, nonces, versions):
        return super().found(header, target, nonces, versions[:16])


class PaddingIsReported(Sound):
    """Fills 16 places up with the last version, and reports what it finds there."""

    def found(self, header, target, nonces, versions):
        versions = (*versions, *versions[-1:] * (-len(versions) % 16))
        return super().found(header, target, nonces, versions)


class EachGroupOf16ByItself(Sound):
    """Puts one group's hits after the other's, instead of nonce by nonce."""

    def found(self, header, target, nonces, versions):
        if len(versions) <= 16:
            return super().found(header, target, nonces, versions)
        groups = [versions[at : at + 16] for at in range(0, len(versions), 16)]
        return [hit for some in groups for hit in super().found(header, target, nonces, some)]


class LowerVersionBitsOnly(Sound):
    """Rolls bits 0 to 27: the top hex digit is the first version's."""

    def found(self, header, target, nonces, versions):
        top = versions[0] & 0xF << 28 if versions else 0
        wrong = tuple(version & 0xFFFFFFF | top for version in versions)
        hits = super().found(header, target, nonces, wrong)
        right = dict(zip(wrong, versions, strict=True))
        return [Hit(hit.nonce, right.get(hit.version, hit.version)) for hit in hits]


class Rolling:
    """Goes wrong only where 16 versions or more are asked about: other code may do those."""

    def scan(self, header, target, nonces, versions=()):
        if len(versions) < 16:
            return Sound().scan(header, target, nonces, versions)
        return super().scan(header, target, nonces, versions)  # type: ignore[misc]


class RolledVersionIsItsNeighbour(Rolling, Sound):
    """Hits of the eighth lane come with the ninth's version."""

    def order(self, hits, versions):
        mixed = {versions[7]: versions[8]}
        return [Hit(hit.nonce, mixed.get(hit.version, hit.version)) for hit in hits]


class LastOf16VersionsIsMissed(Rolling, Sound):
    def order(self, hits, versions):
        return [hit for hit in hits if hit.version != versions[15]]


class SeventeenthVersionIsMissed(Rolling, Sound):
    def order(self, hits, versions):
        return [hit for hit in hits if hit.version not in versions[16:17]]


class FirstVersionOfANonceOnly(Rolling, Sound):
    def keeps(self, hits, number, nonces):
        return number == 0 or hits[number - 1].nonce != hits[number].nonce


class NonceIsCutAtCapacity(Rolling, Sound):
    """Goes on from the next nonce where the list was full in the middle of one."""

    capacity = 1024

    def order(self, hits, versions):
        kept = []
        while hits:
            kept += hits[: self.capacity]
            hits = [hit for hit in hits[self.capacity :] if hit.nonce != kept[-1].nonce]
        return kept


class NonceIsRepeatedAtCapacity(Rolling, Sound):
    """Does not take back what it had of the nonce in whose middle the list was full."""

    capacity = 1024

    def order(self, hits, versions):
        kept = []
        while hits:
            kept += hits[: self.capacity]
            rest = hits[self.capacity :]
            cut = rest[:1] and rest[0].nonce
            hits = [hit for hit in hits[: self.capacity] if rest and hit.nonce == cut] + rest
        return kept


class OddNonceIsDropped(Rolling, Sound):
    """Takes nonces two by two."""

    def keeps(self, hits, number, nonces):
        return hits[number].nonce < nonces.start + len(nonces) // 2 * 2


class GivesUpAfter256(Rolling, Sound):
    def keeps(self, hits, number, nonces):
        return hits[number].nonce - nonces.start < 256


class GivesUpLateInARolledCall(Rolling, Sound):
    def keeps(self, hits, number, nonces):
        return hits[number].nonce - nonces.start < 400


class HeadersOwnVersionIsHashed(Rolling, Sound):
    """Where it stands among those asked about, all are hashed as if they were it."""

    def found(self, header, target, nonces, versions):
        own = int.from_bytes(header[:4], "little")
        if own not in versions:
            return super().found(header, target, nonces, versions)
        hits = super().found(header, target, nonces, (own,))
        return [Hit(hit.nonce, version) for hit in hits for version in versions]


def where_it_rolls(fault):
    return type(f"{fault.__name__}Rolling", (Rolling, fault), {"__doc__": fault.__doc__})


ROLLING = [
    where_it_rolls(fault)
    for fault in (
        *(LooksAtZerosOnly, FindsNothingHard, StrictlyLess, TopWordOnly, TopWordStrictly),
        *(SignedTopWord, SignedLowerWord, ZeroMeansNoTarget, LimitPlusOneWraps, BigEndianTarget),
        *(LostPastCapacity, LostAtTheSeam, NoCountIsOneStep, LastNonceIsNone, NonceZeroIsNone),
        *(CarryIsLost, CarryIsLostPast24Bits, CarryIsLostAtTheSign, WordSwappedNonce),
        *(IgnoresBytes, IgnoresNBits, KeepsAnOldMidstate, KeepsAnOldTarget, KeepsOldHits),
        *(VersionByVersion, VersionsSorted, VersionsMixedUp),
    )
]


class Repeats(Sound):
    def order(self, hits, versions):
        return [*hits, *hits[-1:]]


class Unordered(Sound):
    def order(self, hits, versions):
        return hits[::-1]


class OrderOfArrival(Sound):
    """As threads of a device report: unordered within a step."""

    def order(self, hits, versions):
        return sorted(hits, key=lambda hit: (hit.nonce // self.lanes, -(hit.nonce % self.lanes)))


class Wraps(Sound):
    def scan(self, header, target, nonces, versions=()):
        if nonces.stop > NONCES:
            nonces = range(nonces.start, NONCES)
        return super().scan(header, target, nonces, versions)


class BelowZero(Sound):
    def scan(self, header, target, nonces, versions=()):
        return super().scan(header, target, range(max(0, nonces.start), nonces.stop), versions)


class IgnoresTheStride(Sound):
    def scan(self, header, target, nonces, versions=()):
        nonces = range(nonces.start, nonces.stop) if nonces.step == 2 else nonces
        return super().scan(header, target, nonces, versions)


class BackwardsIsEmpty(Sound):
    def scan(self, header, target, nonces, versions=()):
        return [] if nonces.step < 0 else super().scan(header, target, nonces, versions)


class AnyHeader(Sound):
    def scan(self, header, target, nonces, versions=()):
        return super().scan(header[:80].ljust(80, b"\0"), target, nonces, versions)


class AnyVersion(Sound):
    def scan(self, header, target, nonces, versions=()):
        return super().scan(header, target, nonces, [v & 0xFFFFFFFF for v in versions])


class RefusesWithAnotherError(Sound):
    def check(self, header, nonces, versions):
        try:
            super().check(header, nonces, versions)
        except PlanError as error:
            raise ValueError from error


class IsLost(Sound):
    """As a device does that is gone from the first long question on."""

    def check(self, header, nonces, versions):
        super().check(header, nonces, versions)
        if len(nonces) > 4096:
            raise DeviceLost("it fell off the bus")


class Crashes(IsLost):
    def check(self, header, nonces, versions):
        if len(nonces) > 4096:
            raise ZeroDivisionError


class IsNotHere(Sound):
    def check(self, header, nonces, versions):
        raise NoDevice("test:sound", "this processor does not run it")


# Which checks notice a fault, one column a check in the order of CHECKS, then the refusals.
TABLE = """
LooksAtZerosOnly                  .X.............X.
LooksAtZerosOnlyRolling           ...............X.
FindsNothingHard                  XX.............X.
FindsNothingHardRolling           ...............X.
StrictlyLess                      .X...XX......X.X.
StrictlyLessRolling               .............X.X.
TopWordOnly                       .X...X.......X.X.
TopWordOnlyRolling                .............X.X.
TopTwoWordsOnly                   .X...X.......X.X.
TopWordStrictly                   .....XX......X...
TopWordStrictlyRolling            .............X...
SignedTopWord                     XXXXXXXXXXXXXXXX.
SignedTopWordRolling              ...........XXXXX.
SignedLowerWord                   X....X.......X.X.
SignedLowerWordRolling            .............X.X.
ZeroMeansNoTarget                 ........X......X.
ZeroMeansNoTargetRolling          ...............X.
LimitPlusOneWraps                 ..XX...XX...X.XX.
LimitPlusOneWrapsRolling          ............X.XX.
BigEndianTarget                   XXXXXXXXXXXXXXXX.
BigEndianTargetRolling            ...........XXXXX.
FindsNothing                      XXXXXXXXXXXXXXXX.
FindsEverything                   XXXXXXXXXXXXXXXX.
LaneFiveIsBlind                   XXXXXXXXXXXXX.XX.
SecondOfTwoIsLost                 ..X.XXXXXXXXXX.X.
OneHitAStep                       ..XXXXXXXXXXXXXX.
LostPastCapacity                  .......X..X.XXXX.
LostPastCapacityRolling           ............XXXX.
LostAtTheSeam                     .......X..X.XXXX.
LostAtTheSeamRolling              ............XXXX.
LostPastCapacityWithVersions      ............XXXX.
LastPartialStepIsDropped          XXXXX..XX...XXXX.
ScansAStepPastTheEnd              ..XXX..XX...XXXX.
NoCountIsOneStep                  ..X............X.
NoCountIsOneStepRolling           ...............X.
StartsAligned                     XXXXX..XXXX.X.XX.
GivesUpOnLongRanges               ..........XX.....
NonceZeroIsNone                   ..XX...........X.
NonceZeroIsNoneRolling            ...............X.
LastNonceIsNone                   ...X........X..X.
LastNonceIsNoneRolling            ...............X.
CarryIsLost                       ....X..........X.
CarryIsLostPast24Bits             ....X..........X.
CarryIsLostPast24BitsRolling      ...............X.
CarryIsLostAtTheSign              ....X..........X.
CarryIsLostAtTheSignRolling       ...............X.
CarryIsLostRolling                ...............X.
WordSwappedNonce                  XXXXXXXXXXXXXXXX.
WordSwappedNonceRolling           ...........XXXXX.
IgnoresBytes                      XXXXXXXXXXXXXXXX.
IgnoresNBits                      XXXXXXXXXXXXXXXX.
IgnoresNBitsRolling               ...........XXXXX.
IgnoresBytesRolling               ...........XXXXX.
KeepsAnOldMidstate                .........X.....X.
KeepsAnOldMidstateOfAllButOneByte .........X.....X.
KeepsAnOldMidstateRolling         ...............X.
KeepsAnOldTarget                  .XXX.X.XX...XXXX.
KeepsAnOldTargetRolling           ............XXXX.
KeepsOldHits                      .XXX.X..XX...X.X.
KeepsOldHitsRolling               .............X.X.
IgnoresVersions                   ...........XXXXX.
FirstVersionOnly                  ...........XXXXX.
VersionByVersion                  ...........XXXXX.
VersionByVersionRolling           ...........XXXXX.
VersionsSorted                    ............X....
VersionsSortedRolling             ............X....
VersionsMixedUp                   ...........XXXXX.
VersionsMixedUpRolling            ...........XXXXX.
VersionsFoldedIntoOne             ............X....
VersionsPastTheFirst16AreLost     ............X.X..
PaddingIsReported                 ............X.X..
EachGroupOf16ByItself             ............X.X..
LowerVersionBitsOnly              ............X....
RolledVersionIsItsNeighbour       ...........XXXXX.
LastOf16VersionsIsMissed          ...........XXXXX.
SeventeenthVersionIsMissed        ............X.X..
FirstVersionOfANonceOnly          ............XXXX.
NonceIsCutAtCapacity              ..............X..
NonceIsRepeatedAtCapacity         ..............X..
OddNonceIsDropped                 ............XXXX.
GivesUpAfter256                   ...........X...X.
HeadersOwnVersionIsHashed         ...............X.
Repeats                           XXXXXXXXXXXXXXXX.
Unordered                         ..XXXXXXXXXXXXXX.
OrderOfArrival                    ..XXXXXXXXXXXXXX.
Wraps                             ................X
BelowZero                         ................X
IgnoresTheStride                  ................X
BackwardsIsEmpty                  ................X
AnyHeader                         ................X
AnyVersion                        ................X
RefusesWithAnotherError           ................X
IsLost                            ..........XX.....
Crashes                           ..........XX....X
IsNotHere                         XXXXXXXXXXXXXXXXX
GivesUpLateInACall                ...........X.....
EverySixteenthStepIsLostLate      ...........X.....
GivesUpLateInARolledCall          ...........X.....
"""
NOTICED = dict(line.split() for line in TABLE.strip().splitlines())
COLUMNS = [*CHECKS, "refusals"]
# The nonce that the first check to fail must name.
FIRST_NONCE = {
    "StrictlyLess": 2083236893,  # genesis
    "FindsNothing": 2083236893,
    "ZeroMeansNoTarget": 5,
    "LostPastCapacity": 7 + 64,
    "LostAtTheSeam": 7 + 64,
    "NonceZeroIsNone": 0,
    "LastNonceIsNone": NONCES - 1,
    "Repeats": 2083236893,
    "Wraps": NONCES - 1,
    "BelowZero": -1,
    "BackwardsIsEmpty": 8,
}


def faults(kind=Sound):
    for below in kind.__subclasses__():
        yield below
        yield from faults(below)


@pytest.fixture
def fewer_headers(monkeypatch):
    """One header in four: these kernels are many, and slow."""
    some = dict(itertools.islice(mainnet_headers().items(), 0, None, 4))
    monkeypatch.setattr(questions, "mainnet_headers", lambda: some)


@pytest.mark.usefixtures("fewer_headers")
@pytest.mark.parametrize("broken", list(faults()), ids=lambda broken: broken.__name__)
def test_a_fault_is_noticed(broken):
    proof = prove(broken())
    assert not proof.passed
    assert proof.to_json()["verdict"] == "FAIL"
    noticed = "".join(".X"[not check.passed] for check in proof.checks)
    assert noticed == NOTICED[broken.__name__]
    assert proof.fault is not None
    assert proof.fault == next(check for check in proof.checks if not check.passed)
    nonce = FIRST_NONCE.get(broken.__name__, proof.fault.nonce)
    assert proof.fault.nonce == nonce


def test_every_check_fails_for_some_fault_and_most_alone():
    assert set(NOTICED) == {broken.__name__ for broken in faults()}
    assert set(ROLLING) <= set(faults())
    # Most of what goes wrong goes wrong with versions too: that others notice it is no news.
    again = {"every version", "version overflow", "rolled work"}
    alone = set()
    for row in NOTICED.values():
        noticed = {name for name, mark in zip(COLUMNS, row, strict=True) if mark == "X"}
        if len(one := noticed - again or noticed) == 1:
            alone |= one
    # What these six notice, others do too. They stay for what nobody has thought of: real headers,
    # unlike ones, each lane by its number, and hits that come as few or as many as no others do.
    assert set(COLUMNS) - alone == {
        "mainnet headers",
        "ends of the nonce space",
        "every lane",
        "two hits in a step",
        "result overflow",
        "stretches",
    }
    assert all(any(row[at] == "X" for row in NOTICED.values()) for at in range(len(COLUMNS)))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (LaneFiveIsBlind, "missed"),
        (FindsEverything, "reported without cause"),
        (Repeats, "reported twice"),
        (Unordered, "out of order"),
        (IsLost, "no answer, but DeviceLost: it fell off the bus"),
        (Crashes, "no answer, but ZeroDivisionError"),
        (Wraps, "scanned, not refused"),
        (RefusesWithAnotherError, "ValueError, not PlanError"),
    ],
)
@pytest.mark.usefixtures("fewer_headers")
def test_a_fault_says_what_went_wrong(broken, words):
    fault = prove(broken()).fault
    assert fault is not None
    assert words in str(fault.fault)


@pytest.mark.parametrize("lanes", [1, 2, 64, 100])
def test_a_sound_kernel_of_any_width_passes(lanes):
    kernel = Sound()
    kernel.lanes = lanes
    assert prove(kernel).passed


def test_the_reference_passes():
    assert prove(ReferenceKernel()).passed


def test_the_digests_of_long_answers_are_the_reference_s():
    quarter, rolled, *_ = ANSWERED
    for question in (quarter, rolled):
        assert digest(answer(question)) == ANSWERED[question]


def test_no_call_that_is_made_is_longer_than_one_that_is_proven():
    assert max(len(question.nonces) for question in ANSWERED) >= native.PIECE


# --- agree -----------------------------------------------------------------------------------

STRETCH = Question(MINED.header, QUARTER, range(100, 1100))


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_sound_kernels_agree(piece):
    checks = agree([Sound(), ReferenceKernel(), Sound()], STRETCH, piece)
    assert [check.passed for check in checks] == [True, True]


def test_one_that_differs_is_named_with_its_first_nonce():
    blind = LaneFiveIsBlind()
    blind.name = "test:blind"
    sound, other = agree([ReferenceKernel(), Sound(), blind], STRETCH, 100)
    assert sound.passed
    right = Sound().scan(STRETCH.header, STRETCH.target, STRETCH.nonces)
    assert other.nonce == min(hit.nonce for hit in right if (hit.nonce - 100) % 100 % 8 == 5)
    assert "missed" in str(other.fault)


def test_agreement_on_nothing_found_is_not_the_same_as_on_everything():
    [check] = agree([FindsNothing(), FindsEverything()], replace(STRETCH, target=Target(0)))
    assert not check.passed
    assert check.nonce == 100


def test_agreement_asks_about_versions_too():
    question = replace(STRETCH, versions=(0x20000000, 0x20002000))
    [check] = agree([Sound(), FirstVersionOnly()], question)
    assert not check.passed
    assert agree([Sound(), ReferenceKernel()], question)[0].passed
