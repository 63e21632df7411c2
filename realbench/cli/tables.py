"""Plain tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def show(header: Sequence[str], lines: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Print a table on stdout; cells are rich markup, so escape what comes from scenes. `right` names right-aligned columns."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from realbench.text import printable

    # A pipe gets every column whole: 80 columns would cut the numbers off.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = set(right)
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(printable, line))
    console.print(table)
