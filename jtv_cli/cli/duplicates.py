"""`jtv duplicates`: pairs of documents that are almost the same."""

from __future__ import annotations

from itertools import chain, islice

from jtv_cli.cli import options
from jtv_cli.cli.arguments import choose_format
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.render.formats import Format, format_pairs


def duplicates(
    session: Session,
    max_distance: options.DuplicateDistance = 0.05,
    limit: options.PairLimit = None,
    exact: options.ExactPairs = False,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
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

    form = choose_format(session, format, json=json, nul=nul)
    with session.store() as store:
        with session.console.status("comparing documents"):
            table = session.open_table(store)
            pairs = find_duplicates(table, max_distance, exact=exact or None)
            pairs = islice(pairs, limit)
            # The status line stays until the first pair is found.
            first = [*islice(pairs, 1)]
            pairs = chain(first, pairs)
        if form is not Format.TABLE:
            for piece in format_pairs(pairs, form, session.output.escape, nul=nul):
                session.output.write(piece)
        elif first:
            from jtv_cli.render.tables import print_pairs

            print_pairs(pairs, session.output)
        else:
            session.console.report("No duplicates found")
    return ExitCode.OK if first else ExitCode.NOTHING_FOUND
