"""`polars_derivation.py FOLDER`: the same derivation as one lazy plan of Polars on frames in memory."""

import sys

import polars as pl
from turns import take_turns

labs, infusions = (pl.read_parquet(f"{sys.argv[1]}/{table}.parquet").lazy() for table in ("labs", "infusions"))
day, value, high = pl.col("day"), pl.col("value"), pl.col("value") > pl.col("upper_limit")


def derive() -> list:
    """The sums that both sides compare."""
    ivig = pl.col("product").str.to_uppercase() == "IVIG"
    given = infusions.filter(ivig).group_by("patient").agg(day.min().alias("day0"))
    dated = labs.join(given, on="patient").with_columns(day - pl.col("day0"))
    records = dated.group_by("patient", "day").agg(pl.col("value", "upper_limit").sort_by("instant").last())
    base = (
        records.filter(day <= 0)
        .sort("day")
        .group_by("patient")
        .agg(value.last().alias("base"), high.last().alias("sick"))
    )
    week = (day + 3) // 7
    off = 2 * (day - 7 * week).abs() - (day > 7 * week)
    visits = (
        records.filter(day.is_between(4, 381)).group_by("patient", week.alias("week")).agg(value.sort_by(off).first())
    )
    changes = visits.join(base, on="patient").select(
        pl.len().alias("n"),
        (value - pl.col("base")).sum().alias("change"),
        (value.log() - pl.col("base").log()).sum().alias("change_ln"),
    )
    after = records.filter(day > 0)
    starts = after.group_by("patient").agg(day.filter(~high).min().alias("start"), day.max().alias("last"))
    relapses = (
        after.join(starts, on="patient")
        .filter(high & (day > pl.col("start")))
        .group_by("patient")
        .agg(day.min().alias("end"))
    )
    spells = starts.join(base, on="patient").filter(pl.col("sick") & pl.col("start").is_not_null())
    lengths = spells.join(relapses, on="patient", how="left").select(
        pl.len().alias("spells"),
        pl.col("end").count().alias("events"),
        (pl.coalesce("end", "last") - pl.col("start")).sum().alias("days"),
    )
    return [float(number) for frame in pl.collect_all([changes, lengths]) for number in frame.row(0)]


take_turns(f"Polars {pl.__version__}, {pl.thread_pool_size()} threads, lazily on frames in memory", derive)
