"""Prose that a test reads does not rot: links, commands, names."""

import re
from dataclasses import fields
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

import hwkit
from hwkit.cli import COMMANDS, cli
from hwkit.harness import caveats

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
IN_TREE = pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="no tree around the tests")


@IN_TREE
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@IN_TREE
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_commands_named_in_prose_exist(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:hwkit|csrc|bench|tests|docs|kernels)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for command in re.findall(r"(?:`|^    )hwkit ([a-z]+)", text, re.MULTILINE):
        assert command in COMMANDS, f"{page.name} names hwkit {command}"


@IN_TREE
def test_the_makefile_has_every_job_the_pages_name():
    jobs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"\bmake ([a-z-]+)\b", page.read_text(encoding="utf-8")))
        assert named & {"bench", "test", "check", "sanitize", "soak", "help"} <= jobs


@IN_TREE
def test_the_floors_in_the_page_are_the_floors_that_are_checked():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    modules = {
        path.stem
        for path in (ROOT / "hwkit").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists())
    } - {"__init__", "__main__", "vectors"}
    assert modules == named


def test_every_command_has_help():
    for name in ["", *COMMANDS]:
        result = CliRunner().invoke(cli, [*name.split(), "--help"])
        assert result.exit_code == 0
        assert "Usage:" in result.output


def test_every_caveat_says_what_was_found_and_what_to_do():
    for kind in caveats.Caveat.__subclasses__():
        caveat = kind(*[0.5] * len(fields(kind)))
        assert caveat.finding
        assert caveat.advice
        assert caveat.to_json()["caveat"] == kind.__name__


def test_versions_agree():
    assert version("hwkit") == hwkit.__version__


def test_kernel_sources_are_read_as_a_package():
    assert "__kernel" in (files("hwkit.kernels") / "sha256d.cl").read_text(encoding="utf-8")
