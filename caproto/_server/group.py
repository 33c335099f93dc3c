"""PVs declared as class attributes: `PVGroup`, `pvproperty`, `SubGroup`.

::

    class RandomWalk(PVGroup):
        dt = pvproperty(value=3.0)
        x = pvproperty(value=0.0)

        @x.scan(period=dt)
        def x(self, instance):
            instance.write(instance.value + random.random() - 0.5)

    run(RandomWalk(prefix='random_walk:'))

A declaration (`pvproperty`) belongs to the class and never changes; every decorator makes a new
one. An instance of the group makes one `ChannelData` of each declaration, and returns it as
``self.x``.

This module makes names and channels. It starts no threads and opens no sockets; the server of a
group (`caproto.threading.server`) calls its functions.
"""
from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, overload

from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._protocol.dbr import AccessRights, ChannelType, native_type
from .channel_types import (
    ChannelByte,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelShort,
    ChannelString,
)
from .data import ChannelData

__all__ = [
    "PVGroup",
    "SubGroup",
    "channel_class",
    "get_pv_pair_wrapper",
    "pvproperty",
]

Function = Callable[..., object]

_BY_CHANNEL_TYPE: dict[ChannelType, type[ChannelData]] = {
    ChannelType.STRING: ChannelString,
    ChannelType.INT: ChannelShort,
    ChannelType.FLOAT: ChannelFloat,
    ChannelType.ENUM: ChannelEnum,
    ChannelType.CHAR: ChannelByte,
    ChannelType.LONG: ChannelInteger,
    ChannelType.DOUBLE: ChannelDouble,
}
_BY_PYTHON_TYPE: dict[type, type[ChannelData]] = {
    bool: ChannelEnum,
    int: ChannelInteger,
    float: ChannelDouble,
    str: ChannelString,
    bytes: ChannelByte,
}
#: What the letters of numpy's kinds and sizes become. 64 bit integers lose digits beyond 2**53.
_BY_NUMPY_TYPE: dict[str, type[ChannelData]] = {
    "b1": ChannelByte,
    "u1": ChannelByte,
    "i1": ChannelByte,
    "i2": ChannelShort,
    "u2": ChannelInteger,
    "i4": ChannelInteger,
    "u4": ChannelDouble,
    "i8": ChannelInteger,
    "u8": ChannelDouble,
    "f4": ChannelFloat,
    "f8": ChannelDouble,
}


def channel_class(dtype: type | int | None = None, value: object = None) -> type[ChannelData]:
    """Find the channel class that fits a data type, or a first value.

    Parameters
    ----------
    dtype : type, ChannelType, ChannelData class or None
        ``float``, ``int``, ``str``, ``bool`` (an enum of two states), ``bytes``; a native
        `ChannelType`; one of the channel classes.
    value
        Looked at if there is no *dtype*: a scalar, a sequence, a numpy array.

    Raises
    ------
    CaprotoTypeError
        Nothing fits.
    """
    if isinstance(dtype, type) and issubclass(dtype, ChannelData):
        return dtype
    if isinstance(dtype, type) and dtype in _BY_PYTHON_TYPE:
        return _BY_PYTHON_TYPE[dtype]
    if isinstance(dtype, int):
        return _BY_CHANNEL_TYPE[native_type(dtype)]
    if dtype is not None:
        raise CaprotoTypeError(
            f"dtype={dtype!r} is not a data type; give float, int, str, bool, bytes, a ChannelType "
            "or a channel class such as ChannelDouble"
        )
    numpy_type = getattr(value, "dtype", None)
    if numpy_type is not None and numpy_type.str[1:] in _BY_NUMPY_TYPE:
        return _BY_NUMPY_TYPE[numpy_type.str[1:]]
    kinds = {type(value)}
    if isinstance(value, (list, tuple)):
        kinds = {type(item) for item in value}
    if kinds == {bool}:
        return _BY_PYTHON_TYPE[bool]
    for kind in (float, int, str, bytes):  # one float among integers makes all of them floats
        if any(issubclass(one, kind) for one in kinds):
            return _BY_PYTHON_TYPE[kind]
    raise CaprotoTypeError(f"cannot tell the data type from value={value!r}; give dtype=")


