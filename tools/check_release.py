"""Refuse a release whose tag, version and changelog disagree.

python tools/check_release.py v1.0.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Return what is wrong with a release of this tag; nothing if it is right."""
    package = (root / "jtv_cli/__init__.py").read_text("utf-8")
    [version] = re.findall(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\](.*)$", changelog, re.MULTILINE)
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and the version {version}")
    dated = next((rest for name, rest in headings if name == version), None)
    if dated is None:
        found.append(f"CHANGELOG.md has no section [{version}]")
    elif not re.fullmatch(r" - \d{4}-\d{2}-\d{2}", dated):
        found.append(f"the section [{version}] of CHANGELOG.md has no date")
    unreleased = re.search(
        r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if unreleased and unreleased[1].strip():
        found.append("CHANGELOG.md has changes under [Unreleased]")
    return found


if __name__ == "__main__":
    wrong = problems(sys.argv[1])
    print("\n".join(wrong) or "tag, version and changelog agree")
    sys.exit(bool(wrong))
