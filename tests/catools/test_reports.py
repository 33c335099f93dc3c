"""What is said about names and events."""
from __future__ import annotations

import pytest

from caproto._catools.extras import Extras
from caproto._catools.forms import form_of
from caproto._catools.reports import last_word, report, usable_names
from caproto._catools.samples import Sample
from caproto._catools.settings import Failed, Settings, TimeUp


def form(output):
    extras = Extras()
    extras.output, extras.template = output, "{name}"
    return form_of(Settings("caproto-get"), extras)


@pytest.mark.parametrize("output", ["lines", "json", "csv", "template"])
def test_a_problem_is_said_once_and_in_one_place(output, capsys):
    made = form(output)
    report(Sample("x", "error", text="no"), made)
    out, err = capsys.readouterr()
    assert ("no" in out, err) == ((True, "") if output in ("json", "csv") else (False, "x: no\n"))
    assert str(last_word(TimeUp("late"), made)) == ("" if made.has_all else "late")
    assert last_word(TimeUp("late"), made).status == TimeUp.status


def test_names_that_no_pv_can_have(capsys):
    good, errors = usable_names(["x", "", "y"], {"": "list, line 2"}, form("lines"), True)
    assert (good, len(errors)) == (["x", "y"], 1)
    assert capsys.readouterr().err == "'': list, line 2: the name is empty\n"
    with pytest.raises(Failed, match="1 of 2 names"):
        usable_names(["x", ""], {}, form("lines"), False)
