"""The Python API: what docs/python.md says, threads, types, and what it must not do."""

from __future__ import annotations

import datetime
import inspect
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

import jina_faults
import jtv_cli
from conftest import SAMPLE_TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Jtv
    from jina_server import JinaServer

PAGE = (Path(__file__).parent.parent / "docs/python.md").read_text()
EXAMPLE = re.compile(
    r"<!-- example -->\n```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
def table(path: Path) -> Iterator[jtv_cli.Table]:
    with jtv_cli.connect(path, model="hashing-v1") as table:
        yield table


def run(jtv: Jtv, program: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=jtv.folder / "work",
        env=jtv.variables(env),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_examples_print_what_the_page_says(jtv: Jtv) -> None:
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) > 5
    mark = "=== next ==="
    result = run(jtv, f"print({mark!r})\n".join(code for code, _ in examples))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for printed, (_, shown) in zip(result.stdout.split(f"{mark}\n"), examples, strict=True):
        assert printed == shown


def test_the_example_of_the_readme(jtv: Jtv) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert run(jtv, example).stdout == "The octopus has three hearts.\n"


def test_the_public_names_are_the_documented_ones() -> None:
    reference = PAGE.partition("## Reference")[2]
    first_cells = re.findall(r"^\| (`.*?) \|", reference, re.MULTILINE)
    documented = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert documented == set(jtv_cli.__all__) == set(dir(jtv_cli))
    assert all(getattr(jtv_cli, name) is not None for name in jtv_cli.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'search'"):
        jtv_cli.search  # noqa: B018
    public = {name for name, _ in inspect.getmembers(jtv_cli.Table) if not name.startswith("_")}
    row = next(line for line in reference.splitlines() if line.startswith("| `Table`"))
    methods = {name for name in public if callable(getattr(jtv_cli.Table, name))}
    assert set(re.findall(r"`(\w+)`", row)) - {"Table"} == methods
    assert public - methods == {"name", "model", "dimensions", "location"}


USER_FILE = """
from collections.abc import Iterator
from pathlib import Path

import jtv_cli
from jtv_cli import Hit, IngestProgress, JtvError, StoredDocument, Table, connect


def find(table: Table, query: str) -> list[Hit]:
    return table.search(query, k=3, where={"year": 2026}, source="notes*")


def show(progress: IngestProgress) -> None:
    print(progress.report.stored)


def main() -> None:
    try:
        with connect(Path("notes.db"), model="static-v1") as table:
            table.ingest(["a", {"text": "b", "year": 2026}], on_progress=show)
            table.ingest(files=Path("notes.txt"))
            hits: Iterator[Hit] = table.list("a", by_distance=True)
            documents: list[StoredDocument] = table.get([hit.id for hit in hits])
            print(documents[0].occurrences[0].source, find(table, "a")[0].distance)
            print(table.info().index_status.state.value, jtv_cli.__version__)
    except JtvError as error:
        print(error.message, error.hint)
"""


def test_a_users_file_passes_mypy_strict(tmp_path: Path) -> None:
    wrong = f"{USER_FILE}\n\ndef bad(table: Table) -> int:\n    return table.search(5)\n"
    for name, program, count in (("right.py", USER_FILE, 0), ("wrong.py", wrong, 2)):
        (tmp_path / name).write_text(program)
        result = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--config-file=", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert result.stdout.count(": error:") == count, result.stdout


def test_importing_it_and_failing_does_not_print_exit_or_read_the_environment(jtv: Jtv) -> None:
    jtv.write(".env", "JTV_TABLE=from_env_file\nJTV_MODEL=hashing-v1\n")
    program = (
        "import jtv_cli\n"
        "for more in ({}, {'from_environment': True}):\n"
        "    with jtv_cli.connect('a.db', **more) as table:\n"
        "        assert table.ingest('a').stored == 1\n"
        "        print(table.name, table.model)\n"
        "try:\n    jtv_cli.connect(table='1')\n"
        "except jtv_cli.UsageError as error:\n    print(error.message)\n"
    )
    result = run(jtv, program, JTV_DATABASE="mysql://root:secret@127.0.0.1:1/no")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout == (
        "jinaai_tidb_demo_documents static-v1\nfrom_env_file hashing-v1\n"
        "invalid table name '1' (table=)\n"
    )


def test_the_shell_and_python_share_a_table(jtv: Jtv, path: Path) -> None:
    with jtv_cli.connect(path) as table:
        assert table.ingest(files=str(SAMPLE_TEXTS)).stored == 34
        ours = [hit.content for hit in table.search("What is TiDB?", 3)]
        assert table.search("What is TiDB?", 3, exact=True, max_distance=0.7)[0].content == ours[0]
        assert table.search("What is TiDB?", source="*.md") == []
        assert len(table.search("What is TiDB?", per_source=1)) == 1
        assert [hit.id for hit in table.similar(2, 1)] != [2]
        assert table.info().documents == table.count() == 34
        again = table.ingest(files=[SAMPLE_TEXTS])
        assert (again.stored, again.known) == (0, 34)
    theirs = jtv.ok("search", "What is TiDB?", "-k3", "--format", "text", "--database", str(path))
    assert theirs.stdout.splitlines() == ours


def test_one_text_is_one_document(table: jtv_cli.Table) -> None:
    assert table.ingest("three short words").stored == 1
    assert [hit.content for hit in table.list()] == ["three short words"]


def test_a_directory_in_chunks(table: jtv_cli.Table, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("a.md", "b.md", "c.py"):
        (tmp_path / "d" / name).write_text(f"# {name}\n\n" + "Some words here. " * 40)
    report = table.ingest(files=tmp_path / "d", include=["*.md"], exclude=["b*"], chunk=32)
    assert {Path(hit.source or "").name for hit in table.list()} == {"a.md"}
    assert report.stored > 1
    assert table.ingest(files=tmp_path / "d/b.md", no_chunk=True).stored == 1
    with pytest.raises(jtv_cli.UsageError):
        table.ingest(files=tmp_path / "d", chunk=32, no_chunk=True)


def test_records_are_checked(
    table: jtv_cli.Table, caplog: pytest.LogCaptureFixture, path: Path
) -> None:
    wrong: list[Any] = [5, {"words": "a"}, {"text": 5}]
    for record in wrong:
        with pytest.raises(TypeError, match="record 1"):
            table.ingest([record])
    with pytest.raises(ValueError, match="metadata of record 2"):
        table.ingest(["a", {"text": "b", "at": object()}])
    report = table.ingest(["good", "bad \udcff", "  ", {"content": "c", "n": 1}], source="s")
    assert (report.stored, report.skipped, report.empty) == (2, 1, 1)
    assert caplog.messages == ["s:2: it has a surrogate, which UTF-8 cannot encode, skipped"]
    skipped: list[tuple[str, str]] = []
    table.ingest(["\udcff"], on_skipped=lambda *place: skipped.append(place))
    assert [place for place, _ in skipped] == ["-:1"]
    assert [hit.metadata for hit in table.search("c", where={"n": 1})] == [{"n": 1}]
    assert str(path) in repr(table)


def test_searches_take_the_filters_of_the_command(table: jtv_cli.Table, tmp_path: Path) -> None:
    table.ingest([{"text": f"pump {n}", "year": 2000 + n, "a": {"b": n % 2}} for n in range(6)])

    def years(**filters: Any) -> list[int]:
        hits = table.search("pump", 10, **filters)
        assert table.search_many(["pump"], 10, **filters) == [hits]
        assert {hit.id for hit in table.similar(1, 10, **filters)} == {h.id for h in hits} - {1}
        return sorted(hit.metadata["year"] for hit in hits if hit.metadata)

    assert years(where="year >= 2004") == [2004, 2005]
    assert years(where=["year > 2001", "a.b=1"]) == [2003, 2005]
    assert years(where={"year": 2003}) == [2003]
    assert years(where_any=["year=2000", "year in (2001, 2002)"], where="a.b=0") == [2000, 2002]
    assert years(after="2020-01-01") == []
    for number in (1, 2):
        file = tmp_path / f"{number}.txt"
        file.write_text(f"pump of file {number}")
        os.utime(file, (number * 86_400 * 365, number * 86_400 * 365))
        table.ingest(files=file)
    for after in ("1971-06-01", datetime.date(1971, 6, 1), datetime.datetime(1971, 6, 1)):
        [hit] = table.search("pump", 10, after=after)
        assert hit.content == "pump of file 2"
    [hit] = table.search("pump", 10, before="1971-06-01", after="1970-01-03")
    assert hit.content == "pump of file 1"
    for wrong in ({"where": "year"}, {"where_any": [""]}, {"after": "yesterday"}):
        with pytest.raises(jtv_cli.UsageError, match=next(iter(wrong))):
            table.search("pump", **wrong)


def test_duplicates(table: jtv_cli.Table) -> None:
    table.ingest(["the same words twice", "something else", "The same words, twice"])
    [pair] = table.duplicates(0.2)
    assert (pair.first.id, pair.second.id) == (1, 3)
    assert pair.distance <= 0.2
    assert [each._replace(distance=0) for each in table.duplicates(0.2, exact=False)] == [
        pair._replace(distance=0)
    ]
    assert list(table.duplicates(0)) == [pair._replace(distance=0)]
    table.delete(3)
    assert list(table.duplicates(0.2)) == []
    with pytest.raises(jtv_cli.UsageError):
        table.duplicates(-1)


def test_rerank(path: Path, api: JinaServer, caplog: pytest.LogCaptureFixture) -> None:
    """As `jtv search --rerank`: one request a query, and no error if it fails."""
    texts = ["red apples and green pears", "blue sky", "red red red red sky"]
    with jtv_cli.connect(path, model="hashing-v1", api_key=api.key, api_base=api.url) as table:
        table.ingest(texts)
        plain = table.search("red apples")
        hits = table.search("red apples", rerank=True)
        assert hits[0].content == texts[2]
        assert [hit.score for hit in hits] == sorted((h.score or 0 for h in hits), reverse=True)
        table.search("red apples", 1, rerank="jina-reranker-m0", candidates=2)
        assert [request.body["model"] for request in api.requests] == [
            "jina-reranker-v3.5",
            "jina-reranker-m0",
        ]
        assert [len(request.body["documents"]) for request in api.requests] == [3, 2]
        [many, _] = table.search_many(["red apples", "sky"], rerank=True)
        assert many == hits
        assert len(api.requests) == 4
        api.misbehave(jina_faults.answer(500), times=None)
        assert table.search("red apples", rerank=True, max_wait=0) == plain
        [message] = caplog.messages
        assert message.startswith("the hits are not reranked: ")
        with pytest.raises(jtv_cli.ServiceError):
            table.search("red apples", rerank=True, strict=True, max_wait=0)
        for wrong in ({"diverse": True}, {"candidates": 0}, {"candidates": 101}):
            with pytest.raises(jtv_cli.UsageError):
                table.search("a", rerank=True, **wrong)
    with jtv_cli.connect(path) as table, pytest.raises(jtv_cli.UsageError, match="key"):
        table.search("a", rerank=True)


def test_arguments_are_checked(table: jtv_cli.Table, path: Path) -> None:
    table.ingest("a")
    usage = pytest.raises(jtv_cli.UsageError)
    with usage:
        table.search(" ")
    with usage:
        table.search("a", 0)
    with usage:
        table.search("a", max_distance=3)
    with usage:
        table.search("a", per_source=0)
    with usage:
        table.search("a", mode="nonsense")  # type: ignore[arg-type]
    with usage:  # there is no full-text index
        table.search("a", mode="keyword")
    with usage:
        table.search("a", where={"x": object()})
    with usage:
        table.ingest("a", source="-")
    with usage:
        table.ingest("a", files="b")
    with usage:
        table.ingest(files=["missing.txt"])
    with usage:
        table.ingest(files=[path], input="xml")
    with usage:
        table.delete()
    with usage:
        table.list(by_distance=True)
    with usage:
        jtv_cli.connect(":memory:")
    with usage:
        table.similar(99)
    with pytest.raises(jtv_cli.TableMismatch):
        jtv_cli.connect(path, model="static-v1")
    assert table.get(99) == []
    table.close()
    table.close()
    with usage:
        table.count()


def test_a_table_can_be_opened_to_be_read_only(table: jtv_cli.Table, path: Path) -> None:
    table.ingest("a")
    with jtv_cli.connect(path, read_only=True) as reader:
        assert reader.count() == 1
        with pytest.raises(jtv_cli.UsageError):
            reader.ingest("b")
        with pytest.raises(jtv_cli.UsageError):
            reader.delete(1)
    with pytest.raises(jtv_cli.NoTable):
        jtv_cli.connect(path.with_name("other.db"), read_only=True)
    assert not path.with_name("other.db").exists()


def test_threads_share_a_table(path: Path) -> None:
    with jtv_cli.connect(path, model="hashing-v1") as table, ThreadPoolExecutor(16) as threads:
        table.ingest([f"text number {n}" for n in range(300)])

        def work(n: int) -> str:
            if n % 10 == 0:
                table.ingest([f"added {n}", f"added {n + 1}"])
            return table.search(f"text number {n}", 1)[0].content

        assert list(threads.map(work, range(200))) == [f"text number {n}" for n in range(200)]
        assert table.count() == 300 + 40


def test_a_search_does_not_wait_for_an_ingest(table: jtv_cli.Table) -> None:
    table.ingest("already there")
    reading, may_end = Event(), Event()

    def texts() -> Iterator[str]:
        yield "new"
        reading.set()
        assert may_end.wait(60)

    with ThreadPoolExecutor(1) as threads:
        ingest = threads.submit(table.ingest, texts())
        try:
            assert reading.wait(60)
            assert [hit.content for hit in table.search("already there", 1)] == ["already there"]
        finally:
            may_end.set()
        assert ingest.result().stored == 1


def test_a_list_that_is_left_early_gives_its_connection_back(table: jtv_cli.Table) -> None:
    table.ingest(["a", "b", "c"])
    hits = table.list()
    assert next(hits).content == "a"
    assert table.delete(2).documents == 1
    del hits
    assert [hit.content for hit in table.list()] == ["a", "c"]


def test_a_list_of_what_a_filter_selects(table: jtv_cli.Table) -> None:
    records = [{"text": f"text {n}", "even": n % 2 == 0} for n in range(4)]
    table.ingest(records, source="a")
    table.ingest(["other"], source="b")
    assert [hit.content for hit in table.list(source="b")] == ["other"]
    assert [hit.id for hit in table.list(where={"even": True}, after=1)] == [3]
    nearest = table.list("text 3", by_distance=True, where_any=["even=true", "even=false"], limit=2)
    assert next(nearest).content == "text 3"
    with pytest.raises(jtv_cli.UsageError):
        table.list(where="even")


def test_a_dropped_table_is_noticed(table: jtv_cli.Table, path: Path, jtv: Jtv) -> None:
    table.ingest("a")
    jtv.ok("init", "--drop", "--yes", "--model", "static-v1", "--database", str(path))
    for _ in range(2):
        with pytest.raises(jtv_cli.StoreError):
            table.ingest("b")


def test_an_api_is_used_with_the_key_that_is_given(api: JinaServer, path: Path) -> None:
    with jtv_cli.connect(path, api_key=api.key, api_base=api.url) as table:
        assert table.model == "jina-embeddings-v2-base-en"
        assert table.ingest(["a", "b"], concurrency=4).tokens > 0
        assert len(table.search_many(["a", "b"], 1)) == 2
    with (
        jtv_cli.connect(path, api_key="jina_wrong_key_1234", api_base=api.url) as table,
        pytest.raises(jtv_cli.ServiceError) as caught,
    ):
        table.search("a")
    assert "jina_wrong_key_1234" not in str(caught.value)
    with pytest.raises(jtv_cli.UsageError), jtv_cli.connect(path) as table:
        table.search("a")


@pytest.mark.tidb
def test_tidb(tidb: str) -> None:
    with jtv_cli.connect(tidb, model="hashing-v1") as table, ThreadPoolExecutor(4) as threads:
        table.ingest([{"text": f"text number {n}", "n": n} for n in range(20)], source="s")
        found = threads.map(lambda n: table.search(f"text number {n}", 1)[0].content, range(20))
        assert list(found) == [f"text number {n}" for n in range(20)]
        assert table.search("text", where={"n": 3})[0].content == "text number 3"
        assert table.delete(source="s").documents == 20


def test_one_record_is_not_taken_for_its_fields(table: jtv_cli.Table) -> None:
    assert table.ingest({"text": "a record", "lang": "en"}).stored == 1
    [hit] = table.search("a record")
    assert (hit.content, hit.metadata) == ("a record", {"lang": "en"})


def test_only_ingest_creates_a_table(path: Path) -> None:
    with jtv_cli.connect(path, table="tpyo", model="hashing-v1") as table:
        assert (table.name, table.model) == ("tpyo", "hashing-v1")
        for read in (lambda: table.search("a"), table.count, table.info, lambda: table.delete(1)):
            with pytest.raises(jtv_cli.NoTable, match="store texts in it first"):
                read()
        assert not path.exists()
        with ThreadPoolExecutor(4) as threads:
            reports = threads.map(lambda _: table.ingest(["a text"]), range(4))
            assert sum(report.stored for report in reports) == 1
        assert [hit.content for hit in table.search("a text")] == ["a text"]


def test_a_table_that_another_process_creates_meanwhile_is_used(path: Path) -> None:
    with jtv_cli.connect(path) as table:
        with jtv_cli.connect(path, model="hashing-v1") as other:
            other.ingest(["a text"])
        assert table.search("a text")[0].content == "a text"
        assert table.model == "hashing-v1"
