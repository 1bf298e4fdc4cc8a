"""What one user declared is not overwritten by another who has not seen it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

MINE = {"name": "mine", "protocol": "seed-2008"}
YOURS = {"name": "yours", "protocol": "seed-2008", "time_zone": "Asia/Tokyo"}


def test_a_study_is_replaced_only_from_the_version_that_was_read(client):
    client.put("/v1/studies/s", json=MINE)
    read = client.get("/v1/studies/s").headers["etag"]

    assert client.put("/v1/studies/s", json=YOURS, headers={"If-Match": read}).status_code == 200
    assert client.put("/v1/studies/s", json=MINE, headers={"If-Match": read}).status_code == 412
    assert client.put("/v1/studies/s", json=MINE, headers={"If-Match": f"W/{read}"}).status_code == 412
    assert client.get("/v1/studies/s").json()["name"] == "yours"


def test_of_several_who_read_the_same_version_at_once_one_replaces_it(anywhere):
    anywhere.put("/v1/studies/s", json=MINE)
    for round_number in range(10):
        read, together = anywhere.get("/v1/studies/s").headers["etag"], Barrier(4)

        def replace(who: int, read=read, together=together, round_number=round_number) -> int:
            together.wait()
            named = MINE | {"name": f"{round_number}-{who}"}
            return anywhere.put("/v1/studies/s", json=named, headers={"If-Match": read}).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(replace, range(4))) == [200, 412, 412, 412]


def test_a_study_that_does_not_exist_has_no_version_to_match(client):
    assert client.put("/v1/studies/s", json=MINE, headers={"If-Match": "*"}).status_code == 412
    assert client.get("/v1/studies/s").status_code == 404


def test_if_none_match_only_ever_makes_a_study(anywhere):
    only_make = {"If-None-Match": "*"}
    assert anywhere.put("/v1/studies/s", json=MINE, headers=only_make).status_code == 201
    for body in (MINE, YOURS):
        refused = anywhere.put("/v1/studies/s", json=body, headers=only_make)
        assert (refused.status_code, refused.headers["content-type"]) == (412, "application/problem+json")
        assert refused.json()["detail"] == "The study exists already."
    odd = anywhere.put("/v1/studies/s", json=YOURS, headers={"If-None-Match": '"x"'})
    assert [fault["pointer"] for fault in odd.json()["errors"]] == ["/header/If-None-Match"]
    study = anywhere.get("/v1/studies/s").json()
    assert (study["name"], study["revision"]) == ("mine", 0)


def test_an_unknown_zone_is_reported_with_the_other_faults(client):
    answer = client.put("/v1/studies/s", json={"name": "", "protocol": 7, "time_zone": "Mars"})

    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} >= {"/name", "/protocol", "/time_zone"}


def test_the_flow_adds_up_from_step_to_step(client):
    body = {"protocol": "seed-2008", "timelines": [{"patient": {"id": "A"}}, {
        "patient": {"id": "B"},
        "infusions": [{"time": "2024-01-10", "product": "ivig"}],
        "labs": [{"code": "CK", "time": day, "value": value, "unit": "U/L", "upper_limit": 200}
                 for day, value in (("2024-01-10", 1000), ("2024-01-24", 150))],
    }]}  # fmt: skip
    flow = client.post("/v1/analyses", json=body).json()["flow"]
    n = {step["step"]: step["n"] for step in flow}

    assert n == {"all": 2, "safety": 1, "efficacy": 1, "response:MMT": 0, "response:ADL": 0, "response:CK": 1,
                 "ck_change": 0, "ck_normal_time": 1, "time_to_first_normal": 1}  # fmt: skip
    for step in flow[1:]:
        assert step["n"] + sum(reason["count"] for reason in step["reasons"]) == n[step["of"]]
