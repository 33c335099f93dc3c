"""CallbackHandler: callbacks about the connection or the access rights of one PV."""
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Final, Literal

from ..._client.announcements import PVCallback
from ..._client.arguments import check_token
from ..._client.callbacks import Function, listener
from ._home import ClientPV, home_of
from ._reentry import inside, must_not_wait, refusal

#: The subjects of handlers: a state, given as text, or AccessRights.
News = Literal["state", "access_rights"]

_tokens: Final = itertools.count()


class CallbackHandler:
    """The callbacks of a PV about one kind of news.

    Given by ``PV.connection_state_callback`` and ``PV.access_rights_callback``.

    Parameters
    ----------
    pv : PV
    news : str
        'state' or 'access_rights'.
    """

    def __init__(self, pv: ClientPV, news: News) -> None:
        self.pv = pv
        self._news = news

    @property
    def callbacks(self) -> dict[int, Function]:
        """The callbacks that :meth:`add_callback` has added and that still exist, by token."""
        return home_of(self.pv).table.listeners(self.pv, self._news)

    def add_callback(self, function: Callable[..., object], run: bool = False) -> int:
        """Call *function* at each change from now on.

        Parameters
        ----------
        function : callable
            Called as ``f(pv, state)`` with 'connected' or 'disconnected', or as
            ``f(pv, access_rights)``. Held weakly: keep a reference to it.
        run : bool
            Whether to call it also with what is known now, in the callback thread.

        Returns
        -------
        int
            A token for :meth:`remove_callback`.

        Raises
        ------
        CaprotoTypeError
            If *function* cannot be called so, or not be held weakly.
        ReentrantCallError
            If this thread is inside another call of caproto.
        """
        home = home_of(self.pv)
        if inside(home.locks):
            raise refusal(f"PV.{self._news}_callback.add_callback of {self.pv.name!r}")
        reference, token = listener(function, f"f(pv, {self._news})"), next(_tokens)
        states, access = (reference, None) if self._news == "state" else (None, reference)
        added: list[PVCallback] = []
        try:
            home.listen(self.pv, states, access, added, known=run, token=token)
            return token  # here, so that no line is left in which the token could be lost
        except BaseException:  # Ctrl-C: a caller without the token cannot remove it
            for one in added:
                one.cancel()
            raise

    def remove_callback(self, token: int) -> None:
        """Stop calling a callback. One that is gone already is not an error.

        Raises
        ------
        CaprotoTypeError
            If *token* is not an int.
        """
        check_token(token)
        home = home_of(self.pv)
        stop = functools.partial(home.stop_listening, self.pv, self._news, token)
        if must_not_wait(home.locks):
            home.note(self.pv, stop)
        else:
            stop()
