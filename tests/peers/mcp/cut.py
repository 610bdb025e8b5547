"""cut.py PORT: carries connections on to a server of tools at this port, and cuts each call of a tool off behind the first
event of its answer. Prints its own port, and ends with its stdin.
"""
import socket
import socketserver
import sys
import threading

PORT = int(sys.argv[1])


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(("127.0.0.1", PORT)) as server:
            asked = bytearray()
            threading.Thread(target=self.carry_on, args=(server, asked), daemon=True).start()
            answered = bytearray()
            while part := server.recv(1 << 16):
                answered += part
                body = answered.partition(b"\r\n\r\n")[2]
                is_call = asked.startswith(b"POST") and b'"tools/call"' in asked
                end = body.find(b"\n\n") + 2
                if is_call and end > 1:
                    self.request.sendall(part[: len(part) - (len(body) - end)])
                    return
                self.request.sendall(part)

    def carry_on(self, server, asked):
        while part := self.request.recv(1 << 16):
            asked += part
            server.sendall(part)


socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
