"""Where searches go, and what goes wrong there."""
from __future__ import annotations

from .._addresses import Address
from .._typing import NamedTuple

__all__ = ["SearchTargets"]


class SearchTargets(NamedTuple):
    """Where the searches of a client go at one moment."""

    #: Where searches are sent by UDP; with why sending failed the last time, empty if it did not.
    destinations: dict[Address, str]
    #: The name servers; with why they cannot be asked, empty if they can.
    name_servers: dict[Address, str]
    #: Configured addresses ('host:port') with an unknown host.
    unresolved: list[str]
    #: Whether the configured addresses have been looked up.
    resolved: bool

    def why_not_found(self) -> str:
        """Tell why a name is not found, as far as the reason is the same for all names."""
        asked = [f"{host}:{port}" for host, port in self.destinations]
        failing = [f"{address} is an unknown host" for address in self.unresolved]
        for (host, port), problem in self.name_servers.items():
            if problem:
                failing.append(f"the name server {host}:{port} is not available: {problem}")
            else:
                asked.append(f"{host}:{port} by TCP")
        if asked:
            said = f"no server has answered the search (sent to {', '.join(asked)})"
        elif failing or self.resolved:
            said = "there is no address to search"
            failing = failing or ["none is configured"]
        else:
            return "the search has only just started"
        return "; ".join((said, *failing))
