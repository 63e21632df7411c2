"""Text from scenes, plug-ins and files, made safe to print; numbers as all outputs print them."""

from __future__ import annotations

import math
import shlex
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_SAFE_CONTROLS = {"\n", "\t"}
RANK_DIGITS = 2
"""Decimals of a mean rank and of the ends of its interval, in every output."""


def printable(text: str) -> str:
    """Text whose control and formatting characters (terminal escapes, direction overrides) are shown as escapes instead of obeyed."""
    return "".join(
        character if character in _SAFE_CONTROLS or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs")
        else character.encode("unicode_escape").decode()
        for character in text
    )  # fmt: skip


def number(value: float, digits: int) -> str:
    """A number with fixed decimals; infinities as signs."""
    return ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """A number with its sign; what rounds to nothing has none."""
    text = number(abs(value), digits)
    return text if not text.strip("0.") else ("+" if value > 0 else "−") + text


def p_value(value: float) -> str:
    """A p-value as papers print it."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def listed(names: Iterable[object], most: int = 8) -> str:
    """Names in a sentence, the first of them where there are many."""
    found = [*map(str, names)]
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "") if found else "none"


def typed(path: str | Path) -> str:
    """A path as a shell takes it, whatever is in it; the user's home as `~`, which pages do not tell."""
    text, home = str(path), str(Path.home())
    if len(home) > 1 and (text == home or text.startswith(f"{home}/")):
        rest = text.removeprefix(home).lstrip("/")
        return f"~/{shlex.quote(rest)}" if rest else "~"
    return shlex.quote(f"./{text}" if text.startswith(("-", "~")) else text)
