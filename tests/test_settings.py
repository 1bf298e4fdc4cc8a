"""The variables of the environment: a name that is wrong is refused, and the right one is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.__main__ import cli
from app.settings import PREFIX, Settings, unknown_variables

NAMES = [name.upper() for name in Settings.model_fields]
KUBERNETES = {
    "MYORESPONSE_SERVICE_HOST": "10.0.0.1",
    "MYORESPONSE_SERVICE_PORT": "8000",
    "MYORESPONSE_SERVICE_PORT_HTTP": "8000",
    "MYORESPONSE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "MYORESPONSE_PORT_8000_TCP_ADDR": "10.0.0.1",
    "MYORESPONSE_DB_SERVICE_HOST": "10.0.0.2",
    "MYORESPONSE_DB_PORT": "tcp://10.0.0.2:5432",
    "MYORESPONSE_DB_PORT_5432_TCP_PROTO": "tcp",
}


def test_every_setting_is_known_in_either_case():
    assert unknown_variables({PREFIX + name: "" for name in NAMES}) == []
    assert unknown_variables({(PREFIX + name).lower(): "" for name in NAMES}) == []


def test_variables_of_others_are_none_of_ours():
    assert unknown_variables({"PATH": "/bin", "MYORESPONSE": "", "DATABASE_URL": "x", "XMYORESPONSE_PORTT": ""}) == []


@given(st.sampled_from(NAMES), st.data())
def test_a_name_with_a_letter_too_few_or_too_many_is_refused_with_the_right_name(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    for wrong in (name[:place] + name[place + 1 :], name[:place] + "Q" + name[place:]):
        assert wrong not in NAMES
        [sentence] = unknown_variables({PREFIX + wrong: "hunter2"})
        assert sentence == f"{PREFIX}{wrong}: there is no such setting, the nearest name is {PREFIX}{name}"


def test_a_name_that_resembles_no_setting_has_no_nearest_one():
    assert unknown_variables({"MYORESPONSE_ZZZ": "1"}) == ["MYORESPONSE_ZZZ: there is no such setting"]


def test_variables_that_kubernetes_sets_for_a_service_are_left_out_and_only_there():
    assert unknown_variables(KUBERNETES | {"KUBERNETES_SERVICE_HOST": "10.0.0.3"}) == []
    assert len(unknown_variables(KUBERNETES)) == len(KUBERNETES)
    assert len(unknown_variables({"KUBERNETES_SERVICE_HOST": "10.0.0.3", "MYORESPONSE_PORTT": ""})) == 1


@pytest.mark.parametrize("command", ["serve", "migrate", "demo", "dead-letters"])
def test_every_command_names_all_wrong_variables_at_once_and_no_value(command, tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    wrong = {"MYORESPONSE_DATABASE_URI": "hunter2", "MYORESPONSE_HOSTS": "hunter2", "MYORESPONSE_PORT": "hunter2"}
    ended = CliRunner().invoke(cli, [command], env={"MYORESPONSE_DATABASE_URL": url, **wrong})
    assert (ended.exit_code, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert all(name in line for name in wrong)
    assert "hunter2" not in line
    assert not list(tmp_path.iterdir())
