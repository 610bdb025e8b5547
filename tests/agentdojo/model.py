"""A model behind Chat Completions on loopback that says what the case's play has it say."""

import http.server
import json
import threading


# How the instructions of a model that plans begin.
PLANS = "Plan the calls of tools that a person asks for."


class Model:
    """One play at a time; what was said once is said again to the same question."""

    def __init__(self) -> None:
        self.play = None
        self.said: list[dict] = []
        # Whether every call that it made was one of the tools that it was offered.
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # A small answer is not to wait for more.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(model.answer(body["messages"])).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def begin(self, play, prefix: str) -> None:
        self.play, self.prefix, self.said = play, prefix, []
        # Whoever plans was shown something else than the person's words.
        self.leaked = False

    def answer(self, messages: list[dict]) -> dict:
        if messages[0]["role"] == "system" and messages[0]["content"].startswith(PLANS):
            return self.as_answer({"role": "assistant", "content": self.planned(messages)})
        step = sum(message["role"] == "assistant" for message in messages)
        if step == len(self.said):
            seen = "\n".join(str(message["content"]) for message in messages if message["role"] == "tool")
            self.said.append(self.message(self.play.next(seen)))
        return self.as_answer(self.said[step])

    def as_answer(self, message: dict) -> dict:
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}

    def planned(self, messages: list[dict]) -> str:
        """The plan that somebody would make who knows the tools and the person's words, and is told nothing else."""
        told = "\n".join(str(message["content"]) for message in messages[1:])
        # What of the prompt looks pasted is not the person's own, and left out.
        if any(line not in self.play.prompt for line in told.splitlines()):
            self.leaked = True
        entries = [entry | {"name": f"{self.prefix}__{entry['name']}"} for entry in self.play.wishes()]
        return json.dumps({"tools": entries})

    def message(self, call) -> dict:
        if call is None:
            return {"role": "assistant", "content": self.play.last_words()}
        function = {"name": f"{self.prefix}__{call.function}", "arguments": json.dumps(dict(call.args), default=str)}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call_{len(self.said)}", "type": "function", "function": function}],
        }
