"""`OpenChannel`: one channel of one client, as the server sees it."""
from __future__ import annotations

from .._protocol.commands import AccessRightsResponse
from .._protocol.dbr import AccessRights
from .directory import View
from .updates import Monitor, UpdateQueue

__all__ = ["OpenChannel"]

#: Rights are checked again after the client was notified: another thread may have changed them.
_RIGHTS_TRIES = 3


class OpenChannel:
    """One channel of one client.

    Parameters
    ----------
    updates : UpdateQueue
        Where changes of the rights are sent from.
    view : View
        The PV as the client asked for it.
    cid, sid : int
        The client's number of the channel, and ours.
    host_name, client_name : str
        What the client says about itself.

    Attributes
    ----------
    rights : AccessRights
        The rights that were sent last; belongs to the lock of *updates*.
    closed : bool
        The client has cleared it, or is gone; belongs to the lock of *updates*.
    monitors : dict of int to Monitor
        By subscription id. Replaced as a whole, because threads that change the rights look at it.
    """

    __slots__ = (
        "_client_name", "_host_name", "_updates", "cid", "closed", "monitors", "rights", "sid",
        "view",
    )

    def __init__(
        self,
        updates: UpdateQueue,
        view: View,
        cid: int,
        sid: int,
        host_name: str,
        client_name: str,
    ) -> None:
        self._updates = updates
        self._host_name = host_name
        self._client_name = client_name
        self.view = view
        self.cid = cid
        self.sid = sid
        self.closed = False
        self.monitors: dict[int, Monitor] = {}
        self.rights = self._allowed()

    @property
    def name(self) -> str:
        """The name that the client asked for."""
        return self.view.name

    def _allowed(self) -> AccessRights:
        return self.view.data.check_access(self._host_name, self._client_name)

    def rights_changed(self) -> None:
        """Tell the client if its rights are others now; called by the thread that changed them."""
        view = self.view
        for _ in range(_RIGHTS_TRIES):
            rights = self._allowed()
            if rights == self.rights:
                break
            self._updates.rights_changed(
                self,
                rights,
                AccessRightsResponse(self.cid, rights),
                self.monitors.values(),
                lambda: view.select(view.data.snapshot),
            )
