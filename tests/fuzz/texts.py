"""Changes of texts that are still texts: values and keys of JSON and TOML."""

import json
from pathlib import Path
from random import Random
from typing import Any

from . import bytewise

VALUES: tuple[Any, ...] = (
    *(float("nan"), float("inf"), -1, 0, 1, 0.5, 1e308, -1e-320, 2**31, 2**53, 2**63, 2**64, 10**30, True, None),
    *(
        "",
        "x",
        "nan",
        "-1",
        "../..",
        "a\x00b",
        "\ud800",
        "x" * 100_000,
        "a\nb",
        "<img src=x onerror=alert(1)>",
        "1e999",
    ),
    *([], {}, [[]], [None], ["x"], {"": 0}, {"kind": "x"}, [1] * 10_000),
)


def of_json(path: Path, random: Random) -> str:
    """Change a value or a key of a JSON file."""
    content, told = change_json(path.read_bytes(), random)
    path.write_bytes(content)
    return told


def change_json(content: bytes, random: Random) -> tuple[bytes, str]:
    """Return JSON with something changed."""
    try:
        value = json.loads(content)
    except ValueError:
        return bytewise.change(content, random)
    holder: dict[str, Any] = {"": value}
    places: list[tuple[Any, Any]] = [(holder, "")]
    _places(value, places)
    where, key = random.choice(places)
    kind = random.choice(("value", "value", "value", "deep", "gone", "twice", "renamed", "other"))
    if kind == "deep":
        marker = "\x02deep\x02"
        where[key] = marker
        deep = random.choice((b"[" * 100_000, b"[" * 2000 + b"]" * 2000, b'{"a":' * 50_000))
        return json.dumps(holder[""]).encode().replace(json.dumps(marker).encode(), deep), f"{key!r:.30} deep"
    if kind == "gone" and where is not holder:
        del where[key]
    elif kind == "twice" and isinstance(where, list):
        where.insert(key, where[key])
    elif kind == "renamed" and isinstance(where, dict) and where is not holder:
        where[random.choice(("x", "", key + " ", "__class__"))] = where.pop(key)
    elif kind == "other":
        there, its = random.choice(places)
        where[key] = json.loads(json.dumps(there[its]))
    else:
        where[key] = random.choice(VALUES)
    return json.dumps(holder[""]).encode("utf-8", "surrogatepass"), f"{key!r:.30} {kind}"


def _places(value: Any, places: list[tuple[Any, Any]]) -> None:
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        places.append((value, key))
        _places(one, places)


_TOML = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1",
        "0.5",
        "1e308",
        "1e-320",
        "2147483648",
        "9223372036854775808",
        "1" + "0" * 30,
    ),
    *(
        '""',
        '"x"',
        "true",
        "[]",
        "{}",
        "[[]]",
        "[nan]",
        "[1, 2, 3]",
        '["x"]',
        '{ kind = "x" }',
        '"a\\u0000b"',
        "1979-05-27",
    ),
    *('"../.."', "[" * 20_000, '"' + "x" * 100_000 + '"', "0x" + "f" * 40, '"""', "1e999", "9" * 5000, '"\\ud800"'),
)


def of_toml(path: Path, random: Random) -> str:
    """Change a value, a key or a table of a TOML file, or of KEY=VALUE."""
    lines = path.read_text(encoding="utf-8").splitlines() or [""]
    at = random.randrange(len(lines))
    key, equals, value = lines[at].partition("=")
    kind = random.choice(("value", "value", "value", "key", "gone", "twice", "moved", "part"))
    if kind == "value" and equals:
        value = f" {random.choice(_TOML)}"
    elif kind == "key":
        key = random.choice(
            (f"{key.strip()}x ", "x ", '"" ', f"{key.strip()}.0 ", f"a.{key.strip()} ", "x.y.z ", "[x]")
        )
    elif kind == "part" and equals:
        parts = value.replace(",", " , ").replace("]", " ]").replace("}", " }").split(" ")
        parts[random.randrange(len(parts))] = random.choice(_TOML)
        value = " ".join(parts)
    lines[at] = f"{key}{equals}{value}"
    if kind == "gone":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, lines[at])
    elif kind == "moved":
        lines.insert(random.randrange(len(lines)), lines.pop(at))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"line {at} {kind}: {lines[at][:60] if at < len(lines) else ''}"
