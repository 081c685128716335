"""Files, folders and stdin as an iterator of texts, each with where it stands.

`stream` has the bytes, `plain` and `fields` make texts of them, `opening` finds the
files and looks at their beginnings before any is read.
"""

from jtv_cli.sources.opening import Choice, files_gone, open_lines, open_sources, read_windows
from jtv_cli.sources.source import Input, Source, Window

__all__ = [
    "Choice",
    "Input",
    "Source",
    "Window",
    "files_gone",
    "open_lines",
    "open_sources",
    "read_windows",
]
