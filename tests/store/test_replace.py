"""PUT: a timeline replaces the stored one."""

from datetime import date

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from app.errors import Erased, InvalidDocument, PreconditionFailed, PreconditionRequired
from app.store.erasure import erase
from app.store.ledger import Counts
from tests.repetition import repeats
from tests.store.posts import FULL, begin_study, ck, etag, got, history, now, post, put, revisions, timeline, values


def test_a_new_timeline_needs_no_precondition(database, study):
    assert put(database, study, timeline("P1", ck())).status == "created"
    assert put(database, study, timeline("P2", ck()), if_none_match=True).status == "created"
    with pytest.raises(PreconditionFailed):
        put(database, study, timeline("P3", ck()), "*")


def test_a_timeline_that_exists_needs_the_etag_of_what_was_read(database, study):
    post(database, study, timeline("P1", ck()))
    stale = etag(database, study, "P1")
    post(database, study, timeline("P1", ck("k2")))
    with pytest.raises(PreconditionRequired):
        put(database, study, timeline("P1"))
    for wrong in (stale, '"*"', "", f"W/{etag(database, study, 'P1')}"):
        with pytest.raises(PreconditionFailed):
            put(database, study, timeline("P1"), wrong)
    with pytest.raises(PreconditionFailed):
        put(database, study, timeline("P1"), etag(database, study, "P1"), if_none_match=True)
    listed = f'"another", {etag(database, study, "P1")}'
    assert put(database, study, timeline("P1"), listed).counts == Counts(withdrawn=2)


def test_what_is_left_out_is_withdrawn_and_its_replay_is_stale(database, study):
    post(database, study, timeline("P1", ck("k1"), ck("k2", value=2), about={"sex": "female", "weight_kg": 49}))
    outcome = put(database, study, timeline("P1", ck("k1"), about={"sex": "female"}), "*")
    assert outcome.counts == Counts(unchanged=2, withdrawn=2)
    assert post(database, study, timeline("P1", ck("k2", value=2), about={"weight_kg": 49})).counts == Counts(stale=2)
    assert values(database, study, "P1") == [1101]
    assert got(database, study, "P1")["patient"] == {"id": "P1", "sex": "female"}
    assert values(database, study, "P1", 1) == [1101, 2]


def test_a_withdrawn_fact_that_is_put_again_stands_again(database, study):
    post(database, study, timeline("P1", ck()))
    put(database, study, timeline("P1"), "*")
    assert put(database, study, timeline("P1", ck()), "*").counts == Counts(added=1)
    assert [values(database, study, "P1", n) for n in (1, 2, 3)] == [[1101], [], [1101]]
    assert post(database, study, timeline("P1", ck())).status == "unchanged"


def test_a_withdrawn_fact_stands_again_when_its_source_says_something_new_of_it(database, study):
    post(database, study, timeline("P1", ck(value=100, version=2)))
    put(database, study, timeline("P1"), "*")
    assert post(database, study, timeline("P1", ck(value=90, version=1))).counts == Counts(late=1)
    assert post(database, study, timeline("P1", ck(value=120, version=3))).counts == Counts(added=1)
    assert values(database, study, "P1") == [120]


def test_a_value_may_be_put_back_to_what_it_was_unless_its_source_orders_it_behind(database, study):
    post(database, study, timeline("P1", ck("k1", value=1), ck("k2", value=3, version=1), about={"weight_kg": 49}))
    post(database, study, timeline("P1", ck("k1", value=2), ck("k2", value=4, version=2), about={"weight_kg": 52}))
    back = timeline("P1", ck("k1", value=1), ck("k2", value=3, version=1), about={"weight_kg": 49})
    assert put(database, study, back, "*").counts == Counts(superseded=2, stale=1, unversioned_corrections=2)
    assert values(database, study, "P1") == [1, 4]
    assert got(database, study, "P1")["patient"]["weight_kg"] == 49


def test_a_fact_entered_in_error_is_not_left_out_by_a_client_that_cannot_see_it(database, study):
    post(database, study, timeline("P1", ck("k1"), ck("k2")))
    post(database, study, timeline("P1", ck("k2", value=None, status="entered-in-error")))
    assert put(database, study, got(database, study, "P1"), "*").revision is None
    assert post(database, study, timeline("P1", ck("k2"))).status == "stale"


def test_a_timeline_with_every_section_may_be_put_as_it_was_got(database, study):
    post(database, study, FULL)
    document = got(database, study, "P01")
    assert put(database, study, document, etag(database, study, "P01")).status == "unchanged"
    assert history(document) == history(FULL)
    assert [one.number for one in revisions(database, study)] == [0, 1]


