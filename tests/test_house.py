"""The house rules that a machine can check: who imports whom, what costs time at import, how long files are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SPOKES = ("methods", "metrics", "runners", "reports")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def imports(path: Path, package: str) -> list[str]:
    """Absolute names that a file imports, relative ones resolved against its package."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def violations(root: Path) -> list[str]:
    """Imports that cross from the hub to a spoke, or from one spoke to another (also under their top-level folder names)."""
    found = []
    for owner in ("realbench", *SPOKES):
        for path in sorted((root / owner).rglob("*.py")):
            inner = ".".join(path.parent.relative_to(root / owner).parts)
            package = ".".join(filter(None, ["realbench" if owner == "realbench" else f"realbench.{owner}", inner]))
            for name in imports(path, package):
                words = name.removeprefix("realbench.").split(".")
                if words[0] in SPOKES and words[0] != owner and (name.startswith("realbench.") or (root / words[0]).is_dir()):
                    found.append(f"{path.relative_to(root)} imports {name}")
    return found


def test_spokes_import_only_the_hub_and_themselves() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("methods/one.py", "from realbench.metrics.psnr import PSNR"),
        ("methods/one.py", "import realbench.reports.html"),
        ("methods/one.py", "from realbench import metrics"),
        ("methods/one.py", "from ..metrics import psnr"),
        ("methods/deep/one.py", "from ...metrics.psnr import PSNR"),
        ("methods/one.py", "from metrics.psnr import PSNR"),
        ("metrics/one.py", "def late():\n    from realbench.methods import telea"),
        ("realbench/cli/one.py", "from realbench.runners.local import LocalRunner"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, line: str) -> None:
    for folder in ("realbench", *SPOKES):
        (tmp_path / folder).mkdir()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(line)
    assert len(violations(tmp_path)) >= 1


@pytest.mark.parametrize(
    "line", ["from realbench.scene import Scene", "from .other import thing", "from . import other", "import methodsx"]
)
def test_allowed_imports_pass(tmp_path: Path, line: str) -> None:
    for folder in ("realbench", *SPOKES):
        (tmp_path / folder).mkdir()
    (tmp_path / "methods" / "one.py").write_text(line)
    assert violations(tmp_path) == []


HEAVY = ("torch", "ray", "torchvision", "diffusers", "cv2", "skimage", "scipy", "pandas", "matplotlib")


@pytest.mark.parametrize(
    "code",
    [
        "import realbench",
        "from realbench.cli.app import app",
        "from realbench import registry\nfor kind in ('methods', 'metrics', 'runners', 'reports'):\n"
        "    for name in registry.names(kind): registry.load(kind, name)",
    ],
    ids=["package", "command line", "every card"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    program = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("path", [path for owner in ("realbench", *SPOKES) for path in sorted((ROOT / owner).rglob("*.py"))], ids=str)
def test_files_and_functions_fit_on_a_few_screens(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_entry_points_name_files_after_their_plugins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, value in project["entry-points"]["realbench.methods"].items():
        assert value.partition(":")[0] == f"realbench.methods.{name.replace('-', '_')}"


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert [one for one in named if not re.search(r">=\d", one) and not one.startswith("realbench[")] == []
