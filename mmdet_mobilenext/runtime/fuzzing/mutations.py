# SPDX-License-Identifier: Apache-2.0
"""Byte strings to throw at a reader of images, each known by a seed and a number."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from .bombs import bombs, png_chunk, strangers
from .pictures import valid_files

__all__ = ['FuzzString', 'make_string']

_SIDES = (0, 1, 2, 39, 41, 255, 256, 4096, 16383, 16384, 32767, 65535, 65536, 1 << 20)
_NUMBERS = (*_SIDES, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


@dataclass(frozen=True)
class FuzzString:
    """A byte string, and what was done to get it.

    Args:
        name (str): As in ``'PNG 16 bit: cut, flip bits'``.
        data (bytes): Content of a file, perhaps.
        valid (bool): Whether it is a good image, which must be read.
    """

    name: str
    data: bytes
    valid: bool


def make_string(seed: int, number: int) -> FuzzString:
    """Make one of the strings of a seed.

    Every fixed file (valid ones, bombs, what is no image) is among the first two hundred; all
    others are valid files and bombs with one to four damages.

    Args:
        seed (int): Of all strings.
        number (int): Which of them, from 0 on.

    Returns:
        FuzzString: The same for the same two numbers and versions of Pillow and OpenCV.

    Example:
        >>> make_string(0, 0).valid, make_string(0, 5000).name == make_string(0, 5000).name
        (True, True)
    """
    fixed = _fixed()
    if number < len(fixed):
        return fixed[number]
    rng = random.Random(f'{seed} {number}')
    # seldom bombs: each costs time when its damage lets it through
    if rng.random() < 0.02:
        data = rng.randbytes(rng.choice((1, 10, 100, 1000)))
        magic = rng.choice((b'', b'BM', b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n', b'II*\0', b'RIFF'))
        return FuzzString('random bytes', magic + data, False)
    sources = _bombs() if rng.random() < 0.1 else _valid()
    name, data = rng.choice(sources)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        damage = rng.choice(_DAMAGES)
        data = damage(rng, data)
        done.append(damage.__name__.strip('_').replace('_', ' '))
    return FuzzString(f'{name}: {", ".join(done)}', data, False)


@cache
def _fixed() -> list[FuzzString]:
    found = [FuzzString(name, data, True) for name, data in valid_files().items()]
    for others in (bombs(), strangers()):
        found += [FuzzString(name, data, False) for name, data in others.items()]
    return found


@cache
def _valid() -> list[tuple[str, bytes]]:
    return sorted(valid_files().items())


@cache
def _bombs() -> list[tuple[str, bytes]]:
    return sorted(bombs().items())


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _cut_but_for_the_end(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[max(at, len(data) - 12) :]


def _flip_bits(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _change_the_head(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        if changed:
            changed[rng.randrange(min(64, len(changed)))] = rng.choice((0, 1, 127, 128, 254, 255))
    return bytes(changed)


def _put_a_number(rng: random.Random, data: bytes) -> bytes:
    pattern = rng.choice(('<H', '>H', '<I', '>I'))
    value = rng.choice(_NUMBERS) & ((1 << 8 * struct.calcsize(pattern)) - 1)
    most = max(len(data) - 4, 0)
    at = rng.randrange(min(most, rng.choice((64, 512, most + 1))) + 1)
    packed = struct.pack(pattern, value)
    return data[:at] + packed + data[at + len(packed) :]


def _change_the_size(rng: random.Random, data: bytes) -> bytes:
    """Write another width or height where the format has them, with a right checksum."""
    side = rng.choice(_SIDES)
    if data.startswith(b'\x89PNG') and len(data) > 33:
        header = bytearray(data[16:29])
        struct.pack_into('>I', header, rng.choice((0, 4)), side)
        return data[:8] + png_chunk(b'IHDR', bytes(header)) + data[33:]
    places: list[tuple[int, str]] = []
    if data.startswith(b'BM'):
        places = [(18, '<I'), (22, '<I')]
    elif data.startswith(b'\xff\xd8'):
        frames = [data.find(b'\xff' + marker) for marker in (b'\xc0', b'\xc2')]
        places = [(at + add, '>H') for at in frames if at >= 0 for add in (5, 7)]
    elif data.startswith(b'RIFF'):
        places = [(24, '<H'), (27, '<H'), (26, '<H'), (28, '<H'), (21, '<I')]
    elif data[:2] in (b'II', b'MM'):
        order = '<' if data[:2] == b'II' else '>'
        for tag in (256, 257, 258, 277, 278, 322, 323):
            at = data.find(struct.pack(f'{order}HH', tag, 4))
            at = at if at >= 0 else data.find(struct.pack(f'{order}HH', tag, 3))
            places += [(at + 8, f'{order}H')] if at >= 0 else []
    if not places:
        return _put_a_number(rng, data)
    at, pattern = rng.choice(places)
    packed = struct.pack(pattern, side & ((1 << 8 * struct.calcsize(pattern)) - 1))
    return data[:at] + packed + data[at + len(packed) :]


def _change_chunks(rng: random.Random, data: bytes) -> bytes:
    """Swap, double or drop chunks of a PNG or segments of a JPEG; blocks of any other."""
    if data.startswith(b'\x89PNG'):
        head, parts, at = data[:8], [], 8
        while at + 12 <= len(data) and len(parts) < 1000:
            end = at + 12 + int.from_bytes(data[at : at + 4], 'big')
            parts.append(data[at:end])
            at = end
        tail = data[at:]
    elif data.startswith(b'\xff\xd8'):
        pieces = data.split(b'\xff')
        head, tail, parts = pieces[0], b'', [b'\xff' + piece for piece in pieces[1:]]
    else:
        size = rng.choice((4, 12, 16, 64))
        head, tail = b'', b''
        parts = [data[at : at + size] for at in range(0, len(data), size)]
    if not parts:
        return data
    one, two = rng.randrange(len(parts)), rng.randrange(len(parts))
    how = rng.randrange(3)
    if how == 0:
        parts[one], parts[two] = parts[two], parts[one]
    elif how == 1:
        parts.insert(two, parts[one])
    else:
        del parts[one]
    return head + b''.join(parts) + tail


def _repair_checksums(rng: random.Random, data: bytes) -> bytes:
    """Flip bits inside a chunk of a PNG and set its checksum, so that decoders get to see it."""
    if not data.startswith(b'\x89PNG') or len(data) < 45:
        return _flip_bits(rng, data)
    at = 8
    for _ in range(rng.randrange(1, 6)):
        following = at + 12 + int.from_bytes(data[at : at + 4], 'big')
        if following + 12 > len(data):
            break
        at = following
    length = int.from_bytes(data[at : at + 4], 'big')
    body = _flip_bits(rng, data[at + 8 : at + 8 + length])
    checksum = struct.pack('>I', zlib.crc32(data[at + 4 : at + 8] + body))
    return data[: at + 8] + body + checksum + data[at + 12 + length :]


def _join_two(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(_valid())[1]
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other)) :]


def _insert_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 16, 300))) + data[at:]


def _remove_bytes(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 16, 300)) :]


def _repeat_a_part(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((2, 12, 40, 200)))
    return data[:end] + data[start:end] * rng.choice((1, 10, 200)) + data[end:]


_DAMAGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut,
    _cut_but_for_the_end,
    _flip_bits,
    _change_the_head,
    _put_a_number,
    _change_the_size,
    _change_the_size,
    _change_chunks,
    _repair_checksums,
    _join_two,
    _insert_bytes,
    _remove_bytes,
    _repeat_a_part,
)
