"""What snmpd asks for the objects in a file, lines of OID, type and value (snmpd.conf(5))."""

import sys
from pathlib import Path

OBJECTS = Path(sys.argv[1])


def find(oid):
    for line in OBJECTS.read_text().splitlines():
        name, kind, value = line.split(maxsplit=2)
        if name == oid:
            return f"{oid}\n{kind}\n{value}"
    return "NONE"


for line in sys.stdin:
    if line.strip() == "PING":
        print("PONG", flush=True)
    elif line.strip() == "get":
        print(find(sys.stdin.readline().strip()), flush=True)
    else:
        sys.stdin.readline()
        print("NONE", flush=True)
