"""`jtv show`: documents, whole."""

from __future__ import annotations

from jtv_cli.cli import options
from jtv_cli.cli.arguments import chosen_format, no_documents
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode
from jtv_cli.render.formats import Format, format_documents


def show(
    session: Session,
    ids: options.DocumentIds,
    format: options.OutputFormat = None,  # noqa: A002
    json: options.Json = False,
    nul: options.Nul = False,
) -> int:
    """Show documents whole, with every place where they were read.

    Off a terminal, each such place is a line like those of `list`; with --json, each
    document is a line, with all its occurrences. Ids that are not there are named, and
    the exit code is then 1.
    """
    form = chosen_format(session, format, json=json, nul=nul)
    with session.store() as store, session.looking_at(store):
        table = session.open_table(store)
        documents = table.get(ids)
    if form is Format.TABLE:
        from jtv_cli.render.tables import print_documents

        print_documents(documents, session.output)
    else:
        for piece in format_documents(documents, form, session.output.escape, nul=nul):
            session.output.write(piece)
    there = {document.id for document in documents}
    if missing := [number for number in dict.fromkeys(ids) if number not in there]:
        session.console.error(no_documents(table, missing))
        return ExitCode.NOTHING_FOUND
    return ExitCode.OK
