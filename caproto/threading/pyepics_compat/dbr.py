"""The constants of ``epics.dbr``: numbers of data types and masks of events."""

from __future__ import annotations

from ..._protocol.dbr import SubscriptionType

STRING, INT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)
SHORT = INT
TIME_STRING, TIME_INT, TIME_FLOAT, TIME_ENUM, TIME_CHAR, TIME_LONG, TIME_DOUBLE = range(14, 21)
TIME_SHORT = TIME_INT
CTRL_STRING, CTRL_INT, CTRL_FLOAT, CTRL_ENUM, CTRL_CHAR, CTRL_LONG, CTRL_DOUBLE = range(28, 35)
CTRL_SHORT = CTRL_INT

DBE_VALUE = int(SubscriptionType.DBE_VALUE)
DBE_LOG = int(SubscriptionType.DBE_LOG)
DBE_ALARM = int(SubscriptionType.DBE_ALARM)
DBE_PROPERTY = int(SubscriptionType.DBE_PROPERTY)

__all__ = [
    "CHAR", "CTRL_CHAR", "CTRL_DOUBLE", "CTRL_ENUM", "CTRL_FLOAT", "CTRL_INT", "CTRL_LONG",
    "CTRL_SHORT", "CTRL_STRING", "DBE_ALARM", "DBE_LOG", "DBE_PROPERTY", "DBE_VALUE", "DOUBLE",
    "ENUM", "FLOAT", "INT", "LONG", "SHORT", "STRING", "TIME_CHAR", "TIME_DOUBLE", "TIME_ENUM",
    "TIME_FLOAT", "TIME_INT", "TIME_LONG", "TIME_SHORT", "TIME_STRING",
]  # fmt: skip
