"""The choice between numpy and the standard library for arrays."""
from __future__ import annotations

from ._protocol.arrays import Backend, backend_name, select_backend

__all__ = ["Backend", "backend_name", "select_backend"]
