"""Runs a compiled kernel without a GPU: PTX (NVIDIA's PTX ISA 9.0), as far as hwkit's uses it."""

import re
from collections.abc import Callable

M32, M64 = (1 << 32) - 1, (1 << 64) - 1


def signed(x, bits):
    return x - (1 << bits) if x >> bits - 1 else x


# Operands come cut to as many bits as the name ends in; results are cut by who stores them.
OPERATIONS: dict[str, Callable[..., int]] = {
    "mov.u32": lambda a: a,
    "mov.b32": lambda a: a,
    "cvt.u64.u32": lambda a: a & M32,
    "cvt.s64.s32": lambda a: signed(a & M32, 32),
    "cvt.u32.u64": lambda a: a & M32,
    "cvta.to.global.u64": lambda a: a,
    "add.s32": lambda a, b: a + b,
    "add.s64": lambda a, b: a + b,
    "sub.s32": lambda a, b: a - b,
    "neg.s32": lambda a: -a,
    "mul.lo.s32": lambda a, b: a * b,
    "mul.hi.u32": lambda a, b: a * b >> 32,
    "mul.wide.u32": lambda a, b: a * b,
    "mad.lo.s32": lambda a, b, c: a * b + c,
    "and.b32": lambda a, b: a & b,
    "or.b32": lambda a, b: a | b,
    "xor.b32": lambda a, b: a ^ b,
    "not.b32": lambda a: ~a,
    "shl.b32": lambda a, n: a << n if n < 32 else 0,
    "shl.b64": lambda a, n: a << n if n < 64 else 0,
    "shr.u32": lambda a, n: a >> n if n < 32 else 0,
    "shr.u64": lambda a, n: a >> n if n < 64 else 0,
    "shf.l.wrap.b32": lambda low, high, n: (high << 32 | low) << (n & 31) >> 32,
    "shf.r.wrap.b32": lambda low, high, n: (high << 32 | low) >> (n & 31),
    "prmt.b32": lambda a, b, choice: sum(
        ((b << 32 | a) >> 8 * (choice >> 4 * byte & 7) & 255) << 8 * byte for byte in range(4)
    ),
    "setp.lt.u32": lambda a, b: a < b,
    "setp.le.u32": lambda a, b: a <= b,
    "setp.gt.u32": lambda a, b: a > b,
    "setp.ge.u32": lambda a, b: a >= b,
    "setp.ge.s64": lambda a, b: signed(a, 64) >= signed(b, 64),
}
SPECIAL = ("%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x")


class Ptx:
    """One kernel."""

    def __init__(self, text):
        body = text[text.index(".entry") :]
        body = body[body.index("{") : body.index("\n}")]
        self.labels: dict[str, int] = {}
        self.lines: list[tuple[bool, str | None, str, list[str]]] = []
        for line in re.sub(r"//.*", "", body).splitlines():
            if label := re.match(r"(\$\w+):", line):
                self.labels[label[1]] = len(self.lines)
            elif found := re.match(r"\s+(?:@(!?)(%p\d+)\s+)?([a-z][\w.]+)\s*(.*);", line):
                operands = re.findall(r"\[[^\]]+\]|[%$\w.-]+", found[4])
                self.lines.append((found[1] == "!", found[2], found[3], operands))

    def run(self, parameters, memory, thread=0, threads=1):
        """Run one thread of one block; `memory` is a list of words at the address 0."""
        registers = dict(zip(SPECIAL, (thread, threads, 0, 1), strict=True))

        def value(text):
            register, _, offset = text.partition("+")
            if register[0] == "%":
                return registers[register] + int(offset or "0", 0)
            return int(text, 0) & M64

        at = 0
        while True:
            negated, guard, name, operands = self.lines[at]
            at += 1
            if guard and registers[guard] == negated:
                continue
            match name.split("."):
                case ["ret"]:
                    return
                case ["bra", *_]:
                    at = self.labels[operands[0]]
                case ["ld", "param", _]:
                    registers[operands[0]] = parameters[int(operands[1].rpartition("_")[2][:-1])]
                case ["atom", "global", "add", "u32"]:
                    word = value(operands[1][1:-1]) // 4
                    registers[operands[0]] = memory[word]
                    memory[word] += value(operands[2])
                case ["st", "global", "u32"]:
                    memory[value(operands[0][1:-1]) // 4] = value(operands[1])
                case _:
                    narrow = operands[0].startswith("%r") and not operands[0].startswith("%rd")
                    cut = M32 if name.endswith("32") else M64
                    result = OPERATIONS[name](*(value(each) & cut for each in operands[1:]))
                    registers[operands[0]] = result & (M32 if narrow else M64)
