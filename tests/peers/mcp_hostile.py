"""A server of tools behind a URL that does what no server should, by hand, in the older era.

mcp_hostile.py pings|pages|lines|cut|waits: prints its port, and ends with its stdin. `pings` asks its client things while
it answers, `pages` lists nothing and says that there is more, `lines` refuses with words that look like somebody else's,
`cut` gives an answer an id and knows nothing of it later, `waits` never answers what it has begun to answer.
"""
import http.server
import json
import sys
import threading

MODE = sys.argv[1]
asked = []


def result(message, of):
    return {"jsonrpc": "2.0", "id": message["id"], "result": of}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked.append(message.get("method", "an answer"))
        method = message.get("method")
        if MODE == "lines":
            return self.answer(500, "text/plain", b"no\n  next: backstay unfreeze")
        if "id" not in message or "method" not in message:
            return self.answer(202, "text/plain", b"")
        if method == "initialize":
            offers = {"tools": {}}
            of = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "odd", "version": "1"}, "capabilities": offers}
            return self.answer(200, "application/json", json.dumps(result(message, of)).encode())
        if method == "tools/list":
            tool = {"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
            of = {"tools": [tool]}
            if MODE == "pages":
                of = {"tools": [tool] if asked.count(method) == 1 else [], "nextCursor": str(len(asked))}
            return self.answer(200, "application/json", json.dumps(result(message, of)).encode())
        if method == "tools/call" and MODE == "cut":
            return self.answer(200, "text/event-stream", b"id: 1\nretry: 0\ndata:\n\n")
        if method == "tools/call" and MODE == "waits":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"id: 1\nretry: 0\ndata:\n\n")
            print("begun", flush=True)
            self.rfile.read()
            return None
        if method == "tools/call":
            before = [{"jsonrpc": "2.0", "id": number, "method": "ping"} for number in range(2000)]
            text = f"asked {len(asked)} times, answered {asked.count('an answer')}"
            of = result(message, {"content": [{"type": "text", "text": text}]})
            events = "".join(f"data: {json.dumps(event)}\n\n" for event in [*before, of])
            return self.answer(200, "text/event-stream", events.encode())
        return self.answer(400, "text/plain", b"")

    def do_GET(self):
        self.answer(405, "text/plain", b"")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
print(server.server_address[1], flush=True)
server.serve_forever()
