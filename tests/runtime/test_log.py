"""What of an engine's output is kept, and what of it is not."""

from __future__ import annotations

import pytest

from dormouse_runtime.supervisor.log import KEPT_LINES, MAX_LINE, EngineLog


def test_lines_are_put_together_from_pieces() -> None:
    seen: list[str] = []
    log = EngineLog(seen.append)
    log.feed(b"one\ntw")
    log.feed(b"o\r 50%\r100%\n\n")
    log.feed("drei\N{EURO SIGN}".encode())
    assert seen == ["one", "two", " 50%", "100%"]
    log.close()
    assert seen[-1] == "drei\N{EURO SIGN}"


def test_the_ring_and_its_lines_are_bounded() -> None:
    log = EngineLog(lambda line: None)
    log.feed(b"x\n" * (3 * KEPT_LINES))
    assert len(log.lines) == KEPT_LINES
    log.feed(b"y" * (5 * MAX_LINE))
    assert max(map(len, log.lines)) <= MAX_LINE


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("token hf_AbCdEfGhIjKl used", "token *** used"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("api_key='0123456789abcdef'", "api_key='***'"),
        ('{"password": "correct-horse"}', '{"password": "***"}'),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "AWS_SECRET_ACCESS_KEY=***"),
        ("sk-abcdefghijklmnopqrstuv", "***"),
        ("fetching https://me:correct-horse@hub/x", "fetching https://***@hub/x"),
        ("generated 12 tokens: fine", "generated 12 tokens: fine"),
        ("max_num_batched_tokens=2048, bos_token=1", "max_num_batched_tokens=2048, bos_token=1"),
    ],
)
def test_what_looks_like_a_credential_is_cut_out(line: str, kept: str) -> None:
    seen: list[str] = []
    log = EngineLog(seen.append)
    log.feed(f"{line}\n".encode())
    assert [*seen, *log.lines] == [kept, kept]
