"""What users read about where their searches go."""
from __future__ import annotations

import pytest

from caproto._client.search_targets import SearchTargets

UDP, TCP = ("10.0.0.1", 5064), ("10.0.0.2", 5064)


@pytest.mark.parametrize(
    "targets, text",
    [
        (SearchTargets({}, {}, [], False), "the search has only just started"),
        (SearchTargets({}, {}, [], True), "there is no address to search; none is configured"),
        (
            SearchTargets({}, {}, ["ioc:5064"], True),
            "there is no address to search; ioc:5064 is an unknown host",
        ),
        (
            SearchTargets({}, {TCP: "Connection refused"}, [], True),
            "there is no address to search; the name server 10.0.0.2:5064 is not available: "
            "Connection refused",
        ),
        (
            SearchTargets({UDP: ""}, {TCP: ""}, ["ioc:5064"], True),
            "no server has answered the search (sent to 10.0.0.1:5064, 10.0.0.2:5064 by TCP); "
            "ioc:5064 is an unknown host",
        ),
    ],
)
def test_why_a_name_is_not_found(targets, text):
    assert targets.why_not_found() == text
