"""hello.py against the real coordinator. Skipped where it has not been built (make build)."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

HERE = Path(__file__).resolve().parent
BINARY = HERE.parents[1] / ".build" / "release" / "longhaul-coordinator"
CLUSTER = """\
name: live
steps: 5
seed: 7
regions:
  north:
    workers:
      - {name: north-1, batch: 2, step: 10 ms}
      - {name: north-2, batch: 2, step: 10 ms}
schedule: {inner: every-step, outer: every-step}
model: {width: 32, layers: 1, heads: 2, context: 32}
"""

pytestmark = pytest.mark.skipif(
    not os.access(BINARY, os.X_OK), reason=f"{BINARY} has not been built")


class Live:
    """A coordinator on a port of its own, with two workers on its allow-list."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "live.yaml").write_text(CLUSTER)
        allowed = {}
        for name in ("north-1", "north-2", "stranger"):
            public, secret = zmq.curve_keypair()
            path = folder / f"{name}.key"
            path.write_bytes(secret + b"\n")
            path.chmod(0o600)
            if name != "stranger":
                allowed[name] = public.decode()
        (folder / "allowed.json").write_text(json.dumps(allowed))
        self.process = subprocess.Popen(
            [BINARY, folder / "live.yaml", "--dir", folder / "run", "--allow",
             folder / "allowed.json", "--machine-readable", "--exit-with-parent"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.endpoint = json.loads(self.process.stdout.readline())["endpoint"]
        secret = (folder / "run" / "coordinator.key").read_bytes().splitlines()[-1]
        (folder / "server.pub").write_bytes(zmq.curve_public(secret) + b"\n")

    def hello(self, name, *more, key=None):
        return subprocess.run(
            [sys.executable, HERE / "hello.py", "--endpoint", self.endpoint,
             "--server-key", self.folder / "server.pub", "--key",
             self.folder / f"{key or name}.key", "--worker", name, *more],
            capture_output=True, text=True, timeout=30)

    def close(self):
        self.process.stdin.close()
        try:
            assert self.process.wait(timeout=40) == 130
        finally:
            self.process.kill()


@pytest.fixture
def live(tmp_path):
    live = Live(tmp_path)
    yield live
    live.close()


def test_hello_is_answered_by_the_run_and_its_topology(live):
    result = live.hello("north-2")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["type"] == "WELCOME"
    fields = answer["fields"]
    assert (fields["workerID"], fields["version"]) == (1, 1)
    assert fields["configuration"]["configuration"]["seed"] == 7
    regions = fields["configuration"]["topology"]["regions"]
    assert [worker["name"] for worker in regions[0]["workers"]] == ["north-1", "north-2"]
    assert answer["header"]["run"] != 0


@pytest.mark.parametrize("arguments, code, reason", [
    (("--versions", "2-9"), 1, "versions 2...9"),
    (("--damage", "version"), 1, "unsupportedVersion"),
    (("--damage", "truncated"), 8, "truncated"),
    (("--damage", "flipped"), 8, "checksum")])
def test_what_it_does_not_understand_is_refused_with_a_reason(live, arguments, code, reason):
    result = live.hello("north-1", *arguments)
    answer = json.loads(result.stdout)
    assert result.returncode == 1
    assert (answer["type"], answer["fields"]["code"]) == ("REFUSE", code)
    assert reason in answer["fields"]["reason"]
    assert live.hello("north-1").returncode == 0


def test_a_run_it_does_not_coordinate_is_refused(live):
    result = live.hello("north-1", "--run", "0x1234")
    answer = json.loads(result.stdout)
    assert (answer["type"], answer["fields"]["code"]) == ("REFUSE", 3), answer


def test_a_seat_that_the_key_does_not_belong_to_is_refused(live):
    result = live.hello("north-2", key="north-1")
    assert result.returncode == 77, result.stdout + result.stderr


def test_a_stranger_hears_nothing(live):
    assert live.hello("north-1", "--timeout", "1", key="stranger").returncode == 69


def test_the_coordinator_keeps_its_secret_to_itself(live):
    assert stat.S_IMODE((live.folder / "run" / "coordinator.key").stat().st_mode) == 0o600
