"""Writing: what the words of a command line stand for, and how a refusal is reported."""
from __future__ import annotations

from collections.abc import Sequence

from .._errors import AccessError, CaprotoTimeoutError, DisconnectedError, ErrorResponseReceived
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.dbr import ChannelType
from .._protocol.status import CAStatus
from .._typing import NamedTuple
from ..threading.client import PV
from .access import facts_of
from .messages import say
from .settings import Failed, Settings
from .values import Reading, raw_text, unescaped

__all__ = ["Data", "state_names", "values_to_write", "write"]


#: Of the number of a state; Python refuses to read thousands.
_MOST_DIGITS = 20
#: What the C library says of the statuses by which servers refuse a write.
_REASONS = {
    CAStatus.ECA_PUTFAIL: "Channel write request failed",
    CAStatus.ECA_NOWTACCESS: "Write access denied",
    CAStatus.ECA_BADCOUNT: "Invalid element count requested",
}


class Data(NamedTuple):
    """A value, and the type in which it is sent."""

    values: bytes | list[bytes] | list[float]
    data_type: ChannelType


def values_to_write(
    pv: PV, words: Sequence[str], settings: Settings, exact: bool = False
) -> Data:
    """Return what to send: text, which the server reads, except for states and long texts.

    Parameters
    ----------
    pv : PV
        Is connected.
    words : sequence of str
        The elements.
    settings : Settings
    exact : bool
        Whether words that would not be sent exactly as they are given are refused
        (`exact_values`). Numbers are then sent as numbers.

    Raises
    ------
    Failed
        The channel has no such state.
    CaprotoValueError
        Only if *exact*: something would be lost.
    """
    native, _ = facts_of(pv)
    if native is ChannelType.ENUM and not settings.char_as_text:
        return _states(pv, words, settings, exact)
    if exact:
        return _exact_data(native, words, settings)
    if settings.char_as_text:
        return Data(unescaped(" ".join(words)) + b"\0", ChannelType.CHAR)
    texts = [unescaped(word)[: MAX_STRING_SIZE - 1] for word in words]
    return Data(texts, ChannelType.STRING)


def _exact_data(native: ChannelType, words: Sequence[str], settings: Settings) -> Data:
    from .exact_values import checked_string, checked_text, number_from_word

    if settings.char_as_text:
        if native is not ChannelType.CHAR:
            raise Failed(f"-S is for arrays of CHAR; this is {native}")
        return Data(checked_text(" ".join(words)) + b"\0", ChannelType.CHAR)
    if native is ChannelType.STRING:
        return Data([checked_string(word) for word in words], native)
    return Data([number_from_word(word, native) for word in words], native)


def state_names(pv: PV, settings: Settings) -> list[str]:
    """Read the names of the states of a connected PV."""
    response = pv.read(data_type=ChannelType.GR_ENUM, data_count=1, timeout=settings.patience)
    return [raw_text(name) for name in Reading.from_response(response).metadata.enum_strings]


def _states(pv: PV, words: Sequence[str], settings: Settings, exact: bool) -> Data:
    """Return the numbers of states that are given by name or number; a name has precedence."""
    names = state_names(pv, settings)
    numbers: list[float] = []
    if exact:
        from .exact_values import state_number, state_with_name, unknown_state
    for word in words:
        state: int | None = None
        if settings.enum_input != "number":
            # With --strict an empty word, perhaps of a variable that is not set, names no state.
            if exact:
                state = state_with_name(word, names, escapes=True)
            elif word in names:
                state = names.index(word)
        if state is not None:
            numbers.append(state)
            continue
        is_number = word.isdecimal() and word.isascii() and len(word) <= _MOST_DIGITS
        if settings.enum_input == "name" or not is_number:
            if exact and settings.enum_input != "number":
                raise unknown_state(word, names)
            kind = "index" if settings.enum_input == "number" else "string"
            problem = "is not a number" if kind == "index" else "invalid"
            raise Failed(f"Enum {kind} value '{word}' {problem}.")
        if exact:
            numbers.append(state_number(int(word), names))
            continue
        if int(word) >= len(names):
            say(f"Warning: enum index value '{word}' may be too large.")
        numbers.append(int(word) & 0xFFFF)
    return Data(numbers, ChannelType.ENUM)


def write(pv: PV, data: Data, settings: Settings) -> None:
    """Send a value; wait for its completion if the settings say so.

    Raises
    ------
    Failed
        The value has too many elements, it must not be written, or, if we wait, the server refused.
    """
    _, room = facts_of(pv)
    if len(data.values) > room:
        raise Failed("ERROR from put operation: Invalid element count requested")
    try:
        pv.write(
            data.values, data_type=data.data_type, wait=settings.completion,
            timeout=settings.patience,
        )
    except AccessError:
        raise Failed("ERROR from put operation: Write access denied") from None
    except ErrorResponseReceived as error:
        reason = _REASONS.get(error.status) or error.status.description
        raise Failed(f"ERROR occured writing data: {reason}") from None
    except DisconnectedError:
        raise Failed("ERROR from put operation: Virtual circuit disconnect") from None
    except CaprotoTimeoutError:
        say("Write callback operation timed out")
