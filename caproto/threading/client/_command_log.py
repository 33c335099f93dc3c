"""The log of the commands of one circuit; it is never written under a lock."""
from __future__ import annotations

import logging
from collections.abc import Iterable

from ..._client.circuit_session import CircuitSession
from ..._log import RECEIVED, SENT
from ..._protocol.commands import Message
from ..._protocol.id_ranges import Block


class CommandLog:
    """Logs what a circuit has sent and received, at DEBUG.

    Parameters
    ----------
    session : CircuitSession
    """

    def __init__(self, session: CircuitSession) -> None:
        self._session = session

    def sent(self) -> None:
        """Log what was sent under the lock, now that it is released."""
        waiting = self._session.sent
        while waiting:
            try:
                command = waiting.popleft()
            except IndexError:  # another thread has logged it
                break
            self._log(command, SENT)

    def received(self, commands: Iterable[Message]) -> None:
        """Log what was received, before it is processed: after a reply its PV is unknown."""
        for command in commands:
            if isinstance(command, Block):
                for one in command.messages():
                    self._log(one, RECEIVED)
            else:
                self._log(command, RECEIVED)

    def _log(self, command: Message, direction: str) -> None:
        """Log one command of the circuit, or else of its PV, if one of them is at DEBUG."""
        circuit = self._session.circuit
        channel = circuit.channel_of(command)
        extra = {**circuit.log.context, "direction": direction}
        if channel is not None:
            extra["pv"] = channel.name
        if circuit.log.isEnabledFor(logging.DEBUG):
            circuit.log.debug("%s", command.as_line(), extra=extra)
        elif channel is not None:
            pv = self._session.routes.pvs.get(channel.cid)
            if pv is not None:
                pv._debug("%s", command.as_line(), extra=extra)
