"""The composite definitions over the API: presets by name, protocols of one's own, refusals."""

from app.protocol.presets import ACR_EULAR_2016_ADULT
from tests.api.examples import make_study


def test_another_protocol_can_be_tried_over_the_api_and_a_bad_one_is_refused_by_name(client):
    home = make_study(client)
    address = f"{home}/analyses/improvement-score"
    assert client.get(address).json()["reason"] == "not_declared"
    asked = client.post(address, json={"protocol": "acr-eular-2016-juvenile"})
    assert (asked.status_code, asked.json()["reason"]) == (200, None)
    assert asked.json()["definitions"][-1]["parameters"]["thresholds"]["major"] == 70
    declared = ACR_EULAR_2016_ADULT.model_dump(mode="json")
    declared["improvement_score"]["core_set"]["population"] = "juvenile"
    refused = client.post(address, json={"protocol": declared})
    assert refused.status_code == 422
    [fault] = refused.json()["errors"]
    assert fault["code"] == "contradiction"
    assert "improvement_score.core_set: HAQ is an instrument for adults" in fault["detail"]
    unknown = ACR_EULAR_2016_ADULT.model_dump(mode="json")
    unknown["improvement_score"]["core_set"]["muscle_strength"] = "GRIP"
    assert client.put(f"{home}/protocol", json=unknown).status_code == 422
    assert client.put(f"{home}/protocol", json=ACR_EULAR_2016_ADULT.model_dump(mode="json")).status_code == 200
    assert client.get(address).json()["provenance"]["protocol"] == ACR_EULAR_2016_ADULT.digest
