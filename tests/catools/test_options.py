"""Command lines are read as the EPICS tools read them."""
from __future__ import annotations

import pytest

from caproto._catools.options import (
    CONNECTION,
    COUNT,
    GET_FORMS,
    HELP,
    MONITORING,
    NUMBERS,
    PUT_FORMS,
    SEPARATOR,
    Inquiry,
    Option,
    UsageError,
    flag,
    parse,
)
from caproto._catools.settings import Settings
from caproto._protocol.dbr import SubscriptionType

OPTIONS = {**HELP, **CONNECTION, **GET_FORMS, **COUNT, **NUMBERS, **SEPARATOR}


def read(*words, options=OPTIONS, anywhere=True):
    settings = Settings("caget")
    return settings, parse(settings, options, words, anywhere=anywhere)


def test_letters_share_a_word_and_the_last_takes_the_rest():
    settings, words = read("-cw2.5", "a", "-p", "7", "b")
    assert (settings.asynchronous, settings.timeout, settings.priority) == (True, 2.5, 7)
    assert words == ["a", "b"]


def test_a_double_dash_ends_the_options():
    assert read("-c", "--", "-a", "b")[1] == ["-a", "b"]
    assert read("-")[1] == ["-"]


def test_options_only_before_the_name():
    settings, words = read("-c", "x", "-5", options=PUT_FORMS, anywhere=False)
    assert settings.completion and words == ["x", "-5"]


def test_an_option_after_the_name_is_a_value_and_warned_of(capsys):
    more = {"quiet": Option("", "", flag("completion", True))}

    def value(*words, exact=False):
        settings = Settings("caput")
        settings.exact = exact
        return parse(settings, {**PUT_FORMS, **CONNECTION}, words, anywhere=False,
                     more=lambda: more)

    for words in ["x", "-5"], ["x", "-c"], ["x", "--"], ["x", "--5"], ["x", "--other"]:
        assert value(*words) == words and capsys.readouterr().err == ""
    assert value("--", "x", "--quiet", exact=True) == ["x", "--quiet"]
    assert capsys.readouterr().err == ""
    for word in "--quiet", "--wait", "--timeout=3":
        assert value("x", "1", word) == ["x", "1", word]
        said = f"'{word}' is part of the value: options must stand before the PV"
        assert capsys.readouterr().err == f"Warning: {said}.\n"
        with pytest.raises(UsageError, match=said):
            value("x", "1", word, exact=True)


def test_words_as_options():
    options = {"quick": Option("", "", flag("asynchronous", True)), "wait": CONNECTION["w"]}
    settings, words = read("--quick", "--wait=3", "x", options=options)
    assert (settings.asynchronous, settings.timeout, words) == (True, 3, ["x"])
    assert read("--wait", "4", options=options)[0].timeout == 4
    for wrong in ("--slow", "--quick=1", "--w"):
        with pytest.raises(UsageError, match=f"Unrecognized option: '{wrong}'"):
            read(wrong, options=options)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["-z"], "Unrecognized option: '-z'. ('caget -h' for help.)"),
     (["x", "-w"], "Option '-w' requires an argument. ('caget -h' for help.)")],
)
def test_what_cannot_be_read(words, message):
    with pytest.raises(UsageError) as caught:
        read(*words)
    assert str(caught.value) == message


def test_questions_are_answered_before_later_mistakes():
    with pytest.raises(Inquiry, match="version"):
        read("-V", "-z")


@pytest.mark.parametrize(
    ("words", "attribute", "value"),
    [(["-p", "100"], "priority", 99), (["-#", "2x"], "count", 2), (["-F", ""], "separator", "\0"),
     (["-F", "ab"], "separator", "a"), (["-f", "18"], "float_format", "%.18f"),
     (["-lx"], "float_base", "x"), (["-d", "DBR_TIME_SHORT"], "data_type", 15),
     (["-d", "38"], "data_type", 38), (["-p", "9" * 5000], "priority", 99)],
)
def test_values_of_options(words, attribute, value, capsys):
    assert getattr(read(*words)[0], attribute) == value
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words",
    [["-p", "x"], ["-#", "-1"], ["-f", "19"], ["-e", "x"], ["-ly"], ["-0y"], ["-d", "double"],
     ["-d", "35"], ["-w", "x"], ["-f", "9" * 5000]],
)
def test_wrong_values_are_ignored_with_a_complaint(words, capsys):
    settings, _ = read(*words)
    assert vars(settings) == vars(Settings("caget"))
    assert "gnored" in capsys.readouterr().err


def test_masks_and_time_stamps(capsys):
    settings, _ = read("-m", "lp", "-t", "scI", options=MONITORING)
    assert settings.mask == SubscriptionType.DBE_LOG | SubscriptionType.DBE_PROPERTY
    assert settings.timestamps == "scI"
    settings, _ = read("-m", "vx", "-t", "n", options=MONITORING)
    assert settings.mask == SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
    assert settings.timestamps == ""
    assert capsys.readouterr().err == "Invalid argument 'vx' for option '-m' - ignored.\n"


def test_long_names_are_the_same_options():
    """Whatever has a letter has a word."""
    settings, words = read("--terse", "--timeout=3", "x", "--elements", "2")
    assert (settings.form, settings.timeout, settings.count, words) == ("terse", 3, 2, ["x"])
    tables = (HELP, CONNECTION, GET_FORMS, COUNT, NUMBERS, SEPARATOR, MONITORING, PUT_FORMS)
    assert all(option.word for table in tables for option in table.values())


def test_further_options_are_asked_for_when_they_are_needed():
    asked = []

    def more():
        asked.append(1)
        return {"json": Option("", "", flag("utf8", True)), "v": Option("", "", flag("colour", 1))}

    settings = Settings("caget")
    assert parse(settings, OPTIONS, ["-c", "x", "--terse"], anywhere=True, more=more) == ["x"]
    assert not asked
    parse(settings, OPTIONS, ["-cv", "--json"], anywhere=True, more=more)
    assert asked and settings.utf8 and settings.colour == 1
    with pytest.raises(UsageError, match="Unrecognized option: '--jsn'"):
        parse(settings, OPTIONS, ["--jsn"], anywhere=True, more=more)


def test_with_exact_statuses_nothing_is_ignored():
    settings = Settings("caget")
    settings.exact = True
    for words, said in (
        (["-w", "x"], "'x' is not a valid timeout value. "),
        (["-w", "nan"], "'nan' is not a valid timeout value. "),
        (["-#", "5x"], "'5x' is not a valid array element count. "),
        (["-p", "200"], "A CA priority is 0 to 99, not 200. "),
        (["-F", "ab"], "The separator is one character, not 'ab'. "),
    ):
        with pytest.raises(UsageError) as caught:
            parse(settings, {**CONNECTION, **COUNT, **SEPARATOR}, words, anywhere=True)
        assert str(caught.value) == said + settings.hint  # which says nothing of "ignored"


@pytest.mark.parametrize("tool, status, words", [
    ("explain", 1, ["-w", "abc"]), ("explain", 1, ["--timeout=-1"]), ("explain", 1, ["-p", "100"]),
    ("explain", 1, ["-p", "5x"]), ("explain", 2, ["--strict", "-w", "abc"]),
    ("snapshot", 2, ["-w", "abc", "save", "x.npz"]),
])
def test_tools_without_an_epics_model_refuse_wrong_values(tool, status, words, call):
    done = call(tool, *words, "nonsense")
    assert (done.status, done.out) == (status, "")
    assert done.err.endswith(f". ('caproto-{tool} -h' for help.)\n") and done.err.count("\n") == 1
