"""A Whatsminer as its API 2 (version 2) or 3 speaks, and no more of it than its pools.

What it decrypts it decrypts with passlib and cryptography alone: no code of hwkit's.
"""

import base64
import hashlib
import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from passlib.hash import md5_crypt

PASSWORD = "admins-own"
SALT, SALT_3 = "BvkRbo5u", "Zt81uQwe"
OWN = [
    ("stratum+tcp://127.0.0.1:1", "owner.one", "pool-secret-1"),
    ("stratum+tcp://pool.example:3333", "owner.two", "pool-secret-2"),
    ("stratum+tcp://pool.example:4444", "owner.three", "pool-secret-3"),
]
WORDS = {
    "password": PASSWORD,
    "pool_password": "pool-secret-1",
    "pool_password_2": "pool-secret-2",
    "pool_password_3": "pool-secret-3",
}


class FakeWhatsminer:
    """Serves until close(). What it is told is its configuration at once, and `takes` says when
    btminer takes that up: "at once", at its next "start", or "reboot", for which it goes away.
    """

    def __init__(self, version=2, *, takes="at once", away_s=0.02, own=OWN, is_open=True):
        self.version, self.takes, self.away_s, self.is_open = version, takes, away_s, is_open
        self.configured = list(own)
        self.running = list(own)
        self.asked = []  # commands, in order
        self.raw = []  # requests, as they came
        self.cut: Any = lambda command: None  # "before" or "after" it is done
        self.says: dict[str, bytes] = {}  # raw answers to commands, in place of its own
        self.strategy = "FAILOVER"
        self.api = {2: "2.0.5", 3: "3.0.2"}[version]
        self.tokens = {}
        self.back_at = 0.0
        self.lock = threading.RLock()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()

    def state(self):
        with self.lock:
            return list(self.configured), list(self.running)

    def serve(self):
        while True:
            try:
                stream, _ = self.server.accept()
            except OSError:
                return
            with stream, suppress(OSError, ValueError), self.lock:
                stream.settimeout(5)
                if time.monotonic() >= self.back_at:
                    self.answer(stream)

    def answer(self, stream):
        request = stream.recv(8192)
        self.raw.append(request)
        if self.version == 3:
            told = json.loads(request[4:])
            command = told["cmd"]
        else:
            told = json.loads(request)
            command = told.get("command") or self.open(told).get("cmd")
        self.asked.append(command)
        cut = self.cut(command)
        if cut == "before":
            return
        said = self.says.get(command)
        if said is None:
            document = self.do_3(command, told) if self.version == 3 else self.do_2(command, told)
            said = json.dumps(document).encode()
        if cut != "after":
            head = len(said).to_bytes(4, "little") if self.version == 3 else b""
            stream.sendall(head + said + (b"\0" if self.version == 2 else b""))

    def tell(self, pools):
        self.configured = pools
        if self.takes != "start":
            self.running = pools
        if self.takes == "reboot":
            self.restart()

    def restart(self):
        self.running = self.configured
        self.back_at = time.monotonic() + self.away_s
        self.tokens = {}

    # API 2

    @property
    def key(self):
        crypted = md5_crypt.using(salt=SALT).hash(PASSWORD).split("$")[3]
        return crypted, hashlib.sha256(crypted.encode()).digest()

    def open(self, told):
        with suppress(ValueError):
            plain = aes(self.key[1]).decryptor().update(base64.b64decode(told["data"]))
            return json.loads(plain.rstrip(b"\0"))
        return {}

    def do_2(self, command, told):
        plain = {
            "get_version": lambda: own(131, {"api_ver": self.api, "fw_ver": "1"}),
            "get_token": self.token,
            "pools": self.rows,
        }
        if command in plain:
            return plain[command]()
        if "enc" not in told:
            return own(14, "invalid cmd")
        said = json.dumps(self.sealed(self.open(told))).encode()
        said += bytes(-len(said) % 16)
        return {"enc": base64.b64encode(aes(self.key[1]).encryptor().update(said)).decode()}

    def token(self):
        moment, newsalt = f"{len(self.asked):04}", f"new{len(self.asked):05}"
        sign = md5_crypt.using(salt=newsalt).hash(self.key[0] + moment).split("$")[3]
        self.tokens[sign] = True
        return own(134, {"time": moment, "salt": SALT, "newsalt": newsalt})

    def sealed(self, told):
        if told.get("token") not in self.tokens:
            return own(135, "check token err")
        if not self.is_open:
            return own(45, "can't access write cmd")
        if told["cmd"] == "restart_btminer":
            self.restart()
        elif told["cmd"] == "update_pools":
            pools = [
                tuple(told[f"{w}{n}"] for w in ("pool", "worker", "passwd")) for n in (1, 2, 3)
            ]
            self.tell([pool for pool in pools if pool[0]])
        else:
            return own(14, "invalid cmd")
        return own(131, "API command OK")

    def rows(self):
        rows = [
            {"POOL": n, "URL": url, "User": user, "Status": "Alive", "Priority": n - 1}
            for n, (url, user, _) in enumerate(self.running, 1)
        ]
        return {"STATUS": [{"STATUS": "S", "Code": 7, "Msg": "Pools"}], "POOLS": rows, "id": 1}

    # API 3

    def do_3(self, command, told):
        if command == "get.device.info":
            system = {"api": self.api, "apiswitch": str(int(self.is_open))}
            miner = {"type": "M60", "pool-strategy": self.strategy}
            return three(0, {"salt": SALT_3, "miner": miner, "system": system})
        if command == "get.miner.status":
            rows = [
                {"url": url, "account": user, "pool-priority": n}
                for n, (url, user, _) in enumerate(self.running)
            ]
            return three(0, {"pools": rows})
        words = f"{command}{PASSWORD}{SALT_3}{told.get('ts')}"
        digest = hashlib.sha256(words.encode()).digest()
        good = told.get("token") == base64.b64encode(digest).decode()[:8]
        if not self.is_open or not good or told.get("account") != "super":
            return three(-4, "no permission")
        if command == "set.miner.service":
            self.restart()
        elif command == "set.miner.pools":
            plain = aes(digest).decryptor().update(base64.b64decode(told["param"]))
            assert plain[-plain[-1] :] == plain[-1:] * plain[-1], "no PKCS#7"
            pools = json.loads(plain[: -plain[-1]])
            self.tell([(pool["pool"], pool["worker"], pool["passwd"]) for pool in pools])
        else:
            return three(-2, "invalid command")
        return three(0, "ok")


def aes(key):
    return Cipher(algorithms.AES(key), modes.ECB())


def own(code, message):
    kind = "S" if code in {131, 134} else "E"
    return {"STATUS": kind, "When": 1, "Code": code, "Msg": message, "Description": ""}


def three(code, message):
    return {"code": code, "when": 1, "msg": message, "desc": "fake"}
