"""A server of the Model Context Protocol that offers a suite's tools. Their world lives outside of the sandbox, with
whoever plays the case: a call is a file in the exchange directory, and its answer another one."""

import json
import os
import sys
import time

# Beside this file, so that a pin of its directory covers what is offered.
TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), sys.argv[1])
EXCHANGE = os.environ["EXCHANGE"]
LOOK_S = 0.002


def send(message: dict) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def call(name: str, arguments: dict) -> dict:
    asked = os.path.join(EXCHANGE, "asked.json")
    answered = os.path.join(EXCHANGE, "answered.json")
    with open(asked + ".new", "w") as file:
        json.dump({"name": name, "arguments": arguments}, file)
    os.rename(asked + ".new", asked)
    while not os.path.exists(answered):
        time.sleep(LOOK_S)
    with open(answered) as file:
        answer = json.load(file)
    os.remove(answered)
    said = {"content": [{"type": "text", "text": answer["text"]}], "isError": not answer["went_well"]}
    # What its outputSchema promises; a tool without one gives a text alone.
    return said if answer["values"] is None else {**said, "structuredContent": answer["values"]}


with open(TOOLS) as file:
    OFFERED = json.load(file)

for line in sys.stdin:
    message = json.loads(line)
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message:
        continue
    if method == "initialize":
        about = {"name": sys.argv[1], "version": "1"}
        version = params["protocolVersion"]
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
        send({"id": message["id"], "result": result})
    elif method == "tools/list":
        send({"id": message["id"], "result": {"tools": OFFERED}})
    elif method == "tools/call":
        send({"id": message["id"], "result": call(params["name"], params.get("arguments") or {})})
    else:
        send({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})
