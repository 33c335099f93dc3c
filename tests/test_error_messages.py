"""The page of error messages has every message that a user of the client can get.

The messages are found in the source: the arguments of our exceptions, of the logs' warnings and
errors, and the texts of functions that say why something did not happen. Of each, the fixed words
must be on one line of the page that shows a message, in their order.
"""
from __future__ import annotations

import ast
import re

import pytest

from caproto import _errors
from tests.harness.ioc_process import ROOT

PAGE = ROOT / "docs" / "errors.rst"

#: Where messages come from that users of the client can get.
SOURCES = (
    "threading/*.py", "threading/client/*.py", "_client/*.py", "sync/*.py", "_environment.py",
    "_addresses.py", "_imports.py", "_settings.py", "_protocol/client_channel.py",
    "_protocol/dbr.py", "_protocol/message.py", "_protocol/payload.py", "_protocol/text.py",
    "_protocol/type_names.py",
)
#: Messages that only a defect of ours, the server or the use of the core can bring about.
NOT_FOR_USERS = (
    "no search has the cid",
    "max_period must be a positive, finite number",
    "EPICS_CAS_INTF_ADDR_LIST:",
    "interfaces: ",
    " does not fit the ",  # data_count of a command; a PV checks it before
    " cannot be written; servers take ", "mask=0 subscribes to nothing",  # the same
    "unknown subscription id ", " does not belong to channel ",
    "metadata of ", "metadata=",
    " is not a data type; they run from ", " is not within 0..",
    ": DBR types are 0..", " is not a DBR type",
    " must be a str, not ", " must be an integer, not \0 (",  # of commands
    "cannot search for a name of ", "string_encoding=",
)
#: Functions that return, or pass on, the text of a message.
WRITERS = {"why_not_found", "why_not_connected", "no_reply", "failure", "refusal", "_after_fork"}
#: Methods of a logger that users see the output of, and those that take the reason of an end.
WARNINGS = {"warning", "error", "exception", "close", "_close"}


def literals(node):
    """The texts in an expression, with a NUL for each value that is put in."""
    if isinstance(node, ast.Constant):
        return [re.sub(r"%[-\w.]*[srdfg]", "\0", node.value)] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(v.value if isinstance(v, ast.Constant) else "\0" for v in node.values)]
    if isinstance(node, ast.BinOp):
        return ["\0".join(literals(node.left) + literals(node.right))]
    if isinstance(node, ast.IfExp | ast.BoolOp):
        return [text for child in ast.iter_child_nodes(node) for text in literals(child)]
    return []


def called(node):
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def assigned(tree):
    """The texts that are put into variables."""
    texts = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            texts.setdefault(node.targets[0].id, []).extend(literals(node.value))
    return texts


def messages_of(function, constants):
    """The messages that one function makes, also those that it first puts into a variable."""
    texts = constants | assigned(function)
    if function.name in WRITERS:
        for node in ast.walk(ast.Module(function.body[1:], [])):
            yield from (text for text in literals(node) if len(text) > 15 and " " in text)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and node.args and (
            called(node) in _errors.__all__ or called(node) == "warn"
            or called(node) in WARNINGS and isinstance(node.func, ast.Attribute)
        ):
            first = node.args[0]
            yield from texts.get(first.id, []) if isinstance(first, ast.Name) else literals(first)


def all_messages():
    found = {}
    for pattern in SOURCES:
        for path in sorted((ROOT / "caproto").glob(pattern)):
            tree = ast.parse(path.read_text())
            top = [node for node in tree.body if isinstance(node, ast.Assign)]
            constants = assigned(ast.Module(top, []))
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    for text in messages_of(node, constants):
                        found.setdefault(text, f"{path.relative_to(ROOT)}:{node.lineno}")
    return {
        text: place
        for text, place in found.items()
        if re.search(r"[a-z]{3}", text) and not any(part in text for part in NOT_FOR_USERS)
    }


def shown(page):
    """The messages that the page shows: each begins a line, in double backquotes."""
    return re.findall(r"^``(.*)``$", page, re.MULTILINE)


def pattern_of(text):
    """A regular expression for the fixed words of a message."""
    pieces = [piece.strip(" ,;:'\"()") for piece in text.split("\0")]
    return ".*".join(re.escape(piece) for piece in pieces if piece)


@pytest.fixture(scope="module")
def messages():
    found = all_messages()
    assert len(found) > 80
    return found


def test_each_message_is_explained(messages):
    lines = shown(PAGE.read_text())
    missing = [
        f"{text!r} ({place})" for text, place in messages.items()
        if not any(re.search(pattern_of(text), line) for line in lines)
    ]
    assert not missing, f"{PAGE.name} has no line for {missing}"


def test_each_line_of_the_page_belongs_to_a_message(messages):
    patterns = [pattern_of(text) for text in messages]
    stale = [
        line for line in shown(PAGE.read_text())
        if not any(re.search(pattern, line) for pattern in patterns)
    ]
    assert not stale
