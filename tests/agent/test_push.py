"""Datasets on the hub: the real client, against a server on this machine that answers like the hub and keeps what it is sent."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.push import push
from agent.verbs.dataset import dataset
from tests.agent.test_datasets import run as run  # a fixture


class Hub(ThreadingHTTPServer):
    """It refuses every request with status `refuses`, where that is not 0."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.address, self.refuses = f"http://127.0.0.1:{self.server_port}", 0
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tags: list[str] = []
        self.tokens: set[str | None] = set()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
        elif "/preupload/" in path:
            return {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]]}
        elif "/commit/" in path:
            entries = [json.loads(line) for line in body.splitlines()]
            self.files |= {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in entries if each["key"] == "file"}
        elif "/tag/" in path:
            self.tags.append(json.loads(body)["tag"])
        here = f"{self.address}/datasets/me/slide"
        return {"url": here, "commitUrl": f"{here}/commit/{'a' * 40}", "commitOid": "a" * 40}


class _Requests(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command == "POST":
            hub.tokens.add(self.headers.get("authorization"))
        content = json.dumps({"error": "no such token"} if hub.refuses else hub.answer(self.path, body)).encode()
        self.send_response(hub.refuses or 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # names of http.server

    def log_message(self, format: str, *args: Any) -> None:  # it would print each request
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_dataset_is_uploaded_whole_and_tagged_with_its_format(run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    episodes = run / "start" / "episodes"
    dataset(["push", str(run / "start"), "me/slide"])
    assert hub.files == {str(file.relative_to(episodes)): file.read_bytes() for file in episodes.rglob("*") if file.is_file()}
    assert hub.made == [{"name": "slide", "organization": "me", "type": "dataset", "visibility": "private"}]
    assert hub.tags == ["v3.0"] and hub.tokens == {"Bearer hf_secret"}
    assert f"written: {hub.address}/datasets/me/slide" in capsys.readouterr().out


def test_a_repository_is_public_only_where_that_is_asked_for(run: Path, hub: Hub) -> None:
    push(run / "start", "me/slide", public=True)
    assert hub.made[0].get("visibility") != "private"


def test_of_several_datasets_one_is_to_be_named(run: Path, hub: Hub) -> None:
    with pytest.raises(ValueError, match="has 3 datasets; name one of them"):
        push(run, "me/slide")
    assert not hub.made


def test_what_the_hub_refuses_is_one_sentence(run: Path, hub: Hub) -> None:
    hub.refuses = 401
    with pytest.raises(ValueError, match=r"me/slide was not written: .*401.*hf auth whoami"):
        push(run / "start", "me/slide")
    with pytest.raises(ValueError, match="a b/c/d was not written"):
        push(run / "start", "a b/c/d")


def test_a_hub_that_cannot_be_reached_is_one_sentence(run: Path, hub: Hub) -> None:
    hub.shutdown()
    hub.server_close()
    with pytest.raises(ValueError, match="me/slide was not written"):
        push(run / "start", "me/slide")
