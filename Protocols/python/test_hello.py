"""hello.py against a ROUTER with CURVE and an allow-list, over real sockets."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator

import longhaul_protocol as lh

HELLO = Path(__file__).resolve().parent / "hello.py"
WAIT_MS = 10_000


class Coordinator(threading.Thread):
    """Answers one frame as a coordinator does: WELCOME, or REFUSE for what it cannot decode."""

    def __init__(self, secret, public):
        super().__init__(daemon=True)
        self.context = zmq.Context()
        self.authenticator = ThreadAuthenticator(self.context)
        self.authenticator.start()
        self.authenticator.configure_curve_callback("longhaul", self)
        self.allowed = set()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 1_000)
        self.socket.zap_domain = b"longhaul"
        self.socket.curve_server = True
        self.socket.curve_secretkey = secret
        self.socket.curve_publickey = public
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"

    def callback(self, domain, key):
        return key in self.allowed

    def run(self):
        if self.socket.poll(WAIT_MS):
            peer, data = self.socket.recv_multipart()
            self.socket.send_multipart([peer, lh.encode(self.answer(data))])

    def answer(self, data):
        header = lh.Header(run=1, incarnation=2, sequence=1)
        try:
            hello = lh.decode(data, "control")
        except lh.FrameError as error:
            code = 1 if error.name == "unsupportedVersion" else 8
            return lh.Frame(header, "REFUSE", dict(
                code=code, reason=str(error), hint="", minVersion=1, maxVersion=1))
        return lh.Frame(header, "WELCOME", dict(
            workerID=3, version=1, configurationDigest=5, configuration='{"seed":7}',
            echoSentAt=hello.fields["sentAt"], coordinatorTime=9))

    def close(self):
        self.join()
        self.socket.close()
        self.authenticator.stop()
        self.context.term()


@pytest.fixture
def coordinator(tmp_path):
    public, secret = zmq.curve_keypair()
    own_public, own_secret = zmq.curve_keypair()
    (tmp_path / "server.pub").write_bytes(b"# server\n" + public + b"\n")
    (tmp_path / "worker.secret").write_bytes(b"# worker\n" + own_secret + b"\n")
    (tmp_path / "worker.secret").chmod(0o600)
    coordinator = Coordinator(secret, public)
    coordinator.folder = tmp_path
    coordinator.allowed.add(own_public)
    yield coordinator
    coordinator.close()


def say_hello(coordinator, *more):
    return subprocess.run(
        [sys.executable, HELLO, "--endpoint", coordinator.endpoint,
         "--server-key", coordinator.folder / "server.pub",
         "--key", coordinator.folder / "worker.secret", "--worker", "lingang-0", *more],
        capture_output=True, text=True, timeout=30)


def test_welcome_is_printed_with_the_configuration_parsed(coordinator):
    coordinator.start()
    result = say_hello(coordinator)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["type"] == "WELCOME"
    assert answer["fields"]["configuration"] == {"seed": 7}


@pytest.mark.parametrize("damage, code, error", [
    ("version", 1, "unsupportedVersion"), ("truncated", 8, "truncated"),
    ("flipped", 8, "checksum")])
def test_damaged_frame_is_refused(coordinator, damage, code, error):
    coordinator.start()
    result = say_hello(coordinator, "--damage", damage)
    answer = json.loads(result.stdout)
    assert result.returncode == 1
    assert (answer["type"], answer["fields"]["code"]) == ("REFUSE", code)
    assert error in answer["fields"]["reason"]


def test_unknown_key_gets_no_answer(coordinator):
    coordinator.allowed.clear()
    coordinator.start()
    result = say_hello(coordinator, "--timeout", "1")
    assert result.returncode == 69
    assert "no answer" in result.stderr
    coordinator.allowed.add(b"")
    # Ends the thread: the next frame it waits for comes from an allowed key.
    coordinator.callback = lambda domain, key: True
    assert say_hello(coordinator).returncode == 0


def test_secret_key_readable_by_others_is_not_used(coordinator):
    coordinator.start()
    (coordinator.folder / "worker.secret").chmod(0o644)
    result = say_hello(coordinator)
    assert result.returncode != 0 and "chmod 600" in result.stderr
    (coordinator.folder / "worker.secret").chmod(0o600)
    assert say_hello(coordinator).returncode == 0
