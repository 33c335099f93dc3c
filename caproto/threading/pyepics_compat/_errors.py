"""What programs written for pyepics expect to be raised."""

from __future__ import annotations

from ..._errors import CaprotoError


class AccessRightsException(CaprotoError):
    """The access rights of the PV forbid the put; nothing was sent."""


__all__ = ["AccessRightsException"]
