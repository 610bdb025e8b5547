"""A server of tools behind a URL, by the official SDK: speaks the newer era, and the older one to whoever greets it so.

mcp_remote.py [json|events] [CERT KEY]: prints its port, answers with events or with JSON, sealed where it is given a
certificate, and ends with its stdin.
"""
import socket
import sys
import threading

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

server = MCPServer("remote", version="1")
calls = 0


@server.tool()
def echo(text: str) -> str:
    """Says it again."""
    return f"it said: {text}"


@server.tool()
def count() -> str:
    """Counts its calls."""
    global calls
    calls += 1
    return str(calls)


@server.tool()
def header(name: str, context: Context) -> str:
    """A header of the request that it was called by."""
    request = context.request_context.request
    return str(request and request.headers.get(name))


@server.tool()
def big(size: int) -> str:
    """Many bytes."""
    return "x" * size


@server.tool()
def ask() -> InputRequiredResult:
    """Asks back, whatever its client has said that it can."""
    asked = ElicitRequestFormParams(message="Your password?", requested_schema={"type": "object", "properties": {}})
    return InputRequiredResult(input_requests={"password": ElicitRequest(params=asked)})


listener = socket.create_server(("127.0.0.1", 0))
app = server.streamable_http_app(json_response="json" in sys.argv)
sealed = dict(zip(("ssl_certfile", "ssl_keyfile"), sys.argv[2:]))
running = uvicorn.Server(uvicorn.Config(app, log_level="warning", **sealed))


def end():
    sys.stdin.read()
    running.should_exit = True


threading.Thread(target=end, daemon=True).start()
print(listener.getsockname()[1], flush=True)
running.run(sockets=[listener])
