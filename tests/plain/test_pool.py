"""The bench pool, met by a client that shares no code with it."""

import itertools
import json
import random
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from stratum_miner import DEADLINE_S, Miner

from hwkit.errors import NotPermitted, PlanError
from hwkit.protocols import Assigned, Link, Submission, Verdict
from hwkit.sha256d import sha256d
from hwkit.wire import stratum, stratum_jobs
from hwkit.wire.stratum import Pool, addresses_of, local_address_to
from hwkit.wire.stratum_connection import Limits
from hwkit.wire.stratum_jobs import Jobs, OneTemplate, Sent
from hwkit.work import MAX_TARGET, Job, Target

EASY = 2.0**-26  # one hash in 64 is a share
CONVERSATIONS = Path(__file__).parent / "conversations"
JOB = Job.create(
    seed=b"test",
    ntime=1_700_000_000,
    target=Target(MAX_TARGET),
    challenge="for the test",
    extranonce2_size=4,
)


@pytest.fixture
def serve():
    """Return a function that starts a pool; all are closed at the end."""
    pools = []

    def start(difficulty=EASY, **options):
        pools.append(Pool(OneTemplate(JOB), difficulty, **options).start())
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.fixture
def meet():
    """Return a function that connects a miner."""
    miners = []

    def connect(pool, *args, handshake=True, **options):
        miners.append(Miner(pool.address, *args, **options))
        return miners[-1].handshake() if handshake else miners[-1]

    yield connect
    for miner in miners:
        miner.close()


def until(pool, enough, events=None):
    """Take events until there are enough."""
    events = [] if events is None else events
    deadline = time.monotonic() + DEADLINE_S
    while not enough(events):
        assert time.monotonic() < deadline, events
        events += pool.take()
        time.sleep(0.005)
    return events


def submissions(events):
    return [event for event in events if isinstance(event, Submission)]


def links(events, what):
    return [event for event in events if isinstance(event, Link) and event.what == what]


def test_every_verdict_and_its_event(serve, meet):
    pool = serve()
    miner = meet(pool, mask="1fffe000")
    old = miner.jobs[0]
    good = miner.share(bits=0x2000)
    said = {
        "good": miner.submit(good),
        "duplicate": miner.submit(good),
        "low": miner.submit(miner.share(meets=False)),
        "outside": miner.submit([*miner.share(), "00000001"]),
    }
    pool.new_block()
    miner.await_jobs(2)
    said["stale"] = miner.submit(miner.share(old, skip=1000))
    said["stale and low"] = miner.submit(miner.share(old, meets=False))
    assert said["good"]["result"] is True
    assert said["good"]["error"] is None
    codes = {name: answer["error"] and answer["error"][0] for name, answer in said.items()}
    assert codes == {"good": None, "duplicate": 22, "low": 23, "outside": 20} | {
        "stale": 21,
        "stale and low": 23,
    }
    events = submissions(until(pool, lambda seen: len(submissions(seen)) == 6))
    verdicts = [event.verdict.value for event in events]
    assert verdicts == ["good", "duplicate", "low", "wrong", "stale", "low"]
    assert b"00000001" in events[3].raw
    assert events[3].share is None
    for event in events[:3] + events[4:]:
        assert event.digest == sha256d(JOB.header(event.share))
        assert event.took_ns >= 0
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_a_share_is_what_its_wire_says(serve, meet):
    pool = serve()
    miner = meet(pool, mask="1fffe000")
    draw = random.Random(1)
    headers = []
    for _ in range(40):
        roll, late_s = draw.randbytes(4), draw.randrange(600)
        bits = draw.getrandbits(16) << 13
        params = miner.share(extranonce2=roll, late_s=late_s, bits=bits)
        job = miner.jobs[-1]
        assert miner.submit(params)["result"] is True
        headers.append(miner.header(job, roll, int(params[3], 16), int(params[4], 16), bits))
    events = until(pool, lambda seen: len(submissions(seen)) == 40)
    assert [JOB.header(event.share) for event in submissions(events)] == headers
    targets = {e.serial: e.target for e in events if isinstance(e, Assigned)}
    assert all(targets[e.share.serial].is_met_by(e.digest) for e in submissions(events))


