"""Functions of one argument where two are given."""
from __future__ import annotations

import gc

import caproto as ca


def test_a_function_of_one_argument_gets_the_response():
    seen, kept = [], set()

    def old(response):
        seen.append(response)

    called = ca.adapt_old_callback_signature(old, kept)
    called("subscription", "response")
    assert seen == ["response"] and kept == {called}
    del old
    gc.collect()
    called("subscription", "another")
    assert seen == ["response"] and not kept


def test_a_function_of_two_arguments_is_left_alone():
    def new(sub, response):
        """Take both."""

    kept = set()
    assert ca.adapt_old_callback_signature(new, kept) is new and not kept
