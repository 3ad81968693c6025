"""Changes of bytes that know nothing of the format: bits, cuts, inserts, blocks, tokens."""

import re
import struct
from random import Random

WORDS = (
    *(b"nan", b"-1", b"inf", b"-inf", b"1e999", b"2147483648", b"9223372036854775808", b"18446744073709551616"),
    *(
        b"0",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"'",
        b'"',
        b"\\",
        b"\n",
        b"\r",
        b"\0",
        b"\xff\xfe",
        b"\xf0\x9f\x92\xa4",
    ),
    *(b"../../", b"/dev/zero", b"<script>", b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"\x89HDF", b"\x93NUMPY"),
)
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_WORD = re.compile(rb"[A-Za-z_]+|-?[0-9][0-9.eE+-]*|\S")


def change(content: bytes, random: Random) -> tuple[bytes, str]:
    """Return the content with one change, or up to four, and what they were."""
    told = []
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        kind = random.choice(_KINDS)
        content, where = kind(content, random) if content else (b"x", 0)
        told.append(f"{kind.__name__.strip('_')} at {where}")
    return content, ", ".join(told)


def _place(content: bytes, random: Random) -> int:
    """Return a place: anywhere, or among the first bytes, the last, or those that are not zero."""
    where = random.random()
    if where < 0.2:
        return random.randrange(min(len(content), 2048))
    if where < 0.35:
        return len(content) - 1 - random.randrange(min(len(content), 1024))
    place = random.randrange(len(content))
    for _ in range(20 if where < 0.9 else 0):
        if content[place]:
            break
        place = random.randrange(len(content))
    return place


def _bit(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    return _with(content, at, bytes([content[at] ^ 1 << random.randrange(8)])), at


def _byte(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    return _with(content, at, bytes([random.choice((0, 1, 127, 128, 255, random.randrange(256)))])), at


def _number(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    size = random.choice("BHIQ")
    value = random.choice(NUMBERS) & (1 << 8 * struct.calcsize(size)) - 1
    return _with(content, at, struct.pack(random.choice("<>") + size, value)), at


def _cut(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    return content[:at], at


def _insert(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    more = random.choice(
        (random.choice(WORDS), random.randbytes(random.randrange(1, 64)), bytes(random.randrange(1, 5000)))
    )
    return content[:at] + more + content[at:], at


def _remove(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    return content[:at] + content[at + _length(random) :], at


def _double(content: bytes, random: Random) -> tuple[bytes, int]:
    at = _place(content, random)
    block = content[at : at + _length(random)]
    return content[:at] + block * random.choice((2, 2, 3, 50)) + content[at + len(block) :], at


def _swap(content: bytes, random: Random) -> tuple[bytes, int]:
    a, b = sorted((_place(content, random), _place(content, random)))
    n = min(_length(random), b - a)
    return content[:a] + content[b : b + n] + content[a + n : b] + content[a : a + n] + content[b + n :], a


def _copy(content: bytes, random: Random) -> tuple[bytes, int]:
    a, b = _place(content, random), _place(content, random)
    return _with(content, a, content[b : b + _length(random)]), a


def _word(content: bytes, random: Random) -> tuple[bytes, int]:
    """Put another word in the place of one: of those above, of the file itself, or the same very often."""
    start = _place(content, random)
    found = _WORD.search(content, start, start + 4096)
    if found is None:
        return _byte(content, random)
    other = _WORD.search(content, _place(content, random))
    new = random.choice((*WORDS, *WORDS, found[0] * 3, b"9" * 5000, b"[" * 20_000, other[0] if other else b"x"))
    return content[: found.start()] + new + content[found.end() :], found.start()


def _with(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def _length(random: Random) -> int:
    return random.choice((1, 2, 4, 8, random.randrange(1, 64), random.randrange(1, 4096)))


_KINDS = (_bit, _bit, _byte, _number, _number, _cut, _insert, _remove, _double, _swap, _copy, _word)
