"""Words that are wrong in every text of this project; the rules are in docs/contributing.rst."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Pattern -> what to write. Only what is never right here.
WRONG = {
    r"lest": "so that ... not",
    r"anew": "again",
    r"for ever": "without end, endlessly",
    r"want of": "no, too few, cannot start",
    r"in vain": "without an answer, needlessly",
    r"nobody": "no thread, no client, nothing",
    r"whom": "which, or the name of the actor",
    r"rubbish": "what it is: undefined bytes",
    r"its kin": "and the like",
    r"monstrous": "very large",
    r"to be had": "there is none",
    r"(?<!there )is no (?!longer|more|such|way)\w+": "is not a",
    r"hardly begun": "only just started",
    r"turns off the light": "is the last one",
    r"aloud": "with a warning, in the log",
    r"(?:is|are|was|were|be) told": "is notified, gets, is asked",
    r"holding nothing": "without a lock",
    r"somebody|anybody|everybody": "a thread, a client, any caller",
    r"so many (?!\w+ that)": "this many, or the number",
    r"give(?:s|n)? (?:it|them|the \w+) back": "close, clear, return",
    r"in this moment": "just, now",
    r"takes? (?:its|their) time": "is slow, may take seconds",
    r"no business of": "does not concern",
    r"foreign code": "code of others, of the user",
    r"want to know": "need",
    r"was faster": "has done it already",
}
_PATTERN = re.compile(r"\b(?:" + "|".join(WRONG) + r")\b", re.IGNORECASE)


def texts() -> list[Path]:
    """Every file with words for users or for readers of the code."""
    found = [ROOT / "README.rst", ROOT / "Makefile", *(ROOT / ".ci").iterdir()]
    for folder, kind in (("caproto", "*.py"), ("docs", "*.rst"), ("examples", "*.py")):
        found += (ROOT / folder).rglob(kind)
    return sorted(path for path in found if "_build" not in path.parts)


def test_the_words_are_plain_english():
    wrong = []
    for path in texts():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in _PATTERN.finditer(line):
                if not match[0].isupper():  # names of constants
                    wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong, "see WRONG in this file:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "lest it wait", "begins anew", "a want of threads", "3 is no integer", "for ever",
        "In vain", "callbacks are told", "so many bytes", "gives the channel back", "was faster",
    ],
)
def test_these_are_found(text):
    assert _PATTERN.search(text)


@pytest.mark.parametrize(
    "text", ["the latest", "there is no such type", "it is no longer there", "renewed", "forever"]
)
def test_these_are_not(text):
    assert not _PATTERN.search(text)
