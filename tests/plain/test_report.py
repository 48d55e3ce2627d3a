"""Reports: one sheet in three forms; a record's words are a stranger's, and stay words."""

import json
import math
import sys
import threading
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hashing_miner import Miner, quick

from hwkit.cli import main
from hwkit.cli.evaluate_text import print_evaluation
from hwkit.economics.catalogue import shipped
from hwkit.evaluate import state
from hwkit.harness.metering import Metering
from hwkit.harness.plan import Plan
from hwkit.harness.session import Session
from hwkit.meters.nameplate import Nameplate
from hwkit.plugins import Address
from hwkit.records import Store
from hwkit.records.record import canonical, sha256
from hwkit.report.html_series import binned, plotted
from hwkit.report.markdown import escaped, markdown
from hwkit.report.sheet import Line, Verdict, sheet_of

pytestmark = [
    pytest.mark.needs(module="matplotlib"),  # which brings numpy
    pytest.mark.needs(module="jinja2"),
]
METER = "nameplate:5W?tolerance=1%"
VERDICT = Verdict(
    "INCONCLUSIVE",
    "40 more minutes would decide it",
    (Line("J/TH", "PASS", "13.4 ± 0.2", "at most 14.2"), Line("W", "NOT_TESTED", why="no meter")),
)
HOSTILE = '<script>alert("x")</script>"><img src=x onerror=alert(2)>\u202e|`@you`'


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """A record of a miner that was fed and metered, and says how warm it is."""
    store = Store(str(tmp_path_factory.mktemp("fed") / "records.sqlite"))
    meter = Nameplate(Address.parse(METER))
    meter._spec = replace(meter.spec, interval_s=0.05)
    told = {"claimed_power_w": 4.0, "temperature_c": 61.5, "claimed_hashrate_h_s": 2e5}
    miner = Miner(works=(64, 256), told=told, lie=1.3)
    plan = Plan(time_s=1.5, precision=None, warmup_s=0.1, meters=(METER,))
    with pytest.MonkeyPatch.context() as patch, Metering([meter]) as metering:
        quick(patch)
        session = Session(plan, [miner], store, threading.Event(), metering=metering)
        (entry,) = session.run()
    assert entry.state == "complete", entry.why
    assert entry.run
    yield store.get(entry.run.id)
    store.close()


@pytest.fixture(scope="module")
def kept(fed, tmp_path_factory):
    """A store that holds it."""
    path = tmp_path_factory.mktemp("kept") / "records.sqlite"
    store = Store(str(path))
    store.add(fed)
    store.close()
    return path


