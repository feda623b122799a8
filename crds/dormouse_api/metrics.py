"""Names of every metric, once. Base units, suffixes as Prometheus wants them; never the engine's own prefix."""

PREFIX = "dormouse"

# router
REQUESTS = f"{PREFIX}_requests_total"  # labels: model, dialect, code
REQUEST_SECONDS = f"{PREFIX}_request_duration_seconds"  # labels: model, dialect
FIRST_BYTE_SECONDS = f"{PREFIX}_time_to_first_byte_seconds"  # labels: model
IN_FLIGHT = f"{PREFIX}_requests_in_flight"  # labels: model
HELD = f"{PREFIX}_requests_held"  # labels: model
HOLD_SECONDS = f"{PREFIX}_hold_duration_seconds"  # labels: model, outcome
WAKES = f"{PREFIX}_wakes_total"  # labels: model
PASSED_OVER = f"{PREFIX}_engines_passed_over_total"  # labels: model
REFUSED = f"{PREFIX}_requests_refused_total"  # labels: model, reason
LEASE_WRITES = f"{PREFIX}_lease_writes_total"
WATCH_EVENTS = f"{PREFIX}_watch_events_total"  # labels: resource
UNKNOWN_MODEL = f"{PREFIX}_unknown_model_requests_total"
TOKENS = f"{PREFIX}_tokens_total"  # labels: model, kind (prompt, completion)
ROUTE_REQUESTS = f"{PREFIX}_route_requests_total"  # labels: route, variant (that answered), code
ROUTE_FALLBACKS = f"{PREFIX}_route_fallbacks_total"  # labels: route, variant (that could not serve)
# of /metrics/gpu, beside those of the runtime below: what engines tell of themselves
ENGINE_CACHE_USED = f"{PREFIX}_engine_kv_cache_used_ratio"  # labels: model, host
ENGINE_RUNNING = f"{PREFIX}_engine_requests_running"  # labels: model, host
ENGINE_WAITING = f"{PREFIX}_engine_requests_waiting"  # labels: model, host
# operator
RECONCILES = f"{PREFIX}_operator_reconciles_total"  # labels: result
RECONCILE_SECONDS = f"{PREFIX}_operator_reconcile_duration_seconds"
QUEUE_DEPTH = f"{PREFIX}_operator_queue_depth"
QUEUE_OLDEST_SECONDS = f"{PREFIX}_operator_queue_oldest_seconds"
API_WRITES = f"{PREFIX}_operator_api_writes_total"  # labels: kind, verb
MODELS = f"{PREFIX}_operator_models"  # labels: reason
# runtime
RUNTIME_STAGE = f"{PREFIX}_runtime_stage"  # labels: stage
RUNTIME_START_SECONDS = f"{PREFIX}_runtime_start_duration_seconds"  # labels: stage
RUNTIME_RESIDENT_BYTES = f"{PREFIX}_runtime_resident_memory_bytes"
GPU_MEMORY_USED = f"{PREFIX}_runtime_gpu_memory_used_bytes"  # labels: gpu
GPU_MEMORY_TOTAL = f"{PREFIX}_runtime_gpu_memory_total_bytes"  # labels: gpu
GPU_UTILIZATION = f"{PREFIX}_runtime_gpu_utilization_ratio"  # labels: gpu
GPU_TEMPERATURE = f"{PREFIX}_runtime_gpu_temperature_celsius"  # labels: gpu
