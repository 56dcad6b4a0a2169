"""`--push` against a stand-in of the hub: what is sent, and what is said when it is refused."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from huggingface_hub import HfApi, constants

from petbench.errors import RunError, UserError
from petbench.export.push import push


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload of small files asks for."""

    status: ClassVar[int] = 200
    files: ClassVar[dict[str, bytes]] = {}
    tokens: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self._chunks()
        self.tokens.append(self.headers.get("Authorization"))
        if self.status != 200:
            return self._answer({"error": "no"}, self.status)
        if self.path == "/api/repos/create":
            return self._answer({"url": f"{self.server.url}/me/mine"})  # type: ignore[attr-defined]
        if self.path == "/api/validate-yaml":
            return self._answer({"warnings": [], "errors": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            kept = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self._answer({"files": kept})
        assert "/commit/" in self.path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        url = f"{self.server.url}/me/mine/commit/abc"  # type: ignore[attr-defined]
        self._answer({"commitUrl": url, "commitOid": "abc"})

    def do_GET(self) -> None:
        self._answer({"sha": "abc", "id": "me/mine", "siblings": []}, self.status)

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        return found

    def _answer(self, value: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[HfApi]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(Hub, "status", 200)
    Hub.files.clear()
    Hub.tokens.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield HfApi(endpoint=server.url, token="hf_secret")  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("---\ntags:\n- petbench\n---\n")
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_the_folder_arrives_whole(api: HfApi, folder: Path) -> None:
    assert push(folder, "me/mine", api).endswith("/me/mine/commit/abc")
    assert Hub.files == {name: (folder / name).read_bytes() for name in ("README.md", "config.json")}
    assert set(Hub.tokens) == {"Bearer hf_secret"}


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, UserError, r"refused the token \(401\).*HF_TOKEN.*is written and stays"),
        (403, UserError, r"may not write to me/mine \(403\)"),
        (500, RunError, r"the hub answered 500\. Try again"),
    ],
)
def test_refusals_are_words(
    status: int,
    kind: type[Exception],
    message: str,
    api: HfApi,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Hub, "status", status)
    with pytest.raises(kind, match=message):
        push(folder, "me/mine", api)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json"]


def test_no_network_and_bad_names_are_words(
    api: HfApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="Legal: owner/name"):
        push(folder, "not a name!", api)
    with pytest.raises(RunError, match=r"not in reach \(ConnectError\)"):
        push(folder, "me/mine", HfApi(endpoint="http://127.0.0.1:9", token="hf_secret"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push(folder, "me/mine", api)
