"""s3:// sources against a real S3 implementation: what comes, what is verified, and what is never mixed."""

from __future__ import annotations

import pytest

from dormouse_api.conditions import Reason
from tests.runtime.pull.harness import LARGE, PULLED, SMALL, WEIGHTS, Puller, commit, said, until
from tests.runtime.pull.objects import Objects

pytestmark = pytest.mark.slow


def test_a_model_is_inspected_without_its_weights_and_pulled_whole(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE)
    looked = s3.run("inspect")
    assert looked.outcome.inspect is not None
    assert (looked.outcome.inspect.architecture, looked.outcome.inspect.parameters) == ("LlamaForCausalLM", 64)
    assert looked.outcome.inspect.bytes == sum(len(LARGE[path]) for path in PULLED)
    assert sum(entry["sent"] for entry in objects.sent(WEIGHTS)) <= 100_000
    found = s3.run("fetch", DORMOUSE_COMMIT=commit(looked))
    assert found.code == 0, found
    files = s3.files(commit(looked))
    assert {path: files[path] for path in PULLED} == {path: LARGE[path] for path in PULLED}
    assert set(files) == {*PULLED, ".dormouse.json"}
    assert s3.marker(commit(looked)).tools.keys() == {"dormouse", "obstore"}
    again = s3.run("fetch", DORMOUSE_COMMIT=commit(looked))
    assert again.outcome.pull is not None
    assert again.outcome.pull.fetched_bytes == 0


def test_the_commit_changes_with_what_is_pulled_and_with_nothing_else(s3: Puller, objects: Objects) -> None:
    objects.put(SMALL)
    first = commit(s3.run("inspect"))
    objects.put({"README.md": b"# new words", "log.bin": b"x"})
    assert commit(s3.run("inspect")) == first
    objects.put({"config.json": SMALL["config.json"] + b"\n"})
    second = commit(s3.run("inspect"))
    assert second != first
    gone = s3.run("fetch", DORMOUSE_COMMIT=first)
    assert (gone.reason, gone.code) == (Reason.NOT_FOUND, 42)
    assert "to another word, such as" in said(gone)
    objects.put({"config.json": SMALL["config.json"]})
    assert commit(s3.run("inspect", DORMOUSE_REVISION=first)) == first


def test_a_neighbour_whose_name_begins_alike_is_not_pulled(s3: Puller, objects: Objects) -> None:
    objects.put(SMALL)
    Objects(objects.url, objects.keys, f"{objects.prefix}-two", objects.faults, objects.log).put({"x.json": b"{}"})
    found = s3.run("fetch")
    assert set(s3.files(commit(found))) == {*PULLED, ".dormouse.json"}


@pytest.mark.parametrize("parts", [False, True])
def test_a_cut_connection_goes_on_where_it_stopped(s3: Puller, objects: Objects, parts: bool) -> None:
    objects.put(LARGE, parts=parts)
    objects.order({"kind": "cut", "path": WEIGHTS, "after": 3_000_000, "times": 2})
    found = s3.run("fetch")
    assert found.code == 0, found
    assert s3.files(commit(found))[WEIGHTS] == LARGE[WEIGHTS]
    sent = objects.sent(WEIGHTS)
    assert sum(entry["sent"] for entry in sent) < len(LARGE[WEIGHTS]) + 2_000_000
    assert [entry["range"].startswith("bytes=0-") for entry in sent] == [True, False, False]


def test_the_next_process_goes_on_where_the_last_one_was_killed(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE, parts=True)
    objects.order({"kind": "slow", "path": WEIGHTS, "rate": 1 << 20, "times": None})
    process = s3.start("fetch")
    until(lambda: s3.part() >= 2_000_000, "some of the weights on the volume")
    process.kill()
    s3.finish(process)
    before = s3.part()
    objects.order()
    found = s3.run("fetch")
    assert s3.files(commit(found))[WEIGHTS] == LARGE[WEIGHTS]
    assert found.outcome.pull is not None
    assert found.outcome.pull.fetched_bytes < found.outcome.pull.bytes - before + 1


def test_a_new_revision_links_what_has_not_changed(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE, parts=True)
    first = commit(s3.run("fetch"))
    objects.put({"config.json": SMALL["config.json"] + b" "})
    found = s3.run("fetch")
    assert found.outcome.pull is not None
    assert found.outcome.pull.fetched_bytes < 10_000
    files = [s3.models / folder / WEIGHTS for folder in (first, commit(found))]
    assert files[0].stat().st_ino == files[1].stat().st_ino


def test_an_object_replaced_in_the_middle_is_never_mixed_with_the_old_one(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE)
    inspected = commit(s3.run("inspect"))
    objects.order({"kind": "slow", "path": WEIGHTS, "rate": 1 << 20, "times": None})
    process = s3.start("fetch", DORMOUSE_COMMIT=inspected)
    until(lambda: s3.part() >= 1_000_000, "some of the weights on the volume")
    process.kill()
    s3.finish(process)
    objects.put({WEIGHTS: LARGE[WEIGHTS][:-4] + b"\1\1\1\1"})
    ended = s3.run("fetch", DORMOUSE_COMMIT=inspected)
    assert (ended.reason, ended.code) == (Reason.NOT_FOUND, 42)
    assert not (s3.models / inspected / WEIGHTS).exists()


def test_an_object_replaced_after_the_listing_is_refused_by_its_etag(s3: Puller, objects: Objects) -> None:
    objects.put(LARGE)
    objects.order({"kind": "status", "path": f"/{WEIGHTS}", "status": 412, "code": "PreconditionFailed"})
    ended = s3.run("fetch")
    assert (ended.reason, ended.code) == (Reason.NOT_FOUND, 42)
    assert f"{WEIGHTS} of {objects.uri} was replaced or removed" in said(ended)


@pytest.mark.parametrize("times", [1, None])
def test_wrong_bytes_are_fetched_once_more_and_then_named(s3: Puller, objects: Objects, times: int | None) -> None:
    objects.put(LARGE)
    objects.order({"kind": "corrupt", "path": WEIGHTS, "after": 5_000_000, "times": times})
    ended = s3.run("fetch")
    if times:
        assert s3.files(commit(ended))[WEIGHTS] == LARGE[WEIGHTS]
    else:
        assert (ended.reason, ended.code) == (Reason.CORRUPT, 42)
        assert "put the file into the bucket again" in said(ended)


def test_etags_that_are_no_hashes_are_not_taken_for_wrong_bytes(s3: Puller, objects: Objects) -> None:
    """As where the store encrypts with keys of its own: the small file that is asked first has another md5, too."""
    objects.put(SMALL)
    objects.order({"kind": "corrupt", "path": "tokenizer.json", "after": 0})
    ended = s3.run("fetch")
    assert ended.code == 0, ended


def test_weights_that_were_not_uploaded_whole_are_named_before_they_are_pulled(s3: Puller, objects: Objects) -> None:
    objects.put(SMALL | {WEIGHTS: SMALL[WEIGHTS][:-100]})
    ended = s3.run("inspect")
    assert (ended.reason, ended.code) == (Reason.CORRUPT, 42)
    assert "it was not put there whole" in said(ended)
