"""How a source was read, as a table remembers it: a JSON object, here called its details."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from jtv_cli.errors import UsageError
from jtv_cli.sources.chunks import DEFAULT_SIZE
from jtv_cli.sources.source import InputFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jtv_cli.sources.source import Source

    Details = Mapping[str, Any]
    """`file`: whether it is a file; `input`: the value of an InputFormat; `paragraphs`,
    `text_fields`, `delimiter` and `header`, as in ReadOptions, if they matter; `modified`: when
    the file was modified, in seconds since 1970."""


def describe(source: Source) -> dict[str, Any]:
    """Return how a source is read."""
    options = source.options
    details: dict[str, Any] = {"file": source.is_file, "input": source.format.value}
    if options.paragraphs:
        details["paragraphs"] = True
    elif source.format.is_document:
        details |= {"whole": True} if options.whole else {"chunk": options.chunk or DEFAULT_SIZE}
    if source.text_fields:
        details["text_fields"] = list(source.text_fields)
    if source.format.is_delimited:
        if options.delimiter is not None:
            details["delimiter"] = options.delimiter
        if not options.header:
            details["header"] = False
    return details


def differences(source: Source, before: Details) -> list[str]:
    """Return the keys in which a source is read in another way than before."""
    now = describe(source)
    every = ("input", "paragraphs", "header", "chunk", "whole")
    keys = [key for key in every if now.get(key) != before.get(key)]
    fields = now.get("text_fields"), before.get("text_fields")
    if all(fields) and fields[0] != fields[1]:
        keys.append("text_fields")
    delimiters = source.delimiter, before.get("delimiter")
    if all(delimiters) and delimiters[0] != delimiters[1]:
        keys.append("delimiter")
    return keys


def keep(source: Source, before: Details) -> bool:
    """Have plain text read as it was read before, unless the options say otherwise.

    Return whether it is, and was not read by paragraphs, which only an option asks for.
    """
    options = source.options
    if not options.is_text_undecided or before.get("paragraphs") or source.format.has_fields:
        return False
    formats = {each.value: each for each in InputFormat if not each.has_fields}
    input_format = formats.get(str(before.get("input")))
    if input_format is None:
        return False
    source.format, source.is_kept = input_format, True
    source.options = options._replace(
        chunk=before.get("chunk"), whole=bool(before.get("whole", False))
    )
    return True


def require_told(source: Source, before: Details, keys: list[str]) -> None:
    """Raise UsageError unless the options of the command line say all that differs.

    --input says everything, any other option only what it is about.
    """
    options = source.options
    told = {
        "input": options.paragraphs or options.whole or options.chunk is not None,
        "paragraphs": options.paragraphs,
        "header": not options.header,
        "text_fields": bool(options.text_fields),
        "delimiter": options.delimiter is not None,
        "chunk": options.chunk is not None or options.whole or options.paragraphs,
        "whole": options.chunk is not None or options.whole or options.paragraphs,
    }
    if options.format is not None or all(told[key] for key in keys):
        return
    now = describe(source)
    raise UsageError(
        f"{source.path} was read {in_words(before)} before, and would now be read {in_words(now)}",
        hint=f"add {in_options(before)} to read it as before, or {in_options(now)} to read it anew",
    )


def in_words(details: Details) -> str:
    """Return how a source was read: by lines, by paragraphs, or in which format."""
    if details.get("paragraphs"):
        return "by paragraphs"
    if details.get("input") == InputFormat.LINES.value:
        return "by lines"
    if details.get("whole"):
        return "as a whole"
    if size := details.get("chunk"):
        return f"as {details.get('input')}, in chunks of up to {size} tokens"
    words = [f"as {details.get('input')}"]
    if fields := details.get("text_fields"):
        words.append(f"with text field{'s' if len(fields) > 1 else ''} {' and '.join(fields)}")
    if delimiter := details.get("delimiter"):
        words.append(f"with delimiter {delimiter!r}")
    if details.get("header") is False:
        words.append("without a header")
    return " ".join(words)


def in_options(details: Details) -> str:
    """Return the options that have a source be read in that way."""
    if details.get("paragraphs"):
        return "--paragraphs"
    words = ["--input", str(details.get("input"))]
    for field in details.get("text_fields") or ():
        words += ["--text-field", field]
    if delimiter := details.get("delimiter"):
        words += ["--delimiter", "tab" if delimiter == "\t" else delimiter]
    if details.get("whole"):
        words.append("--no-chunk")
    elif size := details.get("chunk"):
        words += ["--chunk", str(size)]
    if details.get("header") is False:
        words.append("--no-header")
    return shlex.join(words)
