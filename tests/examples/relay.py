"""A relay between an example and the broker that cuts a connection at the worst moment."""

import socket
import threading

# The class and method of basic.ack: a consumer's ack, and the broker's confirm.
BASIC_ACK = b"\x00\x3c\x00\x50"


class Relay:
    """Forwards connections to a port, until it is requested to lose an ack."""

    def __init__(self, port):
        self.target, self.text, self.lost = ("127.0.0.1", port), None, threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def lose_ack_of(self, text):
        """Once a text has passed, in whatever direction, swallows the next ack of the other side and cuts the connection."""
        self.lost.clear()
        self.text = text.encode()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            Connection(self, client, socket.create_connection(self.target)).start()


class Connection:
    """One relayed connection."""

    def __init__(self, relay, client, broker):
        self.relay, self.ends, self.passed_to = relay, (client, broker), None

    def start(self):
        client, broker = self.ends
        for source, sink in ((client, broker), (broker, client)):
            threading.Thread(target=self.forward, args=(source, sink), daemon=True).start()

    def forward(self, source, sink):
        window = b""
        try:
            while chunk := source.recv(65536):
                window = (window + chunk)[-131072:]
                if self.passed_to is source and BASIC_ACK in chunk:
                    self.relay.lost.set()
                    break
                if self.relay.text and self.relay.text in window:
                    self.relay.text, self.passed_to = None, sink
                sink.sendall(chunk)
        except OSError:
            pass
        for end in self.ends:
            # What a thread waits for in recv does not end by close.
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
