"""A web server of documents, with the logins that devices ask for."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import socket
import ssl
import threading


class Server(http.server.ThreadingHTTPServer):
    """Answers with documents, once it is content with who asks."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answers, port=0, auth=None, tls=None, sent=None):
        super().__init__(("127.0.0.1", port), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.answers = answers
        self.auth = auth
        self.sent = sent  # what answers to a document that is sent
        self.asked = []
        self.connections = set()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self):
        return self.server_address[1]

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        """A client that hangs up is no affair of the test's output."""

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # one segment an answer: no wait for an acknowledgement
    server: Server

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.auth is not None and self.path != "/shelly" and not self.server.auth(self):
            return
        if self.path not in self.server.answers:
            self.say(404, b"not found")
            return
        document = self.server.answers[self.path]
        document = document() if callable(document) else document
        self.say(200, document if isinstance(document, bytes) else json.dumps(document).encode())

    def do_POST(self):
        document = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.sent(self, document)

    def do_PUT(self):
        self.do_POST()

    def say(self, code, body, **headers):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Basic:
    def __init__(self, user, password):
        self.right = b"Basic " + base64.b64encode(f"{user}:{password}".encode())

    def __call__(self, handler):
        if handler.headers.get("Authorization", "").encode() == self.right:
            return True
        handler.say(401, b"", WWW_Authenticate='Basic realm="shelly"')
        return False


class Digest:
    """RFC 7616 with SHA-256, as Shelly Gen2 has it; each count of a nonce is taken once."""

    def __init__(self, user, password, realm="shellypro4pm-a8032ab636ec"):
        self.user, self.password, self.realm = user, password, realm
        self.nonce = "60dc2b38"
        self.used = set()
        self.good = 0

    def __call__(self, handler):
        said = dict(
            re.findall(
                r'(\w+)="?([^",]*)"?', handler.headers.get("Authorization", "").partition(" ")[2]
            )
        )
        if said.get("username") == self.user and said.get("nonce") == self.nonce:
            hashed = [
                self.hash(f"{self.user}:{self.realm}:{self.password}"),
                said["nonce"],
                said["nc"],
                said["cnonce"],
                said["qop"],
                self.hash(f"{handler.command}:{handler.path}"),
            ]
            fresh = (said["nc"], said["cnonce"]) not in self.used
            self.used.add((said["nc"], said["cnonce"]))
            if (
                fresh
                and said["uri"] == handler.path
                and self.hash(":".join(hashed)) == said["response"]
            ):
                self.good += 1
                return True
        challenge = (
            f'Digest qop="auth", realm="{self.realm}", nonce="{self.nonce}", algorithm=SHA-256'
        )
        handler.say(401, b"", WWW_Authenticate=challenge)
        return False

    @staticmethod
    def hash(text):
        return hashlib.sha256(text.encode()).hexdigest()
