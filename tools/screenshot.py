"""Write `docs/search.svg`: what `jtv` prints on a terminal, as a picture.

python tools/screenshot.py

The commands run with the built-in model, on a pseudo-terminal, in a database of their own.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/search.svg"
COLUMNS = 80
SEARCHES = (
    ("search", "a composer who could not hear", "--k", "1"),
    ("search", "how do insects communicate", "--k", "2"),
)
# Rich's own template loads a font from another site; a reader's monospaced font does as well.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture() -> str:
    """Run the commands and return the picture as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), color_system="truecolor")
    with tempfile.TemporaryDirectory() as directory:
        environment = {
            **{name: value for name, value in os.environ.items() if "JINA" not in name},
            "JTV_DATABASE": str(Path(directory, "try.db")),
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
        }
        _run(("init",), environment)
        _run(("ingest", "sample_texts.txt"), environment)
        for command in SEARCHES:
            words = (f'"{word}"' if " " in word else word for word in command)
            console.print(Text(f"$ jtv {' '.join(words)}", style="bold"))
            console.print(Text.from_ansi(_run(command, environment)))
    return console.export_svg(title="jtv", theme=DIMMED_MONOKAI, code_format=_SVG, unique_id="jtv")


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    """Return what a command prints on a terminal."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "jtv_cli", *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        printed = b""
        try:
            while data := os.read(controller, 1 << 16):
                printed += data
        except OSError:  # Linux's end of a pseudo-terminal
            pass
    os.close(controller)
    if process.returncode:
        raise SystemExit(f"jtv {' '.join(command)} failed:\n{printed.decode()}")
    # The line that shows that jtv starts is erased before the first output.
    screen = printed.decode().replace("\r\n", "\n")
    return "\n".join(line.rpartition("\x1b[2K")[2] for line in screen.rstrip("\n").split("\n"))


if __name__ == "__main__":
    PICTURE.write_text(picture())
