"""A Whatsminer's pools: as they were, with passwords that nobody keeps, whatever dies, and when."""

import json
import time

import pytest
from fake_whatsminer import OWN, PASSWORD, WORDS, FakeWhatsminer
from scripted_pool import ScriptedPool
from simulated import simulated_process

from hwkit.errors import DeviceFault, NoDriver, NotPermitted, Unavailable
from hwkit.hashers.asic import asking, pools, pools_whatsminer, restore, ways
from hwkit.hashers.asic.pools import Bench, ByHand, Elsewhere
from hwkit.hashers.asic.pools_whatsminer import Whatsminer2Way, WhatsminerWay
from hwkit.wire import cgminer, whatsminer
from hwkit.wire.http import Refused
from hwkit.wire.whatsminer_writes import Closed

pytestmark = [pytest.mark.needs(module="cryptography"), pytest.mark.needs(module="passlib")]
BENCH = Bench("127.0.0.1", 9, "hwkit.test")
PATIENCE_S = 60  # for what a busy machine may take its time with
VERSIONS = [2, 3]
SECRETS = [PASSWORD, *(password for _, _, password in OWN)]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch, credentials):
    monkeypatch.setenv("HWKIT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(pools, "SOON_S", 0.01)
    monkeypatch.setattr(pools, "AWAY_S", 0.02)
    monkeypatch.setattr(pools_whatsminer, "TAKEN_UP_S", 0.05)
    monkeypatch.setattr(pools_whatsminer, "SETTLED_S", 0.2)
    monkeypatch.setattr(pools_whatsminer, "UNREAD_S", 0.05)
    credentials(**WORDS)
    return tmp_path / "state" / "restore"


def choose(fake):
    return ways.choose("127.0.0.1", fake.port, 1)


def kept(fake):
    way = choose(fake)
    return way, restore.Pending("127.0.0.1", fake.port, 1, way.name, BENCH, way.read())


def to_bench(way, own):
    assert pools.until(lambda: way.toward_bench(own, BENCH), PATIENCE_S)


def files(state):
    return sorted(each.name for each in state.glob("*"))


@pytest.mark.parametrize("version", VERSIONS)
def test_its_first_pool_is_exchanged_and_put_back(version, state):
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        way, pending = kept(fake)
        assert way.name == f"whatsminer{version}"
        with pending.kept():
            text = next(state.iterdir()).read_text()
            to_bench(way, pending.own)
            assert fake.running == [(BENCH.url, BENCH.user, "x"), *OWN[1:]]
            ways.put_back(pending)
        assert fake.state() == before
        assert files(state) == []
    assert not any(secret in text for secret in SECRETS)
    changes = [each for each in fake.asked if each in {"update_pools", "set.miner.pools"}]
    assert len(changes) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", [1, 2])
def test_fewer_pools_than_three(version, count):
    with FakeWhatsminer(version, own=OWN[:count]) as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            assert len(fake.running) == count
            ways.put_back(pending)
        assert fake.state() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_takes_it_up_at_its_next_start_is_restarted_once(version):
    with FakeWhatsminer(version, takes="start") as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            assert fake.running[0][0] == BENCH.url
            ways.put_back(pending)
        assert fake.state() == before
    restarts = [each for each in fake.asked if each in {"restart_btminer", "set.miner.service"}]
    assert len(restarts) == 2


class Died(BaseException):
    """What a kill is to code that runs: nothing after it is done, not even what `except` holds."""


def dying(monkeypatch, requests):
    """Let this process die at a request, before it is sent or after it was answered."""
    asked = []

    def wrapped(real):
        def ask(*arguments, **named):
            asked.append(arguments)
            if len(asked) > requests // 2 and requests % 2 == 0:
                raise Died
            reply = real(*arguments, **named)
            if len(asked) > requests // 2:
                raise Died
            return reply

        return ask

    for module, name in ((cgminer, "ask"), (cgminer, "send"), (whatsminer, "ask")):
        monkeypatch.setattr(module, name, wrapped(getattr(module, name)))


@pytest.mark.parametrize("takes", ["at once", "start", "reboot"])
@pytest.mark.parametrize("version", VERSIONS)
def test_whichever_request_it_dies_at(version, takes, state, monkeypatch):
    died = 0
    with FakeWhatsminer(version, takes=takes) as fake:
        before = fake.state()
        for requests in range(26):
            way, pending = kept(fake)
            with monkeypatch.context() as patch:
                dying(patch, requests)
                try:
                    with pending.kept():
                        to_bench(way, pending.own)
                        ways.put_back(pending)
                except Died:
                    died += 1
            for each in restore.abandoned():
                ways.put_back(each)
            time.sleep(fake.away_s if takes == "reboot" else 0)
            assert fake.state() == before, requests
            assert files(state) == []
            fake.restart()  # whatever waits for that: nothing may
            assert fake.state() == before, requests
            time.sleep(fake.away_s)
    assert died > 12  # at each request there is, and then some


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("version", "command"),
    [
        *((2, command) for command in ("get_token", "update_pools", "restart_btminer", "pools")),
        *((3, command) for command in ("get.device.info", "set.miner.pools", "set.miner.service")),
    ],
)
def test_a_connection_that_is_cut(version, command, when, state):
    with FakeWhatsminer(version, takes="start" if "re" in command[5:] else "at once") as fake:
        before = fake.state()
        way, pending = kept(fake)
        cuts = [when]
        fake.cut = lambda asked: cuts.pop() if asked == command and cuts else None
        with pending.kept():
            to_bench(way, pending.own)
            ways.put_back(pending)
        assert fake.state() == before
        assert files(state) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_restoring_twice_is_harmless(version):
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            ways.put_back(pending)
            ways.put_back(pending)
        assert fake.state() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_what_its_owner_has_changed_meanwhile_stays(version):
    new = ("stratum+tcp://new.example:3333", "owner.new", "n")
    with FakeWhatsminer(version) as fake:
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            fake.tell([new, *OWN[1:]])
            with pytest.raises(Elsewhere, match=r"new\.example"):
                ways.put_back(pending)
            fake.tell([fake.running[0], new, OWN[2]])
            fake.tell([(BENCH.url, BENCH.user, "x"), *fake.running[1:]])
            ways.put_back(pending)
        assert [pool[0] for pool in fake.running] == [OWN[0][0], new[0], OWN[2][0]]


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_is_looked_at_while_it_exchanges_its_pools(version):
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            fake.running = OWN[1:]
            way = choose(fake)
            assert not way.toward_own(pending.own, BENCH)
            fake.running = fake.configured
            assert pools.until(lambda: way.toward_own(pending.own, BENCH), PATIENCE_S)
        assert fake.state() == before


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (["password"], "password of"),
        (["pool_password", "pool_password_2", "pool_password_3"], "pool_password_1"),
        (["pool_password_3", "pool_password"], "pool_password_1"),
    ],
)
def test_without_its_passwords_nothing_is_changed(version, absent, said, credentials):
    credentials(**{word: what for word, what in WORDS.items() if word not in absent})
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        with pytest.raises(NotPermitted, match=said) as raised:
            choose(fake).read()
        assert "credentials.toml" in str(raised.value)
        assert "--manual" in str(raised.value)
        assert str(raised.value).isprintable()
        assert not any(secret in str(raised.value) for secret in SECRETS)
        assert fake.state() == before


