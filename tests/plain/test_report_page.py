"""Pages in a real browser: on a desk, on a phone, in the dark, on paper."""

import re
import sys
from contextlib import contextmanager

import pytest

from hwkit.cli import main
from hwkit.economics.catalogue import shipped
from hwkit.report.sheet import Line, Verdict, sheet_of

pytestmark = [
    pytest.mark.needs("chromium", module="playwright"),
    pytest.mark.needs(module="matplotlib"),  # which brings numpy
    pytest.mark.needs(module="jinja2"),
]
HOSTILE = "<img src=x onerror=\"document.title='lost'\"><script>document.title='lost'</script>"
LONG = "an-address-that-has-no-place-to-break-" * 4
VERDICT = Verdict(
    "FAIL",
    "J/TH lies above its limit by more than U",
    (
        Line("J/TH", "FAIL", "15.1 ± 0.2 J/TH", "at most 14.2 J/TH"),
        Line("TH/s", "INCONCLUSIVE", "266 ± 6 TH/s", "at least 262 TH/s", "40 more minutes"),
        Line("restart", "NOT_TESTED", why="no switchable outlet"),
    ),
)
DESK, PHONE = {"width": 1100, "height": 900}, {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    import shutil  # noqa: PLC0415

    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where there is one

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield found
        found.close()


@pytest.fixture
def look(browser, tmp_path):
    """Return a context manager that shows a page; it must ask and complain of nothing."""

    @contextmanager
    def show(text, size, scheme="light"):
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        said, asked = [], []
        context = browser.new_context(
            viewport=size, color_scheme=scheme, is_mobile=size is PHONE, offline=True
        )
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        yield page
        assert said == []
        assert asked == [path.as_uri()]
        context.close()

    return show


def page_of(record):
    from hwkit.report.html import record_page  # noqa: PLC0415

    return record_page(record, sheet_of(record, VERDICT), shipped())


@pytest.fixture(scope="module")
def drawn(measured):
    """The page of a measured record, with a verdict."""
    return page_of(measured)


def seen(page):
    return page.evaluate("document.body.innerText")


def test_a_page_shows_the_verdict_and_each_figure(look, measured, drawn):
    sheet = sheet_of(measured)
    with look(drawn, DESK) as page:
        text = seen(page)
        assert [figure.value in text for figure in sheet.figures] == [True] * len(sheet.figures)
        assert text.index("FAIL") < text.index("hashrate")
        assert measured.digest in text
        pictures = page.locator("figure svg").all()
        assert len(pictures) >= 2
        for svg in pictures:
            box = svg.bounding_box()
            assert box["width"] > 300
            assert box["height"] > 150
            assert svg.locator("text").count() > 5  # not outlines: it can be selected


def test_it_fits_a_phone(look, measured, resealed):
    def rename(document):
        document["device"]["name"] = LONG

    with look(page_of(resealed(measured, rename)), PHONE) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        for words in ("40 more minutes", "at most 14.2 J/TH"):  # nothing to be scrolled to
            box = page.get_by_text(words, exact=True).bounding_box()
            assert box["x"] + box["width"] <= PHONE["width"]
        least = page.evaluate(
            "Math.min(...[...document.querySelectorAll('svg text')]"
            ".map(each => each.getBoundingClientRect().height))"
        )
        assert least > 6  # px of a phone: small print, and print


def test_it_is_dark_in_the_dark_and_light_on_paper(look, drawn):
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('svg text')).fill"
    colours = {}
    for scheme in ("light", "dark"):
        with look(drawn, DESK, scheme) as page:
            colours[scheme] = [brightness(page.evaluate(what)) for what in (ground, ink)]
            page.emulate_media(media="print")
            paper = [brightness(page.evaluate(what)) for what in (ground, ink)]
            assert paper[0] == 255
            assert paper[1] < 80
    assert colours["light"][0] - colours["light"][1] > 128
    assert colours["dark"][1] - colours["dark"][0] > 128


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_it_prints_on_a4(look, drawn):
    with look(drawn, DESK) as page:
        pdf = page.pdf(prefer_css_page_size=True)
    sizes = {
        tuple(map(float, box)) for box in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    }
    assert len(sizes) == 1
    assert sizes.pop() == pytest.approx((595, 842), abs=1.5)  # points of A4
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 4


def test_what_a_machine_is_worth_fits_a_phone_too(look, tmp_path, monkeypatch):
    path = tmp_path / "worth.html"
    words = ["worth", "S21 XP (270 TH)", "--price", "2970", "--runs", "500", "--html", str(path)]
    monkeypatch.setattr(sys, "argv", ["hwkit", *words])
    with pytest.raises(SystemExit):
        main()
    with look(path.read_text(encoding="utf-8"), PHONE, "dark") as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert {"BTC price", "machine price"} <= set(page.locator("svg text").all_text_contents())
        assert page.locator("figure svg").count() == 2


def test_a_strangers_words_do_nothing(look, measured, resealed):
    def rename(document):
        document["device"]["name"] = HOSTILE
        document["host"]["cpu"]["model"] = HOSTILE

    with look(page_of(resealed(measured, rename)), DESK) as page:
        assert page.title() != "lost"
        assert HOSTILE in seen(page)


def test_the_browser_would_have_told(look, drawn):
    """What the tests above stand on: a page that is not ours is noticed."""
    broken = drawn.replace("<body>", "<body><script>document.title='lost'</script>")
    with pytest.raises(AssertionError), look(broken, DESK) as page:  # its policy lets none run
        assert page.title() != "lost"
    fetching = drawn.replace("default-src 'none'", "default-src *")
    fetching = fetching.replace("<body>", "<body><img src='http://127.0.0.1:9/x.png'>")
    with pytest.raises(AssertionError), look(fetching, DESK):
        pass
