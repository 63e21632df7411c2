"""What editors are told. Import-free, for settings."""

from __future__ import annotations


def instruct(instruction: str, scene: str | None) -> str:
    """The instruction, and the scene's own prompt where it has one."""
    return f"{instruction} {scene}" if scene else instruction
