"""Each refusal for want of a right is counted in the audit, and does nothing else."""

from app.access.callers import ALL_SCOPES, Scope
from tests.access.conftest import now
from tests.api.examples import make_study, timeline


def test_each_bad_credential_is_a_clear_refusal_that_the_audit_counts(service):
    admin = service.client()
    home = make_study(admin, "trial")
    keys = service.keys
    revoked = keys.create("r", ALL_SCOPES, now=now())
    keys.revoke(revoked.stored.prefix, now())
    rotated = keys.create("r", ALL_SCOPES, now=now() - 10)
    keys.rotate(rotated.stored.prefix, now=now() - 5, overlap=1)
    expired = service.key(expires_at=now())
    bad = {
        "expired": (expired, 401),
        "revoked": (revoked.text, 401),
        "half rotated": (rotated.text, 401),
        "malformed": ("nonsense", 401),
        "unknown": ("myo_00000000_" + "a" * 43, 401),
        "without the scope": (service.key([Scope.READ]), 403),
        "of another study": (service.key(ALL_SCOPES, ["elsewhere"]), 404),
    }
    before = admin.get(f"{home}/revisions").json()
    for name, (text, status) in bad.items():
        client = service.with_key(text)
        answer = client.put(f"{home}/patients/P1", json=timeline("P1"))
        assert answer.status_code == status, name
    assert admin.get(f"{home}/revisions").json() == before
    assert admin.get(f"{home}/patients").json()["items"] == []
    service.stranger.app_state["app_state"].trail.close()
    rows = [row for row in admin.get("/v1/audit?limit=500").json()["items"] if (row["status"] or 0) >= 400]
    assert sum(row["count"] for row in rows) == len(bad)
    assert {(row["caller"] is None, row["status"]) for row in rows} == {(True, 401), (False, 403), (False, 404)}
    [without_scope] = [row for row in rows if row["status"] == 403]
    assert (without_scope["operation"], without_scope["scope"]) == ("putTimeline", "ingest")
