"""What looks like a credential is left out of the words of others, and nothing else is."""

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.masking import without_secrets
from dormouse_api.results import MAX_MESSAGE, Failure, Outcome
from dormouse_api.runtime import Passed

CANARY = "canary-7f3a9c-tweet"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://user:{CANARY}@db/x refused",
        f"redis://:{CANARY}@cache",
        f"no answer from https://me:{CANARY}@hub.example/api/models (timed out)",
        f"https://me:pass@{CANARY}@hub/x",
        f"Authorization: Bearer {CANARY}",
        f"{{'authorization': 'Bearer {CANARY}'}}",
        f"authorization=Basic {CANARY}",
        f"sent Bearer {CANARY} to the hub",
        "Authorization: Basic canarycanary",
        f"token={CANARY}&x=1",
        f"GET /f?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}&X-Amz-Security-Token={CANARY}",
        f'"password": "{CANARY}"',
        f"{{'secret_access_key': '{CANARY}'}}",
        f"x-api-key: {CANARY}",
        f"HF_TOKEN={CANARY} was not taken",
        f"hf_{CANARY}",
        f"sk-{CANARY}",
        f"the key dm-{CANARY}-and-More is not known",
        f"the key dm-{CANARY.encode().hex()} is not known",
        f"whsec_{CANARY}",
        f"eyJhbGciOiJFZDI1NTE5In0.eyJzdWIi{CANARY}.{CANARY}",
        "the token hf_canarycanarycanarycanarycanarycan",
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str) -> None:
    assert "canary" not in (told := without_secrets(text))
    assert CANARY.encode().hex() not in told


@pytest.mark.parametrize(
    "text",
    [
        "watch interrupted: the API server does not answer: Cannot connect to host 10.0.0.1:443",
        "Secret hub is missing: kubectl -n a create secret generic hub --from-literal=token=TOKEN",
        "create secret generic s3 --from-literal=accessKeyId=ID --from-literal=secretAccessKey=KEY",
        'MountVolume.SetUp failed for volume "token" : secret "hub-2" not found',
        "references non-existent secret key: token",
        "the hub refused the token for org/name (401): set spec.source.tokenSecretRef to a token that is valid",
        "a token in spec.source.tokenSecretRef raises the limit",
        "hf_hub_download failed on sk-learn of dm-0",
        "default/dm-mistral-small-24b-instruct-2501 waits for its turn",
        "use basic authentication, or a bearer token",
        "https://hub/a/b: ask me@example.org",
        "send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
        "send the API key that it was made with (Authorization: Bearer ...), or ask the administrator.",
        "router.database.existingSecret=database,router.replicas=2",
        "max_num_batched_tokens=2048, bos_token=1, eos_token='<|endoftext|>'",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_secrets(text) == text


def test_no_text_takes_long() -> None:
    for part in ("://", "sk-", "eyJ", "token: ", "token=", "bearer ", "authorization:", "password'", "x"):
        text = part * 3000
        assert len(without_secrets(text)) <= 2 * len(text)


def test_what_jobs_and_engines_say_is_masked_whoever_made_it() -> None:
    words = f"no good answer from https://me:{CANARY}@hub: check it"
    failure = Failure.model_validate({"reason": "Network", "message": words})
    assert failure.message == "no good answer from https://***@hub: check it"
    assert CANARY not in Passed(engine="vllm", reason=Reason.ENGINE_FAILED, message=words, seconds=1).message
    far = Failure.model_validate({"reason": "Network", "message": "x" * (MAX_MESSAGE // 2 - 30) + words})
    assert "canary" not in Outcome(failure=far).text(), "what is cut off must not make it unknown"
