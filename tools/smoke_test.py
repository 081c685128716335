"""Try an installed jtv on any system: the main commands, the Python API, and exit codes.

python tools/smoke_test.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TEXTS = "The octopus has three hearts.\nKäse und Brot\nPenguins cannot fly.\n"


def main() -> None:
    """Run everything in a temporary directory; raise AssertionError at the first surprise."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "sub").mkdir()
        (folder / "sub/notes.txt").write_text(TEXTS, "utf-8")
        database = str(folder / "smoke.db")

        def jtv(*arguments: str, code: int = 0, stdin: str = "") -> str:
            result = subprocess.run(
                [sys.executable, "-m", "jtv_cli", *arguments],
                cwd=folder,
                env={**os.environ, "JTV_DATABASE": database, "JTV_MODEL": "static-v1"},
                input=stdin.encode(),
                capture_output=True,
                timeout=120,
                check=False,
            )
            assert result.returncode == code, (arguments, result)
            return result.stdout.decode()

        assert jtv("--version").startswith("jtv ")
        assert "Start here:" in jtv("--help")
        jtv("search", "hearts", code=5)
        jtv("init")
        jtv("ingest", str(Path("sub") / "notes.txt"))
        jtv("ingest", "-", "--source", "typed", stdin="Ünïcode from a pipe\n")
        assert "octopus" in jtv("search", "an animal with three hearts", "-k1", "--format", "text")
        assert "Käse und Brot" in jtv("search", "Käse", "--source", "sub/*.txt")
        assert '"source":"sub/notes.txt"' in jtv("list", "--json")
        jtv("delete", "--source", "typed", "--yes")
        assert len(jtv("list").splitlines()) == 3
        exported = jtv("export", "--vectors")
        jtv("init", "--table", "again")
        jtv("import", "-", "--table", "again", stdin=exported)
        jtv("doctor", "--no-api")
        jtv("init", "--drop", code=2)
        check_python(folder)
    print("jtv works")


def check_python(folder: Path) -> None:
    """Use the Python API."""
    import jtv_cli

    with jtv_cli.connect(folder / "api.db", model="static-v1") as table:
        assert table.ingest(TEXTS.splitlines()).stored == 3
        assert table.search("birds", k=1)[0].content == "Penguins cannot fly."


if __name__ == "__main__":
    main()
