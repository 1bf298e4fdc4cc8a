"""What all CK draws of a patient show together: how many there are, and whether laboratory and upper limit change."""

from dataclasses import dataclass

import numpy as np

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_normality import NORMAL, RemissionEpisodes
from app.derive.per_patient import any_where, count_where, last_where, pick_int
from app.timeline.cohort import Bools, Floats, Ints, Words


@dataclass(frozen=True, slots=True, eq=False)
class CkDraws:
    """One row per patient, except `laboratories`: the names of the laboratories in the study.

    `count` and `bounds` count the draws and those known as a bound only. A laboratory or an upper limit is `known` if
    it is given for any draw, and it `differs` if it is not the same for all of these. `limit_judged`: a main rule may
    judge a draw with an upper limit after day 0, `limit_moved`: one of these has another limit than the baseline.
    `last_normal` is the day of the last normal CK of the first remission episode, 0 for none.
    """

    laboratories: frozenset[str]
    count: Ints
    bounds: Ints
    laboratory_known: Bools
    laboratory_differs: Bools
    limit_known: Bools
    limit_differs: Bools
    limit_judged: Bools
    limit_moved: Bools
    last_normal: Ints


def ck_draws(
    records: AnalysisValues,
    lab: Words,
    known: Ints,
    episodes: RemissionEpisodes,
    baseline_limit: Floats,
    judged_until: int,
) -> CkDraws:
    """What the CK records of each patient show. `lab` is the laboratory of each record, `known` is
    `normality(records)`; main rules judge CK up to the day `judged_until`.
    """
    patient, size, limit = records.patient, records.size, records.upper_limit
    words = lab.tolist()
    laboratories = {word: number for number, word in enumerate({*words} - {None})}
    laboratory = np.fromiter(map(({None: -1} | laboratories).__getitem__, words), np.int64, len(words))
    named, limited = laboratory >= 0, ~np.isnan(limit)
    judged = (records.day > 0) & (records.day <= judged_until) & limited
    end = episodes.start + episodes.duration
    in_episode = (known == NORMAL) & (records.day > 0) & (records.day < end[patient])
    return CkDraws(
        laboratories=frozenset(laboratories),
        count=count_where(patient, size, np.ones(len(patient), dtype=np.bool_)),
        bounds=count_where(patient, size, records.comparator != 0),
        laboratory_known=any_where(patient, size, named),
        laboratory_differs=_differs(patient, size, laboratory, named),
        limit_known=any_where(patient, size, limited),
        limit_differs=_differs(patient, size, limit, limited),
        limit_judged=any_where(patient, size, judged),
        limit_moved=any_where(patient, size, judged & (limit != baseline_limit[patient])),
        last_normal=pick_int(records.day, last_where(patient, size, in_episode), 0),
    )


def _differs(patient: Ints, size: int, kind: Floats | Ints, among: Bools) -> Bools:
    """Whether a patient has rows `among` which not all are of the same kind."""
    owner, kind = patient[among], kind[among]
    return any_where(owner[1:], size, (kind[1:] != kind[:-1]) & (owner[1:] == owner[:-1]))
