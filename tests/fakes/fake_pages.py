"""Miners whose pools are changed over HTTP: AxeOS, and Bitmain's own firmware."""

import json
import time

from web_server import Handler, Server


class Pages(Server):  # type: ignore[misc]
    """A server that also takes what is sent to it; `away_s` is how long a restart takes."""

    def __init__(self, auth=None, away_s=0.05):
        super().__init__({}, auth=auth)
        self.RequestHandlerClass = Taking
        self.away_s = away_s
        self.back_at = 0.0
        self.started = time.monotonic() - 1000
        self.restarts = 0
        self.sent = []
        self.cut = lambda path: None  # "before" or "after" it is done

    def restart(self):
        self.restarts += 1
        self.back_at = time.monotonic() + self.away_s
        self.started = time.monotonic()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Taking(Handler):  # type: ignore[misc]
    """Hands what is sent to the server's take()."""

    server: Pages

    def do_GET(self):  # noqa: N802 - http.server's
        if self.away():
            return
        super().do_GET()

    def away(self):
        self.close_connection = time.monotonic() < self.server.back_at
        return self.close_connection

    def take(self):
        if self.away():
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.auth is not None and not self.server.auth(self):
            return
        document = json.loads(body) if body else None
        cut = self.server.cut(self.path)
        self.close_connection = cut is not None
        if cut != "before":
            self.server.sent.append((self.command, self.path, document))
            answer = self.server.take(self.path, document)
        if cut is None:
            self.say(200, answer)

    do_PATCH = do_POST = take  # noqa: N815


class Axeos(Pages):
    """AxeOS with one pool in fields, or (`many`) with a list of them.

    What it works on is what it was named when it started.
    """

    def __init__(self, *, many=False, **changes):
        super().__init__()
        self.many = many
        pool = {"stratumURL": "own.example", "stratumPort": 3333, "stratumUser": "owner.one"}
        if many:
            pool |= {"stratumProtocol": "SV2", "stratumTLS": 1, "stratumCert": "PEM"}
        self.pool = pool | {"stratumPassword": "secret-1"} | changes
        self.works_on = dict(self.pool)
        self.answers = {"/api/system/info": self.info}

    def info(self):
        shown = dict(self.pool)
        del shown["stratumPassword"]
        info = {"hashRate": 1000.0, "uptimeSeconds": int(time.monotonic() - self.started), **shown}
        if self.many:
            info["primaryPoolIndex"] = 1
            other = {"id": 0, "stratumURL": "other.example", "stratumPort": 1, "stratumUser": "o"}
            info["pools"] = [other, {"id": 1, **shown, "stratumPassword": "*****"}]
        return info

    def take(self, path, document):
        if path == "/api/system/restart":
            self.restart()
            self.works_on = dict(self.pool)
            return b"System will restart shortly."
        if self.many:
            [change] = document["pools"]
            assert change.pop("id") == 1
            if change["stratumPassword"] == "*****":
                change["stratumPassword"] = self.pool["stratumPassword"]
            self.pool = {"stratumPassword": "x", "stratumCert": ""} | change  # the rest is reset
        else:
            self.pool |= document
        return b""


class Bitmain(Pages):
    """Bitmain's own firmware: what is not sent with a change is reset."""

    def __init__(self, auth, *, mode="bitmain-work-mode"):
        super().__init__(auth=auth)
        self.mode = mode
        self.conf = {
            "pools": [
                {"url": "stratum+tcp://own.example:3333", "user": "owner.1", "pass": "secret-1"},
                {"url": "stratum+tcp://own.example:25", "user": "owner.2", "pass": "secret-2"},
                {"url": "", "user": "", "pass": ""},
            ],
            "api-allow": "A:0/0,W:*",
            "bitmain-fan-ctrl": True,
            "bitmain-fan-pwm": "70",
            "bitmain-freq-level": "90",
            mode: "3",
        }
        self.answers = {"/cgi-bin/get_miner_conf.cgi": lambda: self.conf}

    def take(self, path, document):
        assert path == "/cgi-bin/set_miner_conf.cgi"
        self.conf |= {
            "pools": document["pools"],
            "bitmain-fan-ctrl": document.get("bitmain-fan-ctrl", False),
            "bitmain-fan-pwm": document.get("bitmain-fan-pwm", "100"),
            "bitmain-freq-level": document.get("freq-level", "100"),
            self.mode: document.get("miner-mode", "0"),
        }
        self.restart()
        return json.dumps({"stats": "success", "code": "M000", "msg": "OK!"}).encode()