@pytest.mark.parametrize("word", ["password", "pool_password"])
def test_without_its_passwords_it_waits_for_them_and_is_put_back_then(word, credentials, state):
    with FakeWhatsminer() as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
        credentials(**{known: what for known, what in WORDS.items() if known != word})
        began = time.monotonic()
        with pytest.raises(NotPermitted, match="--manual"):
            ways.put_back(pending)
        assert time.monotonic() - began < PATIENCE_S  # not tried until it is there
        assert len(files(state)) == 1
        credentials(**WORDS)
        ways.put_back(pending)
        assert fake.state() == before
        assert files(state) == []


def test_one_password_is_enough_for_all(credentials):
    credentials(password=PASSWORD, pool_password="pool-secret-1")
    with FakeWhatsminer(own=[(url, user, "pool-secret-1") for url, user, _ in OWN]) as fake:
        before = fake.state()
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            ways.put_back(pending)
        assert fake.state() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_what_could_not_be_put_back_is_refused(version):
    more = [*OWN, ("stratum+tcp://four.example:1", "four", "4")]
    for own, why in ((more, "4 pools"), ([], "no pool of its own")):
        with FakeWhatsminer(version, own=own) as fake, pytest.raises(NotPermitted, match=why):
            choose(fake).read()


def test_one_that_serves_all_its_pools_is_refused():
    with FakeWhatsminer(3) as fake:
        fake.strategy = "BALANCE"
        with pytest.raises(NotPermitted, match="BALANCE"):
            choose(fake).read()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_closed_api_and_a_wrong_password_end_it_at_once(version, credentials, state):
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        way, pending = kept(fake)
        fake.is_open = False
        with pending.kept():
            with pytest.raises(Closed):
                to_bench(way, pending.own)
            assert ways.put_back(pending)  # it has its own, and nobody has to wait for it
        assert files(state) == []
        fake.is_open = True
        credentials(**(WORDS | {"password": "wrong-one"}))
        way, pending = kept(fake)
        with pending.kept():
            with pytest.raises(Refused):
                to_bench(way, pending.own)
            assert ways.put_back(pending)
        assert files(state) == []
        assert fake.state() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_is_closed_before_it_has_its_own_pools_back_stays_on_the_list(version, state):
    with FakeWhatsminer(version) as fake:
        way, pending = kept(fake)
        with pending.kept():
            to_bench(way, pending.own)
            fake.is_open = False
            with pytest.raises(NotPermitted, match="WhatsMinerTool"):
                ways.put_back(pending)
        assert len(files(state)) == 1


