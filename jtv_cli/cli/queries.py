"""`jtv search --queries`: many queries at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.records import STDIN
from jtv_cli.render.formats import Format, format_answers
from jtv_cli.sources import Choice, Input, open_sources, read_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jtv_cli.records import Answer, Filter, Hit, Vectors
    from jtv_cli.sources import Window
    from jtv_cli.stores import Table


class Wanted(NamedTuple):
    """What a search is to find, whatever it is near to."""

    k: int
    max_distance: float | None
    filter: Filter | None
    exact: bool
    explain: Callable[[str], None] | None

    def nearest(self, table: Table, vectors: Vectors, *, more: int = 0) -> list[list[Hit]]:
        """Return the nearest to each of (m, dimensions) vectors, and some `more`."""
        return table.search(
            vectors,
            self.k + more,
            exact=self.exact,
            max_distance=self.max_distance,
            filter=self.filter,
            explain=self.explain,
        )


def answer_queries(
    session: Session, path: str, wanted: Wanted, form: Format, *, nul: bool, max_wait: float
) -> int:
    """Answer each line of a file, in their order, as they are read."""
    from jtv_cli import pipeline

    with open_sources([path], Choice(input=Input.LINES)) as sources, session.store() as store:
        table = session.open_table(store)
        queries = _Queries(session, read_windows(sources), are_typed=path == STDIN)
        groups = pipeline.answers(
            queries.read(),
            session.embedder(table.spec),
            lambda vectors: wanted.nearest(table, vectors),
            max_wait=max_wait,
        )
        _write(session, queries.shown(groups), form, nul=nul)
    if queries.skipped:
        return ExitCode.IN_PART
    return ExitCode.OK if queries.found else ExitCode.NOTHING_FOUND


class _Queries:
    """Queries on their way to answers: how many were `skipped`, and whether any `found` a thing.

    While somebody may be typing them, no progress is shown on the terminal.
    """

    def __init__(self, session: Session, windows: Iterable[Window], *, are_typed: bool) -> None:
        self.skipped = 0
        self.found = False
        self._session = session
        self._windows = windows
        self._are_typed = are_typed

    def read(self) -> Iterator[Sequence[str]]:
        """Yield the lines, as many at a time as are there."""
        for window in self._windows:
            for place, reason in window.bad_places():
                self._session.name_skipped(place, reason)
            self.skipped += len(window.bad)
            yield [text for _, text, _ in window.texts]

    def shown(self, groups: Iterator[Sequence[Answer]]) -> Iterator[Answer]:
        """Yield the answers, and hand over those of a group before the next is waited for."""
        while group := self._next(groups):
            yield from group
            self.found = self.found or any(hits for _, hits in group)
            self._session.output.flush()

    def _next(self, groups: Iterator[Sequence[Answer]]) -> Sequence[Answer] | None:
        if self._are_typed:
            return next(groups, None)
        with self._session.console.status("searching"):
            return next(groups, None)


def _write(session: Session, answers: Iterable[Answer], form: Format, *, nul: bool) -> None:
    output = session.output
    if form is Format.TABLE:
        from jtv_cli.render.tables import print_answer

        for query, hits in answers:
            print_answer(query, hits, output, colored=session.colored)
        return
    for piece in format_answers(answers, form, output.escape, nul=nul):
        output.write(piece)
