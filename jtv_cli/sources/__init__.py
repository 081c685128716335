"""Read files, directories and standard input as blocks of texts, each with its line.

`directory` finds the files in directories, as `gitignore` and `repository` let it. `open` looks
at the beginnings of files, `stream` reads their bytes, `source` splits these into lines, and
`lines`, `jsonl`, `json_array` and `delimited` turn them into the texts of `blocks`. `kinds` decides
what a file is read as; `sections` reads documents, which `chunks` cuts, and `extracted` the text of
PDF, Office, EPUB and HTML.
"""

from typing import TYPE_CHECKING

from jtv_cli.lazy import importer

if TYPE_CHECKING:
    from jtv_cli.sources.blocks import RecordBlock
    from jtv_cli.sources.directory import FoundFile, Selection
    from jtv_cli.sources.kinds import guess_format
    from jtv_cli.sources.memory import blocks_of_records
    from jtv_cli.sources.open import (
        Input,
        missing_files,
        open_input,
        open_lines,
        open_sources,
        read_again,
        read_blocks,
    )
    from jtv_cli.sources.repository import GitSettings
    from jtv_cli.sources.source import InputFormat, ReadOptions, Source

__all__ = [
    "FoundFile",
    "GitSettings",
    "Input",
    "InputFormat",
    "ReadOptions",
    "RecordBlock",
    "Selection",
    "Source",
    "blocks_of_records",
    "guess_format",
    "missing_files",
    "open_input",
    "open_lines",
    "open_sources",
    "read_again",
    "read_blocks",
]

_MODULES = {
    "blocks": ("RecordBlock",),
    "directory": ("FoundFile", "Selection"),
    "kinds": ("guess_format",),
    "memory": ("blocks_of_records",),
    "open": (
        "Input",
        "missing_files",
        "open_input",
        "open_lines",
        "open_sources",
        "read_again",
        "read_blocks",
    ),
    "repository": ("GitSettings",),
    "source": ("InputFormat", "ReadOptions", "Source"),
}
__getattr__ = importer(__name__, _MODULES)
