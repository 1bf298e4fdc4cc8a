"""What all CK draws of a patient show together, against the same counted patient by patient from plain lists."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.derive.analysis_values import AnalysisValues
from app.derive.ck_draws import ck_draws
from app.derive.ck_normality import RemissionEpisodes, normality
from app.timeline.cohort import NO_TIME
from tests.repetition import repeats

_DRAWS = st.lists(
    st.tuples(
        st.integers(-3, 6),
        st.sampled_from([0.0, 100.0, 163.0, 164.0]),
        st.sampled_from([math.nan, math.nan, 0.0, -0.0, 163.0, 164.0]),
        st.integers(0, 2),
        st.sampled_from([None, None, "A", "A", "B"]),
    ),
    max_size=5,
    unique_by=lambda draw: draw[0],
).map(sorted)
_EPISODE = st.one_of(st.just((NO_TIME, 0)), st.tuples(st.integers(1, 4), st.integers(0, 5)))
_BEFORE = st.sampled_from([math.nan, 163.0, 164.0])
_PATIENTS = st.lists(st.tuples(_DRAWS, _EPISODE, _BEFORE), max_size=4)


@settings(max_examples=repeats(200, thorough=2000))
@given(_PATIENTS, st.integers(0, 6))
def test_each_patient_has_what_the_draws_of_this_patient_show(patients, until):
    whose = [i for i, (draws, _, _) in enumerate(patients) for _ in draws]
    every = [draw for draws, _, _ in patients for draw in draws]
    day, value, limit, sign, lab = zip(*every, strict=True) if every else [()] * 5
    whole = [np.array(column, dtype=np.int64) for column in (whose, day, sign)]
    names = np.empty(len(lab), dtype=np.object_)
    names[:] = lab
    records = AnalysisValues(
        len(patients),
        whole[0],
        whole[1],
        np.array(value, dtype=float),
        np.array(limit, dtype=float),
        whole[2],
        {},
    )
    start, duration = (np.array([each[1][k] for each in patients], dtype=np.int64) for k in (0, 1))
    episodes = RemissionEpisodes((None,) * len(patients), start, duration, np.zeros(len(patients), dtype=np.bool_))
    before = np.array([each[2] for each in patients], dtype=float)
    known = normality(records)
    found = ck_draws(records, names, known, episodes, before, until)
    assert found.laboratories == {name for name in lab if name is not None}
    for i, (draws, (begin, lasts), at_baseline) in enumerate(patients):
        labs = [name for *_, name in draws if name is not None]
        limits = [each for _, _, each, _, _ in draws if not math.isnan(each)]
        judged = [each for on, _, each, _, _ in draws if 0 < on <= until and not math.isnan(each)]
        mine = [state for owner, state in zip(whose, known.tolist(), strict=True) if owner == i]
        normal = [on for (on, *_), state in zip(draws, mine, strict=True) if state == 1 and 0 < on < begin + lasts]
        assert (found.count[i], found.bounds[i]) == (len(draws), sum(each != 0 for *_, each, _ in draws))
        assert (found.laboratory_known[i], found.laboratory_differs[i]) == (bool(labs), len({*labs}) > 1)
        assert (found.limit_known[i], found.limit_differs[i]) == (bool(limits), len({*limits}) > 1)
        assert (found.limit_judged[i], found.limit_moved[i]) == (bool(judged), any(x != at_baseline for x in judged))
        assert found.last_normal[i] == max(normal, default=0)
