"""Settings: immutable objects that have one value for each annotated field of their class.

`dataclasses` would do as well, but importing it takes a tenth of the time in which a script starts.
Its functions take these objects, too.
"""
from __future__ import annotations

from collections.abc import Iterator

from ._errors import CaprotoAttributeError, CaprotoTypeError
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import Field
    from typing import Any, ClassVar, NoReturn, TypeVar

    from typing_extensions import dataclass_transform

    S = TypeVar("S", bound="Settings")
else:

    def dataclass_transform(**_: object) -> Any:
        """Mark a class for type checkers; before Python 3.11 `typing` has no such function."""
        return lambda cls: cls


class _Fields:
    """What `dataclasses` knows of a class; made for who asks, so that we need not import it."""

    def __get__(self, instance: Settings | None, owner: type[Settings]) -> dict[str, Field[Any]]:
        from dataclasses import field, fields, make_dataclass

        wanted = [(name, object, field(default=one)) for name, one in owner._defaults.items()]
        made: Any = make_dataclass(owner.__name__, wanted, frozen=True)
        return {one.name: one for one in fields(made)}


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Settings:
    """Base of classes whose annotated fields, each with its default, are keyword arguments.

    A subclass may check its fields, and put them in their final form, in `__post_init__`.
    """

    _defaults: ClassVar[dict[str, object]] = {}
    __dataclass_fields__ = _Fields()

    def __init_subclass__(cls) -> None:
        own = {name: getattr(cls, name) for name in cls.__annotations__}
        cls._defaults = {**cls._defaults, **own}

    def __init__(self, **settings: object) -> None:
        unknown = settings.keys() - self._defaults.keys()
        if unknown:
            raise CaprotoTypeError(
                f"{type(self).__name__} has no setting {min(unknown)!r}; it has "
                f"{', '.join(self._defaults)}"
            )
        self.__dict__.update(self._defaults)
        self.__dict__.update(settings)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise CaprotoAttributeError(
            f"a {type(self).__name__} cannot be changed; replace({name}=...) makes a variant"
        )

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def replace(self: S, **changes: Any) -> S:
        """Make a variant in which some settings differ."""
        return type(self)(**{**dict(self), **changes})

    __replace__ = replace  # for `copy.replace` of Python 3.13

    def __iter__(self) -> Iterator[tuple[str, object]]:
        """Iterate over (name, value) pairs."""
        return ((name, self.__dict__[name]) for name in self._defaults)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self)})"
