"""The choice between numpy and the standard library for arrays.

Attributes
----------
backend_name : str
    The backend in use. Asking for it decides, if that was not done before.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ._protocol import arrays
from ._protocol.arrays import Backend, register_backend, select_backend

if TYPE_CHECKING:
    backend_name: str

__all__ = ["Backend", "backend_name", "register_backend", "select_backend"]


def __getattr__(name: str) -> str:
    if name == "backend_name":
        return arrays.backend_name()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
