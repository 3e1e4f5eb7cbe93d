"""Local stand-in for the server of Weights & Biases: what it is sent, and switchable faults."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.reporting.wandb.artifact_store import ArtifactStore

ENTITY = "lab"


@dataclass
class StandIn:
    """Requests and contents of the server.

    Attributes:
        address: Its address.
        fault: ``hang``, or a status such as ``401`` with which it answers; empty for none.
        hang_runs: Answer queries, but take no run.
        hang_uploads: Take runs, but no uploads.
        operations: Names of the queries and mutations, in order.
        runs: Variables of the last upsert of each run, by its id.
        streams: Lines of each file of a run's stream, by the run's id and the file.
        reports: Inputs of the last save of each view, by its id.
        uploads: Names of uploaded files.
        artifacts: Its artifacts.
    """

    address: str = ""
    fault: str = ""
    hang_runs: bool = False
    hang_uploads: bool = False
    operations: list[str] = field(default_factory=list)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    streams: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    artifacts: ArtifactStore = field(default_factory=ArtifactStore)
    released: threading.Event = field(default_factory=threading.Event)

    def history(self, run: str) -> list[dict[str, Any]]:
        """Return the rows of a run's history."""
        lines = self.streams.get((run, "wandb-history.jsonl"), {})
        return [json.loads(lines[place]) for place in sorted(lines)]

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a query."""
        self.operations.append(operation)
        if (data := self.artifacts.answer(operation, variables)) is not None:
            return data
        match operation:
            case "RunResumeStatus":
                return {"model": self._resumed(variables["name"])}
            case "UpsertBucket":
                return {"upsertBucket": self._upserted(variables)}
            case "CreateRunFiles":
                files = [self._file(name) for name in variables["files"]]
                return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
            case "GetProjects":
                return {
                    "models": {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
                }
            case "CreateProject":
                return {"upsertModel": {"model": _project(variables), "inserted": True}}
            case "upsertView" | "UpsertView2":
                return {"upsertView": self._saved(variables)}
            case "SpecificReport":
                return {"view": self.reports[variables["reportId"]]}
        viewer: dict[str, Any] = {"id": "U", "entity": ENTITY, "username": ENTITY, "flags": "{}"}
        viewer |= {"teams": {"edges": []}}
        return {"viewer": viewer, "serverInfo": {"features": []}, "project": None}

    def _resumed(self, run: str) -> dict[str, Any] | None:
        if run not in self.runs:
            return {"name": "p", "entity": {"name": ENTITY}, "bucket": None}
        count = len(self.history(run))
        bucket = {
            "name": run,
            "summaryMetrics": "{}",
            "config": "{}",
            "historyLineCount": count,
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps([json.dumps(self.history(run)[-1])] if count else []),
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": '{"t": 1}',  # without it, the client takes the run for a new one
        }
        return {"name": "p", "entity": {"name": ENTITY}, "bucket": bucket}

    def _upserted(self, variables: dict[str, Any]) -> dict[str, Any]:
        run, given = variables["name"], {k: v for k, v in variables.items() if v is not None}
        self.runs[run] = self.runs.get(run, {}) | given
        project = {"id": "P", "name": variables.get("project") or "p"}
        project["entity"] = {"id": "E", "name": ENTITY}
        bucket = {"id": run, "name": run, "project": project, "historyLineCount": 0}
        return {"bucket": bucket | {"displayName": run, "config": "{}"}, "inserted": True}

    def _file(self, name: str) -> dict[str, str]:
        return {"name": name, "uploadUrl": f"{self.address}/upload/{name}"}

    def _saved(self, variables: dict[str, Any]) -> dict[str, Any]:
        view = {name: value for name, value in variables.items() if value is not None}
        identity = view.get("id") or base64.b64encode(f"View:{len(self.reports)}".encode()).decode()
        saved = {"id": identity, "name": "view", "displayName": "view", **view, "children": None}
        saved["id"] = identity
        saved["project"] = {"name": view.get("projectName"), "entityName": view.get("entityName")}
        self.reports[identity] = saved
        return {"view": saved, "inserted": "id" not in view}

    def take(self, run: str, files: dict[str, Any]) -> None:
        """Take in a part of a run's stream."""
        for name, part in files.items():
            lines = self.streams.setdefault((run, name), {})
            start = part["offset"]
            for place, line in enumerate(part["content"]):
                lines[start + place] = line


def _project(variables: dict[str, Any]) -> dict[str, Any]:
    return {"id": "P", "name": variables.get("project") or "p", "entityName": ENTITY}


@contextmanager
def serving() -> Iterator[StandIn]:
    """Run a stand-in on a free local port."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            uploads = "graphql" not in self.path
            takes_run = b"upsertBucket" in body or b"RunResumeStatus" in body
            hangs = (state.hang_uploads and uploads) or (state.hang_runs and takes_run)
            if state.fault == "hang" or hangs:
                state.released.wait(60)
                return
            if state.fault:
                self._send({"errors": [{"message": "refused"}]}, int(state.fault))
            elif uploads:
                if stream := re.search(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
                    state.take(stream[1], json.loads(body or b"{}").get("files") or {})
                else:
                    state.uploads.append(self.path.rpartition("/upload/")[2])
                self._send({}, 200)
            else:
                query = json.loads(body)
                name = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
                operation = name[1] if name else "Viewer"
                self._send({"data": state.answer(operation, query.get("variables") or {})}, 200)

        do_PUT = do_GET = do_POST  # noqa: N815 - names of http.server

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that ends drops its connections
                super().handle()

        def _send(self, content: object, status: int) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = state.artifacts.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
