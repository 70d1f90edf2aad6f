"""csv.profile: what is in a CSV file, well-formed or not."""

from __future__ import annotations

import csv
import io
import json
import math
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_worker.builtin import csv as module
from milepost_worker.builtin.columns import DISTINCT_COUNTED, Column, classify
from milepost_worker.builtin.confine import PathRefused, ReadFailed
from milepost_worker.builtin.csv import BadCsv, likely_delimiter, profile

from milepost.reporting import HERE, Place, Reporter, Stopped


class Sink:
    """Looks at the progress whenever it has changed."""

    def __init__(self) -> None:
        self.reporter = Reporter(self)
        self.percents: list[float] = []
        self.outputs: list[Any] = []
        self.stop_at: float = math.inf

    def checkpoint(self, value: str) -> None: ...

    def changed(self) -> None:
        self.reporter.dirty = False
        shown = self.reporter.meter.read(len(self.percents))
        if shown.percent is not None:
            self.percents.append(shown.percent)
        if (shown.current or 0) >= self.stop_at:
            self.reporter.stop = "cancelled"

    milestone = changed

    def log(self, level: str, message: str, source: str | None) -> None: ...

    def output(self, data: Any) -> None:
        self.outputs.append(data)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILEPOST_FILES_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Inside a job."""
    sink = Sink()
    token = HERE.set(Place(sink.reporter))
    yield sink
    HERE.reset(token)


def profiled(root: Path, content: str | bytes, **params: Any) -> dict[str, Any]:
    """Profile this content and return the result as a client would get it."""
    data = content if isinstance(content, bytes) else content.encode()
    (root / "file.csv").write_bytes(data)
    result: dict[str, Any] = json.loads(profile.result_json(profile("file.csv", **params)))
    assert result["bytes"] == len(data)
    assert result["complete"] is True
    for column in result["columns"]:
        assert column["nulls"] + sum(column["kinds"].values()) == result["rows"]
    return result


def column(root: Path, *cells: str) -> dict[str, Any]:
    """Profile one column of these cells."""
    text = io.StringIO()
    csv.writer(text).writerows([["name", "x"], *([cell, "x"] for cell in cells)])
    found: dict[str, Any] = profiled(root, text.getvalue())["columns"][0]
    return found


# --- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "kind", "least", "greatest"),
    [
        (["3", "-10", "+7", "0"], "integer", -10, 7),
        (["1.5", "-2e3", ".5", "3."], "number", -2000, 3),
        (["1", "2.5"], "number", 1, 2.5),
        (["true", "No", "YES"], "boolean", "No", "true"),
        (["2026-01-31", "2025-12-01"], "date", "2025-12-01", "2026-01-31"),
        (
            ["2026-01-31T10:00Z", "2026-01-31 12:00:00+05:00"],
            "datetime",
            "2026-01-31 12:00:00+05:00",
            "2026-01-31T10:00Z",
        ),
        (["2026-01-31", "2026-01-31T00:00:01.5"], "datetime", "2026-01-31", "2026-01-31T00:00:01.5"),
        (["b", "a", "ä"], "text", "a", "ä"),
        (["00123", "04109"], "text", "00123", "04109"),
        (["2026-02-30", "2026-13-01"], "text", "2026-02-30", "2026-13-01"),
        (["1", "a"], "mixed", "1", "a"),
        (["1", "2026-01-01"], "mixed", "1", "2026-01-01"),
        (["1", "true"], "mixed", "1", "true"),
        (["", "NULL", " n/a ", "None", "NA"], "empty", None, None),
        (["1_000", "1,5", "0x10", "1e", "--1", "²", "١"], "text", "--1", "١"),
    ],
)
def test_the_type_of_a_column_is_that_of_all_its_cells(
    root: Path, cells: list[str], kind: str, least: Any, greatest: Any
) -> None:
    """As the module's text lays down."""
    found = column(root, *cells)
    assert (found["type"], found["min"], found["max"]) == (kind, least, greatest)


def test_nulls_are_counted_apart_and_change_no_type(root: Path) -> None:
    """Blanks around a cell are not part of it."""
    found = column(root, "1", "", " 2 ", "null")
    assert (found["type"], found["nulls"], found["kinds"], found["max"]) == ("integer", 2, {"integer": 2}, 2)


def test_nan_and_infinity_are_numbers_without_a_place(root: Path) -> None:
    """They are counted, and the result stays JSON."""
    found = column(root, "NaN", "inf", "-Infinity", "1e999", "2.5", "-nan")
    assert (found["type"], found["non_finite"], found["min"], found["max"]) == ("number", 5, 2.5, 2.5)


