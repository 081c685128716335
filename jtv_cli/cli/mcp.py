"""`jtv mcp`: serve the table to agents over the Model Context Protocol."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib.util import find_spec

from jtv_cli.cli import options
from jtv_cli.cli.session import Session
from jtv_cli.errors import ExitCode, UsageError


def mcp(
    session: Session,
    directory: options.Directories = None,
    write: options.Write = False,
    rerank: options.AgentsReranker = None,
) -> int:
    """Serve the table to an agent: the Model Context Protocol on stdin and stdout.

    The tools are search, show, list_sources and table_info; with --write also ingest_text and
    delete. Without --write, nothing can be changed. Hits link to their files if these are in a
    directory named with --directory; no other file is read. Without --rerank, no text is sent
    to a rerank API.

    This needs the extra mcp: pip install 'jtv-cli[mcp]'.

    Examples:
      jtv mcp --table notes
      jtv mcp --database notes.db --directory ~/notes --write

    """
    if find_spec("mcp") is None:
        raise UsageError("jtv mcp needs the extra mcp", hint="run: pip install 'jtv-cli[mcp]'")
    from jtv_cli.mcp_server import serve

    session.output.require_open()
    # The protocol needs the real stdout.
    with redirect_stdout(sys.__stdout__):
        serve(session.settings, directory or (), write=write, reranker=rerank)
    return ExitCode.OK
