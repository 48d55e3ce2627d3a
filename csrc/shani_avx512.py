"""Writes the inner loops of scan_shani_avx512.c: `python shani_avx512.py OUTPUT`.

Sixteen hashes at a time. AVX-512 computes the message schedules, a lane for each, adds K and stores
the words of two rounds side by side; the SHA unit takes each lane's pairs from there and does
nothing but rounds. A phase does the rounds of one batch and the schedule of another. The two use
different parts of the core, provided that they stand close together in the program: that order is
what this generator is for. Compilers undo it, so it writes assembly, and gives out the registers.

What stands in %[...] is named by the C file: `s` the scratch, `c` the constants, and the offsets of
their fields.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

LANES = 16
# The chains of rounds that run side by side. The SHA unit starts a sha256rnds2 every cycle and ends
# it after four: six chains keep it busy although a schedule is now and then in the way.
GROUPS = (6, 5, 5)
IN_A_ROW = 4  # rounds with no schedule between them
# The words of two rounds are 128 bytes for all lanes. Unpacking leaves each lane's pair here:
PAIR_BYTES = 128
PAIR_AT = [64 * (lane >> 1 & 1) + 16 * (lane >> 2) + 8 * (lane & 1) for lane in range(LANES)]
# The first hash begins after round 3, the second after round 0: before, all is known but for one
# word, and that adds to a and e alone. After round 60 of the second e is the word that decides.
ROUNDS = {1: range(4, 64, 2), 2: range(1, 60, 2)}
# Pairs of rounds whose words are known differ from lane to lane in nothing, and are not stored.
STORED = {
    1: [t for t in ROUNDS[1] if t >= 18],
    2: [t for t in ROUNDS[2] if t not in {9, 11, 13}],
}
# Words that are known and not 0: W0 to W2, padding, length, and W16 and W17, which follow.
KNOWN = {1: {0, 1, 2, 4, 15, 16, 17}, 2: {8, 15}}


@dataclass(frozen=True)
class Instruction:
    """One of a schedule; its registers are not given out yet."""

    template: str  # {0}, {1}, ... its sources, {d} its result
    sources: tuple[int, ...]
    result: int | None
    in_place: bool = False  # the result takes the first source's register


class Schedule:
    """A message schedule of sixteen lanes. Values are numbers; None is a value that is known."""

    def __init__(self, which: int) -> None:
        self.instructions: list[Instruction] = []
        self.words: dict[int, int] = {}
        self._which = which
        self._values = 0

    def expand(self, t: int) -> None:
        """W[t], FIPS 180-4, 6.2.2. What is known of it is one summand, from the constants."""
        w = self.words.get
        total = self._add(w(t - 16), w(t - 7))
        total = self._add(
            total, self._sigma(w(t - 15), ("vprord", 7), ("vprord", 18), ("vpsrld", 3))
        )
        total = self._add(
            total, self._sigma(w(t - 2), ("vprord", 17), ("vprord", 19), ("vpsrld", 10))
        )
        if total is None:
            return
        if KNOWN[self._which] & {t - 16, t - 15, t - 7, t - 2}:
            total = self.add_constant(total, constant(f"part{self._which}", t - 16))
        self.words[t] = total

    def store_pair(self, t: int) -> None:
        """K + W of rounds t and t + 1."""
        first, second = self._with_k(t), self._with_k(t + 1)
        at = PAIR_BYTES * STORED[self._which].index(t)
        self.store(self.emit("vpunpckldq {1}, {0}, {d}", first, second), self._pairs(at))
        self.store(self.emit("vpunpckhdq {1}, {0}, {d}", first, second), self._pairs(at + 64))

    def _pairs(self, offset: int) -> str:
        return scratch(f"wk{self._which}", offset)

    def _with_k(self, t: int) -> int:
        if t not in self.words:
            return self.emit(f"vpbroadcastd {constant(f'known{self._which}', t)}, {{d}}")
        return self.add_constant(self.words[t], constant("k", t))

    def add_constant(self, value: int, where: str) -> int:
        return self.emit(f"vpaddd {where}%{{1to16%}}, {{0}}, {{d}}", value)

    def store(self, value: int, where: str) -> None:
        self.instructions.append(Instruction(f"vmovdqa32 {{0}}, {where}", (value,), None))

    def emit(self, template: str, *sources: int, in_place: bool = False) -> int:
        self._values += 1
        self.instructions.append(Instruction(template, sources, self._values, in_place))
        return self._values

    def _add(self, first: int | None, second: int | None) -> int | None:
        if first is None or second is None:
            return second if first is None else first
        return self.emit("vpaddd {0}, {1}, {d}", first, second)

    def _sigma(self, word: int | None, *parts: tuple[str, int]) -> int | None:
        if word is None:
            return None
        x, y, z = (self.emit(f"{name} ${n}, {{0}}, {{d}}", word) for name, n in parts)
        return self.emit("vpternlogd $0x96, {1}, {2}, {d}", x, y, z, in_place=True)  # x ^ y ^ z


def schedule_1() -> list[Instruction]:
    """Block 2 of a header: only W3, the nonce, differs from lane to lane."""
    s = Schedule(1)
    s.words[3] = s.emit(f"vmovdqa32 {scratch('next_w3')}, {{d}}")
    for t in range(18, 64):
        s.expand(t)
        if t % 2 == 1:
            s.store_pair(t - 1)
    return s.instructions


def schedule_2(*, versions: bool) -> list[Instruction]:
    """The second hash: W0 to W7 are the first, which rounds left in the SHA unit's order."""
    s = Schedule(2)
    for field, words in (("abef", (5, 4, 1, 0)), ("cdgh", (7, 6, 3, 2))):
        rows = [s.emit(f"vmovdqa32 {scratch(field, 64 * row)}, {{d}}") for row in range(4)]
        halves = [
            s.emit(f"vpunpck{kind}dq {{1}}, {{0}}, {{d}}", *pair)
            for kind in "lh"
            for pair in (rows[:2], rows[2:])
        ]
        columns = [
            s.emit(f"vpunpck{kind}qdq {{1}}, {{0}}, {{d}}", *pair)
            for pair in (halves[:2], halves[2:])
            for kind in "lh"
        ]
        for t, column in zip(words, columns, strict=True):
            if versions:
                midstate = scratch("midstates", 64 * t)
                s.words[t] = s.emit(f"vpaddd {midstate}, {{0}}, {{d}}", column)
            else:
                s.words[t] = s.add_constant(column, constant("midstate", t))
    s.store(s.words[0], scratch("w0"))
    for t in (1, 3, 5, 7):
        s.store_pair(t)
    for t in range(16, 61):
        s.expand(t)
        if t % 2 == 0:
            s.store_pair(t - 1)
    return s.instructions


