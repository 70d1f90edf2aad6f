"""What is in a CSV file, column by column."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader, TextIOWrapper
from typing import Annotated

from pydantic import Field

from milepost import progress, task
from milepost.errors import MilepostError
from milepost_worker.builtin.columns import Column, ColumnProfile
from milepost_worker.builtin.confine import PathParam, ReadFailed, confine, failed, open_regular

LINE_CHARACTERS = 16 << 20
FIELD_CHARACTERS = 16 << 20
MOST_COLUMNS = 500
ROWS_PER_REPORT = 256
FIRST_OUTPUT_ROWS = 1000
RAGGED_LINES_TOLD = 10
DELIMITERS = ",;\t|"

Delimiter = Annotated[
    str,
    Field(pattern=r'^[^"\r\n]$', description="One character; by default what occurs most in the first line."),
]
Encoding = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.:-]{1,40}$", description="A codec of Python's, such as utf-8 or cp1252."),
]


class BadCsv(MilepostError, ValueError):
    """This file cannot be read as CSV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvProfile:
    """A CSV file, or, while `complete` is false, its first `rows` rows.

    `ragged_rows` have more or fewer cells than the header, the first ten are at `ragged_lines`; cells that are
    missing count as null, cells too many are ignored. `blank_lines` are skipped.
    """

    rows: int
    columns: Sequence[ColumnProfile]
    ragged_rows: int
    ragged_lines: Sequence[int]
    blank_lines: int
    delimiter: str
    encoding: str
    bytes: int
    complete: bool


@task(name="csv.profile", max_attempts=3, retry_on=ReadFailed)
def profile(
    path: PathParam,
    delimiter: Delimiter | None = None,
    encoding: Encoding = "utf-8-sig",
    header: bool = True,
) -> CsvProfile:
    """Find out what is in a CSV file: for every column its type, nulls, least, greatest and different values.

    Types are integer, number, boolean, date, datetime and text; `mixed` when the cells of a column do not agree
    and `empty` when there are none. The file is read once, in constant memory, with quotes as in RFC 4180. The
    percent is that of the bytes read, the count that of the rows. The profile so far is put out after 1,000 rows
    and whenever their number has doubled. Without a `header` the columns are named by their place.
    """
    place = confine(path)
    with open_regular(place) as raw, BufferedReader(raw, 1 << 17) as buffered:
        size = os.fstat(raw.fileno()).st_size
        progress(0, message=path, unit="rows")
        try:
            # newline="": the csv module needs to see the line ends that are inside quotes.
            text = TextIOWrapper(buffered, encoding=encoding, newline="")
        except LookupError:
            raise BadCsv(f"There is no text encoding {encoding!r}; try utf-8, utf-16 or cp1252.") from None
        with text:
            lines = _Lines(text)
            with _sentences(place.name, encoding, lines):
                first = next(lines, "")
                read = itertools.chain([first] if first else [], lines)
                table = _Table(read, delimiter or likely_delimiter(first), header)
                for _ in table.read():
                    progress(table.rows, fraction=raw.tell() / size if size else 1.0)
                    if table.due():
                        progress.output(asdict(table.profile(encoding, raw.tell(), complete=False)))
                progress(table.rows)
                return table.profile(encoding, raw.tell(), complete=True)


def likely_delimiter(line: str) -> str:
    """Return the delimiter that occurs most outside quotes; a comma when none does.

    >>> likely_delimiter('"a, b";c;d')
    ';'
    """
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


class _Table:
    """Reads rows and keeps the running totals."""

    def __init__(self, lines: Iterable[str], delimiter: str, header: bool) -> None:
        # The limit is the whole process's: it is only ever raised, for an unclosed quote must not fill the memory.
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS))
        self._reader = csv.reader(lines, delimiter=delimiter)
        self._delimiter, self._header = delimiter, header
        self._columns: list[Column] = []
        self._ragged: list[int] = []
        self._next_output = FIRST_OUTPUT_ROWS
        self.rows = self.ragged_rows = self.blank_lines = 0

    def read(self) -> Iterator[None]:
        """Read to the end, with a pause every so many rows."""
        for count, row in enumerate(self._reader, start=1):
            if not row:
                self.blank_lines += 1
            elif not self._columns:
                self._begin(row)
            else:
                self._add(row)
            if count % ROWS_PER_REPORT == 0 or self.rows == self._next_output:
                yield

    def due(self) -> bool:
        """Whether a partial result is due: the number of rows has doubled since the last."""
        due = self.rows >= self._next_output
        if due:
            self._next_output *= 2
        return due

    def profile(self, encoding: str, read: int, *, complete: bool) -> CsvProfile:
        return CsvProfile(
            rows=self.rows,
            columns=[column.profile() for column in self._columns],
            ragged_rows=self.ragged_rows,
            ragged_lines=tuple(self._ragged),
            blank_lines=self.blank_lines,
            delimiter=self._delimiter,
            encoding=encoding,
            bytes=read,
            complete=complete,
        )

    def _begin(self, row: list[str]) -> None:
        if len(row) > MOST_COLUMNS:
            raise BadCsv(
                f"The first row has {len(row):,} cells with {self._delimiter!r} between them; "
                f"at most {MOST_COLUMNS} columns are profiled. Is that the delimiter?"
            )
        names = [cell.strip()[:100] for cell in row] if self._header else []
        self._columns = [
            Column(name or f"column {n}") for n, name in enumerate(names or [""] * len(row), start=1)
        ]
        if not self._header:
            self._add(row)

    def _add(self, row: list[str]) -> None:
        self.rows += 1
        if len(row) != len(self._columns):
            self.ragged_rows += 1
            if len(self._ragged) < RAGGED_LINES_TOLD:
                self._ragged.append(self._reader.line_num)
        for column, cell in zip(self._columns, itertools.chain(row, itertools.repeat("")), strict=False):
            column.add(cell)  # what a short row lacks is null, what a long one has too much is not looked at


class _Lines:
    """The lines of a file, counted; one that would not fit into memory is refused."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text, self.count = text, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LINE_CHARACTERS + 1)
        if not line:
            raise StopIteration
        if len(line) > LINE_CHARACTERS:
            raise BadCsv(
                f"Line {self.count + 1:,} is longer than {LINE_CHARACTERS:,} characters: "
                "this does not look like CSV."
            )
        self.count += 1
        return line


@contextmanager
def _sentences(name: str, encoding: str, lines: _Lines) -> Iterator[None]:
    """Turn what reading raises into sentences."""
    try:
        yield
    except UnicodeError as error:
        raise BadCsv(
            f"{name!r} is not {encoding} text after line {lines.count:,} ({error}); give its encoding."
        ) from error
    except csv.Error as error:
        raise BadCsv(f"{name!r} cannot be read as CSV at line {lines.count:,}: {error}.") from error
    except OSError as error:
        raise failed(name, error) from error