def test_an_erased_person_is_let_in_again_only_by_a_put_that_says_so(database, study):
    post(database, study, timeline("P1", ck()))
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
    for options in ({}, {"if_none_match": True}):
        with pytest.raises(Erased):
            put(database, study, timeline("P1", ck()), **options)
    with pytest.raises(PreconditionFailed):
        put(database, study, timeline("P1"), "*", readmit=True)
    assert put(database, study, timeline("P1", ck(value=5)), readmit=True).revision == 3
    assert post(database, study, timeline("P1", ck("k2"))).revision == 4
    assert values(database, study, "P1", 3) == [5]
    assert put(database, study, timeline("P1"), "*", readmit=True).revision == 5


def some(**fields):
    return {name: st.none() | strategy for name, strategy in fields.items()}


WORDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=12)
IDS = st.text("AZaz09.-", min_size=1, max_size=8)
DATES = st.dates(min_value=date(1960, 1, 1), max_value=date(2020, 1, 1)).map(str)
INSTANTS = st.builds(
    "{}T{:02d}:{:02d}:07{}{}".format,
    DATES,
    st.integers(0, 23),
    st.integers(0, 59),
    st.sampled_from(["", ".5", ".123456", ".123456789"]),
    st.sampled_from(["Z", "-00:00", "+09:00", "-03:30"]),
)
TIMES = DATES | INSTANTS
AMOUNTS = st.floats(0, 1e6, width=32) | st.integers(0, 10**6)
STATUSES = st.sampled_from(["preliminary", "final", "amended", "corrected"])
SOURCED = some(id=IDS, source=WORDS, version=st.integers(0, 2**53 - 1), issued=INSTANTS, status=STATUSES)
DOSES = st.sampled_from([{}, {"dose": 0.4, "unit": "g"}, {"dose": 50, "unit": "mg"}, {"dose": 1e-6, "unit": "mg/kg"}])


NOTHING = st.just({})


def items(required, optional, more=NOTHING):
    fixed = st.fixed_dictionaries(required, optional={})
    extra = st.fixed_dictionaries({**optional, **SOURCED})
    return st.lists(st.builds(lambda a, b, c: a | b | c, fixed, extra, more), max_size=3)


LABS = items(
    {"code": st.sampled_from(["CK", "2157-6", "ALT"]), "time": TIMES, "value": AMOUNTS,
     "unit": st.sampled_from(["U/L", "ukat/L", "nkat/L", "[IU]/L", "IU/mL"])},
    some(upper_limit=st.floats(100, 1e5), lower_limit=st.floats(0, 99), lab=WORDS, comparator=st.sampled_from("<>")),
)  # fmt: skip
TIMELINES = st.fixed_dictionaries(
    {
        "patient": st.fixed_dictionaries(
            {"id": st.just("P1")},
            optional={
                "sex": st.sampled_from(["female", "male", "other", "unknown"]),
                "birth_year": st.integers(1900, 1960),
                "weight_kg": st.floats(1, 300) | st.integers(1, 300),
                "steroid_resistant": st.booleans(),
            },
        ),
        "labs": LABS,
        "assessments": items(
            {"code": st.sampled_from(["MMT", "ADL"]), "time": TIMES, "score": st.floats(0, 50)},
            some(scale_max=st.integers(50, 100)),
        ),
        "infusions": items({"time": TIMES, "product": WORDS}, some(course=st.integers(1, 9)), DOSES),
        "medications": items({"drug": WORDS, "start": DATES}, {}, DOSES),
        "adverse_events": items(
            {"term": WORDS},
            some(
                onset=TIMES,
                severity=st.sampled_from(["mild", "fatal"]),
                serious=st.booleans(),
                related=st.booleans() | st.sampled_from(["possible", "unrelated"]),
            ),
        ),
        "ended": st.none() | st.fixed_dictionaries({"date": DATES, "reason": st.sampled_from(["lost", "completed"])}),
    }
)


def test_any_timeline_may_be_put_as_it_was_got(database, study):
    made = iter(range(10**6))
    sqlite = database.engine.dialect.name == "sqlite"

    @settings(max_examples=repeats(100 if sqlite else 20, thorough=100))
    @given(TIMELINES)
    def holds(written):
        try:
            history(written)
        except InvalidDocument:  # the same fact twice with different content
            reject()
        name = begin_study(database, f"{study}-{next(made)}")
        post(database, name, written)
        document = got(database, name, "P1")
        assert put(database, name, document, etag(database, name, "P1")).revision is None
        assert got(database, name, "P1") == document
        assert post(database, name, written).revision is None

    holds()
