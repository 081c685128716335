"""Cut texts that are too long for the model or for the store into chunks, stored in their place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jtv_cli.sources.blocks import RecordBlock
from jtv_cli.sources.chunks import DEFAULT_SIZE, cut
from jtv_cli.text import estimated_tokens, text_hash, text_hashes, too_long

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.embedders import Model
    from jtv_cli.pipeline.batches import NewText
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.pipeline.removal import LineHash
    from jtv_cli.sources.blocks import Text
    from jtv_cli.stores import Table

# No character has more estimated tokens: those of four bytes have two.
_MOST_TOKENS_PER_CHARACTER = 2
# A text that the service refuses is not cut into less, which would be parts of words.
_SMALLEST = 16


class TextCutter:
    """Cuts texts that are too long into chunks of at most `size` estimated tokens.

    `extra` counts by source how many texts more there are since. With `remembers`, the lines
    and hashes of the chunks are kept, for `expand`.
    """

    def __init__(self, size: int | None = None, *, remembers: bool = False) -> None:
        self.extra: Counter[str | None] = Counter()
        self._size = size or DEFAULT_SIZE
        self._remembers = remembers
        self._chunks: dict[bytes, list[tuple[int, bytes]]] = {}

    def apply(self, block: RecordBlock, table: Table | None, longest: int) -> RecordBlock:
        """Return the block with chunks in the place of each text that is too long.

        That is one of more than `longest` estimated tokens that the table does not have, or of
        more bytes than the table takes.
        """
        most_bytes = table.most_bytes if table else None
        chunks: dict[int, list[Text]] = {}
        doubtful: list[int] = []
        for at, (_, text, metadata, _) in enumerate(block.texts):
            if too_long(text, most_bytes, metadata):
                # The metadata may be what is too long.
                if not too_long("", most_bytes, metadata):
                    chunks[at] = self._cut(block.texts[at], min(self._size, longest))
            elif _may_exceed(text, longest):
                doubtful.append(at)
        hashes = text_hashes(block.texts[at][1] for at in doubtful)
        stored = table.known(hashes) if table and doubtful else {}
        for at, key in zip(doubtful, hashes, strict=True):
            if key not in stored:
                chunks[at] = self._cut(block.texts[at], min(self._size, longest))
        if not chunks:
            return block
        texts = [each for at, text in enumerate(block.texts) for each in chunks.get(at, [text])]
        self.extra[block.source] += len(texts) - len(block.texts)
        return block._replace(texts=texts)

    def cut_refused(self, new: NewText) -> list[RecordBlock]:
        """Return the chunks of a text that the service found too long, wherever it was read.

        They are at most half as long as it; there are none if it cannot be cut.
        """
        size = max(_SMALLEST, min(self._size, new.tokens // 2))
        blocks: list[RecordBlock] = []
        for place, (source, line, metadata, end_line) in zip(
            new.places, new.occurrences, strict=True
        ):
            texts = self._cut((line or 0, new.document.text, metadata, end_line), size)
            if len(texts) == 1:
                return []
            self.extra[source] += len(texts) - 1
            path = place.removesuffix(f":{line}")
            blocks.append(RecordBlock(source, path, texts, 0, [], 0))
        return blocks

    def expand(self, reads: Iterable[Sequence[LineHash]]) -> Iterator[list[LineHash]]:
        """Yield the lines and hashes that were read, those of chunks in the place of their texts'.

        See `Spool.reads`.
        """
        for part in reads:
            yield [each for line, key in part for each in self._expanded(line, key)]

    def _expanded(self, line: int, key: bytes) -> Iterator[LineHash]:
        if (chunks := self._chunks.get(key)) is None:
            yield line, key
            return
        for offset, chunk in chunks:
            yield from self._expanded(line + offset, chunk)

    def _cut(self, whole: Text, size: int) -> list[Text]:
        """Return the chunks of a text, none of them twice in a line.

        A text without a last line is all in its first one.
        """
        line, text, metadata, end_line = whole
        found: dict[tuple[int, str], Text] = {}
        counted = 0
        number = line
        for offset, chunk in cut(text, size):
            if end_line is None:
                found.setdefault((line, chunk), (line, chunk, metadata, None))
                continue
            number += text.count("\n", counted, offset)
            counted = offset
            found[number, chunk] = (number, chunk, metadata, number + chunk.count("\n"))
        if self._remembers and len(found) > 1:
            self._chunks[text_hash(text)] = [
                (number - line, text_hash(chunk)) for number, chunk in found
            ]
        return list(found.values())


def fitted(block: Block, cutter: TextCutter | None, table: Table | None, model: Model) -> Block:
    """Return the block with texts that are too long cut, if there is a cutter, or among the bad."""
    if cutter is not None and isinstance(block, RecordBlock):
        block = cutter.apply(block, table, model.max_tokens)
    return block.within(table.most_bytes if table else None)


def _may_exceed(text: str, longest: int) -> bool:
    if len(text) * _MOST_TOKENS_PER_CHARACTER < longest:
        return False
    return estimated_tokens(text) > longest
