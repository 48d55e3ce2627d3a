"""The API of a simulated miner, byte for byte: asked over raw sockets, read with json alone."""

import json
import socket

import pytest
from scripted_pool import ScriptedPool, ask, said, until
from simulated import simulated, simulated_process

from hwkit.errors import PlanError, ProtocolError, RecordError
from hwkit.hashers.asic import dialects
from hwkit.simulate.api import Api
from hwkit.simulate.behaviour import Behaviour
from hwkit.simulate.dialect import Dialect, names
from hwkit.simulate.hashing import usual_kernel
from hwkit.simulate.malformed import MALFORMATIONS
from hwkit.simulate.miner import Miner
from hwkit.simulate.pools import Pools, Refused, read_pool
from hwkit.wire import cgminer

NOWHERE = ("stratum+tcp://127.0.0.1:1,first,secret1", "127.0.0.1:2,second,secret2")
BY_API = [name for name in names() if Dialect.named(name).has_api]


def switched_off(dialect="cgminer", state=None, **behaviour):
    """A miner that answers when asked in this thread, and does nothing else."""
    pools = Pools([read_pool(text) for text in NOWHERE], state)
    return Miner(Dialect.named(dialect), Behaviour(**behaviour), pools, usual_kernel())


def reply(miner, command, parameter=""):
    raw = Api(miner).reply(json.dumps({"command": command, "parameter": parameter}).encode())
    return json.loads(raw[:-1])


def status(miner, command, parameter=""):
    first = reply(miner, command, parameter)["STATUS"][0]
    return first["STATUS"], first["Code"], first["Msg"]


def test_it_frames_as_cgminer_does():
    with simulated(pools=NOWHERE) as miner:
        port = miner.api_port
        assert ask(port, b'{"command":"version"}').endswith(b',"id":1}\0')
        assert ask(port, b"version").endswith(b"CGMiner=4.11.1,API=3.7|\0")
        assert ask(port, b'{"command":"version"}\n') == ask(port, b'{"command":"version"}')
        for request, code in (
            (b'{"command":"version"}\0', 23),
            (b'{"command":', 23),
            (b'{"command":"' + b"x" * 5000 + b'"}', 23),
            (b"{}", 24),
            (b'{"command":"VERSION"}', 14),
        ):
            assert json.loads(ask(port, request)[:-1])["STATUS"][0]["Code"] == code
        assert b"Code=14" in ask(port, b"version\n")
        # Whoever connects and asks nothing keeps the others waiting, until it leaves.
        idle = socket.create_connection(("127.0.0.1", port))
        with idle, socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"version")
            other.settimeout(0.3)
            with pytest.raises(TimeoutError):
                other.recv(1)
        assert ask(port, b"version")


def test_one_answer_holds_several():
    miner = switched_off()
    joined = reply(miner, "version+nosuch++addpool+version+pools")
    assert list(joined) == ["version", "nosuch", "addpool", "pools", "id"]
    assert joined["version"][0]["VERSION"][0]["API"] == "3.7"
    assert joined["addpool"][0]["STATUS"][0]["Code"] == 14
    text = Api(miner).reply(b"version+pools")
    assert text.startswith(b"CMD=version|STATUS=S,")
    assert b"|CMD=pools|STATUS=S,When=" in text


def test_its_text_form_escapes():
    miner = switched_off()
    assert b"Code=55" in Api(miner).reply(rb"addpool|127.0.0.1:3,a\,b|c=d\\,x")
    assert miner.pools.list[2].user == "a,b|c=d\\"
    assert rb"User=a\,b\|c\=d\\," in Api(miner).reply(b"pools")
    assert reply(miner, "pools")["POOLS"][2]["User"] == "a,b|c=d\\"


def test_pools_are_changed_as_cgminer_changes_them():
    miner = switched_off()
    urls = lambda: [pool.url for pool in miner.pools.by_priority]  # noqa: E731
    assert status(miner, "addpool") == ("E", 52, "Missing addpool details")
    assert status(miner, "addpool", "x")[:2] == ("E", 53)
    added = status(miner, "addpool", "127.0.0.1:3,c,d")
    assert added == ("S", 55, "Added pool 2: '127.0.0.1:3'")
    assert status(miner, "switchpool", 2)[:2] == ("S", 27)
    assert urls() == ["127.0.0.1:3", "stratum+tcp://127.0.0.1:1", "127.0.0.1:2"]
    assert status(miner, "poolpriority", "1,2")[:2] == ("S", 73)
    assert urls() == ["127.0.0.1:2", "127.0.0.1:3", "stratum+tcp://127.0.0.1:1"]
    assert status(miner, "poolpriority", "1,1")[:2] == ("E", 74)
    assert status(miner, "switchpool")[:2] == ("E", 25)
    assert status(miner, "switchpool", 9) == ("E", 26, "Invalid pool id 9 - range is 0 - 2")
    assert status(miner, "disablepool", 1)[:2] == ("S", 48)
    assert status(miner, "disablepool", 1)[:2] == ("I", 50)
    assert status(miner, "enablepool", 1)[:2] == ("S", 47)
    assert status(miner, "enablepool", 1)[:2] == ("I", 49)
    miner.pools.list[0].active = True
    assert status(miner, "removepool", 0)[:2] == ("E", 67)
    assert status(miner, "removepool", 1)[:2] == ("S", 68)
    assert [pool.url for pool in miner.pools.list] == ["stratum+tcp://127.0.0.1:1", "127.0.0.1:3"]
    assert status(miner, "removepool", 1)[:2] == ("S", 68)
    assert status(miner, "removepool", 0)[:2] == ("E", 66)
    assert status(miner, "disablepool", 0)[:2] == ("E", 51)
    assert "secret" not in json.dumps(reply(miner, "pools"))


