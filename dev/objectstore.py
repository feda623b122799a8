"""An S3 store for tests: moto, which checks signatures and policies as the real one does.

    python -m dev.objectstore [--host 127.0.0.1] [--port 0] [--folder FOLDER]

Makes a bucket and a user who may do everything with it, puts the folder's files there, prints who that is as one line
of JSON (`Keys`), and serves until it is killed. What is stored lives in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

BUCKET = "models"
USER = "dormouse"
REGION = "us-east-1"
PREPARATIONS = 4
"""Calls of `_prepare`: so many are let in without a signature."""
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True)
class Keys:
    """Where the store is, and who may use it."""

    port: int
    access_key_id: str
    secret_access_key: str


@contextmanager
def running(*options: str, inside: Sequence[str] = ()) -> Iterator[Keys]:
    """A store in a process of its own, on a free port; `inside`: the command that it is started by."""
    command = [*inside, sys.executable, "-m", "dev.objectstore", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        try:
            yield Keys(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.objectstore")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    wanted = parser.parse_args()
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(PREPARATIONS)  # read when moto is imported
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=wanted.host, port=wanted.port, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    keys = _prepare(port)
    if wanted.folder:
        _fill(keys, wanted.folder)
    print(json.dumps(asdict(keys)), flush=True)
    threading.Event().wait()


def _prepare(port: int) -> Keys:
    import boto3

    there = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region_name": REGION,
        "aws_access_key_id": "nobody",
        "aws_secret_access_key": "nothing",
    }
    people = boto3.client("iam", **there)
    people.create_user(UserName=USER)
    key = people.create_access_key(UserName=USER)["AccessKey"]
    people.put_user_policy(UserName=USER, PolicyName="all", PolicyDocument=json.dumps(POLICY))
    boto3.client("s3", **there).create_bucket(Bucket=BUCKET)
    return Keys(port, key["AccessKeyId"], key["SecretAccessKey"])


def _fill(keys: Keys, folder: Path) -> None:
    import boto3

    bucket = boto3.resource(
        "s3",
        endpoint_url=f"http://127.0.0.1:{keys.port}",
        region_name=REGION,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
    ).Bucket(BUCKET)
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.put_object(Key=file.relative_to(folder).as_posix(), Body=file.read_bytes())


if __name__ == "__main__":
    main()
