"""caproto-put as users run it: what caput was recorded to print."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.commandline.recordings import Case, Player, recorded


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    player = Player()
    yield player
    player.close()


@pytest.mark.parametrize("case", recorded("caput"))
def test_as_recorded(case: Case, player: Player) -> None:
    player.check(case, "put")
