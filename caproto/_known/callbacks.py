"""Functions of one argument where two are given."""
from __future__ import annotations

from collections.abc import Callable, MutableSet

from .._client.callbacks import accepts_two, make_reference

__all__ = ["adapt_old_callback_signature"]


def adapt_old_callback_signature(
    func: Callable[..., object], weakref_set: MutableSet[object]
) -> Callable[..., object]:
    """Make a function that is called as ``f(subscription, response)`` of ``f(response)``.

    `Subscription.add_callback` needs no such help: it takes either.

    Parameters
    ----------
    func : callable
        Held weakly; the function that is returned does nothing when it is gone.
    weakref_set : set
        Keeps the function that is returned, as long as *func* exists.

    Returns
    -------
    callable
        *func* itself if it takes two arguments.
    """
    if accepts_two(func):
        return func
    reference = make_reference(func, False, lambda _: weakref_set.discard(adapted))

    def adapted(sub: object, response: object) -> None:
        function = reference()
        if function is not None:
            function(response)

    weakref_set.add(adapted)
    return adapted
