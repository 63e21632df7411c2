"""The outcome of `realbench check`: check.json, check.xml (JUnit), check.md and check.html with the fills that changed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from realbench.errors import UsageError
from realbench.gate import FILES
from realbench.report import ReportCard
from realbench.results import Results
from realbench.store import write_atomic

from ._check_json import check_file
from ._check_markdown import markdown
from ._check_page import write_page
from ._check_words import OUTCOMES, Check
from ._junit import junit


class Regression:
    """What `realbench check` writes; other commands have no judgement to show."""

    card: ClassVar[ReportCard] = ReportCard(
        "regression", "a check against a baseline: JSON, JUnit, Markdown, HTML", on_request=True,
        needs="a baseline: `realbench check` writes it",
    )  # fmt: skip

    def write(self, results: Results, folder: Path) -> list[Path]:
        """Write the four files, and small copies of the pictures in images/. Raises UsageError where nothing was judged."""
        if results.judgement is None:
            raise UsageError("the report regression shows what a check found: `realbench check RUN --baseline baseline.json` writes it")
        check = Check(results)
        page, data, cases, summary = (folder / name for name in FILES)
        made = check_file(check.judgement, OUTCOMES[check.judgement.exit_code])
        files = {data: made.model_dump_json(indent=1).encode() + b"\n", cases: junit(check), summary: markdown(check).encode()}
        write_atomic(files)  # The page comes last: its pictures are most likely to be in the way of something.
        return [*write_page(check, page), *files]
