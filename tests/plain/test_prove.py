"""The proof must be able to fail: each check, for each fault that a kernel may plausibly have."""

import itertools
from dataclasses import replace

import pytest

from hwkit.errors import DeviceLost, NoDevice, PlanError
from hwkit.hashers.native import check_question
from hwkit.hashers.reference import ReferenceKernel
from hwkit.protocols import Hit
from hwkit.prove import Question, agree, prove, questions
from hwkit.prove.questions import ALL, CHECKS, MINED, QUARTER, _hashes
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


def test_a_sound_kernel_passes():
    proof = prove(Sound())
    assert proof.passed
    assert proof.fault is None
    assert [check.name for check in proof.checks] == [*CHECKS, "refusals"]
    assert all(check.questions > 3 for check in proof.checks)
    assert sum(check.questions for check in proof.checks) > 1400
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
LooksAtZerosOnly                  .X...........
FindsNothingHard                  XX...........
StrictlyLess                      .X...XX......
TopWordOnly                       .X...X.......
TopTwoWordsOnly                   .X...X.......
TopWordStrictly                   .....XX......
SignedTopWord                     XXXXXXXXXXXX.
SignedLowerWord                   X....X.......
ZeroMeansNoTarget                 ........X....
LimitPlusOneWraps                 ..XX...XX..X.
BigEndianTarget                   XXXXXXXXXXXX.
FindsNothing                      XXXXXXXXXXXX.
FindsEverything                   XXXXXXXXXXXX.
LaneFiveIsBlind                   XXXXXXXXXXXX.
SecondOfTwoIsLost                 ..X.XXXXXXXX.
OneHitAStep                       ..XXXXXXXXXX.
LostPastCapacity                  .......X..XX.
LostAtTheSeam                     .......X..XX.
LostPastCapacityWithVersions      ...........X.
LastPartialStepIsDropped          XXXXX..XX..X.
ScansAStepPastTheEnd              ..XXX..XX..X.
NoCountIsOneStep                  ..X..........
StartsAligned                     XXXXX..XXXXX.
GivesUpOnLongRanges               ..........X..
NonceZeroIsNone                   ..XX.......X.
LastNonceIsNone                   ...X.......X.
CarryIsLost                       ....X........
CarryIsLostPast24Bits             ....X........
CarryIsLostAtTheSign              ....X........
WordSwappedNonce                  XXXXXXXXXXXX.
IgnoresBytes                      XXXXXXXXXXXX.
IgnoresNBits                      XXXXXXXXXXXX.
KeepsAnOldMidstate                .........X...
KeepsAnOldMidstateOfAllButOneByte .........X...
KeepsAnOldTarget                  .XXX.X.XX..X.
KeepsOldHits                      .XXX.X..XX...
IgnoresVersions                   ...........X.
FirstVersionOnly                  ...........X.
VersionByVersion                  ...........X.
VersionsSorted                    ...........X.
VersionsMixedUp                   ...........X.
Repeats                           XXXXXXXXXXXX.
Unordered                         ..XXXXXXXXXX.
OrderOfArrival                    ..XXXXXXXXXX.
Wraps                             ............X
BelowZero                         ............X
IgnoresTheStride                  ............X
BackwardsIsEmpty                  ............X
AnyHeader                         ............X
AnyVersion                        ............X
RefusesWithAnotherError           ............X
IsLost                            ..........X..
Crashes                           ..........X.X
IsNotHere                         XXXXXXXXXXXXX
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
    alone = {COLUMNS[row.index("X")] for row in NOTICED.values() if row.count("X") == 1}
    # What these five notice, others do too. They stay for what nobody has thought of: real
    # headers, each lane by its number, and hits that come as few or as many as no others do.
    assert set(COLUMNS) - alone == {
        "mainnet headers",
        "ends of the nonce space",
        "every lane",
        "two hits in a step",
        "result overflow",
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
