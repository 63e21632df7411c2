"""Which rows tie with the best. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from realbench.pairs import Pairs

if TYPE_CHECKING:
    from realbench.tables import Leaderboard, TableRow


def marked(board: Leaderboard, pairs: Sequence[Pairs]) -> Leaderboard:
    """The leaderboard with the rows marked that are not shown to differ from the best."""
    best = [[row.label for row in board.rows if row.entries[at].best] for at in range(len(pairs))]

    def tied(label: str, at: int) -> bool:
        found = (pairs[at].get(first, label) for first in best[at])
        # On the scenes common to two rows the marked one may even be shown to be better: then it ties neither.
        return all(pair is not None and not pair.better for pair in found)

    def with_marks(row: TableRow) -> TableRow:
        ranked = (entry.rank is not None and not entry.best and bool(best[at]) for at, entry in enumerate(row.entries))
        entries = (
            replace(entry, tied=can and tied(row.label, at)) for at, (entry, can) in enumerate(zip(row.entries, ranked, strict=True))
        )
        return replace(row, entries=tuple(entries))

    return replace(board, rows=tuple(map(with_marks, board.rows)))
