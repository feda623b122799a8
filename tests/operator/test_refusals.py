"""What the cluster refuses is told with the way out, and tried again by itself: nothing tells us when the wall goes."""

import pytest

from dormouse_operator.errors import Retry, Terminal
from tests.operator.bench import Bench

WEBHOOK = Retry('500 Job: Internal error occurred: failed calling webhook "guard.example.com": connection refused', 2.0)
QUOTA = Terminal('Job: jobs.batch "x" is forbidden: exceeded quota: q, requested: count/jobs.batch=1', "Job", 403)
POLICY = Terminal('Job: jobs.batch "x" is forbidden: ValidatingAdmissionPolicy denied request: no', "Job", 422)


@pytest.mark.parametrize(
    ("error", "cause", "fix"),
    [
        (WEBHOOK, "guard.example.com", "mend or remove the webhook"),
        (QUOTA, "exceeded quota: q", "raise the ResourceQuota"),
        (POLICY, "denied request: no", "obey the policy"),
    ],
)
async def test_a_refused_job_is_told_and_made_when_the_wall_goes(
    bench: Bench, error: Exception, cause: str, fix: str
) -> None:
    bench.world.refuse["Job"] = error
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "Refused")
    assert cause in bench.message()
    assert fix in bench.message()
    await bench.pass_time(6)
    assert bench.condition() == ("False", "Refused")
    bench.world.refuse.clear()
    await bench.pass_time(6)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_refused_claim_is_told_and_made_when_the_quota_grows(bench: Bench) -> None:
    kind = "PersistentVolumeClaim"
    bench.world.refuse[kind] = Terminal(f"{kind}: is forbidden: exceeded quota: q", kind, 403)
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "StorageFailed")
    assert "raise the ResourceQuota" in bench.message()
    bench.world.refuse.clear()
    await bench.pass_time(6)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_name_that_somebody_else_has_is_looked_at_again(bench: Bench) -> None:
    """Their object has no label of ours, so nothing tells of its end."""
    bench.world.put("Service", "ns", "tiny-runtime", spec={"ports": []})
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "InvalidSpec")
    bench.world.remove("Service", "ns", "tiny-runtime", told=False)
    await bench.pass_time(6)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_claim_of_the_users_own_is_looked_for_again(bench: Bench) -> None:
    bench.world.model("tiny", storage={"existingClaim": "mine"})
    await bench.settle()
    assert bench.condition() == ("False", "StorageFailed")
    spec = {"resources": {"requests": {"storage": "5Gi"}}, "accessModes": ["ReadWriteOnce"]}
    bench.world.put("PersistentVolumeClaim", "ns", "mine", spec=spec)
    await bench.pass_time(6)
    assert bench.condition() == ("True", "ScaledToZero")