WRONG = {
    "no such job": lambda p: [p[0], "ffffffff", *p[2:]],
    "nTime before the job": lambda p: [*p[:3], f"{int(p[3], 16) - 1:08x}", p[4]],
    "nTime rolled too far": lambda p: [*p[:3], f"{int(p[3], 16) + 601:08x}", p[4]],
    "a long extranonce2": lambda p: [*p[:2], "00" * 5, *p[3:]],
    "a short extranonce2": lambda p: [*p[:2], "00" * 3, *p[3:]],
    "no hex": lambda p: [*p[:2], "zzzzzzzz", *p[3:]],
    "spaces for hex": lambda p: [*p[:2], "00 00 00", *p[3:]],
    "an extranonce2 with a space": lambda p: [*p[:2], "00 000 0", *p[3:]],
    "other digits": lambda p: [*p[:4], "\u0660000000\u0661"],
    "an underscore": lambda p: [*p[:4], "0000_001"],
    "a space": lambda p: [*p[:4], " 0000001"],
    "a sign": lambda p: [*p[:4], "+0000001"],
    "0x": lambda p: [*p[:4], "0x000001"],
    "a line's end": lambda p: [*p[:4], "0000001\n"],
    "a negative nonce": lambda p: [*p[:4], "-0000001"],
    "a long nonce": lambda p: [*p[:4], "000000001"],
    "numbers": lambda p: [*p[:3], int(p[3], 16), 5],
    "version bits that were not granted": lambda p: [*p, "00002000"],
    "too few": lambda p: p[:4],
    "no list": lambda _: {"job": 1},
    "nothing": lambda _: None,
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_share_is_wrong_and_kept(serve, meet, what):
    pool = serve()
    miner = meet(pool)
    answer = miner.submit(WRONG[what](miner.share()))
    assert answer["result"] is None
    assert answer["error"][0] in {20, 21}
    [event] = submissions(until(pool, submissions))
    assert (event.verdict, event.share) == (Verdict.WRONG, None)
    assert b"mining.submit" in event.raw
    assert miner.submit(miner.share())["result"] is True  # and it can go on


STEPS = ("configure", "subscribe", "authorize")


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_any_order_of_the_first_messages(serve, meet, order):
    miner = meet(serve(), handshake=False, mask="1fffe000")
    for step in order:
        if step == "configure":
            options = {"version-rolling.mask": "00ffffff", "version-rolling.min-bit-count": 2}
            answer = miner.ask("mining.configure", [["version-rolling", "info"], options])
            assert answer["result"]["version-rolling"] is True
            assert answer["result"]["version-rolling.mask"] == "00ffe000"
            miner.mask = "00ffe000"
        elif step == "subscribe":
            miner.subscribe()
            assert miner.size == 4
        else:
            assert miner.ask("mining.authorize", ["a", "b"])["result"] is True
    miner.await_jobs(1)
    miner.ask("mining.ping", [])
    # The mask never before it is authorized, the difficulty always before the job.
    expected = ["mining.set_version_mask", "mining.set_difficulty", "mining.notify"]
    if order[-1] == "configure":
        expected = expected[1:] + expected[:1]
    assert miner.told == expected
    assert miner.submit(miner.share(bits=0x2000))["result"] is True


@pytest.mark.parametrize("number", [7, "seven", None, 4, 2**70])
def test_an_id_comes_back_as_it_was(serve, meet, number):
    miner = meet(serve())
    miner.say(id=number, method="mining.submit", params=miner.share())
    miner.say(id=number, method="mining.submit", params=miner.share(skip=99))
    assert [miner.hear_answer()["id"] for _ in range(2)] == [number, number]


@pytest.mark.parametrize("number", [[1], {"a": 1}, 1.5])
def test_an_id_that_is_none_is_null(serve, meet, number):
    miner = meet(serve())
    miner.say(id=number, method="mining.submit", params=miner.share())
    assert miner.hear_answer() == {"id": None, "result": True, "error": None}


def test_answers_come_in_order(serve, meet):
    """Minerd gives every submit the id 4: what an answer is to, only its place says."""
    miner = meet(serve())
    shares = [miner.share(meets=draw, skip=300 * n) for n, draw in enumerate([1, 0, 1, 1, 0, 0, 1])]
    lines = [json.dumps({"id": 4, "method": "mining.submit", "params": each}) for each in shares]
    miner.wire.sendall("\n".join([*lines, ""]).encode())
    answers = [miner.hear_answer()["result"] is True for _ in shares]
    assert answers == [True, False, True, True, False, False, True]


def test_what_it_does_not_know_is_answered_and_no_reason_to_part(serve, meet):
    miner = meet(serve())
    assert miner.ask("mining.unheard_of", [1])["error"][0] == -3
    assert miner.ask("mining.get_transactions", [miner.jobs[0][0]])["error"][0] == 20
    assert miner.ask("mining.extranonce.subscribe", [])["result"] is True
    assert miner.ask("mining.ping", [])["result"] == "pong"
    assert "hwkit" in miner.ask("client.get_version", [])["result"]
    miner.wire.sendall(b"\n\xff\xfe\n[1]\n" + b"[" * 5000 + b"\n" + b"1" * 5000 + b"\n{}\n")
    assert miner.submit(miner.share())["result"] is True


@pytest.mark.parametrize(
    ("agent", "answered"),
    [
        ("bitaxe/BM1370/v2.4", True),
        ("cgminer/4.11.1", False),
        ("bfgminer/5.5.0", False),
        ("Antminer S19/1", False),
        (None, False),
    ],
)
def test_a_wish_for_a_difficulty(serve, meet, agent, answered):
    """Cgminer counts an answer that it cannot match as a share that was accepted."""
    miner = meet(serve(), agent)
    miner.say(id=90, method="mining.suggest_difficulty", params=[1000])
    miner.say(id=91, method="mining.ping", params=[])
    assert miner.hear_answer()["id"] == (90 if answered else 91)


def test_a_share_counts_at_the_difficulty_of_its_job(serve, meet):
    pool = serve(2.0**-24)
    miner = meet(pool)
    assert miner.difficulty == 2.0**-24
    pool.set_difficulty(2.0**-30)
    miner.await_jobs(2)
    assert miner.difficulty == 2.0**-30
    assert not miner.jobs[1][8]  # the job before counts on
    hard, easy = miner.jobs
    limit = int(Target.from_difficulty(2.0**-24).value)
    easiest = next(
        params
        for n in itertools.count()
        if int.from_bytes(digest_of(miner, params := miner.share(easy, skip=n)), "little") > limit
    )
    assert miner.submit(easiest)["result"] is True
    assert miner.submit(miner.share(hard, meets=False))["error"][0] == 23
    events = until(pool, lambda seen: len(submissions(seen)) == 2)
    targets = [event.target for event in events if isinstance(event, Assigned)]
    assert targets == [Target.from_difficulty(2.0**-24), Target.from_difficulty(2.0**-30)]


def test_bits_within_the_mask_take_the_place_of_the_jobs_own():
    rolled = Sent(replace(JOB, version=0x3FFFE000), 1, Target(1), 1_700_000_000)
    params = ["u", rolled.id, "00000000", f"{rolled.ntime:08x}", "00000000"]
    assert rolled.read(params, 0x1FFFE000).version == 0x3FFFE000
    assert rolled.read([*params, "00002000"], 0x1FFFE000).version == 0x20002000
    assert rolled.read([*params, "00002000"], 0x00002000).version == 0x3FFFE000


def digest_of(miner, params):
    header = miner.header(miner.jobs[-1], bytes(4), int(params[3], 16), int(params[4], 16))
    return sha256d(header)


@pytest.mark.parametrize(
    ("difficulty", "text"), [(4096, b"[4096]"), (0.0005, b"[0.0005]"), (1.5, b"[1.5]")]
)
def test_a_difficulty_is_whole_where_it_can_be(serve, meet, difficulty, text):
    miner = meet(serve(difficulty), handshake=False)
    miner.subscribe()
    miner.say(id=3, method="mining.authorize", params=["a", "b"])
    lines = [miner.lines.readline() for _ in range(2)]
    assert text in lines[1]


def test_a_difficulty_may_be_one_miners(serve, meet):
    pool = serve()
    miners = [meet(pool) for _ in range(2)]
    pool.set_difficulty(8, connection=2)
    miners[1].await_jobs(2)
    pool.new_block()
    for miner, number in zip(miners, (2, 3), strict=True):
        miner.await_jobs(number)
    assert [miner.difficulty for miner in miners] == [EASY, 8]


def test_serials_and_names_of_jobs_are_one_each(serve, meet):
    pool = serve()
    miners = [meet(pool) for _ in range(3)]
    for miner in miners:
        pool.new_block()
        miner.await_jobs(2)
    miners[0].close()
    again = meet(pool)
    for miner in [*miners[1:], again]:
        miner.await_jobs(1 if miner is again else 4)
    events = until(pool, lambda seen: sum(isinstance(e, Assigned) for e in seen) >= 13)
    serials = [event.serial for event in events if isinstance(event, Assigned)]
    assert len(serials) == len(set(serials))
    names = [job[0] for miner in [*miners, again] for job in miner.jobs]
    assert len(names) == len(set(names))
    assert {len(name) for name in names} == {8}
    assert JOB.serial not in serials


def test_a_miner_that_comes_again_is_stale_with_what_it_had(serve, meet):
    pool = serve()
    before = meet(pool)
    late = before.share()
    before.close()
    until(pool, lambda seen: links(seen, "closed"))
    assert meet(pool).submit(late)["error"][0] == 21


def test_jobs_are_renewed(serve, meet):
    pool = serve(job_s=0.01, block_s=3.0)
    miner = meet(pool)
    miner.await_jobs(4)
    while not miner.jobs[-1][8]:
        miner.hear()
    assert [job[8] for job in miner.jobs[:3]] == [True, False, False]
    assert miner.submit(miner.share(miner.jobs[-2]))["error"][0] == 21


def test_only_so_many_jobs_count_on(serve, meet, monkeypatch):
    pool = serve()
    miner = meet(pool)
    for number in range(stratum_jobs.LIVE):
        pool.set_difficulty(EASY)
        miner.await_jobs(number + 2)
    assert miner.submit(miner.share(miner.jobs[0]))["error"][0] == 21
    assert miner.submit(miner.share(miner.jobs[1]))["result"] is True


def test_shares_to_remember_are_bounded(serve, meet, monkeypatch):
    monkeypatch.setattr(stratum, "REMEMBERED", 20)
    pool = serve()
    miner = meet(pool)
    for n in range(21):
        assert miner.submit(miner.share(extranonce2=bytes([0, 0, 0, n])))["result"] is True
    assert miner.await_jobs(2)[8]  # a clean job: all of before may be forgotten
    assert pool.jobs.remembered == 0
    assert miner.submit(miner.share())["result"] is True


def test_jobs_called_off_are_forgotten_in_time():
    jobs = Jobs(OneTemplate(JOB))
    live: dict[str, Sent] = {}
    for _ in range(stratum_jobs.PAST + 100):
        jobs.issue(live, Target(1), clean=False)
    assert len(live) == stratum_jobs.LIVE
    assert len(jobs._past) == stratum_jobs.PAST


def test_nobody_takes_events(serve, meet):
    """Then nothing more is read; and nothing is lost."""
    pool = serve(limits=Limits(waiting_events=8))
    miner = meet(pool)
    shares = [miner.share(extranonce2=bytes([0, 0, 0, n])) for n in range(50)]
    lines = [json.dumps({"id": 4, "method": "mining.submit", "params": each}) for each in shares]
    for line in lines:
        miner.wire.sendall(line.encode() + b"\n")
        time.sleep(0.001)
    deadline = time.monotonic() + DEADLINE_S
    while not pool._paused:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    events = until(pool, lambda seen: len(submissions(seen)) == 50)
    assert {event.verdict for event in submissions(events)} == {Verdict.GOOD}


def test_how_long_an_answer_takes(serve, meet):
    pool = serve(job_s=0.01)
    miner = meet(pool, "cgminer/4.11.1")
    while "client.get_version" not in miner.told:
        question = miner.hear()
    miner.say(id=question["id"], result="cgminer/4.11.1", error=None)
    [answered, *_] = links(until(pool, lambda seen: links(seen, "answered")), "answered")
    assert 0 < answered.took_ns < DEADLINE_S * 1e9
    strange = meet(pool, "bitaxe/1")
    strange.await_jobs(3)
    assert "client.get_version" not in strange.told


def test_what_connections_are_told_of(serve, meet):
    pool = serve()
    miner = meet(pool, "bitaxe/\x1b[31m" + "x" * 999, user="me.1")
    miner.close()
    events = until(pool, lambda seen: links(seen, "closed"))
    told = [(e.what, e.words) for e in events if isinstance(e, Link)]
    agent = ("bitaxe/\x1b[31m" + "x" * 999)[:200]
    assert told == [
        ("connected", "127.0.0.1"),
        ("agent", agent),
        ("authorized", "me.1"),
        ("closed", "by the miner"),
    ]


def test_a_stranger_is_refused(serve, meet):
    pool = serve(admit={"192.0.2.1"})
    for _ in range(3):
        with socket.create_connection(pool.address, timeout=DEADLINE_S) as stream:
            assert hung_up(stream)
    [refused, *_] = links(until(pool, lambda seen: links(seen, "refused")), "refused")
    assert refused.connection is None
    assert "127.0.0.1" in refused.words
    pool = serve(admit=addresses_of("localhost"), listen=("127.0.0.1", 0))
    assert meet(pool).submit(["a"])["error"]


def hung_up(stream):
    """Is there nothing but an end? A reset is one."""
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True


def test_tls_is_hung_up_on_at_once(serve):
    """Bfgminer tries it first, and would wait 30 s for an answer."""
    pool = serve()
    with socket.create_connection(pool.address, timeout=DEADLINE_S) as stream:
        stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        assert hung_up(stream)
    [closed] = links(until(pool, lambda seen: links(seen, "closed")), "closed")
    assert "TLS" in closed.words


def test_where_it_listens(serve):
    pool = serve()
    assert pool.address[0] == "127.0.0.1"
    with pytest.raises(NotPermitted, match="cannot listen"):
        serve(listen=pool.address)
    with pytest.raises(NotPermitted, match="cannot listen"):
        serve(listen=("192.0.2.1", 0))
    assert local_address_to("127.0.0.1") == "127.0.0.1"
    with pytest.raises(PlanError, match="difficulty"):
        serve(0)


def test_a_closed_pool_is_closed(serve, meet):
    pool = serve()
    miner = meet(pool)
    pool.close()
    pool.close()
    pool.new_block()
    pool.set_difficulty(1)
    with pytest.raises(ConnectionError):
        miner.await_jobs(9)
    assert links(pool.take(), "closed")[0].words == "by the pool"
    assert pool.take() == []
    assert not [each for each in threading.enumerate() if each.name == "stratum pool"]


def test_a_pool_that_was_never_started_can_be_closed():
    Pool(OneTemplate(JOB), EASY).close()


def test_a_fault_of_ours_is_not_hidden(serve, meet, monkeypatch):
    pool = serve()
    miner = meet(pool)
    until(pool, lambda seen: links(seen, "authorized"))

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(pool.jobs, "judge", broken)
    miner.say(id=1, method="mining.submit", params=[])
    with pytest.raises(ZeroDivisionError):
        until(pool, lambda _: False)


@pytest.mark.parametrize("name", ["minerd", "cpuminer-opt", "bfgminer", "cgminer"])
def test_real_clients_as_they_were_heard(name):
    """Our own captures: what we said then, we say now, and each share that was good then is."""
    lines = [
        (line[0], json.loads(line[2:]))
        for line in (CONVERSATIONS / f"{name}.txt").read_text().splitlines()
    ]
    notified = [
        m["params"] for way, m in lines if m.get("method") == "mining.notify" and way == "<"
    ]
    ntime = int(notified[0][7], 16)
    template = Job.create(seed=b"a", ntime=ntime, target=Target(MAX_TARGET), extranonce2_size=4)
    [difficulty] = [m["params"][0] for _, m in lines if m.get("method") == "mining.set_difficulty"]
    target = Target.from_difficulty(difficulty)
    live = {}
    for params in notified:
        sent = Sent(template, int(params[0], 16), target, int(params[7], 16))
        assert sent.notification(clean=params[8]) == params
        live[sent.id] = sent
    shares = [m["params"] for way, m in lines if m.get("method") == "mining.submit"]
    verdicts = [Jobs(OneTemplate(template)).judge(live, params)[0] for params in shares]
    assert verdicts == [Verdict.GOOD] * len(shares)
    assert shares or name == "cgminer"  # it had no device
    for params in shares:
        wrong = [*params[:4], f"{int(params[4], 16) ^ 1:08x}"]
        assert Jobs(OneTemplate(template)).judge(live, wrong)[0] is Verdict.LOW
