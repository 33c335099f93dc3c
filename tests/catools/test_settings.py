"""The settings, and what the environment says."""
from __future__ import annotations

import pytest

from caproto._catools.settings import Failed, Settings, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.5", 2.5), ("0", 0), (" 1e0 ", 1), ("", None), ("x", None), ("-1", None), ("nan", None),
     ("1_0", None), ("inf", None), ("\u0663", None)],
)
def test_seconds(text, seconds):
    assert parse_seconds(text) == seconds


def test_the_timeout_of_the_environment(monkeypatch, capsys):
    settings = Settings("caget")
    monkeypatch.setenv("EPICS_CLI_TIMEOUT", "4")
    settings.read_environment()
    assert settings.patience == 4
    monkeypatch.setenv("EPICS_CLI_TIMEOUT", "soon")
    settings.read_environment()
    assert settings.patience == 4
    assert "'soon' is not a valid timeout value" in capsys.readouterr().err


def test_a_wrong_timeout_of_the_environment_is_an_error_if_the_status_must_be_exact(monkeypatch):
    settings = Settings("caget")
    settings.exact = True
    monkeypatch.setenv("EPICS_CLI_TIMEOUT", "nan")
    with pytest.raises(Failed, match=r"^'nan' is not a valid timeout value .* environment\)$"):
        settings.read_environment()


def test_no_timeout_is_patience_without_end():
    settings = Settings("caget")
    settings.timeout = 0.0
    assert settings.patience is None