def test_what_it_may_not_change_it_says():
    locked = switched_off(writable=False)
    for command in ("addpool", "switchpool", "removepool", "privileged", "restart"):
        denied = ("E", 45, f"Access denied to '{command}' command")
        assert status(locked, command, "127.0.0.1:3,c,d") == denied
    assert len(locked.pools) == 2
    assert status(switched_off(), "privileged")[:2] == ("S", 46)
    stock = switched_off("bitmain")
    assert status(stock, "config")[:2] == ("E", 45)
    assert status(stock, "addpool", "127.0.0.1:3,c,d")[:2] == ("E", 45)
    assert reply(stock, "check", "config")["CHECK"] == [{"Exists": "Y", "Access": "N"}]
    whole = reply(switched_off("whatsminer"), "addpool", "127.0.0.1:3,c,d")
    assert (whole["STATUS"], whole["Code"]) == ("E", 45)


@pytest.mark.parametrize("name", BY_API)
def test_every_answer_is_one_that_its_make_gives(name):
    read_as = {"bitmain": "antminer", "whatsminer2": "whatsminer"}.get(name, name)
    miner = switched_off(name)
    for command in miner.dialect.words["reply"]:
        if status_of(reply(miner, command)) == "E":
            continue  # not for everybody
        assert Api(miner).reply(command.encode()).endswith(b"|\0")
    answers = {
        each.name: cgminer.parse(
            Api(miner).reply(json.dumps({"command": each.command or each.name}).encode())
        )
        for each in dialects.dialects()[read_as].commands
        if each.via == "cgminer"
    }
    found = dialects.recognise(answers)
    assert found.name == read_as
    told = found.read(answers)
    assert told.elapsed_s is not None
    assert [pool.user for pool in told.pools] == ["first", "second"]


def status_of(document):
    first = document["STATUS"]
    return first if isinstance(first, str) else first[0]["STATUS"]


@pytest.mark.parametrize("name", MALFORMATIONS)
def test_it_spoils_its_answers_as_told(name):
    dialect = "whatsminer" if name in {"colon-list", "overflow", "power-minus-1"} else "bitmain"
    request = b"summary" if dialect == "whatsminer" or name == "wrapped" else b"stats"
    request = b'{"command":"%b"}' % request
    good = Api(switched_off(dialect)).reply(request)
    bad = Api(switched_off(dialect, malformed=name)).reply(request)
    assert json.loads(good[:-1])
    try:
        document = json.loads(bad.removesuffix(b"\0"))
    except ValueError:
        document = None
    if name in {"text-numbers", "wrapped", "power-minus-1", "no-nul"}:
        assert document is not None
        assert bad != good
        return
    assert document is None
    if name in {"empty", "truncated"}:
        with pytest.raises(ProtocolError):
            cgminer.parse(bad)
        return
    mended = cgminer.parse(bad)
    assert mended.repairs
    assert name in {"end-only", "overflow"} or set(cgminer.parse(good).document) <= set(
        mended.document
    )


def test_a_power_cut_leaves_it_as_configured(tmp_path):
    state = tmp_path / "miner.json"
    arguments = ["--state", state, "--dialect", "cgminer"]
    with simulated_process("--pool", NOWHERE[0], *arguments) as process:
        assert said(process.api_port, "addpool", NOWHERE[1])["STATUS"][0]["Code"] == 55
        assert said(process.api_port, "switchpool", 1)["STATUS"][0]["Code"] == 27
        process.kill()
    with simulated_process(*arguments) as process:
        rows = said(process.api_port, "pools")["POOLS"]
        assert [(row["User"], row["Priority"]) for row in rows] == [("first", 1), ("second", 0)]
    assert json.loads(state.read_text())["pools"][1]["password"] == "secret2"
    state.write_text("[]")
    with pytest.raises(RecordError, match="no state"):
        Pools([], state)


