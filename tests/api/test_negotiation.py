"""Which media type a client is given."""

import pytest

from app.http.responses import preferred

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ([], CSV),
        ([""], CSV),
        (["*/*"], CSV),
        (["text/csv"], CSV),
        (["TEXT/CSV; charset=utf-8; header=present"], CSV),
        (["text/*"], CSV),
        ([PARQUET], PARQUET),
        (["application/*"], PARQUET),
        ([f"text/csv;q=0.5, {PARQUET}"], PARQUET),
        ([f"text/csv;q=0.5,{PARQUET};q=0.4"], CSV),
        (["text/csv;q=0, */*;q=0.1"], PARQUET),
        (["text/csv;q=0", "*/*"], PARQUET),
        (["*/*;q=0.9, text/*;q=0.1"], PARQUET),
        (["text/html, application/xhtml+xml, */*;q=0.8"], CSV),
        (["nonsense"], CSV),
        (["nonsense, application/*"], PARQUET),
        (["application/json"], None),
        (["text/csv;q=0"], None),
        (["*/*;q=0"], None),
        (["*/csv"], None),
    ],
)
def test_a_client_is_given_what_it_likes_best_and_nothing_that_it_refuses(accept, given):
    assert preferred(accept, (CSV, PARQUET)) == given
