"""The attributes of a PV: what is known, or is fetched when it is asked for."""

from __future__ import annotations

from typing import Any

from ..._protocol.dbr import AlarmStatus

_SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")


def _from(family: str, name: str, doc: str) -> Any:
    """Make an attribute that comes with a reply of *family*: 'connection', 'time' or 'control'."""
    return property(lambda self: self.attribute(family, name), doc=doc)


class Attributes:
    """What pyepics calls the attributes of a PV, except its value."""

    __slots__ = ()

    def attribute(self, family: str, name: str) -> Any:
        """Return one attribute; fetch it if it is not known."""
        raise NotImplementedError

    count = _from("connection", "count", "How many elements it has now.")
    nelm = _from("connection", "nelm", "How many elements it can have.")
    type = _from("connection", "type", "Its type in the form of the PV, 'time_double'.")
    typefull = _from("connection", "typefull", "The same as `type`.")
    ftype = _from("connection", "ftype", "The DBR number of that type.")
    host = _from("connection", "host", "The server, as 'host:port'.")
    access = _from("connection", "access", "'read/write', 'read-only', 'write-only', 'no access'.")
    read_access = _from("connection", "read_access", "Whether it may be read.")
    write_access = _from("connection", "write_access", "Whether it may be written.")

    status = _from("time", "status", "The alarm's number.")
    severity = _from("time", "severity", "The alarm's severity, 0 to 3.")
    timestamp = _from("time", "timestamp", "POSIX seconds.")
    posixseconds = _from("time", "posixseconds", "The whole seconds of `timestamp`.")
    nanoseconds = _from("time", "nanoseconds", "The rest of `timestamp`.")

    precision = _from("control", "precision", "Digits after the point.")
    units = _from("control", "units", "Engineering units.")
    enum_strs = _from("control", "enum_strs", "The names of the states of an enum.")
    upper_disp_limit = _from("control", "upper_disp_limit", "Upper limit for displays.")
    lower_disp_limit = _from("control", "lower_disp_limit", "Lower limit for displays.")
    upper_alarm_limit = _from("control", "upper_alarm_limit", "Upper alarm limit.")
    lower_alarm_limit = _from("control", "lower_alarm_limit", "Lower alarm limit.")
    upper_warning_limit = _from("control", "upper_warning_limit", "Upper warning limit.")
    lower_warning_limit = _from("control", "lower_warning_limit", "Lower warning limit.")
    upper_ctrl_limit = _from("control", "upper_ctrl_limit", "Upper control limit.")
    lower_ctrl_limit = _from("control", "lower_ctrl_limit", "Lower control limit.")

    @property
    def char_status(self) -> str | None:
        """The name of the alarm, ``'HIHI'`` for example."""
        status = self.status
        return None if status is None else AlarmStatus(status).name

    @property
    def char_severity(self) -> str | None:
        """The name of the severity, ``'MAJOR'`` for example."""
        severity = self.severity
        return None if severity is None else _SEVERITIES[severity & 3]
