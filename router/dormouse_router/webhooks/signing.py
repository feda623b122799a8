"""The headers of a webhook, as Standard Webhooks has them: one signature for each secret that signs now. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed(message_id: str, body: bytes, secrets: Iterable[str], now: float) -> dict[str, str]:
    """webhook-id, webhook-timestamp, webhook-signature. ValueError where a secret is none."""
    at = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    text = body.decode()
    signatures = [Webhook(secret).sign(message_id, at, text) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
