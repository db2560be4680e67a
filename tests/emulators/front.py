"""An HTTPS server before one emulator: it decodes forms for Prism, keeps what was sent, and can answer in Prism's place."""

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from documents import FORM
from forms import decode

HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "accept-encoding", "expect"}


@dataclass
class Call:
    """One request of ferryd's: what the emulator got of it, and what it said."""

    method: str
    path: str
    headers: dict
    body: bytes
    status: int = 0
    violations: list = field(default_factory=list)
    answer: bytes = b""

    def json(self):
        return json.loads(self.answer)


class Front:
    """A server before the emulator at a port. With a document, the emulator is a Prism of that document."""

    def __init__(self, context, port, document=None, answer=None):
        self.port, self.document, self.answer = port, document, answer
        self.calls, self.replies = [], []
        self.lock = threading.Lock()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                call = Call(self.command, self.path, dict(self.headers.items()), body)
                status, headers, answer = front.carry(call)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

            def log_message(self, *_):
                """Says nothing: what is sent is kept in `calls`."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                # The handshake is made by the connection's own thread, so that none can hold up the others.
                connection, address = self.socket.accept()
                return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def carry(self, call):
        """Takes a call to the emulator; what the emulator accepts is answered by a reply that was laid ready, if there is one."""
        try:
            status, headers, answer = (self.answer or self.ask)(call)
        except Exception as error:  # noqa: BLE001
            status, headers, answer = 599, {}, repr(error).encode()
            call.violations = [{"unreadable": f"{call.body}: {error!r}"}]
        call.status, call.answer = status, answer
        found = json.loads(headers.pop("sl-violations", "[]"))
        call.violations += [violation for violation in found if violation["location"][0] == "request"]
        if headers.get("content-type") == "application/problem+json":
            call.violations = call.violations or [json.loads(answer)]
        with self.lock:
            self.calls.append(call)
            ready = next((reply for reply in self.replies if reply["method"] == call.method and reply["path"] in call.path), None)
            if ready and not call.violations:
                self.replies.remove(ready)
                status, headers, answer = ready["status"], ready["headers"], ready["body"]
        return status, headers, answer

    def ask(self, call):
        headers = {name: value for name, value in call.headers.items() if name.lower() not in HOP_BY_HOP}
        body = call.body
        if self.document and call.headers.get("content-type", "").startswith(FORM):
            body = json.dumps(self.decode(call)).encode()
            headers = {**headers, "content-type": "application/json"}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(call.method, call.path, body or None, headers)
        response = connection.getresponse()
        answer = response.read()
        kept = {name.lower(): value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
        connection.close()
        return response.status, kept, answer

    def decode(self, call):
        """The form of a call as the JSON that stands in for it in the document."""
        paths = self.document["paths"]
        wanted = urlsplit(call.path).path.split("/")
        for path, table in paths.items():
            steps = path.split("/")
            alike = len(steps) == len(wanted) and all(a == b or a[:1] == "{" for a, b in zip(steps, wanted))
            if alike and call.method.lower() in table:
                content = table[call.method.lower()]["requestBody"]["content"]["application/json"]
                return decode(self.document, content["schema"], call.body.decode())
        return dict(parse_qsl(call.body.decode()))

    def find_call(self, path):
        return next((call for call in self.calls if call.path == path), None)

    def ready(self, method, reply, path=""):
        """Lays a reply of the catalog ready for the next call that is accepted, to a path with some text in it."""
        body, headers = reply.get("body", ""), dict(reply.get("headers", {}))
        if not isinstance(body, str):
            body = json.dumps(body)
            headers.setdefault("content-type", "application/json")
        with self.lock:
            self.replies.append({"method": method, "path": path, "status": reply["status"], "headers": headers, "body": body.encode()})


def server_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    return context
