"""Whether what a scene says of its licence lets its photographs be passed on. A reading by a program, on the side of caution."""

from __future__ import annotations

import re

_FREE = re.compile(
    r"""\b(
        cc[ -]?0 | public\ domain | pddl | cc[ -]by([ -]sa)? | creative\ commons\ (zero | attribution([ -]share[ -]?alike)?)
        | mit | bsd([ -][234][ -]clause)? | apache([ -]2(\.0)?)? | odc[ -]by | odbl | wtfpl | unlicense
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
_NOT_FREE = re.compile(
    r"""\b(
        nc | nd | non[ -]?commercial | no[ -]?derivatives? | none | not | no | never | without | unknown | unclear | unstated | proprietary
        | research | academic | personal | all\ rights | permission | confidential | restricted | evaluation | terms
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)


def may_be_shared(licence: str | None) -> bool:
    """Whether the text names a licence under which anybody may pass on changed copies, and nothing in it speaks against that."""
    return licence is not None and bool(_FREE.search(licence)) and not _NOT_FREE.search(licence)