class pvproperty:
    """Declares one PV of a group.

    On the class, the attribute is this declaration; on an instance, it is the channel, a
    `ChannelData`. Without *name* the PV has the name of the attribute.

    Parameters
    ----------
    getter, putter, startup : callable, optional
        ``getter(group, instance)``, ``putter(group, instance, value)``, ``startup(group,
        instance)``: plain functions, see `ChannelData`. More conveniently given by the decorators
        of the same names.
    name : str, optional
        Name of the PV after the group's prefix; ``{macro}`` is replaced.
    dtype : type or ChannelType, optional
        ``float``, ``int``, ``str``, ``bool`` (an enum of two states), ``bytes``, a `ChannelType` or
        one of the channel classes. By default it follows *value*; without a value, float.
    value : optional
        First value.
    max_length : int, optional
        Most elements; more than 1 makes an array.
    doc : str, optional
        A description of the PV.
    read_only : bool
        Clients cannot write.
    **properties
        For the channel class: ``units=``, ``precision=``, ``enum_strings=`` …
    """

    def __init__(
        self,
        getter: Function | None = None,
        putter: Function | None = None,
        startup: Function | None = None,
        *,
        name: str | None = None,
        dtype: type | int | None = None,
        value: object = None,
        max_length: int | None = None,
        doc: str | None = None,
        read_only: bool = False,
        **properties: object,
    ) -> None:
        self._origin = self
        self.__doc__ = doc
        self.attr_name = ""
        self.name = name
        self.getter_function = getter
        self.putter_function = putter
        self.startup_function = startup
        self.scan_function: Function | None = None
        self.scan_period: float | pvproperty = 0.0
        self.dtype = channel_class(float if dtype is None and value is None else dtype, value)
        if dtype is bool or (dtype is None and isinstance(value, bool)):
            properties.setdefault("enum_strings", ("Off", "On"))
        if read_only:
            properties["access_rights"] = AccessRights.READ
        self.arguments: dict[str, Any] = {"value": value, "max_length": max_length, **properties}

    def _with(self, **changes: object) -> pvproperty:
        new = copy.copy(self)
        for name, value in changes.items():
            setattr(new, name, value)
        return new

    def getter(self, function: Function) -> pvproperty:
        """Decorate ``f(self, instance)``, called before a client reads."""
        return self._with(getter_function=function)

    def putter(self, function: Function) -> pvproperty:
        """Decorate ``f(self, instance, value)``, called when a client writes.

        What it returns is stored instead of *value*, unless it is None. A client that waits for its
        write waits for this function. Other requests do not.
        """
        return self._with(putter_function=function)

    def startup(self, function: Function) -> pvproperty:
        """Decorate ``f(self, instance)``, called in a thread of its own at the start.

        It may run endlessly; ``while not self.stopping.wait(seconds)`` ends with the server.
        """
        return self._with(startup_function=function)

    def scan(self, period: float | pvproperty) -> Callable[[Function], pvproperty]:
        """Decorate ``f(self, instance)``, called periodically.

        Parameters
        ----------
        period : float or pvproperty
            Seconds between the starts; or another PV of the same group, with the period as its
            value: a new one takes effect at once. A period that is not positive pauses the scan. If
            a call takes longer than the period the next one follows immediately.
        """
        return lambda function: self._with(scan_function=function, scan_period=period)

    def __set_name__(self, owner: type, name: str) -> None:
        self.attr_name = name

    @overload
    def __get__(self, instance: None, owner: type) -> pvproperty: ...

    @overload
    def __get__(self, instance: PVGroup, owner: type) -> ChannelData: ...

    def __get__(self, instance: PVGroup | None, owner: type) -> pvproperty | ChannelData:
        if instance is None:
            return self
        return instance.attr_pvdb[self.attr_name]

    def __set__(self, instance: PVGroup, value: object) -> None:
        raise CaprotoTypeError(
            f"{self.attr_name} is a PV; its value is changed by .{self.attr_name}.write(value)"
        )

    def make(self, group: PVGroup) -> ChannelData:
        """Make a channel of this declaration, its functions bound to *group*."""
        data = self.dtype(**self.arguments)
        data.stopping = group.stopping
        for hook in ("getter", "putter", "startup", "scan"):
            function = getattr(self, f"{hook}_function")
            if function is not None:
                setattr(data, hook, functools.partial(function, group))
        return data

    def __repr__(self) -> str:
        return f"<pvproperty {self.attr_name} {self.dtype.__name__}>"


