"""When spans are made, by OpenTelemetry's variables; and that a receiver that is away costs spans and nothing else."""

import asyncio
import threading

import pytest

from dormouse_api import otlp
from dormouse_api.tracer import opened
from dormouse_api.tracing import wanted
from tests.otlp import DEADLINE, receiving

HERE = "http://collector:4318"


@pytest.mark.parametrize(
    ("env", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{HERE}/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_TRACES_SAMPLER": "always_off"}, True),
    ],
)
def test_it_is_on_where_a_receiver_is_named(env: dict[str, str], on: bool) -> None:
    assert wanted(env) is on


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER='zipkin'.*otlp or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT.*http://"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL='grpc'.*http/protobuf"),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER='sometimes'.*always_on"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG='2'"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, "from 0 to 1"),
    ],
)
def test_what_means_nothing_is_refused_with_the_fix(env: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE} | env)


async def test_the_environment_names_the_service_and_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    async with receiving(monkeypatch) as receiver:
        async with opened(True, "dormouse-router", print) as tracer:
            assert tracer is not None
            tracer.start_span("one").end()
        (span,) = receiver.spans  # the end waits for the last spans
        assert span.service == "mine"
        assert receiver.headers[0]["authorization"] == "Bearer token"


async def test_a_receiver_that_is_away_is_told_once_and_so_is_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    heard = threading.Event()

    def tell(text: str) -> None:
        told.append(text)
        heard.set()

    async with receiving(monkeypatch) as receiver:
        taking, answers = receiver.take, [404, 404]
        receiver.take = lambda path, body: answers.pop() if answers else taking(path, body)  # type: ignore[method-assign]
        async with opened(True, "test", tell) as tracer:
            assert tracer is not None
            for _ in range(3):
                answered = len(receiver.headers)
                tracer.start_span("one").end()
                async with asyncio.timeout(DEADLINE):
                    while len(receiver.headers) == answered:  # noqa: ASYNC110 - another thread's list
                        await asyncio.sleep(0.01)
    assert len(told) == 2
    assert "dropped" in told[0]
    assert "again" in told[1]


async def test_nobody_waits_for_a_receiver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, ended = threading.Event(), threading.Event()
    async with receiving(monkeypatch) as receiver:
        taking = receiver.take
        receiver.take = lambda path, body: taking(path, body) if hanging.wait(DEADLINE) else 503  # type: ignore[method-assign]
        made = otlp.provider("test", print)
        closing = made.shutdown

        def close() -> None:
            closing()
            ended.set()

        monkeypatch.setattr(made, "shutdown", close)
        for _ in range(5000):  # more than may wait
            made.get_tracer("test").start_span("one").end()
        await otlp.closed(made, 0.1)
        assert not ended.is_set()  # it goes on without us
        hanging.set()
        assert await asyncio.to_thread(ended.wait, DEADLINE)
        assert 0 < len(receiver.spans) < 5000
