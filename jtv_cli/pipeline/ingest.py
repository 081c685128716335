"""An ingest: reading, embedding and storing at the same time, and an end in good order.

The main thread only waits: a signal raises in that one alone, and so breaks into no work.
One thread reads, one is started for each request, and the coordinator's does all the
rest; it alone touches the table. An embedder that works in this process runs in it too.
"""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

from jtv_cli.errors import ServiceError, UsageError
from jtv_cli.pipeline.coordinator import Coordinator
from jtv_cli.pipeline.stats import IngestStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jtv_cli.embedders import Embedder
    from jtv_cli.pipeline.options import IngestOptions
    from jtv_cli.records import IngestProgress, IngestReport
    from jtv_cli.sources import RecordBlock
    from jtv_cli.stores import Table


def ingest(
    windows: Iterable[RecordBlock],
    embedder: Embedder,
    table: Table,
    *,
    ingest_options: IngestOptions,
    progress: Callable[[IngestProgress], None],
    skipped: Callable[[str, str], None],
) -> IngestReport:
    """Embed and store the texts that the table does not have; note where the others were read.

    Texts are stored in the order of the input, a group of `ingest_options.concurrency` batches
    after the other; within a group, the batches are of texts of similar length. No more
    than two groups are on their way: so much may be paid for and not be stored if the
    process is killed. However else it ends, what is answered is stored first, and an
    interrupt waits three seconds for answers.

    `progress` hears of every step, the last being the end, whatever that is; `skipped` of
    every text left out: where it was read, as file:line, and why. Other threads call them,
    one at a time.

    An error of reading ends the input. What was read before is stored, and the report then
    says what stopped it; if there was nothing, the error is raised.

    Raises the errors of reading, of the embedder (after as much patience as granted)
    and of the table, these last in place of an interrupt too.
    """
    stats = IngestStats(progress)
    coordinator = Coordinator(embedder, table, ingest_options, stats, skipped)
    reading = partial(_read, windows, coordinator)
    for work in (reading, coordinator.run):
        # Daemons, for a read or a request that does not return must not keep the process.
        Thread(target=work, daemon=True).start()
    try:
        coordinator.wait_for_end()
    except BaseException:
        coordinator.interrupt()
        if not isinstance(coordinator.error, ServiceError | None):
            raise coordinator.error from None
        raise
    finally:
        stats.end()
    if coordinator.error is not None:
        raise coordinator.error
    if coordinator.unreadable is not None and stats.report.stopped is None:
        if not (stats.report.stored or stats.report.known):
            raise coordinator.unreadable
        stats.stop(str(coordinator.unreadable))
    return stats.report


def _read(windows: Iterable[RecordBlock], coordinator: Coordinator) -> None:
    """Hand windows to the coordinator, the next when it has dealt with the last."""
    try:
        for window in windows:
            coordinator.calls.put(partial(coordinator.take_window, window))
            if not coordinator.wanted.get():
                return
    except UsageError as error:
        coordinator.calls.put(partial(coordinator.end_input, error))
    except BaseException as error:
        coordinator.calls.put(partial(coordinator.give_up, error))
    else:
        coordinator.calls.put(coordinator.end_input)
