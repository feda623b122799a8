"""How lines are cut into chunks, and how the lines of one are read."""

import random

from dormouse_router.batch.chunking import lines, nothing_done, planned
from dormouse_router.batch.validate import Index
from dormouse_router.batching import Line
from dormouse_router.worker.reading import MOST_GAP, MOST_GROUP, groups, spans


def index(*rows: tuple[int, int], length: int = 100) -> Index:
    """A file of lines of these (model, prefix)."""
    made = Index()
    for number, (model, prefix) in enumerate(rows):
        made.numbers.append(number + 1)
        made.offsets.append(number * (length + 1))
        made.lengths.append(length)
        made.models.append(model)
        made.prefixes.append(prefix)
    made.names.extend(f"m{model}" for model in range(max(model for model, _ in rows) + 1))
    return made


def numbers(made: Index, most: int = 128) -> list[list[int]]:
    return [[line.number for line in lines(chunk.lines, nothing_done(chunk.count))] for chunk in planned(made, most)]


def test_prompts_that_have_nothing_in_common_stay_as_they_are_in_the_file() -> None:
    prefixes = [random.getrandbits(32) for _ in range(300)]
    assert numbers(index(*((0, prefix) for prefix in prefixes))) == [
        list(range(1, 129)),
        list(range(129, 257)),
        list(range(257, 301)),
    ]


def test_prompts_that_begin_alike_are_neighbours() -> None:
    assert numbers(index((0, 9), (0, 5), (0, 9), (0, 7), (0, 5), (0, 9))) == [[1, 3, 6, 2, 5, 4]]


def test_a_chunk_is_of_one_model_and_no_longer_than_it_may_be() -> None:
    made = index((1, 0), (0, 0), (1, 0), (0, 1), (1, 0))
    assert numbers(made, 2) == [[2, 4], [1, 3], [5]]
    assert [chunk.model for chunk in planned(made, 2)] == ["m0", "m1", "m1"]


def test_neighbours_are_read_at_once_and_small_gaps_read_over() -> None:
    near = [Line(0, 1, 0, 100), Line(1, 2, 101, 100), Line(2, 9, 201 + MOST_GAP, 50)]
    far = Line(3, 10, 252 + 2 * MOST_GAP, 10)
    assert spans([far, near[2], near[0], near[1]]) == [
        (0, 251 + MOST_GAP, near),
        (far.offset, far.offset + 10, [far]),
    ]


def test_only_so_many_bytes_of_lines_are_in_memory_together() -> None:
    size = MOST_GROUP // 3
    made = [Line(place, place, place * size, size) for place in range(7)]
    assert [len(group) for group in groups(made)] == [3, 3, 1]
    huge = [Line(0, 1, 0, 2 * MOST_GROUP), Line(1, 2, 2 * MOST_GROUP + 1, 1)]
    assert [len(group) for group in groups(huge)] == [1, 1]
    assert list(groups([])) == []
