"""A receiver of notices that believes what the official library of Standard Webhooks believes.

Prints its port, then for each request one line: the body as the library gives it back. Before that it makes sure that the
library refuses the same request with another key, another body and another id, so that a verification that finds
everything good is seen.
"""
import http.server
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

key, other = sys.argv[1:3]


def is_refused(key, body, headers):
    try:
        Webhook(key).verify(body, headers)
    except WebhookVerificationError:
        return True
    return False


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = dict(self.headers.items())
        verified = Webhook(key).verify(body, headers)
        assert is_refused(other, body, headers)
        assert is_refused(key, body + b" ", headers)
        assert is_refused(key, body, {**headers, "webhook-id": "another"})
        assert is_refused(key, body, {**headers, "webhook-timestamp": "1600000000"})
        self.send_response(204)
        self.end_headers()
        print(json.dumps({"id": headers["webhook-id"], "verified": verified}), flush=True)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