class _Member:
    """``subgroup.x`` in the body of a class: its decorators add functions to the subgroup's PV."""

    def __init__(self, subgroup: SubGroup, name: str) -> None:
        self._subgroup = subgroup
        self._name = name

    def _add(self, **changes: object) -> SubGroup:
        return self._subgroup.changed(self._name, **changes)

    def getter(self, function: Function) -> SubGroup:
        """Decorate as `pvproperty.getter`; the first argument of *function* is the subgroup."""
        return self._add(getter_function=function)

    def putter(self, function: Function) -> SubGroup:
        """Decorate as `pvproperty.putter`; the first argument of *function* is the subgroup."""
        return self._add(putter_function=function)

    def startup(self, function: Function) -> SubGroup:
        """Decorate as `pvproperty.startup`; the first argument of *function* is the subgroup."""
        return self._add(startup_function=function)

    def scan(self, period: float) -> Callable[[Function], SubGroup]:
        """Decorate as `pvproperty.scan`; the first argument of *function* is the subgroup."""
        return lambda function: self._add(scan_function=function, scan_period=period)


class SubGroup:
    """Declares a group inside a group.

    In the body of the class ``sub.x.putter`` and the like decorate a function of the PV ``x`` of
    this one subgroup.

    Parameters
    ----------
    group : type
        A `PVGroup` class.
    prefix : str, optional
        Between the prefix of the group outside and the names inside. Default: the attribute's name
        and a colon.
    macros : dict of str to str, optional
        More macros for the names inside.
    doc : str, optional
        A description.
    **arguments
        For the constructor of *group*.
    """

    def __init__(
        self,
        group: type[PVGroup],
        *,
        prefix: str | None = None,
        macros: Mapping[str, str] | None = None,
        doc: str | None = None,
        **arguments: Any,
    ) -> None:
        self.group = group
        self.prefix = prefix
        self.macros = dict(macros or {})
        self.__doc__ = doc or group.__doc__
        self.arguments = arguments
        self.attr_name = ""

    def changed(self, name: str, **changes: object) -> SubGroup:
        """Return a copy, with another declaration of its PV *name*."""
        new = copy.copy(self)
        declaration = self.group.declarations()[name]._with(**changes)
        new.group = type(self.group.__name__, (self.group,), {name: declaration})
        return new

    def __getattr__(self, name: str) -> _Member:
        # copy.copy asks for special names before there are any attributes
        if not name.startswith("_") and name in self.group.declarations():
            return _Member(self, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __set_name__(self, owner: type, name: str) -> None:
        self.attr_name = name

    @overload
    def __get__(self, instance: None, owner: type) -> SubGroup: ...

    @overload
    def __get__(self, instance: PVGroup, owner: type) -> Any: ...

    def __get__(self, instance: PVGroup | None, owner: type) -> SubGroup | PVGroup:
        if instance is None:
            return self
        return instance.groups[self.attr_name]

    def make(self, parent: PVGroup) -> PVGroup:
        """Make the group that this declares, inside *parent*."""
        prefix, outer = f"{self.attr_name}:" if self.prefix is None else self.prefix, parent.prefix
        if "{" in outer + prefix:  # braces left in the outer one do not belong to macros
            outer = outer.replace("{", "{{").replace("}", "}}")
        return self.group(
            outer + prefix,
            macros={**parent.macros, **self.macros},
            parent=parent,
            **self.arguments,
        )


class PVGroup:
    """PVs that belong together, declared in a subclass.

    ::

        class Oven(PVGroup):
            temperature = pvproperty(value=20.0)

        oven = Oven(prefix='oven:')      # with one PV, 'oven:temperature'
        oven.temperature.write(25.0)

    Parameters
    ----------
    prefix : str
        The beginning of all names.
    macros : dict of str to str, optional
        ``{name}`` in the prefix and in PV names is replaced by the macro's value.
    parent : PVGroup, optional
        The group around this one.

    Attributes
    ----------
    pvdb : dict of str to ChannelData
        Full name -> channel, of this group and all inside it, in the order of declaration.
    attr_pvdb : dict of str to ChannelData
        Attribute name -> channel, of this group alone.
    groups : dict of str to PVGroup
        Attribute name -> group inside.
    stopping : threading.Event
        Set when the server stops; the groups inside share it.

    Raises
    ------
    CaprotoValueError
        Two PVs have the same name, or a macro is missing.
    """

    _declarations: ClassVar[dict[str, pvproperty]] = {}
    _subgroups: ClassVar[dict[str, SubGroup]] = {}
    _order: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        members = {
            name: member for kind in reversed(cls.__mro__) for name, member in vars(kind).items()
        }
        cls._declarations = {k: v for k, v in members.items() if isinstance(v, pvproperty)}
        cls._subgroups = {k: v for k, v in members.items() if isinstance(v, SubGroup)}
        cls._order = tuple(
            k for k, v in members.items() if isinstance(v, (pvproperty, SubGroup))
        )

    @classmethod
    def declarations(cls) -> dict[str, pvproperty]:
        """List attribute name -> declaration, those of the base classes included."""
        return cls._declarations

    def __init__(
        self,
        prefix: str = "",
        *,
        macros: Mapping[str, str] | None = None,
        parent: PVGroup | None = None,
    ) -> None:
        self.macros = dict(macros or {})
        self.prefix = self._expanded(prefix)
        self.parent = parent
        self.stopping: threading.Event = parent.stopping if parent else threading.Event()
        self.pvdb: dict[str, ChannelData] = {}
        self.attr_pvdb: dict[str, ChannelData] = {}
        self.groups: dict[str, PVGroup] = {}
        for attribute in self._order:
            if attribute in self._declarations:
                self._make_pv(attribute, self._declarations[attribute])
            else:
                group = self.groups[attribute] = self._subgroups[attribute].make(self)
                for name, data in group.pvdb.items():
                    self._add(name, data)
        self._link_periods()

    def _make_pv(self, attribute: str, declaration: pvproperty) -> None:
        name = attribute if declaration.name is None else declaration.name
        full_name = self.prefix + self._expanded(name)
        try:
            data = declaration.make(self)
        except (CaprotoTypeError, CaprotoValueError) as error:
            raise type(error)(f"{full_name!r}: {error}") from error
        self.attr_pvdb[attribute] = data
        data.name = full_name
        self._add(full_name, data)

    def _add(self, name: str, data: ChannelData) -> None:
        if name in self.pvdb:
            raise CaprotoValueError(f"two PVs of {type(self).__name__} are called {name!r}")
        self.pvdb[name] = data

    def _expanded(self, text: str) -> str:
        if "{" not in text:
            return text
        try:
            return text.format(**self.macros)
        except (KeyError, IndexError, AttributeError, ValueError) as exc:
            raise CaprotoValueError(
                f"no macro {exc} for {text!r}; there are {sorted(self.macros)}"
            ) from None

    def _link_periods(self) -> None:
        """Resolve the scan periods that are PVs; decorators may have copied their declarations."""
        origins = {
            declaration._origin: attribute for attribute, declaration in self._declarations.items()
        }
        for attribute, declaration in self._declarations.items():
            period = declaration.scan_period
            if isinstance(period, pvproperty):
                if period._origin not in origins:
                    raise CaprotoValueError(
                        f"the scan period of {attribute} is a PV of another group"
                    )
                self.attr_pvdb[attribute].scan_period = self.attr_pvdb[origins[period._origin]]
            else:
                self.attr_pvdb[attribute].scan_period = period

    def __repr__(self) -> str:
        return f"<{type(self).__name__} prefix={self.prefix!r} ({counted(len(self.pvdb), 'PV')})>"


def get_pv_pair_wrapper(
    setpoint_suffix: str = "", readback_suffix: str = "_RBV"
) -> Callable[..., SubGroup]:
    """Make a declaration of pairs of PVs: one that is written, and one that shows the result.

    ::

        pair = get_pv_pair_wrapper()

        class Camera(PVGroup):
            exposure = pair(value=1.0)            # the PVs exposure and exposure_RBV

    ``camera.exposure.setpoint`` and ``camera.exposure.readback`` are the channels. What clients
    write to the setpoint appears in the readback, unless ``@exposure.setpoint.putter`` decorates a
    function that does otherwise.

    Parameters
    ----------
    setpoint_suffix, readback_suffix : str
        After the name of the pair.

    Returns
    -------
    callable
        ``pair(*, name=None, doc=None, **arguments)`` with the arguments of `pvproperty`; it returns
        a `SubGroup`.
    """

    def pair(*, name: str | None = None, doc: str | None = None, **arguments: Any) -> SubGroup:
        def put_setpoint(group: PVGroup, instance: ChannelData, value: object) -> None:
            group.attr_pvdb["readback"].write(value)

        body = {
            "setpoint": pvproperty(
                name=setpoint_suffix, doc=doc, **{"putter": put_setpoint, **arguments}
            ),
            "readback": pvproperty(
                name=readback_suffix,
                doc=doc,
                read_only=True,
                **{k: v for k, v in arguments.items() if k not in ("getter", "putter", "startup")},
            ),
            "__doc__": doc,
        }
        return _Pair(type("PVPair", (PVGroup,), body), prefix=name)

    return pair


class _Pair(SubGroup):
    """A pair of PVs; there is no colon before the suffix."""

    def make(self, parent: PVGroup) -> PVGroup:
        """Make the pair of PVs, inside *parent*."""
        named = copy.copy(self)
        named.prefix = self.attr_name if self.prefix is None else self.prefix
        return SubGroup.make(named, parent)
