"""`hwkit asic scan`, `show` and `capture`, against miners on loopback addresses."""

import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from miner_answers import MINERS, raws, read

from hwkit.cli import cli
from hwkit.errors import NoDevice, NotPermitted, ProtocolError, Unavailable
from hwkit.hashers.asic import read_capture
from hwkit.hashers.asic.asking import Miner, Ports
from hwkit.hashers.asic.dialects import dialects
from hwkit.wire import whatsminer

UNKNOWN = b'{"STATUS":[{"STATUS":"E","When":1,"Code":14,"Msg":"Invalid command"}],"id":1}'


class Network:
    """Fake miners: each at a loopback address of its own, all at the same three ports."""

    def __init__(self):
        with (
            socket.create_server(("127.0.0.1", 0)) as api,
            socket.create_server(("127.0.0.1", 0)) as http,
            socket.create_server(("127.0.0.1", 0)) as wm,
        ):
            self.ports = Ports(*(each.getsockname()[1] for each in (api, http, wm)))
        self.servers = []
        self.open_at_once = {}  # address: the most connections it has had at a time
        self.asked = {}

    def options(self):
        ports = self.ports
        return (
            *("--api-port", ports.api, "--http-port", ports.http),
            *("--whatsminer-port", ports.whatsminer),
        )

    def stream(self, host, port, serve):
        server = socket.create_server((host, port))
        self.servers.append(server)
        self.open_at_once.setdefault(host, 0)
        open_now: list[socket.socket] = []
        lock = threading.Lock()

        def leave(peer):
            with lock:
                open_now.remove(peer)

        def attend(peer):
            with lock:
                open_now.append(peer)
                self.open_at_once[host] = max(self.open_at_once[host], len(open_now))
            with peer, suppress(OSError):
                # What comes now ends the conversation: the next may begin before we have closed.
                if said := serve(peer):
                    leave(peer)
                    peer.sendall(said)
                else:
                    leave(peer)

        def accept():
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    threading.Thread(target=attend, args=(peer,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def api(self, host, answers):
        """Speak the cgminer API with these answers by command."""
        asked = self.asked.setdefault(host, [])

        def serve(peer):
            request = json.loads(peer.recv(4095))
            name = request["command"] if "new_api" not in request else "new_stats"
            asked.append(name)
            return answers.get(name, UNKNOWN) + b"\0"

        self.stream(host, self.ports.api, serve)

    def api3(self, host, answers):
        """Speak Whatsminer's API 3."""

        def serve(peer):
            length = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), "little")
            request = json.loads(peer.recv(length, socket.MSG_WAITALL))
            name = "_".join(
                [request["cmd"].replace(".", "_"), *filter(None, [request.get("param")])]
            )
            said = answers.get(name, b'{"code":-1,"msg":"invalid command"}')
            return len(said).to_bytes(4, "little") + said

        self.stream(host, self.ports.whatsminer, serve)

    def pages(self, host, pages, port=None, token=None):
        """Serve documents by path, to GET and to POST; with a token to those who show it."""
        asked = self.asked.setdefault(host, [])

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(self.path)
                said = pages.get(self.path)
                if callable(said):
                    said = said(body)
                elif token is not None and self.headers.get("Authorization") != token:
                    said = None if said is None else 401
                status = said if isinstance(said, int) else 404 if said is None else 200
                self.send_response(status)
                said = said if status == 200 else b""
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_GET  # noqa: N815 - what http.server calls

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer((host, port or self.ports.http), Handler)
        self.servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def miner(self, host, name, **login):
        """Answer as the device of a file of tests/plain/miners does, in all its ways."""
        said, dialect = raws(name), dialects()[read(name).dialect]
        api, api3, posts = {}, {}, {}
        pages: dict[int | None, dict[str, object]] = {}
        for ask in dialect.commands:
            if ask.name not in said:
                continue
            if ask.via == "whatsminer3":
                api3[ask.name] = said[ask.name]
            elif ask.via == "post" and ask.body is not None:
                posts[ask.body["query"]] = said[ask.name]
                pages.setdefault(None, {})[ask.path] = lambda body: posts.get(
                    json.loads(body)["query"]
                )
            elif ask.via in {"http", "post"}:
                pages.setdefault(ask.port, {})[ask.path] = said[ask.name]
            else:
                api["new_stats" if ask.extra else ask.command or ask.name] = said[ask.name]
        if api3:
            self.api3(host, api3)
        if api:
            self.api(host, api)
        for port, served in pages.items():
            self.pages(host, served, self.ports.api if port == 4028 else port, **login)

    def close(self):
        for server in self.servers:
            if isinstance(server, ThreadingHTTPServer):
                server.shutdown()
                server.server_close()
            else:
                with suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                server.close()


@pytest.fixture
def network():
    network = Network()
    yield network
    network.close()


