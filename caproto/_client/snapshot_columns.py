"""The columns of a snapshot of many PVs: arrays of numpy with an element for each PV."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from .._errors import (
    CaprotoAttributeError,
    CaprotoError,
    CaprotoKeyError,
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
)
from .._numbers import counted
from .._protocol.dbr import ChannelType
from .._protocol.presentation import array_words, text_words
from .._protocol.text import decode_text
from .arguments import listed

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    #: An array with an element, or a row of elements, for each PV.
    Column: TypeAlias = NDArray[numpy.generic]

#: A number with decimals that is longer than this is printed with 8 digits.
_MOST_DIGITS = 12
#: The arrays of a snapshot, by the names of its attributes and of the arguments.
COLUMNS = ("values", "timestamps", "severity", "status", "connected", "ok")


def fix(thing: object, **attributes: object) -> None:
    """Set attributes of an object that never changes; for its constructor."""
    for name, value in attributes.items():
        object.__setattr__(thing, name, value)


def refuse_change(thing: object, name: str, *_value: object) -> NoReturn:
    """Refuse to set or delete an attribute."""
    raise CaprotoAttributeError(f"a {type(thing).__name__} cannot be changed, nor its {name!r}")


class SnapshotErrors(Mapping[str, CaprotoError]):
    """Why there is no value, for each name without one; by name, in the order of the names.

    The errors are made when they are asked for, because there can be very many.
    """

    __slots__ = ("_snap",)

    def __init__(self, snap: SnapshotColumns) -> None:
        self._snap = snap

    def __getitem__(self, name: str) -> CaprotoError:
        if name not in self:
            raise CaprotoKeyError(f"there is no error of {name!r}")
        return self._snap.error_at(self._snap.index[name])

    def __contains__(self, name: object) -> bool:
        return name in self._snap and not self._snap.ok[self._snap.index[str(name)]]

    def __iter__(self) -> Iterator[str]:
        names = self._snap.names
        return (names[at] for at in (~self._snap.ok).nonzero()[0].tolist())

    def __len__(self) -> int:
        return len(self._snap) - int(self._snap.ok.sum())

    def __repr__(self) -> str:
        return repr(dict(self))


class SnapshotColumns:
    """What `TableSnapshot` holds; see there for its arguments."""

    __slots__ = (
        "names", "values", "timestamps", "severity", "status", "connected", "ok", "_errors",
        "_index", "_reason",
    )

    names: tuple[str, ...]
    values: Column
    timestamps: NDArray[numpy.datetime64]
    severity: Column
    status: Column
    connected: NDArray[numpy.bool_]
    ok: NDArray[numpy.bool_]
    _errors: dict[str, CaprotoError]  # those that were given, or have been made
    _index: Mapping[str, int] | None
    _reason: Callable[[int], CaprotoError | None]

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        values: Column,
        timestamps: NDArray[numpy.datetime64],
        severity: Column,
        status: Column,
        connected: NDArray[numpy.bool_],
        ok: NDArray[numpy.bool_],
        errors: Mapping[str, CaprotoError] | Callable[[int], CaprotoError | None],
    ) -> None:
        import numpy

        names = names if type(names) is tuple else tuple(listed("names", names))
        columns = (values, timestamps, severity, status, connected, ok)
        for name, column in zip(COLUMNS, columns, strict=True):
            if not isinstance(column, numpy.ndarray) or not column.ndim:
                raise CaprotoTypeError(f"{name} must be an array of numpy, not {column!r}")
            if len(column) != len(names):
                raise CaprotoValueError(
                    f"{counted(len(names), 'name')}, but {counted(len(column), 'element')}"
                )
            column.flags.writeable = False
        if not callable(errors) and not isinstance(errors, Mapping):
            raise CaprotoTypeError(
                f"errors must be a mapping of names to errors, or callable, not {errors!r}"
            )
        if values.dtype == object:
            for value in values:
                if isinstance(value, numpy.ndarray):
                    value.flags.writeable = False
        fix(self, names=names, values=values, timestamps=timestamps, severity=severity)
        fix(self, status=status, connected=connected, ok=ok)
        fix(self, _index=None, _errors={} if callable(errors) else dict(errors))
        fix(self, _reason=errors if callable(errors) else _unknown)

    __setattr__ = __delattr__ = refuse_change

    @property
    def errors(self) -> Mapping[str, CaprotoError]:
        """Why there is no value, for each name without one."""
        return SnapshotErrors(self)

    @property
    def index(self) -> Mapping[str, int]:
        """The position of each name in the arrays."""
        if self._index is None:
            index = {name: at for at, name in enumerate(self.names)}
            fix(self, _index=MappingProxyType(index))
        assert self._index is not None
        return self._index

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.index

    def __getitem__(self, name: str) -> object:
        """Return the value of one PV: a number or text of Python, or a read-only array.

        Raises
        ------
        CaprotoKeyError
            The snapshot does not have this name.
        CaprotoError
            There is no value; the exception is the one in `errors`.
        """
        at = self.position(name)
        if not self.ok[at]:
            raise self.error_at(at).with_traceback(None)
        return plain_value(self.values[at])

    def position(self, name: str) -> int:
        """Return the position of a name; raise CaprotoKeyError if it is not there."""
        try:
            return self.index[name]
        except (KeyError, TypeError):
            raise CaprotoKeyError(f"the snapshot has no {name!r}") from None

    def to_dict(self) -> dict[str, object]:
        """Make a dict of the values by name. Those that are missing are left out; see `errors`."""
        if self.values.ndim == 1 and self.values.dtype.kind not in "OS":
            values: Iterable[object] = self.values.tolist()
        else:
            values = map(plain_value, self.values)
        triples = zip(self.names, values, self.ok.tolist(), strict=True)
        return {name: value for name, value, ok in triples if ok}

    def error_at(self, at: int) -> CaprotoError:
        """Return the reason why there is no value at this position."""
        name = self.names[at]
        if name not in self._errors:
            error = self._reason(at)
            if error is None and self.connected[at]:
                error = CaprotoValueError(f"{name!r} has had no value yet")
            self._errors[name] = error or DisconnectedError(f"{name!r} is not connected")
        return self._errors[name]


def _unknown(_at: int) -> None:
    """Give no reason why there is no value at a position."""


def plain_value(value: object) -> object:
    """Return an element of `values` as a number or text of Python, or an array."""
    import numpy

    if isinstance(value, numpy.ndarray) and value.ndim:
        return decoded(value) if value.dtype.kind == "S" else value
    plain = value.item() if hasattr(value, "item") else value
    return decode_text(plain) if isinstance(plain, bytes) else plain


def decoded(texts: Column) -> Column:
    """Return a read-only array of str for one of bytes."""
    import numpy

    array = numpy.array([decode_text(text) for text in texts.ravel().tolist()], str)
    array = array.reshape(texts.shape)
    array.flags.writeable = False
    return array


def value_words(value: object) -> str:
    """Write an element of `values` for people."""
    import numpy

    if isinstance(value, numpy.ndarray) and value.ndim:
        native = ChannelType.FLOAT if value.dtype == numpy.float32 else ChannelType.DOUBLE
        return array_words(len(value), native, lambda start, stop: value[start:stop].tolist())
    plain = plain_value(value)
    if isinstance(plain, str):
        return text_words(plain)
    whole = str(value if isinstance(value, numpy.float32) else plain)  # 0.1, not 0.10000000149
    return f"{plain:.8g}" if isinstance(plain, float) and len(whole) > _MOST_DIGITS else whole
