"""Read files, directories and standard input as blocks of texts, each with its line.

`open` finds the files and looks at their beginnings, `stream` reads their bytes, `source`
splits these into lines, and `lines`, `jsonl`, `json_array` and `delimited` turn them into the
texts of `blocks`.
"""

from jtv_cli.sources.blocks import RecordBlock
from jtv_cli.sources.memory import blocks_of_records
from jtv_cli.sources.open import missing_files, open_lines, open_sources, read_again, read_blocks
from jtv_cli.sources.source import InputFormat, ReadOptions, Source

__all__ = [
    "InputFormat",
    "ReadOptions",
    "RecordBlock",
    "Source",
    "blocks_of_records",
    "missing_files",
    "open_lines",
    "open_sources",
    "read_again",
    "read_blocks",
]
