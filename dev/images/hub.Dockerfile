# The model hub of the local cluster: dev/hub, with the sample models (build context `models`) inside.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}
COPY --from=models . /srv/hub
COPY dev/__init__.py /app/dev/__init__.py
COPY dev/hub /app/dev/hub
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /app
WORKDIR /app
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
EXPOSE 8900
ENTRYPOINT ["python3", "-m", "dev.hub", "/srv/hub", "--host", "0.0.0.0", "--port", "8900"]
