"""Names of every metric, once. Base units, suffixes as Prometheus wants them; never the engine's own prefix."""

PREFIX = "dormouse"

# router
REQUESTS = f"{PREFIX}_requests_total"  # labels: model, dialect, code
REQUEST_SECONDS = f"{PREFIX}_request_duration_seconds"  # labels: model, dialect
FIRST_BYTE_SECONDS = f"{PREFIX}_time_to_first_byte_seconds"  # labels: model
FIRST_TOKEN_SECONDS = f"{PREFIX}_time_to_first_token_seconds"  # labels: model; of streams
INTER_TOKEN_SECONDS = f"{PREFIX}_inter_token_seconds"  # labels: model; of streams, the mean of each
IN_FLIGHT = f"{PREFIX}_requests_in_flight"  # labels: model
HELD = f"{PREFIX}_requests_held"  # labels: model
HELD_LIMIT = f"{PREFIX}_requests_held_limit"  # labels: model; its maxHeld
HOLD_SECONDS = f"{PREFIX}_hold_duration_seconds"  # labels: model, outcome
WAKES = f"{PREFIX}_wakes_total"  # labels: model
PASSED_OVER = f"{PREFIX}_engines_passed_over_total"  # labels: model
REFUSED = f"{PREFIX}_requests_refused_total"  # labels: model, reason
LEASE_WRITES = f"{PREFIX}_lease_writes_total"
WATCH_EVENTS = f"{PREFIX}_watch_events_total"  # labels: resource
UNKNOWN_MODEL = f"{PREFIX}_unknown_model_requests_total"
LIMITS_HIT = f"{PREFIX}_limits_hit_total"  # labels: limit (requests, tokens, concurrent, wrong_keys), of
USAGE_LOST = f"{PREFIX}_usage_lost_calls_total"  # labels: what (queue, audit, totals); 0 in normal work
WEBHOOK_TRIES = f"{PREFIX}_webhook_tries_total"  # labels: outcome (arrived, failed, given_up)
TOKENS = f"{PREFIX}_tokens_total"  # labels: model, kind (prompt, completion)
ROUTE_REQUESTS = f"{PREFIX}_route_requests_total"  # labels: route, variant (that answered), code
ROUTE_FALLBACKS = f"{PREFIX}_route_fallbacks_total"  # labels: route, variant (that could not serve)
# of /metrics/gpu, beside those of the runtime below: what engines tell of themselves
ENGINE_CACHE_USED = f"{PREFIX}_engine_kv_cache_used_ratio"  # labels: model, host
ENGINE_RUNNING = f"{PREFIX}_engine_requests_running"  # labels: model, host
ENGINE_WAITING = f"{PREFIX}_engine_requests_waiting"  # labels: model, host
# batches, by their workers
BATCHES = f"{PREFIX}_batches"  # labels: status; those that have not ended
BATCHES_LATE = f"{PREFIX}_batches_late"  # of those, the ones that will not be done when their window ends
BATCH_ETA_SECONDS = f"{PREFIX}_batch_eta_seconds"  # until the last open line is answered, at the rate of late
BATCH_LINES_OPEN = f"{PREFIX}_batch_lines_open"  # labels: model
BATCH_LINES = f"{PREFIX}_batch_lines_total"  # labels: model, outcome (completed, failed)
BATCH_SWAP_SECONDS = f"{PREFIX}_batch_swap_seconds_total"  # labels: model; waiting for it to wake
BATCH_AGAIN = f"{PREFIX}_batch_attempts_repeated_total"  # labels: model, reason
BATCH_TOKENS = f"{PREFIX}_batch_tokens_total"  # labels: model, kind (prompt, completion)
BATCH_IN_FLIGHT = f"{PREFIX}_batch_lines_in_flight"  # labels: model
BATCH_WINDOW = f"{PREFIX}_batch_window_lines"  # labels: model
BATCH_DUTIES = f"{PREFIX}_batch_duties_total"  # labels: task (validate, finish)
BATCH_WORKER_RESTARTS = f"{PREFIX}_batch_worker_restarts_total"
BATCH_CHUNKS_LOST = f"{PREFIX}_batch_chunks_lost_total"
# any part
CREDENTIAL_EXPIRY = f"{PREFIX}_credential_expiry_timestamp_seconds"  # labels: credential; since the epoch
# operator
RECONCILES = f"{PREFIX}_operator_reconciles_total"  # labels: result
RECONCILE_SECONDS = f"{PREFIX}_operator_reconcile_duration_seconds"
QUEUE_DEPTH = f"{PREFIX}_operator_queue_depth"
QUEUE_OLDEST_SECONDS = f"{PREFIX}_operator_queue_oldest_seconds"
API_WRITES = f"{PREFIX}_operator_api_writes_total"  # labels: kind, verb
LEADER = f"{PREFIX}_operator_leader"  # 1: this one acts, 0: it stands by
MODELS = f"{PREFIX}_operator_models"  # labels: reason
MODEL_FAILING = f"{PREFIX}_operator_model_failing"  # labels: namespace, model, reason; 1 for each that cannot serve
# of starts of the last hour; labels: namespace, model
LAST_START_SECONDS = f"{PREFIX}_operator_last_start_seconds"
USUAL_START_SECONDS = f"{PREFIX}_operator_usual_start_seconds"  # the median of those before it
PULL_BYTES = f"{PREFIX}_operator_pull_bytes"  # labels: namespace, model; of pulls under way
PULL_TOTAL_BYTES = f"{PREFIX}_operator_pull_total_bytes"  # labels: namespace, model
PULLS = f"{PREFIX}_operator_pulls_total"  # labels: result (Pulled, or the reason of a failure)
PULLED_BYTES = f"{PREFIX}_operator_pulled_bytes_total"
PULL_SECONDS = f"{PREFIX}_operator_pull_duration_seconds"
START_SECONDS = f"{PREFIX}_operator_start_duration_seconds"  # labels: engine
SWAP_SECONDS = f"{PREFIX}_operator_swap_duration_seconds"
LINE_WAIT_SECONDS = f"{PREFIX}_operator_line_wait_duration_seconds"  # labels: line (accelerator, pull)
START_STAGE_SECONDS = f"{PREFIX}_operator_start_stage_duration_seconds"  # labels: stage, engine
DEVICE_SECONDS = f"{PREFIX}_operator_device_seconds_total"  # labels: namespace, model, resource, state
WAITED_SECONDS = f"{PREFIX}_operator_caller_wait_seconds_total"  # labels: namespace, model
PREWARM_STARTS = f"{PREFIX}_operator_prewarm_starts_total"  # labels: outcome (used, unused)
PREWARM_SAVED_SECONDS = f"{PREFIX}_operator_prewarm_saved_seconds_total"
PREWARM_SPENT_SECONDS = f"{PREFIX}_operator_prewarm_spent_seconds_total"
# what the GPUs of ready pods say, by the operator; labels: namespace, model, pod, gpu
POD_GPU_MEMORY_USED = f"{PREFIX}_gpu_memory_used_bytes"
POD_GPU_MEMORY_TOTAL = f"{PREFIX}_gpu_memory_total_bytes"
POD_GPU_UTILIZATION = f"{PREFIX}_gpu_utilization_ratio"
POD_GPU_TEMPERATURE = f"{PREFIX}_gpu_temperature_celsius"
POD_GPU_WARNING = f"{PREFIX}_gpu_warning"  # and kind: 1 for each that stands
# runtime
RUNTIME_STAGE = f"{PREFIX}_runtime_stage"  # labels: stage
RUNTIME_START_SECONDS = f"{PREFIX}_runtime_start_duration_seconds"  # labels: stage
RUNTIME_RESIDENT_BYTES = f"{PREFIX}_runtime_resident_memory_bytes"
RUNTIME_SUPERVISOR_BYTES = f"{PREFIX}_runtime_supervisor_resident_memory_bytes"
GPU_MEMORY_USED = f"{PREFIX}_runtime_gpu_memory_used_bytes"  # labels: gpu
GPU_MEMORY_TOTAL = f"{PREFIX}_runtime_gpu_memory_total_bytes"  # labels: gpu
GPU_UTILIZATION = f"{PREFIX}_runtime_gpu_utilization_ratio"  # labels: gpu
GPU_TEMPERATURE = f"{PREFIX}_runtime_gpu_temperature_celsius"  # labels: gpu
GPU_SLOWDOWN = f"{PREFIX}_runtime_gpu_slowdown_celsius"  # labels: gpu; where the device begins to slow itself down
GPU_WARNING = f"{PREFIX}_runtime_gpu_warning"  # labels: gpu, kind
