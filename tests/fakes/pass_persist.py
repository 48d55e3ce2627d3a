"""What snmpd asks for the objects in a file, lines of OID, type and value (snmpd.conf(5)).

A line `switch COMMAND_OID STATE_OID 1=2 2=1` says what a command makes of a state.
"""

import sys
from pathlib import Path

OBJECTS = Path(sys.argv[1])


def find(oid):
    for line in OBJECTS.read_text().splitlines():
        name, kind, value = line.split(maxsplit=2)
        if name == oid:
            return f"{oid}\n{kind}\n{value}"
    return "NONE"


def change(oid, value):
    lines = OBJECTS.read_text().splitlines()
    for line in lines:
        kind, command, rest = line.split(maxsplit=2)
        if kind == "switch" and command == oid:
            state, *pairs = rest.split()
            made = dict(pair.split("=") for pair in pairs).get(value.split()[-1])
            if made is None:
                return "wrong-value"
            new = [
                f"{state} integer {made}" if each.split()[0] == state else each for each in lines
            ]
            changed = OBJECTS.with_suffix(".changed")
            changed.write_text("\n".join(new) + "\n")
            changed.rename(OBJECTS)
            return "DONE"
    return "not-writable"


for line in sys.stdin:
    if line.strip() == "PING":
        print("PONG", flush=True)
    elif line.strip() == "get":
        print(find(sys.stdin.readline().strip()), flush=True)
    elif line.strip() == "set":
        oid = sys.stdin.readline().strip()
        print(change(oid, sys.stdin.readline().strip()), flush=True)
    else:
        sys.stdin.readline()
        print("NONE", flush=True)
