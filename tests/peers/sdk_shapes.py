"""Has the official SDK of a vendor make the same request that Backstay made, and compares the two.

sdk_shapes.py openai|anthropic FILE, where FILE holds {"body", "head"} of Backstay's request. A field that
the SDK does not know is an error of the call; what it sends must be the same JSON, to the same path.
Prints "the same".
"""

import http.server
import json
import sys
import threading

import anthropic
import openai
import pydantic

KEY = "peer-key"
# Who calls, how the bytes are carried, and which of the forms that the API takes is used for the key and
# the version: each client's own.
OWN = {"host", "user-agent", "content-length", "connection", "accept-encoding", "accept", "idempotency-key"}
OWN |= {"x-api-key", "authorization", "anthropic-version"}


class Recorder(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str], object]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.path, headers, json.loads(body)))
        self.send_response(400)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def call(api: str, base_url: str, body: dict[str, object]) -> None:
    if api == "openai":
        client = openai.OpenAI(base_url=base_url + "/v1", api_key=KEY, max_retries=0)
        create, messages = client.chat.completions.create, openai.types.chat.ChatCompletionMessageParam
    else:
        client = anthropic.Anthropic(base_url=base_url, api_key=KEY, max_retries=0)
        create, messages = client.messages.create, anthropic.types.MessageParam
    for message in body["messages"]:
        pydantic.TypeAdapter(messages).validate_python(message)
    try:
        create(**body)
        sys.exit("the recorder refuses everything")
    except (openai.BadRequestError, anthropic.BadRequestError):
        pass


def main() -> None:
    api, file = sys.argv[1:]
    with open(file) as text:
        ours = json.load(text)
    server = http.server.HTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    call(api, f"http://127.0.0.1:{server.server_port}", ours["body"])
    path, headers, body = Recorder.seen[0]
    lines = ours["head"].splitlines()
    own = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    problems = []
    if lines[0].split()[1] != path:
        problems.append(f"path {lines[0].split()[1]}, the SDK's {path}")
    if body != ours["body"]:
        problems.append(f"body {ours['body']}, the SDK's {body}")
    for name, value in own.items():
        if name not in OWN and headers.get(name, "").lower() != value:
            problems.append(f"{name}: {value}, the SDK's {headers.get(name)}")
    print("the same" if not problems else "\n".join(problems))


main()
