"""Loaders for the recorded traffic in tests/vectors (its README.md describes the files).

Everything is read once and shared: treat what you get as read-only.
"""
from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors"

#: Directions, as they are spelled in the files.
CLIENT_TO_SERVER = "c2s"
SERVER_TO_CLIENT = "s2c"


@dataclass(frozen=True)
class Vector:
    """One recorded TCP message and what a correct decoder finds in it."""

    name: str
    description: str
    direction: str
    header: dict[str, Any]
    decoded: dict[str, Any]
    source: str
    data: bytes

    @property
    def fields(self) -> tuple[int, int, int, int, int, int]:
        """command, payload size, data type, data count, parameter 1, parameter 2."""
        h = self.header
        return (
            h["command"],
            h["payload_size"],
            h["data_type"],
            h["data_count"],
            h["parameter1"],
            h["parameter2"],
        )

    @property
    def payload(self) -> bytes:
        return self.data[24 if self.header["extended"] else 16 :]


@dataclass(frozen=True)
class DatagramVector:
    """One recorded UDP datagram; `messages` is a list of {"header": …, "decoded": …}."""

    name: str
    description: str
    direction: str
    data: bytes
    messages: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Stream:
    """What one side of one TCP connection said, in the pieces in which it arrived."""

    name: str
    connection: int
    direction: str
    chunks: tuple[bytes, ...]
    times: tuple[float, ...]

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)


@functools.cache
def load(name: str) -> Any:
    """The content of a file, e.g. ``load("messages/monitor.json")``."""
    return json.loads((VECTORS / name).read_text())


def _sessions(folder: str) -> list[str]:
    """Names of the files that have one entry per message, or per connection."""
    entries = (entry["file"] for entry in load("index.json"))
    return sorted(Path(name).stem for name in entries if name.startswith(folder + "/"))


def _bytes_of(entry: dict[str, Any]) -> bytes:
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    place = entry["hex_in_stream"]
    session = Path(place["file"]).stem
    for stream in streams(session):
        if (stream.connection, stream.direction) == (place["connection"], place["direction"]):
            data = stream.data[place["offset"] : place["offset"] + place["length"]]
            assert hashlib.sha256(data).hexdigest() == place["sha256"]
            return data
    raise KeyError(place)


@functools.cache
def messages(session: str | None = None) -> tuple[Vector, ...]:
    """Every recorded TCP message, of one session or of all, in the order of the wire."""
    names = [session] if session else _sessions("messages")
    found = []
    for name in names:
        content = load(f"messages/{name}.json")
        if not isinstance(content, list):  # the scripted exchanges have a format of their own
            continue
        for entry in content:
            if entry["transport"] == "tcp":
                found.append(
                    Vector(
                        name=entry["name"],
                        description=entry["description"],
                        direction=entry["direction"],
                        header=entry["header"],
                        decoded=entry["decoded"],
                        source=entry["source"],
                        data=_bytes_of(entry),
                    )
                )
    return tuple(found)


@functools.cache
def datagrams(session: str | None = None) -> tuple[DatagramVector, ...]:
    """Every recorded UDP datagram, of one session or of all."""
    names = [session] if session else _sessions("messages")
    found = []
    for name in names:
        content = load(f"messages/{name}.json")
        if not isinstance(content, list):
            continue
        for entry in content:
            if entry["transport"] == "udp":
                found.append(
                    DatagramVector(
                        name=entry["name"],
                        description=entry["description"],
                        direction=entry["direction"],
                        data=bytes.fromhex(entry["hex"]),
                        messages=entry["messages"],
                    )
                )
    return tuple(found)


@functools.cache
def streams(session: str | None = None) -> tuple[Stream, ...]:
    """Both directions of every recorded TCP connection, of one session or of all.

    The empty chunk with which the files mark an end of file is left out.
    """
    names = [session] if session else _sessions("streams")
    found = []
    for name in names:
        content = load(f"streams/{name}.json")
        # flow_control has the bytes of its client only, search_many only datagrams.
        only_client = [{"chunks": content.get("client_chunks", [])}]
        for number, connection in enumerate(content.get("connections", only_client)):
            for direction in (CLIENT_TO_SERVER, SERVER_TO_CLIENT):
                chunks = [
                    (bytes.fromhex(chunk["hex"]), chunk["t"])
                    for chunk in connection["chunks"]
                    if chunk["dir"] == direction and chunk.get("hex")
                ]
                if chunks:
                    found.append(
                        Stream(
                            name=name,
                            connection=number,
                            direction=direction,
                            chunks=tuple(data for data, _ in chunks),
                            times=tuple(t for _, t in chunks),
                        )
                    )
    return tuple(found)


def scripted_tcp() -> list[dict[str, Any]]:
    """Sections of requests sent by a script with the real server's replies."""
    return load("messages/rsrv_scripted_tcp.json")["sections"]


def scripted_udp() -> list[dict[str, Any]]:
    """Search datagrams sent by a script with the real server's replies."""
    return load("messages/rsrv_scripted_udp.json")["tests"]


def layouts() -> list[dict[str, Any]]:
    """Offsets and formats of the 39 DBR types, by number."""
    return load("dbr_layouts.json")["types"]


def eca_codes() -> list[dict[str, Any]]:
    """Name, number, severity and code of the 61 status codes."""
    return load("eca_codes.json")


def ids(vectors: Sequence[Any]) -> Iterator[str]:
    """Names for ``pytest.mark.parametrize(..., ids=)``."""
    return (vector.name for vector in vectors)
