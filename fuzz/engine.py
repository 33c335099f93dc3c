"""The engine that runs everywhere: seeds, mutated at random, always the same way for one number."""
from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from types import ModuleType

#: Longest input that is tried, in bytes.
MAX_SIZE = 8192

_NUMBERS = (
    0, 1, 2, 3, 7, 8, 16, 24, 40, 256, 1024, 4096, 65528, 65535, 65536, 1 << 24, 1 << 26,
    (1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1,
)


class Failure(Exception):
    """An input that breaks an invariant; the exception itself is the ``__cause__``."""

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(f"python -m fuzz {name} --replay {data.hex()}")
        self.name = name
        self.data = data


class Fuzzer:
    """Tries mutated inputs on one target.

    Parameters
    ----------
    target : module
        With ``fuzz_target`` and ``seeds``.
    number : int
        Which inputs to try: the same ones for the same number.
    """

    def __init__(self, target: ModuleType, number: int = 0) -> None:
        self.name = target.__name__.rpartition(".")[2]
        self._run: Callable[[bytes], None] = target.fuzz_target
        self.seeds: Sequence[bytes] = list(target.seeds())
        self._chance = random.Random(number)

    def try_seeds(self) -> None:
        """Run the seeds as they are."""
        for seed in self.seeds:
            self._try(seed)

    def try_one(self) -> None:
        """Run one mutated input."""
        self._try(self._mutated())

    def _try(self, data: bytes) -> None:
        try:
            self._run(data)
        except Exception as error:
            data = self._shrunk(data, type(error))
            raise Failure(self.name, data) from error

    def _mutated(self) -> bytes:
        chance = self._chance
        data = bytearray(chance.choice(self.seeds))
        for _ in range(chance.choice((1, 1, 2, 3, 5, 12))):
            chance.choice(_MUTATIONS)(data, chance, self.seeds)
        del data[MAX_SIZE:]
        return bytes(data)

    def _shrunk(self, data: bytes, kind: type[Exception]) -> bytes:
        """A shorter input that fails with an exception of the same kind."""
        size = len(data) // 2
        while size:
            start = 0
            while start < len(data):
                shorter = data[:start] + data[start + size:]
                try:
                    self._run(shorter)
                except kind:
                    data = shorter
                except Exception:
                    start += size
                else:
                    start += size
            size //= 2
        return data


def _place(data: bytearray, chance: random.Random) -> int:
    """Where a field of 4 bytes begins: all fields are aligned behind the first byte."""
    return 1 + 4 * chance.randrange(max(1, len(data) // 4))


def _flip(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _number_of_16_bits(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance) + chance.choice((0, 2))
    data[place:place + 2] = struct.pack(">H", chance.choice(_NUMBERS) & 0xFFFF)


def _number_of_32_bits(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance)
    data[place:place + 4] = struct.pack(">I", chance.choice(_NUMBERS))


def _small_number(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance)
    data[place:place + 4] = struct.pack(">I", chance.randrange(40))


def _remove(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance)
    del data[place:place + chance.choice((1, 4, 8, 16, 24, 200))]


def _repeat(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance)
    data[place:place] = data[place:place + chance.choice((8, 16, 24, 40, 200))]


def _insert(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    place = _place(data, chance)
    data[place:place] = chance.randbytes(chance.choice((1, 4, 8, 16)))


def _truncate(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    del data[_place(data, chance) + chance.randrange(4):]


def _join(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    if other[:1] == data[:1]:
        data += other[1:]


_MUTATIONS = (
    _flip, _overwrite, _number_of_16_bits, _number_of_32_bits, _small_number, _small_number,
    _remove, _repeat, _insert, _truncate, _join, _join,
)
