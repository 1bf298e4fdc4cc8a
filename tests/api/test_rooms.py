"""What is loaded when it is first asked for: the first request of all is answered like every later one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from starlette.routing import Route
from starlette.testclient import TestClient

from app.http.rooms import Room, every_route, loaded_routes
from app.main import create_app
from app.settings import Settings
from tests.api.conftest import BASE

BELOW = {
    "/v1/studies": 200,
    "/v1/studies/none": 404,
    "/v1/nothing": 404,
    "/fhir/none/metadata": 404,
    "/fhir/none/Nothing": 404,
    "/docs": 200,
    "/docs/api": 200,
    "/docs/nothing": 404,
    "/pages/files/none/none": 404,
    "/problems": 200,
    "/nothing": 404,
}


@pytest.mark.parametrize("path", BELOW)
@pytest.mark.parametrize("prefix", ["", "/myoresponse"])
def test_the_first_request_is_answered_as_the_second_one(serve, sqlite_url, path, prefix):
    client = serve(sqlite_url, root_path=prefix)
    first, second = (client.get(path) for _ in range(2))
    assert (first.status_code, second.status_code) == (BELOW[path], BELOW[path])
    assert first.headers["content-type"] == second.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/v1/studies/x", "GET, HEAD, OPTIONS, PUT"),
        ("OPTIONS", "/v1/studies/x/timelines", "OPTIONS, POST"),
        ("PUT", "/livez", "GET, HEAD, OPTIONS"),
    ],
)
def test_the_first_request_learns_which_methods_there_are(client, method, path, allow):
    assert client.request(method, path).headers["allow"] == allow


def test_a_question_by_head_comes_first(client):
    answer = client.head("/v1/studies")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.fixture
def slow_room():
    """An application with one room, which takes a moment to load; and how often it was loaded."""
    loads = []

    def load():
        loads.append(threading.current_thread())
        time.sleep(0.2)
        return [Route("/slow/a", lambda request: None), Route("/slow/b", lambda request: None)]

    return FastAPI(routes=[Room("/slow/", load)]), loads


def test_a_room_is_loaded_once_however_many_ask_for_it_at_once(slow_room):
    app, loads = slow_room
    room = next(each for each in app.router.routes if isinstance(each, Room))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: room.enter(app), range(8)))
    assert len(loads) == 1
    assert [route.path for route in app.router.routes if isinstance(route, Route)].count("/slow/a") == 1


def test_a_room_that_is_loaded_does_not_hold_the_others(serve, sqlite_url, monkeypatch):
    client = serve(sqlite_url)
    room = next(each for each in client.app.router.routes if isinstance(each, Room))
    load, begun, may_end = room._load, threading.Event(), threading.Event()

    def waiting():
        begun.set()
        assert may_end.wait(20)
        return load()

    monkeypatch.setattr(room, "_load", waiting)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.get, "/v1/studies")
        assert begun.wait(20)
        assert client.get("/livez").status_code == 200
        assert not asked.done()
        may_end.set()
        assert asked.result().status_code == 200


def test_a_room_that_could_not_be_loaded_is_loaded_by_the_next_request(serve, sqlite_url, monkeypatch):
    client = TestClient(serve(sqlite_url).app, base_url=BASE, raise_server_exceptions=False)
    with client:
        room = next(each for each in client.app.router.routes if isinstance(each, Room))
        load, times = room._load, []

        def failing():
            times.append(1)
            if len(times) == 1:
                raise OSError
            return load()

        monkeypatch.setattr(room, "_load", failing)
        assert [client.get("/v1/studies").status_code for _ in range(2)] == [500, 200]


def test_no_address_belongs_to_two_rooms_and_each_route_is_below_the_prefix_of_its_room():
    app = create_app(Settings.model_construct())
    rooms = [each for each in app.router.routes if isinstance(each, Room)]
    prefixes = [room._prefix for room in rooms]
    assert not any(one != other and one.startswith(other) for one in prefixes for other in prefixes)
    for room in rooms:
        assert [route.path for route in room._load() if not route.path.startswith(room._prefix)] == []
    own = [str(route.path) for route in loaded_routes(app)]
    assert [path for path in own if path.startswith(("/v1/studies", "/fhir/", "/pages/"))] == []
    assert len(list(every_route(app))) > len(own) + 150
