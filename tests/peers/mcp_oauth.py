"""A server of tools behind a URL that wants a token, and the authorization server that hands them out, by hand.

mcp_oauth.py [CERT KEY]: prints its port, then what it is asked for tokens, a line each. A refresh token is good once. Told
on stdin: `life SECONDS` of the tokens that come, `forget` the one that there is, `spoil`
what renews it, `hold` the next answer with a token until
`release`. Ends with its stdin.
"""
import base64
import hashlib
import http.server
import json
import ssl
import sys
import threading
import urllib.parse

number, life, challenge = 0, 3600, None
access = refresh = None
holds, released = threading.Event(), threading.Event()


def say(line):
    print(line, flush=True)


def issue():
    global number, access, refresh
    number += 1
    access, refresh = f"Canary-Access-{number}-0123456789", f"Canary-Refresh-{number}-0123456789"
    return {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": life}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, of, **headers):
        body = json.dumps(of).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        global challenge
        path, _, query = self.path.partition("?")
        if path == "/.well-known/oauth-protected-resource/mcp":
            return self.answer(200, {"resource": f"{ROOT}/mcp", "authorization_servers": [ROOT]})
        if path == "/.well-known/oauth-authorization-server":
            at = {f"{name}_endpoint": f"{ROOT}/{where}" for name, where in PLACES.items()}
            says = {"issuer": ROOT, "code_challenge_methods_supported": ["S256"]}
            says["authorization_response_iss_parameter_supported"] = True
            return self.answer(200, {**at, **says, "token_endpoint_auth_methods_supported": ["client_secret_post"]})
        if path == "/authorize":
            asked = dict(urllib.parse.parse_qsl(query))
            challenge = asked["code_challenge"]
            back = {"code": "Canary-Code-0123456789", "state": asked["state"], "iss": ROOT}
            return self.answer(302, {}, location=f"{asked['redirect_uri']}?{urllib.parse.urlencode(back)}")
        return self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/mcp":
            return self.tools(json.loads(body))
        if self.path == "/register":
            say("register")
            return self.answer(201, {"client_id": "given", "client_secret": "Canary-Client-0123456789"})
        asked = dict(urllib.parse.parse_qsl(body))
        if asked.get("client_secret") != "Canary-Client-0123456789":
            return self.answer(401, {"error": "invalid_client"})
        if self.path == "/revoke":
            say(f"revoke {asked['token_type_hint']}")
            return self.answer(200, {})
        say(f"{asked['grant_type']} {asked.get('refresh_token', '')}".strip())
        proof = base64.urlsafe_b64encode(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
        is_good = {
            "authorization_code": asked.get("code") == "Canary-Code-0123456789" and proof.rstrip(b"=").decode() == challenge,
            "refresh_token": refresh is not None and asked.get("refresh_token") == refresh,
        }[asked["grant_type"]]
        if not is_good or asked.get("resource") != f"{ROOT}/mcp":
            return self.answer(400, {"error": "invalid_grant"})
        given = issue()
        if holds.is_set():
            holds.clear()
            say("held")
            released.wait()
        return self.answer(200, given)

    def tools(self, message):
        said, method = self.headers.get("authorization"), message.get("method")
        if said != f"Bearer {access}":
            return self.answer(401, {}, www_authenticate="Bearer scope=\"read\"")
        if "id" not in message:
            return self.answer(202, {})
        of = {}
        if method == "initialize":
            about = {"serverInfo": {"name": "guarded", "version": "1"}, "capabilities": {"tools": {}}}
            of = {"protocolVersion": "2025-11-25", **about}
        elif method == "tools/list":
            of = {"tools": [{"name": "who", "inputSchema": {"type": "object", "properties": {}}}]}
        elif method == "tools/call":
            say("call")
            of = {"content": [{"type": "text", "text": f"{said} and {access}, {refresh}"}]}
        else:
            return self.answer(400, {})
        return self.answer(200, {"jsonrpc": "2.0", "id": message["id"], "result": of})


def listen():
    global life, access, refresh
    for line in sys.stdin:
        word, _, value = line.strip().partition(" ")
        if word == "life":
            life = int(value)
        elif word == "forget":
            access = None
        elif word == "spoil":
            refresh = None
        elif word == "hold":
            released.clear()
            holds.set()
        elif word == "release":
            released.set()
        say("told")
    server.shutdown()


PLACES = {"authorization": "authorize", "token": "token", "registration": "register", "revocation": "revoke"}
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
ROOT = f"http://127.0.0.1:{server.server_address[1]}"
if len(sys.argv) > 1:
    ROOT = f"https://localhost:{server.server_address[1]}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=listen, daemon=True).start()
say(server.server_address[1])
server.serve_forever()
