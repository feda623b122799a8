"""Ports for processes that listen later: free, and given to one asker only."""

import socket
import subprocess
import sys

from dev import ports
from dev.cluster.layout import REPOSITORY


def test_ports_of_one_call_differ_and_can_be_listened_on() -> None:
    found = ports.reserve(10)
    assert len(set(found)) == 10
    for port in found:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            listener.listen()


def test_a_port_is_given_to_nobody_else_before_its_asker_listens() -> None:
    """Another process thinks of the same one first."""
    (given,) = ports.reserve()
    program = (
        "import random, sys\nfrom dev import ports\n"
        "thought, choice = [int(sys.argv[1])], random.choice\n"
        "random.choice = lambda among: thought.pop() if thought else choice(among)\n"
        "print(ports.reserve()[0], thought)"
    )
    command = [sys.executable, "-c", program, str(given)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    other, thought = done.stdout.split()
    assert (thought, other != str(given)) == ("[]", True)


def test_one_that_is_listened_on_is_not_given() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not ports._free(listener.getsockname()[1])


def test_only_the_last_names_are_kept() -> None:
    ports.reserve(100)
    assert len(ports._names) < 100
