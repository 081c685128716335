"""What the threads of an ingest tell its event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jtv_cli.pipeline.batches import Batch
    from jtv_cli.pipeline.reembedding import Block
    from jtv_cli.records import Embeddings


class RecordsRead(NamedTuple):
    """The reader read some records of the input."""

    block: Block


class InputEnded(NamedTuple):
    """There is nothing left to read or, with an error, nothing that can be read."""

    error: BaseException | None = None


class Embedded(NamedTuple):
    """A request was answered."""

    batch: Batch
    embeddings: Embeddings


class RequestFailed(NamedTuple):
    """A request raised an error."""

    batch: Batch
    error: BaseException


class StopRequested(NamedTuple):
    """The user or the system asks to stop; `at_once` means without the answers in flight."""

    at_once: bool = False


Event = RecordsRead | InputEnded | Embedded | RequestFailed | StopRequested