def test_integers_beyond_what_json_readers_keep_exact_are_shown_as_text(root: Path) -> None:
    """Rounded by a browser they would be wrong; compared they are exact."""
    found = column(root, "9007199254740993", "9007199254740992", "-5")
    assert (found["min"], found["max"]) == (-5, "9007199254740993")
    assert column(root, "9" * 5000)["non_finite"] == 1


def test_values_that_differ_are_counted_up_to_a_thousand(root: Path) -> None:
    """Beyond that the number is not known, and not guessed."""
    assert column(root, "a", "b", "a", "")["distinct"] == 2
    assert column(root, *map(str, range(DISTINCT_COUNTED)))["distinct"] == DISTINCT_COUNTED
    assert column(root, *map(str, range(DISTINCT_COUNTED + 1)))["distinct"] is None


@given(st.text())
def test_every_cell_has_a_kind(cell: str) -> None:
    """Whatever stands in it, and adding it raises nothing and stays JSON."""
    assert classify(cell.strip())[0] in {"null", "integer", "number", "boolean", "date", "datetime", "text"}
    one = Column("name")
    one.add(cell)
    found = one.profile()
    assert len(str(found.min)) <= 310


@given(
    st.one_of(
        st.integers(-(10**300), 10**300), st.floats(), st.booleans(), st.dates(min_value=date(1000, 1, 1))
    )
)
def test_what_python_writes_is_read_as_what_it_is(value: Any) -> None:
    """Integers, floats, booleans and dates keep their kind."""
    expected = {int: "integer", float: "number", bool: "boolean", date: "date"}[type(value)]
    assert classify(str(value))[0] == expected


# --- files ---------------------------------------------------------------------------------------


def test_quoted_newlines_delimiters_and_quotes_are_content(root: Path) -> None:
    """RFC 4180."""
    result = profiled(root, 'a,b\r\n"x\ny,""z""",1\r\n"",2\r\n')
    assert (result["rows"], result["ragged_rows"]) == (2, 0)
    assert result["columns"][0]["max"] == 'x\ny,"z"'


def test_ragged_rows_are_counted_with_their_lines(root: Path) -> None:
    """What is missing is null, what is too much is not looked at."""
    result = profiled(root, "a,b\n1,2\n3\n4,5,6\n\n7,8\n")
    assert (result["rows"], result["ragged_rows"], result["ragged_lines"]) == (4, 2, [3, 4])
    assert result["blank_lines"] == 1
    assert [one["nulls"] for one in result["columns"]] == [0, 1]


def test_only_the_first_ragged_lines_are_named(root: Path) -> None:
    """A file may be ragged all over."""
    result = profiled(root, "a,b\n" + "1\n" * 1000)
    assert (result["ragged_rows"], len(result["ragged_lines"])) == (1000, 10)


def test_a_byte_order_mark_is_not_part_of_the_first_name(root: Path) -> None:
    """Spreadsheets write one."""
    assert profiled(root, b"\xef\xbb\xbfa,b\n1,2\n")["columns"][0]["name"] == "a"


@pytest.mark.parametrize(
    ("content", "rows", "columns"), [(b"", 0, 0), (b"\n\n", 0, 0), (b"a,b", 0, 2), (b"\xef\xbb\xbf", 0, 0)]
)
def test_files_without_rows_are_no_error(root: Path, content: bytes, rows: int, columns: int) -> None:
    """Nor one without anything."""
    result = profiled(root, content)
    assert (result["rows"], len(result["columns"])) == (rows, columns)


def test_columns_without_a_name_are_named_by_their_place(root: Path) -> None:
    """Also all of them, when there is no header."""
    assert [one["name"] for one in profiled(root, "a,,a\n1,2,3\n")["columns"]] == ["a", "column 2", "a"]
    result = profiled(root, "1,2\n3,4\n", header=False)
    assert ([one["name"] for one in result["columns"]], result["rows"]) == (["column 1", "column 2"], 2)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_first_line(root: Path, delimiter: str) -> None:
    """Or given."""
    result = profiled(root, '"a,;|\t",b\n1,2\n'.replace(",b", f"{delimiter}b").replace("1,", f"1{delimiter}"))
    assert (result["delimiter"], len(result["columns"])) == (delimiter, 2)
    assert profiled(root, "a:b\n1:2\n", delimiter=":")["columns"][1]["max"] == 2
    assert likely_delimiter("") == ","


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8", "utf-8-sig"])
def test_other_encodings_are_read_when_they_are_named(root: Path, encoding: str) -> None:
    """The name is one of Python's."""
    result = profiled(root, "naïve,b\né,1\n".encode(encoding), encoding=encoding)
    assert (result["columns"][0]["name"], result["columns"][0]["max"]) == ("naïve", "é")