LIVE = [name for name in MINERS if not name.endswith("-text")]


@pytest.mark.needs(module="aiohttp")
@pytest.mark.parametrize(("name", "number"), [(name, i) for i, name in enumerate(LIVE, 10)])
def test_a_miner_asked_says_what_its_answers_say(network, name, number):
    host = f"127.0.1.{number}"
    network.miner(host, name)
    told = asked(network, host, 2 if name == "epic" else 20)  # it waits for the end of a line
    expected = read(name).to_json()
    assert told.at is not None
    for field, value in told.to_json().items():
        if field not in {"at", "absent", "repairs"}:
            assert value == expected[field], field
    assert [each for each in told.repairs if "missing" in each] == [
        each for each in expected["repairs"] if "missing" in each
    ]
    assert network.open_at_once.get(host, 1) == 1


@pytest.mark.needs(module="aiohttp")
def test_a_port_may_be_that_of_its_pages(network):
    """HOST:PORT of one that has nothing else; a port of pages stands where it is given."""
    host, port = "127.0.2.20", network.ports.http
    network.pages(host, {"/api/system/info": raws("axeos")["system_info"]})
    miner = Miner(host, Ports(api=port), deadline_s=2)
    assert miner.read().dialect == "axeos"
    miner.close()
    elsewhere = Miner(host, Ports(api=port, http=network.ports.whatsminer), deadline_s=2)
    with pytest.raises(Unavailable):
        elsewhere.read()
    elsewhere.close()


@pytest.mark.needs(module="aiohttp")
def test_pages_that_nobody_knows_may_be_known_to_another(network):
    network.pages("127.0.2.21", {"/": b"a miner of 2031"})
    with pytest.raises(NoDevice, match=r"--vendors.*hwkit\[vendors\]"):
        asked(network, "127.0.2.21")
    with pytest.raises(NoDevice) as nothing:
        asked(network, "127.0.2.22")
    assert "--vendors" not in str(nothing.value)


@pytest.mark.needs(module="aiohttp")
def test_scan_lists_what_is_there(hwkit, network):
    network.miner("127.0.2.1", "antminer-s9")
    network.miner("127.0.2.2", "axeos")
    network.miner("127.0.2.3", "whatsminer-v3")
    network.miner("127.0.2.5", "epic")
    network.stream("127.0.2.6", network.ports.api, lambda peer: None)  # not in its access list
    network.pages("127.0.2.7", {"/": b"a printer"})
    done = hwkit("asic", "scan", "127.0.2.0/28", *network.options(), "--json", store=None)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = {
        each["address"]: (each["dialect"], each["make"], each["model"])
        for each in document["miners"]
    }
    assert found == {
        "127.0.2.1": ("antminer", "Bitmain", "Antminer S9"),
        "127.0.2.2": ("axeos", "Bitaxe", "Gamma"),
        "127.0.2.3": ("whatsminer3", "MicroBT", "M66S_VK30"),
        "127.0.2.5": ("epic", "Bitmain", "Antminer S19J Pro"),
    }
    assert document["addresses"] == 14
    [claimed] = [each["hashrate"] for each in document["miners"] if each["address"] == "127.0.2.1"]
    assert claimed["value"] == pytest.approx(13.7105e12)
    assert network.open_at_once["127.0.2.1"] == 1
    lines = hwkit("asic", "scan", "127.0.2.1", *network.options(), store=None).stdout.splitlines()
    assert "Antminer S9" in lines[0]
    assert "13.71 TH/s" in lines[0]
    assert lines[1] == "1 miner at 1 address of 127.0.2.1/32"


def test_scan_refuses_what_nobody_means(hwkit):
    for network, why in (
        ("10.0.0.0/8", "16777216 addresses"),
        ("10.0.0.0/19", "--force"),
        ("a.miner", "no network"),
    ):
        done = hwkit("asic", "scan", network, store=None)
        assert done.returncode == 2
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert hwkit("asic", "scan", "10.0.0.0/8", "--force", store=None).returncode == 2


@pytest.mark.needs(module="aiohttp")
def test_show_says_what_it_says_and_where(hwkit, network):
    network.miner("127.0.3.1", "antminer-s9")
    shown = hwkit("asic", "show", "127.0.3.1", *network.options(), store=None).stdout
    assert shown.startswith("Bitmain Antminer S9, speaks Antminer\n")
    for words in (
        "13.71 TH/s (5s)",
        "summary /SUMMARY/0/GHS 5s",
        "it says none: only a meter can tell",
        "stats: missing comma",
        "no answer",
        "it says nothing of",
    ):
        assert words in shown, words
    raw = hwkit("asic", "show", "127.0.3.1", "--raw", *network.options(), store=None).stdout
    assert "stats: " + raws("antminer-s9")["stats"].decode() in raw
    document = json.loads(
        hwkit("asic", "show", "127.0.3.1", "--json", "--raw", *network.options(), store=None).stdout
    )
    assert document["hashrate_h_s"]["source"] == "summary /SUMMARY/0/GHS 5s"
    assert document["power_w"] is None
    assert document["raw"]["stats"] == raws("antminer-s9")["stats"].decode()


