"""`jtv duplicates`: pairs of documents that are almost the same."""

from __future__ import annotations

from itertools import chain, islice

from jtv_cli.cli import options
from jtv_cli.cli.arguments import Results
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode


def duplicates(
    session: Session,
    max_distance: options.DuplicateDistance = 0.05,
    limit: options.PairLimit = None,
    exact: options.ExactPairs = False,
    *,
    results: Results,
) -> int:
    """Find pairs of documents that are almost the same, by their stored vectors.

    Nothing is embedded. If the output is not a terminal, print one pair per line, separated
    by tabs: the id of the earlier document, the distance, and the later document's id, text,
    source and line number. Tables of more than 20,000 documents are searched by their index,
    unless --exact is given. The exit code is 1 if nothing is found.

    Examples:
      jtv duplicates
      jtv duplicates --max-distance 0 --json

    """
    from jtv_cli.pipeline.duplicates import find_duplicates

    writer = results.writer(session)
    with session.store() as store:
        with session.console.status("comparing documents"):
            table = session.open_table(store)
            pairs = find_duplicates(table, max_distance, exact=exact or None)
            pairs = islice(pairs, limit)
            # The status line stays until the first pair is found.
            first = [*islice(pairs, 1)]
            pairs = chain(first, pairs)
        if first or not writer.is_table:
            writer.write_pairs(pairs)
        else:
            session.console.report("No duplicates found")
    return ExitCode.OK if first else ExitCode.NOTHING_FOUND
