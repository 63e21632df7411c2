"""Text from scenes, plug-ins and files, made safe to print."""

from __future__ import annotations

import unicodedata

_SAFE_CONTROLS = {"\n", "\t"}


def printable(text: str) -> str:
    """Text whose control and formatting characters (terminal escapes, direction overrides) are shown as escapes instead of obeyed."""
    return "".join(
        character if character in _SAFE_CONTROLS or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs")
        else character.encode("unicode_escape").decode()
        for character in text
    )  # fmt: skip
