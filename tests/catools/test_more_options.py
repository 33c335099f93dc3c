"""The options that the EPICS tools do not have."""
from __future__ import annotations

import importlib

import pytest

from caproto._catools.more_options import GET, MONITOR
from caproto._catools.options import UsageError, parse
from caproto._catools.settings import Settings


def read(*words, options=GET):
    settings = Settings("caproto-get")
    parse(settings, {}, words, anywhere=True, more=lambda: options)
    return settings


def test_nothing_beyond_is_asked_for_by_chance():
    assert read("x").extras is None
    assert read("--utf8", "--color=always", "-v", "x").extras is None  # caget can do that


def test_what_they_set():
    extras = read(
        "--json", "--from", "a", "--from=-", "--partial", "--human", "-vv", "--duration", "2.5",
        "--time-zone", "Asia/Tokyo",
    ).extras
    assert (extras.output, extras.sources, extras.partial) == ("json", ["a", "-"], True)
    assert (extras.number_form, extras.duration) == ("human", 2.5)
    assert extras.zone == "Asia/Tokyo"
    assert read("-vv").verbosity == 2 and read("-v", "-vvvv").verbosity == 3
    assert read("--format", "{name}").extras.output == "template"
    extras = read("--count", "3", "--until", "> 3", "--stats", options=MONITOR).extras
    assert (extras.updates, extras.condition, extras.statistics) == (3, "> 3", True)


def test_strict_waits_for_confirmations():
    settings = read("--strict")
    assert settings.exact and settings.completion


def test_wrong_values_are_refused():
    for words in (
        ["--count", "0"], ["--count", "x"], ["--duration", "0"], ["--duration", "-1"],
        ["--time-zone", "Nowhere/X"], ["--time-zone", "../../etc/passwd"], ["--color", "red"],
        ["--completion", "tcsh"], ["--count", "9" * 5000], ["--count", "\u0663"],
        ["--time-format", "\udcff"],
    ):
        with pytest.raises(UsageError, match=words[0]):
            read(*words, options={**GET, **MONITOR})


@pytest.mark.parametrize("word, message", [
    ("--color", "--color must be auto, always or never, not 'x'."),
    ("--completion", "--completion must be bash, zsh or fish, not 'x'."),
])
def test_the_words_to_choose_from_are_named(word, message):
    with pytest.raises(UsageError) as caught:
        read(word, "x")
    assert str(caught.value) == f"{message} ('caproto-get -h' for help.)"


def test_an_empty_condition_is_refused():
    for word in ("--wait-for", "--until"):
        with pytest.raises(UsageError, match="empty"):
            read(word, "", options={**GET, **MONITOR})


def test_no_letter_and_no_word_has_two_meanings():
    for tool in ("get", "put", "monitor", "info", "explain"):
        module = importlib.import_module(f"caproto.commandline.{tool}")
        options, more = module._tool().options, module._tool().more()
        words = [option.word or name for name, option in (*options.items(), *more.items())]
        assert len(words) == len(set(words))
        assert not set(options) & set(more)


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--csv"], ["--format", "{name}", "--json"], ["--csv", "--format={name}"],
        ["--human", "--precise"], ["--ascii", "--utf8"], ["--partial", "--all-or-nothing"],
        ["--utc", "--time-zone", "Asia/Tokyo"], ["--ago", "--utc"], ["--ago", "--time-format=%H"],
        ["--time-zone", "Asia/Tokyo", "--ago"],
    ],
)
def test_contradictions_are_refused(words):
    first, second = (word.partition("=")[0] for word in words if word.startswith("--"))
    with pytest.raises(UsageError, match=f"{first} and {second} exclude each other"):
        read(*words)


def test_what_is_said_twice_is_no_contradiction():
    assert read("--json", "--json").extras.output == "json"
    assert read("--utc", "--time-format", "%H").extras.zone == "UTC"
