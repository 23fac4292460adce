#!/usr/bin/python3
"""Says HELLO to a running coordinator and prints what it answers, as JSON.

    hello.py --endpoint tcp://127.0.0.1:40000 --server-key server.pub --key worker.secret \\
             --run 0x1234 --worker lingang-0 --region lingang

A key file is one line of Z85 (40 characters) after comment lines that start with `#`; the
worker's holds its secret key, from which the public one follows.

Exit codes: 0 WELCOME, 77 REFUSE with code 2, 1 any other answer, 69 no answer in time, 65 an answer
that is no frame of version 1, 2 wrong usage.
"""

import argparse
import json
import os
import re
import stat
import sys
import time
from dataclasses import asdict

import zmq

import longhaul_protocol as lh

Z85 = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
DAMAGES = ("none", "version", "truncated", "flipped")


def read_key(path, secret):
    """The key of a key file: one line of Z85 after comment lines that start with `#`."""
    if secret and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
        raise SystemExit(f"{path}: a secret key must not be readable by others (chmod 600)")
    with open(path, "rb") as file:
        lines = file.read(4096).splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith(b"#")]
    if len(lines) != 1 or not Z85.fullmatch(lines[0]):
        raise SystemExit(f"{path}: expected one line with a CURVE key, 40 characters of Z85")
    return lines[0]


def make_hello(arguments):
    low, _, high = arguments.versions.partition("-")
    fields = dict(
        minVersion=int(low), maxVersion=int(high or low), worker=arguments.worker,
        region=arguments.region, endpoint=arguments.data_endpoint, dataKey=bytes(32).hex(),
        parameterCount=0, configurationDigest=0, round=0, step=0, stateDigest=0, samples=0,
        sentAt=time.monotonic_ns())
    header = lh.Header(run=arguments.run, incarnation=time.time_ns(), sequence=1)
    return lh.encode(lh.Frame(header, "HELLO", fields))


def damage(frame, arguments):
    """The frame as asked for: whole, of another version, cut short or with one bit flipped."""
    if arguments.damage == "version":
        return lh.seal(frame[:4] + bytes([arguments.frame_version]) + frame[5:])
    if arguments.damage == "truncated":
        return frame[:max(1, len(frame) // 2)]
    if arguments.damage == "flipped":
        at = len(frame) - 1
        return frame[:at] + bytes([frame[at] ^ 1])
    return frame


def printable(frame):
    fields = dict(frame.fields)
    if frame.type == "WELCOME":
        try:
            fields["configuration"] = json.loads(fields["configuration"])
        except ValueError as error:
            print(f"the configuration is not JSON: {error}", file=sys.stderr)
    return {"type": frame.type, "header": asdict(frame.header), "fields": fields}


def connect(arguments):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
    socket.setsockopt(zmq.MAXMSGSIZE, lh.CONTROL_FRAME_BYTES)
    if arguments.server_key:
        secret = read_key(arguments.key, secret=True)
        socket.curve_serverkey = read_key(arguments.server_key, secret=False)
        socket.curve_secretkey = secret
        socket.curve_publickey = zmq.curve_public(secret)
    socket.connect(arguments.endpoint)
    return socket


def converse(socket, frame, timeout):
    """Sends the frame; returns the first answer that is not a heartbeat's, or None."""
    socket.send(frame)
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if not socket.poll(int(left * 1000)):
            break
        parts = socket.recv_multipart()
        answer = lh.decode(parts[-1], "control")
        if answer.type != "HEARTBEAT-ACK":
            return answer
    return None


def exit_code(answer):
    if answer.type == "WELCOME":
        return 0
    return 77 if answer.type == "REFUSE" and answer.fields["code"] == 2 else 1


def parse():
    number = lambda text: int(text, 0)  # noqa: E731
    parser = argparse.ArgumentParser(
        description="Says HELLO to a running coordinator and prints its answer as JSON.")
    parser.add_argument("--endpoint", required=True, help="the coordinator's, tcp://HOST:PORT")
    parser.add_argument("--server-key", help="file with the coordinator's public key")
    parser.add_argument("--key", help="file with this worker's secret key, mode 0600")
    parser.add_argument("--no-curve", action="store_true", help="for a coordinator without CURVE")
    parser.add_argument("--run", type=number, default=0, help="run id (default 0: unknown)")
    parser.add_argument("--worker", required=True, help="name on the allow-list")
    parser.add_argument("--region", default="")
    parser.add_argument("--data-endpoint", default="tcp://127.0.0.1:1")
    parser.add_argument("--versions", default="1", help="versions to offer, N or N-M (default 1)")
    parser.add_argument("--damage", choices=DAMAGES, default="none",
                        help="send a damaged frame instead")
    parser.add_argument("--frame-version", type=number, default=2,
                        help="byte 4 of the header with --damage version (default 2)")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds (default 5)")
    arguments = parser.parse_args()
    if arguments.no_curve == bool(arguments.server_key and arguments.key):
        parser.error("give both --server-key and --key, or --no-curve")
    return arguments


def main():
    arguments = parse()
    frame = damage(make_hello(arguments), arguments)
    socket = connect(arguments)
    try:
        answer = converse(socket, frame, arguments.timeout)
    except lh.FrameError as error:
        print(f"the answer is not a frame of version 1: {error}", file=sys.stderr)
        return 65
    finally:
        socket.close()
    if answer is None:
        print(f"no answer from {arguments.endpoint} within {arguments.timeout:g} s; with CURVE an "
              "unknown key is refused without a word", file=sys.stderr)
        return 69
    print(json.dumps(printable(answer), ensure_ascii=False, indent=2))
    return exit_code(answer)


if __name__ == "__main__":
    sys.exit(main())
