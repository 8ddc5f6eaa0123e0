"""CSV files of the user's own: no cell changes its column, and no row is swallowed without a word."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import InputError
from pipelines.sources import DecisionsSource, EventsSource, OffersSource, OnlineRetailSource, external

pytestmark = pytest.mark.usefixtures("workplace")


def read(*lines: str, name: str = "mine.csv", text: tuple[str, ...] = ()) -> dict[str, list[object]]:
    """Return the columns of a file of these lines."""
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return external.read(Path(name), "source.path", text).to_dict("list")


@pytest.mark.parametrize("end", [",", ",,", ",1"])
def test_rows_with_more_cells_than_the_header_are_refused(end: str) -> None:
    """A separator at the end of the rows alone must not shift every column by one."""
    more = 3 + end.count(",")
    message = rf"^mine.csv: the first row has {more} cells, but .* names 3 column\(s\) \(a separator ',' at the end of"
    with pytest.raises(InputError, match=message):
        read("visits,price,bought", f"7,9.0,0{end}", f"8,9.5,1{end}")
    with pytest.raises(InputError, match=r"row has 4 cells, .*a separator '..' at the end"):
        read("visits\tprice\tbought", "7\t9.0\t0\t", name="mine.tsv")
    with pytest.raises(InputError, match=r"the first row has 2 cells, .* begins with '# of my shop', names 1 column"):
        read("# of my shop", "", "price,bought", "9.0,1")


def test_a_separator_at_the_end_of_every_line_is_harmless() -> None:
    """Where the header ends in one too, the column without a name is dropped, and a short row has missing cells."""
    columns = read("visits,price,bought,", "7,9.0,0,", "8,9.5,1")
    assert {"visits": [7, 8], "price": [9.0, 9.5], "bought": [0, 1]} == columns


def test_a_name_that_occurs_twice_is_refused() -> None:
    """The header is read as it stands, before a second `price` could become a feature `price.1`."""
    with pytest.raises(InputError, match=r"^mine.csv: column 'price' occurs twice; rename one of the two$"):
        read("price,bought,price", "9.0,0,9.0")
    twice = pa.table([[9.0], [0], [9.0]], names=["price", "bought", "price"])
    pq.write_table(twice, "mine.parquet")
    with pytest.raises(InputError, match=r"^mine.parquet cannot be read as parquet: .*price"):
        external.read(Path("mine.parquet"), "source.path")
    assert ["price", "price.1"] == list(read("price,price.1,,", "9.0,0,,"))


ROWS = [f"{k},{k / 2},{k % 2},word {k}" for k in range(12)]


@pytest.mark.parametrize(
    ("opened", "closed", "column"),
    [
        ((3, '3,1.5,1,"word'), (7, '7,3.5,1,word"'), "note"),
        ((3, '3,1.5,1,"word'), (4, '4,2.0,0,word"'), "note"),
        ((3, '3,1.5,1,"word'), (4, 'NA,2.0,0,word"'), "note"),
        ((3, '"3,1.5,1,word'), (4, '4",2.0,0,word'), "visits"),
        ((3, '3,"1.5,1,word'), (4, '4,2.0",0,word'), "price"),
        ((3, '3,"1.5,1,word'), (4, '4,2.0,0,word"'), "price"),
        ((3, '3,"1.5,1,word'), (8, '8,4.0",0,word'), "price"),
        ((3, '3,"1.5,1,word'), (8, '8,4.0,0,word"'), "price"),
    ],
)
def test_a_quote_that_swallows_rows_is_refused(opened: tuple[int, str], closed: tuple[int, str], column: str) -> None:
    """Two stray quotes, in any columns, make everything between them one cell: its row is named, nothing is lost."""
    rows = list(ROWS)
    for row, line in (opened, closed):
        rows[row] = line
    lost = closed[0] - opened[0]
    message = rf"^mine.csv: in row 4 below the header a quote .* column '{column}' goes on over {lost} further row"
    with pytest.raises(InputError, match=message):
        read("visits,price,bought,note", *rows)


def test_a_quote_that_is_never_closed_is_refused() -> None:
    """Up to the end of the file the parser itself sees it, or that the cell has no end."""
    with pytest.raises(InputError, match=r"mine.csv cannot be read as csv: .*EOF inside string starting at row 1"):
        read("visits,price,bought,note", '0,0.0,0,"word', *ROWS * 20_000)
    rows = [*ROWS[:3], '3,1.5,1,"word', *ROWS[4:]]
    with pytest.raises(InputError, match=r"mine.csv cannot be read as csv: .*inside string starting at row"):
        read("visits,price,bought,note", *rows)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_a_damaged_gzip_file_is_refused(kept: float, damage: str) -> None:
    """Half a file, or one with other bytes in it, is told in one sentence."""
    whole = gzip.compress("\n".join(["visits,price,bought,note", *ROWS * 2000]).encode())
    end = max(int(len(whole) * kept), 10)  # of which ten are the head of the file
    Path("half.csv.gz").write_bytes(whole[:end] + (b"" if damage == "cut off" else b"\xff" * 20 + whole[end + 20 :]))
    with pytest.raises(
        InputError, match=r"^half.csv.gz cannot be read as csv: .*; save it again.*, or fix source.path$"
    ):
        external.read(Path("half.csv.gz"), "source.path")


def test_a_folder_is_no_file() -> None:
    """It is there, so it is not called missing."""
    Path("parts.csv").mkdir()
    with pytest.raises(InputError, match=r"^parts.csv is a folder: source.path must name one file in it"):
        external.read(Path("parts.csv"), "source.path")


@pytest.mark.parametrize("source", [OffersSource, EventsSource, OnlineRetailSource, DecisionsSource])
def test_an_empty_path_is_refused(source: type[OffersSource]) -> None:
    """It would be the current folder."""
    with pytest.raises(InputError, match=r"^source.path is empty: name your file"):
        source("any", path=" ")


def test_texts_of_several_lines_are_kept() -> None:
    """Line breaks and commas inside of a quoted text are no rows, however many there are."""
    text = "Dear shop,\nnice, good, cheap, and\nfast, too, by the way,\nyours"
    rows = [*ROWS[:3], f'3,1.5,1,"{text}"', *ROWS[4:]]
    columns = read("visits,price,bought,note", *rows)
    assert (12, text) == (len(columns["note"]), columns["note"][3])


def test_words_that_look_like_nothing_stay_words() -> None:
    """NA is Namibia, and an item may be called None: only an empty cell is missing among words and identifiers."""
    columns = read("item,country,price", "NA,NA,1.5", "None,DE,2.5", ",null,3.5", "nan,,4.5", text=("item",))
    assert ["NA", "None", None, "nan"] == [None if pd.isna(cell) else cell for cell in columns["item"]]
    assert ["NA", "DE", "null", None] == [None if pd.isna(cell) else cell for cell in columns["country"]]


@pytest.mark.parametrize("word", ["", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None", " na "])
def test_among_numbers_such_words_are_missing(word: str) -> None:
    """A column of numbers, or of true and false, stays one; a single other word makes text of it, as it stood."""
    columns = read("visits,member,odd", f"7,true,{word}x", f"{word},{word},2", "8,False,3")
    assert [7.0, 8.0] == [cell for cell in columns["visits"] if not pd.isna(cell)]
    assert [True, False] == [cell for cell in columns["member"] if not pd.isna(cell)]
    assert [f"{word}x", "2", "3"] == columns["odd"]
