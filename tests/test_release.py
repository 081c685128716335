"""What decides whether a release may be published, and the smoke test that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jtv_cli

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from check_release import problems

if TYPE_CHECKING:
    from conftest import Jtv

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("tag", "changelog", "wrong"),
    [
        ("v1.0.0", "## [Unreleased]\n\n## [1.0.0] - 2026-12-01\n\n- All.\n", ""),
        ("v1.0.1", "## [Unreleased]\n\n## [1.0.0] - 2026-12-01\n", "the tag is v1.0.1"),
        ("1.0.0", "## [1.0.0] - 2026-12-01\n", "the tag is 1.0.0"),
        ("v1.0.0", "## [Unreleased]\n\n- More.\n\n## [1.0.0] - 2026-12-01\n", "[Unreleased]"),
        ("v1.0.0", "## [0.9.0] - 2026-12-01\n", "no section [1.0.0]"),
        ("v1.0.0", "## [1.0.0]\n", "has no date"),
    ],
)
def test_tag_version_and_changelog_must_agree(
    tmp_path: Path, tag: str, changelog: str, wrong: str
) -> None:
    (tmp_path / "jtv_cli").mkdir()
    (tmp_path / "jtv_cli/__init__.py").write_text('__version__ = "1.0.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
    found = problems(tag, tmp_path)
    assert wrong in "\n".join(found)
    assert len(found) == (1 if wrong else 0)


def test_the_smoke_test_passes(jtv: Jtv) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "tools/smoke_test.py"],
        env=jtv.variables(),
        cwd=jtv.folder,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "jtv works\n", result.stderr


def test_workflows_name_files_that_exist() -> None:
    for workflow in (ROOT / ".github/workflows").glob("*.yml"):
        for path in re.findall(r"\b(?:tools|tests)/[\w/.]+\.\w+", workflow.read_text()):
            assert (ROOT / path).exists(), path


def test_this_version_has_a_dated_section() -> None:
    found = problems(f"v{jtv_cli.__version__}")
    assert [problem for problem in found if "[Unreleased]" not in problem] == []
