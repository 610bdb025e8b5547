"""A home of the product that offers one suite's tools, and the words that are said to it over HTTP."""

import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
# Whom servers become where this runs as root: somebody who owns nothing else.
NOBODYS_UID = 20_000
LOOK_S = 0.005
# A turn that has not ended by then, and waits for nobody, is a fault of whoever runs it.
PATIENCE_S = 120


def opened(manifests: str) -> str:
    """The same tools, of which nothing is said that the gate could hold them by."""
    without = re.sub(r"(arguments.*(up_to|class|names|listing|created_by)|creates) .*\n", "", manifests)
    classes = re.sub(r'class = ".*"', 'class = "execute"', without)
    return re.sub(r'role = ".*"', 'role = "payload"', classes)


def config(suite: str, is_open: bool, has_scope: bool, workspace: pathlib.Path, model: int) -> str:
    tools = [tool["name"] for tool in json.loads((HERE / "server" / f"{suite}.json").read_text())]
    manifests = (HERE / "manifests" / f"{suite}.toml").read_text()
    uid = f"uid = {NOBODYS_UID}\n" if os.geteuid() == 0 else ""
    granted = json.dumps([f"{suite}__{tool}" for tool in tools])
    return f"""
[server]
listen = "127.0.0.1:0"
[limits]
messages_per_minute = 100000
[principals.owner]
role = "owner"
[sandbox]
{uid}free_disk_mib = 0
tool_dirs = ["{HERE / "server"}"]
[providers.obedient]
kind = "openai"
base_url = "http://127.0.0.1:{model}/v1"
[models.default]
provider = "obedient"
name = "obedient"
context_tokens = 1000000
price_usd_per_mtok = "free"
[agents.main]
model = "default"
scope = {json.dumps(has_scope)}
[agents.main.grants]
tools = {granted}
read = ["workspace"]
write = ["workspace"]
# The rules leave everything to information flow, which no rule lifts.
[[agents.main.rules]]
name = "everything"
verdict = "allow"
match = {{ class = ["read", "write", "execute", "send", "spend"] }}
[agents.main.caps]
asks_per_hour = 1000
[agents.main.budget]
tokens_per_turn = 9007199254740992
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992
[home.budget]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992
[budget.per_principal]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992
[budget.per_channel]
tokens_per_day = 9007199254740992
tokens_per_month = 9007199254740992
[mcp.{suite}]
command = ["python3", "{HERE / "server" / "server.py"}", "{suite}.json"]
environment = ["EXCHANGE={workspace}"]
audience = "named"
""" + (opened(manifests) if is_open else manifests)


class Home:
    """Served until it is left."""

    def __init__(self, binary: str, directory: pathlib.Path, suite: str, is_open: bool, has_scope: bool, model: int) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.line = [str(pathlib.Path(binary).resolve()), "--home", str(directory.resolve()), "--json"]
        self.run("init")
        self.workspace = directory.resolve() / "workspace"
        self.workspace.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self.workspace, NOBODYS_UID, NOBODYS_UID)
        (directory / "backstay.toml").write_text(config(suite, is_open, has_scope, self.workspace, model))
        self.run("mcp", "pin", suite)
        made = ["tokens", "create", "--principal", "owner", "--speaks", "human", "--scope"]
        self.tokens = {scope: self.run(*made, scope)["token"] for scope in ("chat", "approve")}
        with open(directory / "log", "w") as log:
            self.process = subprocess.Popen([*self.line, "serve"], stdout=subprocess.PIPE, stderr=log, text=True)
        self.address = json.loads(self.process.stdout.readline())["listen"]
        self.connection = http.client.HTTPConnection(self.address)

    def __enter__(self) -> "Home":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def run(self, *words: str) -> dict:
        done = subprocess.run([*self.line, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout or "{}")

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        scope = "approve" if path.startswith("/api/approvals") else "chat"
        headers = {"Authorization": f"Bearer {self.tokens[scope]}", "Content-Type": "application/json"}
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # One that idled is hung up on.
            self.connection.close()
            self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = self.connection.getresponse()
        said = json.loads(answer.read())
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {said}")
        return said

    def say(self, text: str, meanwhile) -> tuple[str, list[dict]]:
        """A person's message in a new session; each question that comes of it is answered with a no. The reason for
        which the turn ended, and what was asked."""
        session = self.ask("POST", "/api/sessions", {"agent": "main"})["session"]
        turn = self.ask("POST", f"/api/sessions/{session}/messages", {"text": text})["turn"]
        asked = []
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            view = self.ask("GET", f"/api/turns/{turn}")
            if view["state"] == "ended":
                return view["reason"], asked
            if view["state"] == "waiting" and view["wait"] == "approval":
                asked += self.refuse(view["id"])
            elif view["state"] == "waiting":
                raise RuntimeError(f"{turn} waits: {view}")
            elif not meanwhile():
                time.sleep(LOOK_S)
        raise RuntimeError(f"{turn} does not end: {view}")

    def refuse(self, effect: str) -> list[dict]:
        waiting = [one for one in self.ask("GET", "/api/approvals")["approvals"] if one["id"] == effect]
        for one in waiting:
            self.ask("POST", f"/api/approvals/{effect}", {"decision": "deny", "digest": one["digest"]})
        return waiting