@pytest.mark.needs(module="aiohttp")
def test_capture_keeps_what_it_says_and_not_who_it_is(hwkit, network, tmp_path):
    network.miner("127.0.4.1", "whatsminer-v1")
    options = ("-o", tmp_path / "copy", *network.options())
    done = hwkit("asic", "capture", "127.0.4.1", *options, "--json", store=None)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["files"]) >= {"summary.json", "edevs.json", "pools.json"}
    assert {tuple(each) for each in json.loads(done.stdout)["look_at"]} <= {
        ("answer", "name", "value")
    }
    told = read_capture(tmp_path / "copy")
    assert told.hashrate_h_s == read("whatsminer-v1").hashrate_h_s
    assert told.power_w == read("whatsminer-v1").power_w
    assert told.mac is not None
    assert told.mac.value == "02:00:00:00:00:01"
    assert told.pools[0].user == "account1.worker"
    again = hwkit("asic", "capture", "127.0.4.1", *options, store=None)
    assert again.returncode == 2
    assert "already" in again.stderr


def log_in(body):
    said = json.loads(body)
    return b'{"token":"sesame"}' if said == {"username": "root", "password": "mine"} else 403


@pytest.mark.needs(module="aiohttp")
def test_a_page_that_wants_a_password_gets_the_users(network, tmp_path, monkeypatch):
    host = "127.0.5.1"
    pages = {
        ask.path: raws("braiins")[ask.name]
        for ask in dialects()["braiins"].commands
        if ask.name in raws("braiins")
    }
    version = pages.pop("/api/v1/version")
    open_to_all = {"/api/v1/version": lambda _: version, "/api/v1/auth/login": log_in}
    network.pages(host, pages | open_to_all, token="sesame")
    path = tmp_path / "credentials.toml"
    monkeypatch.setenv("HWKIT_CREDENTIALS", str(path))
    path.write_text("")
    told = asked(network, host)
    assert told.hashrate_h_s is None
    assert "miner_stats: it wants a password" in "\n".join(told.absent)
    path.write_text(f'["{host}"]\npassword = "wrong"\n')
    assert "HTTP 403" in "\n".join(asked(network, host).absent)
    path.write_text(f'["{host}"]\npassword = "mine"\n')
    assert asked(network, host).hashrate_h_s == read("braiins").hashrate_h_s


def asked(network, host, deadline_s=20.0):
    miner = Miner(host, network.ports, deadline_s=deadline_s)
    try:
        return miner.read()
    finally:
        miner.close()


def test_whatever_does_not_answer_as_a_miner_is_told(network):
    with pytest.raises(Unavailable, match="no miner answers there"):
        asked(network, "127.0.6.1", 5)
    network.stream("127.0.6.2", network.ports.api, lambda peer: peer.recv(4095) and b"")
    with pytest.raises(NotPermitted, match="access list"):
        asked(network, "127.0.6.2", 5)
    network.api(
        "127.0.6.3", dict.fromkeys(("version", "summary", "stats", "devdetails"), b'{"a":1}')
    )
    with pytest.raises(ProtocolError, match="no dialect knows"):
        asked(network, "127.0.6.3", 5)


def test_a_whatsminer_that_lies_about_its_length(network):
    def answer(said):
        return lambda peer: peer.recv(4095) and said

    for number, (said, why) in enumerate(
        (
            (b"\xff\xff\xff\xff{}", "4294967295 bytes"),
            (b"\0\0\0\0", "0 bytes"),
            (b"\x10\0\0\0{}", "cut off after 2 of 16"),
            (b"\x02\0\0\0[]", "no object"),
            (b"", "cut off after 0 of 4"),
        ),
        1,
    ):
        host = f"127.0.7.{number}"
        network.stream(host, network.ports.whatsminer, answer(said))
        with pytest.raises(ProtocolError, match=why):
            whatsminer.ask(host, "get.device.info", port=network.ports.whatsminer)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("asic", "scan", "127.0.0.1/32", "--deadline"),
        ("simulate", "--lie"),
        ("simulate", "--reject"),
        ("simulate", "--power"),
        ("evaluate", "asic:127.0.0.1", "--efficiency"),
    ],
    ids=lambda arguments: arguments[-1],
)
def test_an_option_that_is_a_number_is_a_finite_one(number, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli(args=[*arguments, number], prog_name="hwkit")
    assert ended.value.code == 2
    assert arguments[-1] in capsys.readouterr().err
