"""Whether spans are made of what happens, as OpenTelemetry's own variables say. Pure; `tracer` makes them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables has the variables.
"""

from collections.abc import Mapping

TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
ENDPOINTS = (TRACES_ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The first is the whole address, to the second v1/traces is added."""
PROTOCOLS = (TRACES_PROTOCOL, "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off")
SAMPLERS_OF_SHARES = ("traceidratio", "parentbased_traceidratio")


def wanted(env: Mapping[str, str]) -> bool:
    """Whether spans are to be exported. ValueError with the variable and the fix where its value means nothing."""
    exporter = env.get("OTEL_TRACES_EXPORTER", "")
    if exporter not in ("", "otlp", "none"):
        raise ValueError(f"OTEL_TRACES_EXPORTER={exporter!r} is no exporter known here: set it to otlp or none")
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    addresses = {name: env[name] for name in ENDPOINTS if env.get(name)}
    if not addresses and not exporter:
        return False
    for name, address in addresses.items():
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"{name}={address!r} is no address: set it to that of an OTLP/HTTP receiver, http://...")
    spoken = next(((name, env[name]) for name in PROTOCOLS if env.get(name)), None)
    if spoken is not None and spoken[1] != PROTOCOL:
        raise ValueError(f"{spoken[0]}={spoken[1]!r} is not spoken here: set it to {PROTOCOL}, and the port to 4318's")
    _check_sampler(env)
    return True


def _check_sampler(env: Mapping[str, str]) -> None:
    sampler = env.get("OTEL_TRACES_SAMPLER", "")
    if sampler and sampler not in SAMPLERS + SAMPLERS_OF_SHARES:
        known = ", ".join(SAMPLERS + SAMPLERS_OF_SHARES)
        raise ValueError(f"OTEL_TRACES_SAMPLER={sampler!r} is no sampler: set it to one of {known}")
    share = env.get("OTEL_TRACES_SAMPLER_ARG", "")
    if sampler in SAMPLERS_OF_SHARES and share:
        try:
            fits = 0 <= float(share) <= 1
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"OTEL_TRACES_SAMPLER_ARG={share!r} is no share: set it to a number from 0 to 1")
