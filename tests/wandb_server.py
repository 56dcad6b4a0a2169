"""A stand-in for the W&B server, for tests only: it takes a run's upload and keeps what it was told."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """`history`: rows by run id; `runs`: the variables of each run; `files`: names by path. `broken`: answers 400.

    sweep: the YAML of a sweep; draws: the settings that its agents are still to be given, by run id. views: what it
    was asked to keep as a workspace or report.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: list[str] = []
        self.broken = False
        self.sweep = ""
        self.views: list[dict[str, Any]] = []
        self.draws: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """GraphQL for runs and files, a stream for history, PUT for files."""

    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        told: dict[str, Any] = {}
        if self.path == "/graphql":
            told = {"data": self.graphql(json.loads(body))}
        elif self.path.endswith("/file_stream"):
            self.stream(self.path.split("/")[-2], json.loads(body))
        elif self.command == "PUT":
            self.server.files.append(self.path.removeprefix("/put/"))
        out = json.dumps(told).encode()
        self.send_response(400 if self.server.broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_POST = do_PUT = answer

    def graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The fields that W&B's client reads of each answer."""
        values = asked.get("variables") or {}
        if "upsertBucket" in asked["query"]:
            run = self.server.runs.setdefault(values["name"], {})
            run.update({key: value for key, value in values.items() if value is not None})
            project = {"id": "p", "name": values.get("project"), "entity": {"id": "e", "name": "team"}}
            bucket = {
                "id": "b", "name": values["name"], "displayName": "", "description": "", "config": "{}",
                "historyLineCount": 0, "sweepName": None, "project": project,
            }  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in asked["query"]:
            files = [{"name": name, "uploadUrl": f"{self.server.url}/put/{name}"} for name in values["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "createArtifact" in asked["query"]:  # already there, so it is not uploaded
            artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
            return {"createArtifact": {"artifact": artifact}}
        if "viewer {" in asked["query"]:
            teams = {"edges": [{"node": {"name": "team"}}]}
            viewer = {
                "id": "v",
                "entity": "team",
                "username": "me",
                "email": "",
                "flags": "{}",
                "teams": teams,
            }
            return {"viewer": viewer}
        if "SweepWithRuns" in asked["query"]:
            return {
                "project": {
                    "sweep": {"id": "s", "name": "s1", "config": self.server.sweep, "runs": {"edges": []}}
                }
            }
        if "createAgent" in asked["query"]:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "agentHeartbeat" in asked["query"]:
            return {
                "agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(self.commands(values))}
            }
        if "upsertView" in asked["query"]:
            self.server.views.append(values | {"spec": json.loads(values["spec"])})
            return {"upsertView": {"view": {"id": "dmlldw==", "name": values["name"]}, "inserted": True}}
        if "ProjectInternalId" in asked["query"]:
            return {"project": {"id": "p", "internalId": "cHJvamVjdDox"}}
        if "query GetProjects" in asked["query"]:
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"models": {"pageInfo": page, "edges": []}}
        if "serverInfo" in asked["query"]:
            return {"serverInfo": {"features": []}}
        return {}

    def commands(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The next draw for an agent that runs nothing; the end, once all are given."""
        if any(json.loads(values.get("runState") or "{}").values()):
            return []
        if not self.server.draws:
            return [{"type": "exit"}]
        run = next(iter(self.server.draws))
        args = {key: {"value": value} for key, value in self.server.draws.pop(run).items()}
        return [{"type": "run", "run_id": run, "program": "petbench", "args": args}]

    def stream(self, run: str, body: dict[str, Any]) -> None:
        """History rows, in the order that they came."""
        lines = (body.get("files") or {}).get("wandb-history.jsonl", {}).get("content", [])
        self.server.history.setdefault(run, []).extend(map(json.loads, lines))

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine, until the end of the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
