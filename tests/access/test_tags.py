"""ETags and cursors are keyed, and by study."""

from tests.api.examples import fill, make_study, timeline


def tags(client, study):
    """The ETags of everything in a study that has one."""
    home = f"/v1/studies/{study}"
    paths = [
        home, f"{home}/protocol", f"{home}/patients/P00", f"{home}/analyses", f"{home}/analyses/response-rates",
        f"{home}/datasets", f"{home}/datasets/adsl.csv", f"{home}/charts", f"{home}/charts/flow.svg", f"{home}/report",
        f"/fhir/{study}/MeasureReport/response-rates",
    ]  # fmt: skip
    return {path.removeprefix(home): client.get(path).headers["etag"] for path in paths}


def test_equal_content_of_two_studies_has_different_etags(service):
    client = service.client()
    for study in ("one", "two"):
        fill(client, 2, study)
    one, two = tags(client, "one"), tags(client, "two")
    assert one.keys() - {"/fhir/one/MeasureReport/response-rates"} <= two.keys()
    assert set(one.values()) & set(two.values()) == set()
    assert len(set(one.values())) == len(one)


def test_processes_with_one_secret_file_read_each_other_s_cursors_and_etags(start, url):
    first = start(url)
    home = fill(first.client(), 3)
    page = first.client().get(f"{home}/patients?limit=1").json()
    tag = first.client().get(f"{home}/patients/P00").headers["etag"]
    second = start(url).client()
    assert second.get(page["next"]).status_code == 200
    assert second.get(f"{home}/patients/P00", headers={"If-None-Match": tag}).status_code == 304
    changed = second.put(f"{home}/patients/P00", json=timeline("P00"), headers={"If-Match": tag})
    assert changed.status_code == 200


def test_a_cursor_of_one_study_is_none_in_another(service):
    client = service.client()
    for study in ("one", "two"):
        fill(client, 2, study)
    following = client.get("/v1/studies/one/patients?limit=1").json()["next"]
    assert client.get(following).status_code == 200
    assert client.get(following.replace("/one/", "/two/")).status_code == 400


def test_a_cursor_of_the_list_of_studies_shows_nobody_more_than_they_may_see(service):
    for study in ("a", "b", "c", "d"):
        make_study(service.client(), study)
    following = service.client().get("/v1/studies?limit=1").json()["next"]
    seen = service.client(["read"], ["a", "c"]).get(following).json()["items"]
    assert [each["id"] for each in seen] == ["c"]


def test_the_etag_of_the_protocol_guards_a_change(service):
    client = service.client()
    home = make_study(client)
    document = client.get(f"{home}/protocol").json()
    tag = client.get(f"{home}/protocol").headers["etag"]
    other = make_study(client, "other")
    for wrong in (client.get(f"{other}/protocol").headers["etag"], f'"{document.get("digest")}"'):
        refused = client.put(f"{home}/protocol", json=document, headers={"If-Match": wrong})
        assert refused.status_code == 412
    assert client.put(f"{home}/protocol", json=document, headers={"If-Match": tag}).status_code == 200
    study_tag = client.get(home).headers["etag"]
    declared = {"name": "Trial", "protocol": "seed-2008"}
    assert client.put(home, json=declared, headers={"If-Match": study_tag}).status_code == 200
    assert client.put(home, json=declared, headers={"If-Match": client.get(other).headers["etag"]}).status_code == 412
