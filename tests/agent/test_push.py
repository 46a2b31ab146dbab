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
    """It refuses every request with status `refuses`, where that is not 0. A tag stays at the files of the moment at which it was made."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.address, self.refuses = f"http://127.0.0.1:{self.server_port}", 0
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, dict[str, bytes]] = {}  # the files of each
        self.tokens: set[str | None] = set()

    def answer(self, command: str, path: str, body: bytes) -> tuple[int, Any]:
        """Return status and content."""
        if "/tag/" in path:
            tag = path.rsplit("/", 1)[1] if command == "DELETE" else json.loads(body)["tag"]
            if (command == "DELETE") != (tag in self.tags):
                return (404, {"error": "no such tag"}) if command == "DELETE" else (409, {"error": "there is such a tag"})
            if command == "DELETE":
                del self.tags[tag]
            else:
                self.tags[tag] = dict(self.files)
        elif "/tree/" in path:
            return 200, [{"type": "file", "path": name, "size": len(held), "oid": "a" * 40} for name, held in self.files.items()]
        elif path == "/api/repos/create":
            self.made.append(json.loads(body))
        elif "/preupload/" in path:
            return 200, {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]]}
        elif "/commit/" in path:
            entries = [json.loads(line) for line in body.splitlines()]
            self.files |= {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in entries if each["key"] == "file"}
            for each in entries:
                if each["key"] == "deletedFile":
                    del self.files[each["value"]["path"]]
        here = f"{self.address}/datasets/me/slide"
        return 200, {"url": here, "commitUrl": f"{here}/commit/{'a' * 40}", "commitOid": "a" * 40}


class _Requests(BaseHTTPRequestHandler):
    def _answer(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command == "POST":
            hub.tokens.add(self.headers.get("authorization"))
        status, answer = (hub.refuses, {"error": "no such token"}) if hub.refuses else hub.answer(self.command, self.path, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("x-error-code", "RevisionNotFound")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _answer  # names of http.server

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
    assert hub.tags == {"v3.0": hub.files} and hub.tokens == {"Bearer hf_secret"}
    assert f"written: {hub.address}/datasets/me/slide" in capsys.readouterr().out


def test_what_is_pushed_again_is_what_lerobot_then_reads(run: Path, hub: Hub) -> None:
    """It reads the tag, and every file of `data`: none of a longer dataset may be left there."""
    episodes = run / "start" / "episodes"
    hub.files = {"README.md": b"mine", ".gitattributes": b"", "data/chunk-000/file-999.parquet": b"of another", "meta/info.json": b"{}"}
    hub.tags = {"v3.0": dict(hub.files), "mine": dict(hub.files)}
    push(run / "start", "me/slide")
    own = {str(file.relative_to(episodes)): file.read_bytes() for file in episodes.rglob("*") if file.is_file()}
    assert hub.files == {"README.md": b"mine", ".gitattributes": b"", **own}
    assert hub.tags["v3.0"] == hub.files != hub.tags["mine"]


def test_a_repository_is_public_only_where_that_is_asked_for(run: Path, hub: Hub) -> None:
    push(run / "start", "me/slide", public=True)
    assert hub.made[0].get("visibility") != "private"


def test_of_several_datasets_one_is_to_be_named(run: Path, hub: Hub) -> None:
    with pytest.raises(ValueError, match="has 3 datasets; name one of them"):
        push(run, "me/slide")
    assert not hub.made


def test_a_folder_without_a_format_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text("{}")
    with pytest.raises(ValueError, match="has no codebase_version"):
        push(tmp_path, "me/slide")
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