def test_it_forgets_as_cgminer_does_what_was_not_saved(tmp_path):
    pools = Pools([read_pool(NOWHERE[0])], tmp_path / "state", forgets=True)
    pools.add(NOWHERE[1])
    assert len(Pools([], tmp_path / "state")) == 1
    pools.boot()
    assert len(pools) == 1
    pools.add(NOWHERE[1])
    pools.save()
    pools.boot()
    assert len(pools) == len(Pools([], tmp_path / "state")) == 2


def test_it_reboots_and_counts_anew():
    with (
        ScriptedPool() as pool,
        simulated(pools=[pool.own()], reboot_at_s=1.0, reboot_takes_s=0.3) as miner,
    ):
        first = miner.counters
        until(lambda: miner.counters is not first)
        before = len(pool.shares)
        until(lambda: len(pool.shares) > before)
        assert said(miner.api_port, "summary")["SUMMARY"][0]["Accepted"] <= len(pool.shares)
        assert miner.counters.hashes < first.hashes + miner.counters.hashes
        assert miner.counters.began > first.began


def test_it_is_gone_while_it_reboots():
    with simulated(reboot_at_s=0.0, reboot_takes_s=3600.0) as miner:
        until(lambda: is_gone(miner.api_port))


def is_gone(port):
    try:
        return not ask(port, b"version")
    except OSError:
        return True


def test_a_change_of_pools_may_cost_a_reboot():
    with (
        ScriptedPool() as pool,
        simulated(pools=[NOWHERE[0]], reboots_on_pool_change=True, reboot_takes_s=0.2) as miner,
    ):
        first = miner.counters
        assert said(miner.api_port, "addpool", pool.own())["STATUS"][0]["Code"] == 55
        until(lambda: miner.counters is not first)
        until(pool.good)


def test_its_rate_rises_while_it_tunes_and_falls_when_throttled():
    behaviour = Behaviour(rate_h_s=100.0, tuning_s=10.0, throttle=(20.0, 0.25), stall_s=30.0)
    assert [behaviour.rate_at(s) for s in (0, 5, 10, 19.9, 20)] == [50, 75, 100, 100, 25]
    assert [behaviour.tuning_at(s) for s in (0, 9.9, 10)] == [True, True, False]
    assert [behaviour.stalled_at(s) for s in (0, 29.9, 30)] == [False, False, True]
    tuning = switched_off("luxos", tuning_s=1000.0)
    assert reply(tuning, "config")["CONFIG"][0]["IsTuning"] is True
    assert reply(switched_off("luxos"), "config")["CONFIG"][0]["IsTuning"] is False


def test_it_claims_the_power_that_it_is_told_to():
    assert (
        reply(switched_off("whatsminer", power_w=1234.0), "summary")["SUMMARY"][0]["Power"] == 1234
    )
    stats = reply(switched_off("avalon", power_w=1234.0), "stats")["STATS"][0]["MM ID0"]
    assert "WALLPOWER[1234]" in stats


def test_an_avalon_is_set_by_ascset():
    miner = switched_off("avalon")
    assert status(miner, "ascset", "0,workmode,set,2")[:2] == ("S", 119)
    assert "WORKMODE[2]" in reply(miner, "stats")["STATS"][0]["MM ID0"]
    words = "0,setpool,root,root,0,stratum+tcp://127.0.0.1:7,u,p"
    assert status(miner, "ascset", words)[:2] == ("S", 119)
    assert miner.pools.list[0].user == "first"  # until it starts again
    miner.pools.boot()
    assert miner.pools.list[0].url == "stratum+tcp://127.0.0.1:7"
    assert status(miner, "ascset", "0,setpool,nonsense")[:2] == ("E", 120)
    assert status(switched_off(), "ascset", "0,workmode,set,2")[:2] == ("E", 14)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lie": -1.0},
        {"reject": 1.0},
        {"rate_h_s": 0.0},
        {"malformed": "x"},
        {"throttle": (1.0, 2.0)},
    ],
)
def test_what_no_miner_can_do_is_refused(wrong):
    with pytest.raises(PlanError):
        Behaviour(**wrong)


@pytest.mark.parametrize("url", ["", "x", "http://x:1", "x:0", "x:99999", "stratum+ssl://x:1"])
def test_what_is_no_pool_is_refused(url):
    with pytest.raises(PlanError):
        read_pool(f"{url},u,p")
    with pytest.raises(Refused):
        Pools([]).add(f"{url},u,p")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rate", "fast"], "write 5MH/s"),
        (["--throttle", "60s"], "AFTER:FACTOR"),
        (["--pool", "x"], "URL,USER,PASS"),
        (["--lie", "-1"], "lie"),
    ],
)
def test_bad_arguments_get_one_line(hwkit, arguments, complaint):
    done = hwkit("simulate", *arguments, store=None)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
