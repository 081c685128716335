"""The exceptions of jtv, each with an exit code.

JtvError
├── UsageError              2  the command line, a setting or a named file is wrong
├── ServiceError            4  the embeddings service refused or failed
│   ├── BatchTooLarge          the service takes fewer texts in one request
│   ├── TextTooLong            one text is longer than the model takes
│   ├── RateLimited            a limit per minute, or of concurrent requests
│   ├── ServiceDown            worth a retry: no connection, 5xx, a broken reply
│   │   └── TextsFailed           500 or unusable vectors: one text may be the cause
│   └── ServiceRefused         not worth a retry: key, balance, request, model
│       └── TextsRefused          400 or 422: one text may be the cause
├── StoreError              5  the database refused or failed
│   ├── NoTable                the table does not exist
│   ├── TableExists            there is a table of that name already
│   ├── NoIndex                the table has no index
│   ├── TableMismatch          the table has another model
│   │   └── TableDropped          the table was dropped or renamed since it was opened
│   └── DocumentDeleted        a document was deleted since its id was looked up
├── OutOfMemory           71  the process may not use as much memory as it needs
└── OutputFailed           74  stdout could not be written

A message says in one sentence what is wrong, a hint says in the imperative what to do.
Both are plain text: whoever prints them passes them through `mask_secrets` first.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Literal
from urllib.parse import quote, unquote

DATABASE_URL_HINT = "write mysql://USER:PASSWORD@HOST:4000/DATABASE"


class ExitCode(IntEnum):
    """The exit codes of the process."""

    OK = 0
    NOTHING_FOUND = 1
    USAGE = 2
    IN_PART = 3
    SERVICE = 4
    STORE = 5
    DEFECT = 70
    MEMORY = 71
    OUTPUT = 74
    INTERRUPTED = 130
    TERMINATED = 143


class JtvError(Exception):
    """An error that a user can cause or run into, shown without a traceback.

    `tokens` are those that an ingest had used by then.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT
    tokens = 0

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(JtvError):
    """The command line, a setting or a named file is wrong; nothing was done."""

    exit_code = ExitCode.USAGE


class ServiceError(JtvError):
    """The embeddings service refused or failed."""

    exit_code = ExitCode.SERVICE


class BatchTooLarge(ServiceError):
    """The service takes fewer texts, or fewer bytes, in one request.

    `limit` is the number of texts it takes, None if it did not say.
    """

    def __init__(self, message: str, *, limit: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class TextTooLong(ServiceError):
    """One text of the batch has more tokens than the model takes."""


class RateLimited(ServiceError):
    """The service asks for fewer requests.

    `kind` says which limit was reached; `retry_after` is in seconds, None if it was not sent.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["concurrency", "rate"],
        retry_after: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.retry_after = retry_after


class ServiceDown(ServiceError):
    """The service did not reply, or malformed; the same request may succeed later.

    `retry_after` is in seconds, None if it was not sent.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class TextsFailed(ServiceDown):
    """The service failed on this request, or returned vectors that cannot be used.

    It may be a passing failure, or the fault of one text: a request that fails in the
    same way twice is worth splitting.
    """


class ServiceRefused(ServiceError):
    """The service rejects this request, however often it is sent."""


class TextsRefused(ServiceRefused):
    """The service rejects the request for a reason that may be one of its texts."""


class StoreError(JtvError):
    """The database refused or failed."""

    exit_code = ExitCode.STORE


class NoTable(StoreError):
    """The store has no such table."""

    def __init__(self, table: str, store: str) -> None:
        super().__init__(f'no table "{table}" in {store}', hint="create it with: jtv init")


class TableExists(StoreError):
    """A table cannot be renamed, because there is another one of that name."""

    def __init__(self, table: str, name: str) -> None:
        super().__init__(
            f"table {name} already exists",
            hint=f"drop it for this one with: jtv tables rename --replace {table} {name}",
        )


class NoIndex(StoreError):
    """The table has no index that could be checked, or none yet."""

    def __init__(self, table: str) -> None:
        super().__init__(f"table {table} has no index to check", hint="see why: jtv index status")


class NoFullText(UsageError):
    """The table has no full-text index, or its store cannot have one."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)

    @classmethod
    def of_table(cls, table: str) -> NoFullText:
        """Return the error for a table that has no full-text index, but could have one."""
        return cls(
            f"table {table} has no full-text index",
            hint="create it with: jtv index build --full-text",
        )


class TableMismatch(StoreError):
    """The table has another model than requested, or was recreated meanwhile."""


class TableDropped(TableMismatch):
    """The table was dropped or renamed since it was opened; another may have its name now."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"table {table} was renamed or dropped while this command was running",
            hint="run the command again",
        )


class DocumentDeleted(StoreError):
    """A document was deleted since its id was looked up: look it up again."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"a document was deleted from table {table} while this command was running",
            hint="run the command again",
        )


class OutOfMemory(JtvError):
    """The system refuses memory to the process, or another thread."""

    exit_code = ExitCode.MEMORY


class OutputFailed(JtvError):
    """stdout could not be written."""

    exit_code = ExitCode.OUTPUT


def of_newer_format(kind: type[JtvError], what: str, found: object, known: int) -> JtvError:
    """Return an error of that kind for something in a newer format than the newest supported."""
    message = f"{what} was written by a newer jtv (format {found}; this version reads {known})"
    return kind(message, hint="upgrade jtv: pip install --upgrade jtv-cli")


_MASK = "***"
# Any run of this many characters of a secret is hidden: a service may echo part of a key.
_SHORTEST_RUN = 8
_secrets: set[str] = set()


def register_secret(value: str) -> None:
    """Hide this value in every message from now on, also percent-encoded or escaped.

    Values of fewer than four characters are left alone: hiding every "a" would
    make a message unreadable and tell more than it hides.
    """
    forms = (value, quote(value, safe="", errors="surrogateescape"), unquote(value))
    _secrets.update(
        each
        for form in forms
        # As it is, as `shlex.quote` writes it, and as `repr` does, which a traceback shows.
        for each in (form, form.replace("'", "'\"'\"'"), repr(form)[1:-1], repr(f"\"'{form}")[4:-1])
        if len(form) >= 4
    )


def mask_secrets(text: str) -> str:
    """Return the text with every secret, and every long part of one, replaced by `***`."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = _mask_runs(text.replace(secret, _MASK), secret)
    return text


def _mask_runs(text: str, secret: str) -> str:
    """Replace each run of at least `_SHORTEST_RUN` characters that the secret contains."""
    size = _SHORTEST_RUN
    runs = {secret[start : start + size] for start in range(len(secret) - size + 1)}
    kept: list[str] = []
    start = end = 0
    while runs and start <= len(text) - size:
        if text[start : start + size] not in runs:
            start += 1
            continue
        kept += (text[end:start], _MASK)
        end = start + size
        while end < len(text) and text[end - size + 1 : end + 1] in runs:
            end += 1
        start = end
    return "".join((*kept, text[end:]))