def rounds(which: int, *, versions: bool = False) -> list[list[str]]:
    """The rounds of sixteen lanes, group by group: the instructions of one sha256rnds2 each."""
    steps: list[list[str]] = []
    for number, size in enumerate(GROUPS):
        first = sum(GROUPS[:number])
        lanes = range(first, first + size)
        before = begin(which, lanes, versions=versions)
        for t in ROUNDS[which]:
            # The unit puts the new a, b, e, f over the old c, d, g, h: the two change places.
            turned = (t // 2 - ROUNDS[which][0] // 2) % 2
            for chain, lane in enumerate(lanes):
                old, new = registers(chain)[:: -1 if turned else 1]
                pair = pair_of(which, t, lane, versions=versions)
                steps.append([*before, f"vmovq {pair}, %%xmm0", f"sha256rnds2 {old}, {new}"])
                before = []
            if t in STORED[which]:
                before = [f"sub ${-PAIR_BYTES}, %[p]"]
        steps[-1] += end(which, lanes)
    return steps


def begin(which: int, lanes: range, *, versions: bool) -> list[str]:
    """Each lane's state before its first round: all of it known but for one word in a and e."""
    lines = ["mov %[pairs], %[p]" if versions else f"lea {scratch(f'wk{which}', 64)}, %[p]"]
    for chain, lane in enumerate(lanes):
        abef, cdgh = registers(chain)
        word = scratch(f"w{3 if which == 1 else 0}", 0 if versions else 4 * lane)
        start = scratch("starts", 32 * lane) if versions else constant(f"start{which}")
        lines += [
            f"vpbroadcastd {word}, {abef}%{{%%k1%}}%{{z%}}",
            f"vpaddd {start}, {abef}, {abef}",
            f"vmovdqa32 16+{start}, {cdgh}",
        ]
    return lines


def pair_of(which: int, t: int, lane: int, *, versions: bool) -> str:
    """Where a lane finds its words for rounds t and t + 1; versions of a header share them."""
    if t not in STORED[which]:
        return constant(f"known{which}", t)
    return "(%[p])" if versions else f"{PAIR_AT[lane] - 64}(%[p])"


def end(which: int, lanes: range) -> list[str]:
    """Store what is wanted of each lane, placed so that unpacking puts the lanes in order."""
    fields = ("abef", "cdgh") if which == 1 else ("last",)
    return [
        f"vmovdqa32 {register}, {scratch(field, 64 * (lane & 3) + 16 * (lane >> 2))}"
        for chain, lane in enumerate(lanes)
        for field, register in zip(fields, registers(chain), strict=False)
    ]


def registers(chain: int) -> tuple[str, str]:
    """A chain's a, b, e, f and c, d, g, h: the unit's instructions know sixteen registers only."""
    return f"%%xmm{1 + 2 * chain}", f"%%xmm{2 + 2 * chain}"


def scratch(field: str, offset: int = 0) -> str:
    return f"%c[{field}]+{offset}(%[s])"


def constant(field: str, word: int = 0) -> str:
    return f"%c[{field}]+{4 * word}(%[c])"


def interleave(steps: list[list[str]], instructions: list[Instruction]) -> list[str]:
    """Spread a schedule evenly over rounds, in registers that these do not use."""
    free = [*range(1 + 2 * max(GROUPS), 32)]
    last_use = {value: at for at, i in enumerate(instructions) for value in i.sources}
    register: dict[int, int] = {}
    lines: list[str] = []
    at = 0
    for done, step in enumerate(steps, 1):
        lines += step
        if done % IN_A_ROW and done < len(steps):
            continue
        while at < len(instructions) * done // len(steps):
            i = instructions[at]
            names = {str(n): f"%%zmm{register[value]}" for n, value in enumerate(i.sources)}
            free += [register.pop(value) for value in set(i.sources) if last_use[value] == at]
            if i.result is not None:
                # An IndexError here: the schedule wants more registers than there are.
                chosen = int(names["0"].removeprefix("%%zmm")) if i.in_place else free[0]
                free.remove(chosen)
                register[i.result] = chosen
                names["d"] = f"%%zmm{chosen}"
            text = i.template
            for name, value in names.items():
                text = text.replace(f"{{{name}}}", value)
            lines.append(text)
            at += 1
    return lines


def function(name: str, about: str, lines: list[str]) -> str:
    body = "\n".join(f'        "{line}\\n\\t"' for line in lines)
    return f"""/* {about} */
static void {name}(struct scratch *s, const struct constants *c, const void *pairs)
{{
    const void *p;
    __asm__ volatile(
        "kmovw %[a_and_e], %%k1\\n\\t"
{body}
        : [p] "=&r"(p)
        : [s] "r"(s), [c] "r"(c), [pairs] "r"(pairs), [a_and_e] "r"(0xa), OFFSETS
        : "memory", "k1", REGISTERS);
}}
"""


def main(output: str) -> None:
    phases = [
        function(
            "rounds_1_and_schedule_2",
            "A batch's first hash; and the schedule of the second of the batch before it.",
            interleave(rounds(1), schedule_2(versions=False)),
        ),
        function(
            "rounds_2_and_schedule_1",
            "A batch's second hash; and the schedule of the first of the batch after next.",
            interleave(rounds(2), schedule_1()),
        ),
        function(
            "rounds_1_of_versions_and_schedule_2",
            "The first for a batch of versions: their pairs are one lane's, at `pairs`.",
            interleave(rounds(1, versions=True), schedule_2(versions=True)),
        ),
        function("rounds_2_alone", "A batch's second hash.", interleave(rounds(2), [])),
        function("schedule_1_alone", "Sixteen nonces.", interleave([[]], schedule_1())),
    ]
    text = "\n".join(["/* Written by shani_avx512.py. */\n", *phases])
    Path(output).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
