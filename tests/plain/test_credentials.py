"""What the user's file says of a host, and what is wrong with it."""

import pytest

from hwkit.errors import NotPermitted, PlanError
from hwkit.wire import credentials as module
from hwkit.wire.credentials import credentials


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "credentials.toml"
    monkeypatch.setenv("HWKIT_CREDENTIALS", str(path))
    return path


def test_each_host_has_its_own(file):
    file.write_text('["192.0.2.61"]\nuser = "admin"\npassword = "pässword"\n[pdu]\ntoken = "t"\n')
    assert credentials("192.0.2.61") == {"user": "admin", "password": "pässword"}
    assert credentials("pdu") == {"token": "t"}
    assert credentials("192.0.2.62") == {}


def test_without_a_file_there_are_none(tmp_path, monkeypatch):
    monkeypatch.delenv("HWKIT_CREDENTIALS", raising=False)
    monkeypatch.setattr(module, "user_config_path", lambda _: tmp_path)
    assert credentials("192.0.2.61") == {}
    (tmp_path / "credentials.toml").write_text('[h]\nuser = "u"')
    assert credentials("h") == {"user": "u"}


def test_a_file_that_is_named_has_to_be_there(file):
    with pytest.raises(PlanError, match="there is no file"):
        credentials("h")
    file.mkdir()
    with pytest.raises(NotPermitted, match="cannot be read: Is a directory"):
        credentials("h")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"= 1", "no TOML"),
        (b"\xff", "no TOML"),
        (b"h = 1", "'h' is a table of texts"),
        (b"[h]\nuser = 1", "'h' is a table of texts"),
        (b"#" * (module.LARGEST + 1), "larger than any"),
    ],
)
def test_what_is_wrong_is_said(file, text, fault):
    file.write_bytes(text)
    with pytest.raises(PlanError, match=fault):
        credentials("h")
