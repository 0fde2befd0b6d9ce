# SPDX-License-Identifier: Apache-2.0
"""The client's half of SPDY/3.1 as Kubernetes' streaming servers speak it: exec, attach and port-forward go over it.

A stream is opened with a header block (zlib, here without the preset dictionary, which a reader must accept), data goes both ways, FIN
closes one direction. Servers of this kind keep no window, so there is no flow control.
"""
import socket, struct, threading, urllib.parse, zlib

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 1


class Stream:
    def __init__(self, session, number):
        self.session, self.number = session, number
        self.on_data = lambda data: None
        self.closed = threading.Event()  # the server will send no more

    def send(self, data):
        for at in range(0, len(data), 32768):
            self.session.frame(struct.pack("!I", self.number), 0, data[at:at + 32768])

    def close(self):
        self.session.frame(struct.pack("!I", self.number), FIN, b"")


class Session:
    def __init__(self, url, protocol):
        u = urllib.parse.urlsplit(url)
        self.sock = socket.create_connection((u.hostname, u.port), 60)
        self.sock.settimeout(None)
        self.lock, self.streams, self.next = threading.Lock(), {}, 1
        self.deflate = zlib.compressobj()
        path = u.path + ("?" + u.query if u.query else "")
        self.sock.sendall((f"POST {path} HTTP/1.1\r\nHost: {u.netloc}\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"
                           f"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n\r\n").encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            if not byte:
                break
            head += byte
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise OSError(f"the streaming server does not switch protocols: {head.decode()}")
        threading.Thread(target=self.read_frames, daemon=True).start()

    def frame(self, first, flags, data):
        with self.lock:
            self.sock.sendall(first + bytes([flags]) + len(data).to_bytes(3, "big") + data)

    def control(self, kind, flags, data):
        self.frame(struct.pack("!HH", 0x8003, kind), flags, data)

    def open(self, on_data=None, **headers):
        s = Stream(self, self.next)
        if on_data:
            s.on_data = on_data
        self.streams[self.next] = s
        self.next += 2
        block = struct.pack("!I", len(headers))
        for k, v in headers.items():
            block += struct.pack("!I", len(k)) + k.encode() + struct.pack("!I", len(v)) + v.encode()
        block = self.deflate.compress(block) + self.deflate.flush(zlib.Z_SYNC_FLUSH)
        self.control(SYN_STREAM, 0, struct.pack("!IIH", s.number, 0, 0) + block)
        return s

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read_frames(self):
        try:
            while True:
                head = self.exactly(8)
                data = self.exactly(int.from_bytes(head[5:8], "big"))
                if head[0] & 0x80:
                    self.got_control(struct.unpack("!H", head[2:4])[0], head[4], data)
                    continue
                s = self.streams.get(struct.unpack("!I", head[:4])[0])
                if s and data:
                    s.on_data(data)
                if s and head[4] & FIN:
                    s.closed.set()
        except (EOFError, OSError):
            pass
        for s in self.streams.values():
            s.closed.set()

    def got_control(self, kind, flags, data):
        if kind == PING:
            self.control(PING, 0, data)
        elif kind == RST_STREAM or (kind == SYN_REPLY and flags & FIN):
            s = self.streams.get(struct.unpack("!I", data[:4])[0])
            if s:
                s.closed.set()