@pytest.fixture
def say(monkeypatch, capfd):
    """Return a function that runs hwkit here, and gives exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hwkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        return left.value.code or 0, said.out, said.err

    return run


def page_of(record, verdict=None, known=()):
    from hwkit.report.html import record_page  # noqa: PLC0415

    return record_page(record, sheet_of(record, verdict), known or shipped())


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data.strip())


def test_each_figure_says_its_uncertainty_and_what_it_stands_on(fed):
    sheet = sheet_of(fed)
    shown = {figure.name: figure for figure in sheet.figures}
    assert list(shown)[:4] == ["J/TH", "power", "hashrate", "claim gap"]
    assert "±" in shown["J/TH"].value
    assert shown["J/TH"].of == fed.document["metered"][0]["efficiency"]["budget"]["dominant"]
    assert shown["hashrate"].of == f"chance of {fed.document['counts']['shares']:,} shares"
    assert shown["claim gap"].value.startswith("+")
    assert sheet.digest == fed.digest
    assert f"hwkit verify {fed.id}" in sheet.verify


def test_every_caveat_is_told(fed):
    found = {each["caveat"] for each in fed.document["caveats"]}
    assert {"ClaimGap", "ClaimedEnergy"} <= found
    assert {each.caveat for each in sheet_of(fed).caveats} == found


def test_a_verdict_stands_above_all_else(fed):
    for text in (page_of(fed, VERDICT), markdown(sheet_of(fed, VERDICT))):
        places = [text.index(word) for word in ("INCONCLUSIVE", "at most 14.2", "claim gap")]
        assert places == sorted(places)
        assert "no meter" in text
    assert "INCONCLUSIVE" not in page_of(fed)


def evaluation(record, **changes):
    """What `hwkit evaluate` writes."""
    limit = {"most": 14.175, "unit": "J/TH", "source": "nameplate + 5 %"}
    figure = {"value": 15.1, "lo": 14.9, "hi": 15.3, "U": 0.2, "unit": "J/TH"}
    some = {"limit": limit, "figure": figure, "decides": None}
    line = {"name": "J/TH", "verdict": "FAIL", "why": "15.10 ± 0.20 J/TH, at most 14.18 J/TH"}
    blank = {"figure": None, "limit": None, "decides": None}
    document = {
        "schema": 1,
        "state": "complete",
        "address": "asic:fake",
        "spec": {"model": "Antminer S21 XP (270 TH)"},
        "verdict": "FAIL",
        "lines": [line | some, blank | {"name": "restarts", "verdict": "NOT_TESTED", "why": "-"}],
        "not_tested": {"power cycles": "it needs --outlet PROGRAM, or --person"},
        "unknown": ["inlet_c"],
        "pending": {},
        "faults": [],
        "records": {record.id: record.digest},
    } | changes
    return document | {"digest": sha256(canonical(document).encode())}


def test_an_evaluations_verdict_goes_first(say, kept, fed, tmp_path):
    path = tmp_path / "e1.json"
    path.write_text(json.dumps(evaluation(fed), indent=1), encoding="utf-8")
    code, out, _ = say("report", "last", "--store", kept, "--evaluation", path, "--json")
    assert code == 0
    verdict = json.loads(out)["verdict"]
    assert verdict["word"] == "FAIL"
    assert "power cycles (it needs --outlet PROGRAM, or --person)" in verdict["words"]
    first, second = verdict["lines"]
    assert (first["measured"], first["limit"]) == (
        "15.10 ± 0.20 J/TH",
        "at most 14.18 J/TH (nameplate + 5 %)",
    )
    assert (second["word"], second["why"]) == ("NOT_TESTED", "-")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document | {"verdict": "PASS"}, "it was changed since hwkit wrote it"),
        (lambda document: [document], "no evaluation"),
        (lambda document: {"digest": 1}, "it was changed"),
    ],
)
def test_an_evaluation_that_is_none_is_refused(say, kept, fed, change, words):
    path = kept.with_name("e1.json")
    path.write_text(json.dumps(change(evaluation(fed))), encoding="utf-8")
    code, _, said = say("report", "last", "--store", kept, "--evaluation", path, "--markdown")
    assert (code, said.count("\n")) == (2, 1)
    assert words in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "PASS"}, "its verdict, PASS, does not follow from its lines"),
        ({"verdict": "PASS", "lines": []}, "its verdict, PASS, does not follow from its lines"),
        ({"lines": [{"name": "J/TH"}]}, "a misshapen evaluation (KeyError: 'verdict')"),
        ({"spec": None}, "a misshapen evaluation (TypeError"),
    ],
)
def test_a_file_whose_digest_was_made_again_is_blamed_itself(say, kept, fed, changes, words):
    path = kept.with_name("e1.json")
    path.write_text(json.dumps(evaluation(fed, **changes)), encoding="utf-8")
    code, _, said = say("report", "last", "--store", kept, "--evaluation", path, "--markdown")
    assert (code, said.count("\n")) == (2, 1)
    assert f"{path}: {words}" in said
    assert "hwkit verify" not in said


def test_an_evaluation_speaks_of_its_own_records(say, kept, fed, tmp_path):
    path = tmp_path / "e1.json"
    others = evaluation(fed, records={fed.id: "0" * 64})
    path.write_text(json.dumps(others), encoding="utf-8")
    code, _, said = say("report", "last", "--store", kept, "--evaluation", path)
    assert code == 2
    assert "is no part of it" in said


@pytest.fixture
def evaluated(fed, resealed, tmp_path):
    """A store with an evaluation of a block and a soak, and a function that changes it."""
    path = tmp_path / "records.sqlite"
    soak = resealed(fed, lambda document: document.update(id="20260101T000000.000-50a4ed"))
    store = Store(str(path))
    for record in (fed, soak):
        store.add(record)
    store.close()
    steps = [
        {"name": "measured block", "kind": "block", "records": [fed.id]},
        {"name": "soak", "kind": "soak", "records": [soak.id]},
    ]
    judged = {fed.id: fed.digest, soak.id: soak.digest}
    told = evaluation(fed, steps=steps, records=judged, restored=True)
    told |= {"internet": {"asked": "192.0.2.1:443", "reachable": False}}

    def save(*without, **changes):
        whole = {name: value for name, value in (told | changes).items() if name not in without}
        kept = state.begun(str(path), whole)
        kept.save()
        return kept.document["id"]

    return path, soak, save


def test_an_evaluation_is_reported_by_its_id(say, evaluated, fed):
    path, soak, save = evaluated
    name = save()
    code, out, err = say("report", name, "--store", path, "--json")
    assert (code, err) == (0, "")
    sheet = json.loads(out)
    assert sheet["verdict"]["word"] == "FAIL"
    assert sheet["verdict"]["words"].startswith("This unit, not this model: asic:fake as Antminer")
    assert sheet["record"] == fed.id
    stands = dict(sheet["sections"][0]["rows"])
    assert fed.id in stands["measured block"]
    assert soak.id in stands["soak"]
    assert stands["network"] == "did not reach 192.0.2.1:443"
    assert f"hwkit verify {name}.json" in sheet["verify"]
    code, out, _ = say("report", name[:8], "--store", path, "--markdown")
    assert code == 0
    assert out.index("## FAIL") < out.index("| J/TH | FAIL |") < out.index("| claim gap |")
    code, page, _ = say("report", name, "--store", path)
    assert code == 0
    titles = {text for text in Elements(page).texts if text}
    both = {"Power", "Hashrate", "Temperature"}
    assert both | {f"soak: {each}" for each in both} <= titles
    assert {"Difficulty of shares", "J/TH beside nameplates", "by its own word"} <= titles
    assert "Antminer S21 XP (270 TH)" in titles  # what it was sold as, not what it says it is


@pytest.mark.parametrize(
    ("without", "changes", "words"),
    [
        (["verdict"], {}, "has no verdict yet: hwkit evaluate --resume e"),
        ([], {"records": {}}, "nothing was measured"),
        ([], {"records": {"20260101T000000.000-50a4ed": "0" * 64}}, "is not the one that e"),
        (["lines"], {}, "is misshapen (KeyError: 'lines')"),
    ],
)
def test_an_evaluation_without_a_report_says_why(say, evaluated, without, changes, words):
    path, _, save = evaluated
    for form in ("--json", "--html"):
        code, _, said = say("report", save(*without, **changes), "--store", path, form)
        assert (code, said.count("\n")) == (2, 1)
        assert words in said
    code, _, said = say("report", "e2", "--store", path, "--evaluation", path)
    assert (code, said.count("\n")) == (2, 1)
    assert "--evaluation is for a record's report" in said


def test_an_evaluation_ends_with_how_to_report_it(fed, capsys):
    told = evaluation(fed, id="e1", restored=True, internet={"asked": None})
    print_evaluation(told, "my records.sqlite")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Next: hwkit report e1 -o e1.html --store 'my records.sqlite'"
    print_evaluation(told | {"records": {}}, None)
    assert "Next" not in capsys.readouterr().out


def test_shares_fall_by_half_from_octave_to_octave(fed):
    octaves = plotted(fed, ()).octaves
    shares = fed.document["counts"]["shares"]
    assert sum(each.count for each in octaves) == shares > 100
    assert [each.power for each in octaves] == list(range(len(octaves)))
    first, second = octaves[:2]
    assert first.due == shares / 2 == 2 * second.due
    assert abs(first.count - first.due) < 6 * math.sqrt(shares) / 2  # of a coin's standard error


def test_the_rate_is_drawn_with_the_interval_of_its_shares(fed):
    seen = plotted(fed, ())
    assert seen.rate
    assert seen.rate_figure
    assert seen.claimed_rate
    assert len(seen.rate.mean) > 1
    for lo, mean, hi in zip(seen.rate.lo, seen.rate.mean, seen.rate.hi, strict=True):
        assert lo < mean < hi
    assert min(seen.rate.mean) < seen.rate_figure.value < max(seen.rate.mean)
    assert set(seen.claimed_rate.mean) == {2e5}
    assert [series.name for series in seen.power] == [METER]
    assert set(seen.power[0].mean) == {5.0}
    assert [(each.name, set(each.mean)) for each in seen.temperatures] == [("temperature", {61.5})]


def test_a_counted_rate_is_drawn_too(measured):
    seen = plotted(measured, shipped())
    assert seen.rate
    assert seen.rate_figure
    assert seen.rate.name == "measured"
    assert min(seen.rate.lo) <= seen.rate_figure.value <= max(seen.rate.hi)
    assert seen.peers == ()  # no J/TH
    assert "hashrate" in page_of(measured)


def test_a_bin_hides_no_peak():
    samples = [(float(second), 100.0) for second in range(10_000)] + [(5000.5, 900.0)]
    series = binned("power", samples, bins=50)
    assert series
    assert len(series.mean) == 50
    assert (min(series.lo), max(series.hi)) == (100.0, 900.0)
    assert 100 < max(series.mean) < 105
    assert list(series.at_s) == sorted(series.at_s)
    assert binned("power", []) is None
    at_once = binned("power", [(1.0, 2.0)] * 60, bins=50)
    assert at_once
    assert at_once.mean == (2.0,)


def test_j_th_stands_beside_its_nameplate_and_the_nearest_others(fed):
    peers = plotted(fed, shipped(), "S21 XP").peers
    kinds = [each.kind for each in peers]
    assert kinds.count("measured") == 1
    assert "claimed" not in kinds
    own = [each for each in peers if each.kind == "nameplate"]
    assert own
    assert all("S21 XP" in each.name for each in own)
    others = [each for each in peers if each.kind == "peer"]
    assert others
    assert not {each.name for each in own} & {each.name for each in others}
    value = own[0].efficiency.value
    assert max(abs(math.log(each.efficiency.value / value)) for each in others) < 0.5
    assert all(each.efficiency.lo < each.efficiency.value < each.efficiency.hi for each in own)


def hostile(document):
    document["device"]["name"] = HOSTILE
    document["host"]["cpu"]["model"] = HOSTILE
    document["state"] = HOSTILE
    document["caveats"][0] |= {"finding": HOSTILE, "advice": HOSTILE, "caveat": HOSTILE}
    document["device"]["details"] = {"device": HOSTILE, HOSTILE: HOSTILE}


def test_what_a_record_says_is_text_and_nothing_else(fed, resealed):
    plain = Elements(page_of(fed, VERDICT))
    told = (*list(fed.rows("probes")), [list(fed.rows("probes"))[-1][0], "model", None, [HOSTILE]])
    forged = resealed(fed, hostile, probes=list(map(tuple, told))[-2048:])
    verdict = Verdict(HOSTILE, HOSTILE, (Line(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE),))
    page = page_of(forged, verdict)
    seen = Elements(page)
    assert seen.tags <= plain.tags
    assert not {"script", "img", "iframe", "link", "object", "a"} & seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert any('<script>alert("x")</script>' in text for text in seen.texts)  # to be read
    assert "\u202e" not in page
    assert seen.texts.count("model") == plain.texts.count("model")


def test_a_name_in_a_plot_is_text_too(fed):
    named = [
        replace(plate, model=f"$x$ <script>{n}</script> 矿机") for n, plate in enumerate(shipped())
    ]
    page = page_of(fed, known=named)
    assert "script" not in Elements(page).tags
    assert "&lt;script&gt;" in page
    assert "$x$" in page  # and is no formula


def test_nothing_is_fetched(fed):
    page = page_of(fed)
    assert "default-src 'none'" in page
    for name, value in Elements(page).attributes:
        if name in {"href", "xlink:href", "src", "action", "poster", "srcset", "data"}:
            assert value.startswith("#")
    assert page.count("url(") == page.count("url(#")
    assert "@import" not in page


def test_markdown_of_a_stranger_is_no_markup(fed, resealed):
    text = markdown(sheet_of(resealed(fed, hostile)))
    assert "<script" not in text.replace("\\<script", "")
    assert "@you" not in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    pipes = {line.replace("\\|", "").count("|") for line in tables}
    assert len(pipes) == 1  # no cell breaks out of its column
    assert escaped("a\nb\\") == "a\ufffdb\\\\"
    assert "https:" not in escaped("https://example.com")


def test_the_command_writes_each_form(say, kept, fed, tmp_path):
    page = tmp_path / "report.html"
    assert say("report", "last", "--store", kept, "-o", page) == (0, "", "")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    code, out, _ = say("report", fed.id, "--store", kept, "--markdown")
    assert (code, out.splitlines()[0]) == (0, "# asic:fake")
    code, out, _ = say("report", "last", "--store", kept, "--json")
    assert code == 0
    assert json.loads(out)["figures"][0]["name"] == "J/TH"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["report", "20990101"], 2, "20990101"),
        (["report", "last", "--model", "no such thing"], 2, "'no such thing'"),
        (["report", "last", "--markdown", "-o", "/no/such/folder/x.md"], 3, "cannot be written"),
    ],
)
def test_every_mistake_is_one_line(say, kept, arguments, code, words):
    left, out, said = say(*arguments, "--store", kept)
    assert (left, out, said.count("\n")) == (code, "", 1)
    assert words in said


def test_a_misshapen_record_is_one_line_too(say, fed, resealed, tmp_path):
    def break_off(document):
        document["metered"][0]["parts"] = [{"meter": "of nobody", "energy": {}}]

    store = Store(str(tmp_path / "broken.sqlite"))
    store.add(resealed(fed, break_off))
    store.close()
    code, out, said = say("report", "last", "--store", tmp_path / "broken.sqlite")
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert "misshapen (KeyError: 'of nobody'): hwkit verify last" in said


def test_a_run_that_goes_on_has_no_report_yet(say, fed, resealed, tmp_path):
    store = Store(str(tmp_path / "running.sqlite"))
    store.add(resealed(fed, lambda document: document.update(state="running")))
    store.close()
    code, out, said = say("report", "last", "--store", tmp_path / "running.sqlite")
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert "is still running" in said


def test_what_draws_is_asked_for_by_name(say, kept, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, said = say("report", "last", "--store", kept)
    assert code == 3
    assert "pip install 'hwkit[report]'" in said
    assert say("report", "last", "--store", kept, "--markdown")[0] == 0  # needs none of it


def test_worth_draws_the_fan_and_what_matters(say, tmp_path):
    path = tmp_path / "worth.html"
    code, out, _ = say(
        "worth", "S21 XP (270 TH)", "--price", "2970", "--runs", "500", "--html", path
    )
    assert code == 0
    seen = Elements(path.read_text(encoding="utf-8"))
    assert {"Money so far", "What matters most", "BTC price", "machine price"} <= set(seen.texts)
    verdict = next(text for text in seen.texts if "of futures." in text)
    assert verdict in out  # the same words
    # Without a price there is nothing to pay back.
    assert say("worth", "S21 XP (270 TH)", "--runs", "500", "--html", path)[0] == 0
    assert "Money so far" not in path.read_text(encoding="utf-8")
