"""Who may ask: hosts, origins and tokens."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from starlette.types import Message

from m2m.web.guard import Guard
from m2m.web.serve import is_loopback

Serve = Callable[..., httpx.Client]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:80", "127.0.0.1:9", "[::1]:8000", "192.168.1.5:8000", "LOCALHOST"]
)
def test_addresses_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/api/about", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "", "a b"]
)
def test_a_name_that_somebody_let_point_here_is_not(client: httpx.Client, host: str) -> None:
    for path in ("/", "/api/about"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code in (400, 421), answer.text


def test_a_name_can_be_allowed(serve: Serve) -> None:
    client = serve(hosts=("studio.local",))
    assert client.get("/api/about", headers={"Host": "studio.local:8000"}).status_code == 200
    assert client.get("/api/about", headers={"Host": "other.local"}).json()["kind"] == "host"


def test_a_page_of_another_origin_is_refused(client: httpx.Client) -> None:
    own = str(client.base_url).rstrip("/")
    assert client.get("/api/about", headers={"Origin": own}).status_code == 200
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        answer = client.post("/api/ready", json={}, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["kind"] == "origin"
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=visit).status_code == 200  # a link on another page may lead here


def test_no_other_origin_may_read_an_answer(client: httpx.Client) -> None:
    answer = client.options("/api/about", headers={"Access-Control-Request-Method": "GET"})
    for response in (answer, client.get("/api/about")):
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


def test_where_a_token_is_wanted_nothing_is_had_without(serve: Serve) -> None:
    client = serve(token="a-secret")
    for given in (
        {},
        {"Authorization": "Bearer a-secreT"},
        {"Cookie": "m2m-token=x"},
        {"Authorization": "Basic a-secret"},
    ):
        answer = client.get("/api/about", headers=given)
        assert (answer.status_code, answer.json()["kind"]) == (401, "token")
        assert client.get("/app.js", headers=given).status_code == 401
    assert "locked" in client.get("/").text
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    assert client.get("/api/about", params={"token": "a-secret"}).status_code == 401  # an address is for the page alone
    assert client.get("/api/about", headers={"Authorization": "Bearer a-secret"}).status_code == 200
    came = client.get("/", params={"token": "a-secret"})
    assert (came.status_code, came.headers["location"]) == (303, "/")
    assert "HttpOnly" in came.headers["set-cookie"]
    assert client.get("/api/about").status_code == 200  # by the cookie
    assert client.get("/").status_code == 200


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_fault() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def never(*_: object) -> None:
        raise AssertionError("nobody is there to be answered")

    headers = [(b"host", b"localhost"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": "/api/scores", "query_string": b"", "headers": headers}
    asyncio.run(Guard(never, body_bytes=4096)(scope, gone, never))


def test_which_addresses_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "studio.local")))