@pytest.mark.parametrize(
    ("content", "params", "sentence"),
    [
        (b"a\n\xe9\n", {}, r"'file.csv' is not utf-8-sig text after line \d+ .*; give its encoding"),
        (b"a\n1\n", {"encoding": "klingon"}, "There is no text encoding 'klingon'"),
        (b"a\n1\n", {"encoding": "base64"}, "There is no text encoding 'base64'"),
        (b"a\n1\n", {"encoding": "undefined"}, "is not undefined text"),
        (b"x" * 3000, {}, "Line 1 is longer than 2,000 characters: this does not look like CSV"),
        (b'a\n"' + b"x\n" * 2000, {}, r"cannot be read as CSV at line \d+: field larger than field limit"),
        (b"," * 600, {}, "The first row has 601 cells with ',' between them; at most 500"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, params: dict[str, Any], sentence: str
) -> None:
    """And costs bounded memory: a quote that is never closed must not swallow the file."""
    monkeypatch.setattr(module, "LINE_CHARACTERS", 2000)
    monkeypatch.setattr(module, "FIELD_CHARACTERS", 1000)
    limit = csv.field_size_limit(1000)
    try:
        with pytest.raises(BadCsv, match=sentence):
            profiled(root, content, **params)
    finally:
        csv.field_size_limit(limit)


def test_a_field_may_be_larger_than_pythons_usual_limit(root: Path) -> None:
    """131,072 characters are not much for a document in a cell; of them a hundred are shown."""
    assert column(root, "x" * 500_000)["max"] == "x" * 100


def test_it_is_confined_like_the_others(root: Path) -> None:
    """Outside, folders and pipes are refused."""
    for path in ("../x.csv", ".", "missing.csv"):
        with pytest.raises(PathRefused):
            profile(path)
    assert profile.options.retry_on == (ReadFailed,)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-7"]))
def test_any_bytes_give_a_profile_or_a_sentence(root: Path, content: bytes, encoding: str) -> None:
    """Never a traceback of Python's, and always JSON."""
    with suppress(BadCsv):
        profiled(root, content, encoding=encoding)


def test_memory_does_not_grow_with_the_file(root: Path) -> None:
    """Twenty times the rows, the same memory."""

    def peak(rows: int) -> int:
        (root / "file.csv").write_text("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(rows)))
        tracemalloc.start()
        profile("file.csv")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2000)
    assert peak(40_000) < peak(2000) * 1.5


# --- progress ------------------------------------------------------------------------------------


def test_rows_are_counted_and_the_percent_is_that_of_the_bytes(root: Path, sink: Sink) -> None:
    """It moves, does not fall, and has not to be taken back."""
    profiled(root, "a,b\n" + "1,2\n" * 200_000)
    assert sink.percents == sorted(sink.percents)
    assert len(set(sink.percents)) > 5
    shown = sink.reporter.meter.read(0)
    assert (shown.current, shown.unit, shown.message) == (200_000, "rows", "file.csv")


def test_partial_profiles_are_put_out_whenever_the_rows_have_doubled(root: Path, sink: Sink) -> None:
    """A few for any number of rows, each a whole profile."""
    profiled(root, "a,b\n" + "1,2\n" * 9000)
    assert [one["rows"] for one in sink.outputs] == [1000, 2000, 4000, 8000]
    assert {one["complete"] for one in sink.outputs} == {False}
    assert sink.outputs[0]["columns"][0]["kinds"] == {"integer": 1000}
    json.dumps(sink.outputs, allow_nan=False)


def test_reports_come_also_when_every_row_has_several_lines(root: Path, sink: Sink) -> None:
    """Rows are what is counted, not lines."""
    sink.stop_at = 500
    with pytest.raises(Stopped):
        profiled(root, 'a,b\n"x\ny",2\n' + '"x\ny",2\n' * 2000)
    assert sink.reporter.meter.read(0).current == 511


def test_it_stops_when_it_is_told_to(root: Path, sink: Sink) -> None:
    """Within a few hundred rows."""
    sink.stop_at = 1000
    with pytest.raises(Stopped):
        profiled(root, "a,b\n" + "1,2\n" * 100_000)
    assert 1000 <= (sink.reporter.meter.read(0).current or 0) < 1600
