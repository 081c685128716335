"""`jtv search --queries`: many queries at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.records import STDIN
from jtv_cli.render.formats import Format, format_answers
from jtv_cli.sources import InputFormat, ReadOptions, open_sources, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jtv_cli.pipeline import SearchOptions, SearchResult
    from jtv_cli.records import Answer
    from jtv_cli.sources import RecordBlock

    Results = Sequence[tuple[str, SearchResult]]


def answer_queries(
    session: Session, path: str, search_options: SearchOptions, form: Format, *, nul: bool
) -> int:
    """Answer each line of a file, in their order, as they are read."""
    from jtv_cli import pipeline

    with (
        open_sources([path], ReadOptions(format=InputFormat.LINES)) as sources,
        session.store() as store,
    ):
        table = session.open_table(store)
        queries = _Queries(session, read_blocks(sources), are_typed=path == STDIN)
        embedder = session.embedder(table.spec)
        groups = pipeline.search_many(queries.read(), table, embedder, search_options)
        _write(session, queries.shown(groups), form, nul=nul)
    if queries.skipped:
        return ExitCode.IN_PART
    return ExitCode.OK if queries.found else ExitCode.NOTHING_FOUND


class _Queries:
    """Queries on their way to answers: how many were `skipped`, and whether any `found` a thing.

    While somebody may be typing them, no progress is shown on the terminal.
    """

    def __init__(self, session: Session, blocks: Iterable[RecordBlock], *, are_typed: bool) -> None:
        self.skipped = 0
        self.found = False
        self._session = session
        self._blocks = blocks
        self._are_typed = are_typed
        self._explained: set[str] = set()

    def read(self) -> Iterator[Sequence[str]]:
        """Yield the lines, as many at a time as are there."""
        for block in self._blocks:
            for place, reason in block.bad_places():
                self._session.name_skipped(place, reason)
            self.skipped += len(block.bad)
            yield [text for _, text, _ in block.texts]

    def shown(self, groups: Iterator[Results]) -> Iterator[Answer]:
        """Yield the answers, and hand over those of a group before the next is waited for."""
        while group := self._next(groups):
            for query, (hits, explanation) in group:
                if explanation and explanation not in self._explained:
                    self._explained.add(explanation)
                    self._session.console.report(explanation)
                self.found = self.found or bool(hits)
                yield query, hits
            self._session.output.flush()

    def _next(self, groups: Iterator[Results]) -> Results | None:
        if self._are_typed:
            return next(groups, None)
        with self._session.console.status("searching"):
            return next(groups, None)


def _write(session: Session, answers: Iterable[Answer], form: Format, *, nul: bool) -> None:
    output = session.output
    if form is Format.TABLE:
        from jtv_cli.render.tables import print_answer

        for query, hits in answers:
            print_answer(query, hits, output)
        return
    for piece in format_answers(answers, form, output.escape, nul=nul):
        output.write(piece)
