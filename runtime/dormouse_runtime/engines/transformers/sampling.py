"""Choosing the next tokens of a batch, each row by its own rules and its own random numbers. torch only."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dormouse_runtime.engines.generation import Row

GREEDY = 1e-5
"""Temperatures below choose the likeliest token."""


def choose(scores: torch.Tensor, rows: Sequence[Row], eos: Sequence[int]) -> list[int]:
    """The next token of every row, noted in the row. `scores`: [rows, vocabulary], as the model gave them.

    A row whose own rules raise is marked `failed` and gets the token 0; the others get theirs.
    """
    scores = scores.float()
    try:
        tokens = _chosen(scores, rows, eos)
    except torch.AcceleratorError:
        raise  # nothing runs on this device any more, whoever asks
    except Exception:  # noqa: BLE001 - whatever one row's rules raise must not end its company
        tokens = [_alone(score, row, eos) for score, row in zip(scores, rows, strict=True)]
    for row, token in zip(rows, tokens, strict=True):
        row.generated.append(token)
    return tokens


def _alone(score: torch.Tensor, row: Row, eos: Sequence[int]) -> int:
    try:
        return _chosen(score.unsqueeze(0), [row], eos)[0]
    except torch.AcceleratorError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        row.failed = f"no next token can be chosen by this request's sampling: {error}"
        return 0


def _chosen(scores: torch.Tensor, rows: Sequence[Row], eos: Sequence[int]) -> list[int]:
    changed = [index for index, row in enumerate(rows) if not row.sampling.plain]
    if changed:
        scores = scores.clone()
        for index in changed:
            _adjust(scores[index], rows[index], eos)
    tokens: list[int] = scores.argmax(dim=-1).tolist()
    for ordered in (False, True):
        # Apart, because the same draw finds another token in a sorted row: a seed must not depend on the company.
        places = [index for index, row in enumerate(rows) if _sampled(row) and _ordered(row) is ordered]
        if places:
            drawn = _sample(scores[places], [rows[index] for index in places], ordered)
            for index, token in zip(places, drawn, strict=True):
                tokens[index] = token
    return tokens


def _adjust(score: torch.Tensor, row: Row, eos: Sequence[int]) -> None:
    """Penalties, biases and the least length, in place on one row."""
    sampling = row.sampling
    if sampling.repetition_penalty != 1.0 and (seen := sorted({*row.prompt, *row.generated})):
        at = torch.tensor(seen, device=score.device)
        old = score[at]
        score[at] = torch.where(old > 0, old / sampling.repetition_penalty, old * sampling.repetition_penalty)
    if row.generated and (sampling.presence_penalty or sampling.frequency_penalty):
        at, counts = torch.tensor(row.generated, device=score.device).unique(return_counts=True)
        score[at] -= sampling.presence_penalty + sampling.frequency_penalty * counts
    for token, bias in sampling.logit_bias.items():
        if 0 <= token < score.shape[0]:
            score[token] += bias
    if len(row.generated) < sampling.min_tokens:
        score[list(eos)] = -torch.inf


def _sampled(row: Row) -> bool:
    return row.sampling.temperature > GREEDY


def _ordered(row: Row) -> bool:
    """Whether a rule needs the vocabulary in order of likelihood: sorting it is the slow part."""
    return bool(row.sampling.top_k or row.sampling.top_p < 1 or row.sampling.min_p)


def _sample(scores: torch.Tensor, rows: Sequence[Row], ordered: bool) -> list[int]:
    """One drawn token per row."""
    device = scores.device
    temperature = torch.tensor([row.sampling.temperature for row in rows], device=device).unsqueeze(1)
    probabilities = torch.softmax(scores / temperature, dim=-1)
    order: torch.Tensor | None = None
    if ordered:
        probabilities, order = probabilities.sort(dim=-1, descending=True)
        probabilities = probabilities * _kept(probabilities, rows)
    ladder = probabilities.cumsum(dim=-1)
    draws = torch.tensor([row.draw() for row in rows], device=device).unsqueeze(1)
    places = torch.searchsorted(ladder, draws * ladder[:, -1:], right=True).clamp(max=scores.shape[1] - 1)
    chosen: list[int] = (places if order is None else order.gather(1, places)).squeeze(1).tolist()
    return chosen


def _kept(probabilities: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Which of the sorted probabilities top_k, top_p and min_p leave in; the likeliest always stays."""
    device, size = probabilities.device, probabilities.shape[1]

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=device).unsqueeze(1)

    rank = torch.arange(size, device=device)
    kept = rank < column([min(row.sampling.top_k, size) or size for row in rows])
    kept &= probabilities.cumsum(dim=-1) - probabilities < column([row.sampling.top_p for row in rows])
    kept &= probabilities >= probabilities[:, :1] * column([row.sampling.min_p for row in rows])
    return kept | (rank == 0)