def test_what_it_will_not_be_told_is_told_to_the_user():
    with FakeWhatsminer() as fake:
        way, pending = kept(fake)
        fake.sealed = lambda _: {"STATUS": "E", "Code": 132, "Msg": "parse pools param error"}
        with pytest.raises(ByHand, match=r"param error: set its pool by hand"):
            to_bench(way, pending.own)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_whose_answers_cannot_be_read_is_not_told_for_ever(version):
    command = {2: "update_pools", 3: "set.miner.pools"}[version]
    with FakeWhatsminer(version) as fake:
        before = fake.state()
        way, pending = kept(fake)
        fake.says[command] = b'{"enc":"?"}'
        with pending.kept():
            with pytest.raises(ByHand, match=r"3 times: set its pool by hand"):
                to_bench(way, pending.own)
            assert fake.asked.count(command) == 3
            ways.put_back(pending)  # it shows its own
        assert fake.asked.count(command) == 6
        assert fake.state() == before


def test_pools_that_it_could_not_be_told_again_are_refused():
    own = [(url, "x" * 3000, password) for url, _, password in OWN[:1]]
    with FakeWhatsminer(own=own) as fake:
        with pytest.raises(NotPermitted, match="too long"):
            choose(fake).read()
        assert "update_pools" not in fake.asked


def test_one_that_shows_no_pools_while_it_starts_is_waited_for(monkeypatch):
    monkeypatch.setattr(WhatsminerWay, "patience_s", 0.3)
    with FakeWhatsminer() as fake:
        way, pending = kept(fake)
        fake.running = []
        with pytest.raises(DeviceFault, match="just starting"):
            pools.until(lambda: way.toward_bench(pending.own, BENCH), 0.1)
        assert fake.configured == OWN


def test_api_1_without_tokens_stays_with_the_hand():
    with FakeWhatsminer() as fake:
        fake.api = "whatsminer v1.4.0"
        fake.says["get_token"] = b'{"STATUS":"E","When":1,"Code":14,"Msg":"invalid cmd"}'
        with pytest.raises(NotPermitted, match="--manual"):
            choose(fake)
        del fake.says["get_token"]
        assert isinstance(choose(fake), Whatsminer2Way)  # with them it speaks as API 2 does


def test_what_encrypts_may_be_missing(monkeypatch):
    monkeypatch.setattr(ways, "find_spec", lambda name: None if name == "passlib" else name)
    with FakeWhatsminer() as fake, pytest.raises(NoDriver, match=r"hwkit\[whatsminer\]"):
        choose(fake)


@pytest.mark.parametrize(
    "rows",
    [
        b'{"POOLS":7}',
        b'{"POOLS":[{"POOL":"x"}]}',
        b'{"POOLS":[[]]}',
        b"[]",
        b'{"POOLS":[{"URL":1}]}',
    ],
)
def test_pools_that_make_no_sense(rows):
    with FakeWhatsminer() as fake:
        way = choose(fake)
        fake.says["pools"] = rows
        with pytest.raises((DeviceFault, Unavailable)):
            way.read()


@pytest.mark.parametrize(
    "rows",
    [
        b'{"code":0,"msg":{"pools":7}}',
        b'{"code":0,"msg":[]}',
        b'{"code":0}',
        b'{"code":0,"msg":{"pools":[{"url":"a"}]}}',
        b'{"code":0,"msg":{"pools":[{"url":"a","account":"b","pool-priority":"c"}]}}',
    ],
)
def test_pools_of_api_3_that_make_no_sense(rows):
    with FakeWhatsminer(3) as fake:
        way = choose(fake)
        fake.says["get.miner.status"] = rows
        with pytest.raises(DeviceFault):
            way.read()


# Against `hwkit simulate`.


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bench_from_end_to_end_leaves_no_password_anywhere(
    version, hwkit, tmp_path, state, monkeypatch
):
    monkeypatch.setenv("HWKIT_SIMULATE_PASSWORD", PASSWORD)
    mine = tmp_path / "simulated.json"
    with ScriptedPool() as one, ScriptedPool() as two:
        own = [f"--pool={one.url},me.1,pool-secret-1", f"--pool={two.url},me.2,pool-secret-2"]
        flags = ["--dialect", f"whatsminer{version}", "--rate", "500kH/s", "--state", mine, *own]
        with simulated_process(*flags) as miner:
            before = json.loads(mine.read_text())["pools"]
            address = f"asic:127.0.0.1:{miner.api_port}"
            done = hwkit("bench", address, "--time", "3s", "--warmup", "0s", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(mine.read_text())["pools"] == before
            shown = asking.Miner("127.0.0.1", asking.Ports(api=miner.api_port)).read().pools
    assert [pool.url for pool in shown] == [one.url, two.url]
    [record] = json.loads(done.stdout)["records"]
    assert record["figures"]["hashrate"]["value"] > 0
    assert files(state) == []
    mine.unlink()
    (tmp_path / "credentials.toml").unlink()
    left = [done.stdout, done.stderr]
    left += [each.read_bytes().decode("latin-1") for each in tmp_path.rglob("*") if each.is_file()]
    assert (tmp_path / "records.sqlite").exists()  # the store: there is something to look at
    assert not any(secret in text for text in left for secret in SECRETS)
