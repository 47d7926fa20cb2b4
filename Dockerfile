# The image of web, worker, beat and migrate: the same code, started four ways.
# The Python is the one that the tests run on.
FROM python:3.11.14-slim-bookworm AS packages

WORKDIR /app
# requirements-apprise.txt is the same with the library for further chats and pagers.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-apprise.txt ./
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
        --require-hashes -r "$REQUIREMENTS" \
    && /venv/bin/pip check

FROM python:3.11.14-slim-bookworm

ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 keyvault \
    && useradd --uid 10001 --gid keyvault --no-create-home --home-dir /tmp --shell /usr/sbin/nologin keyvault \
    && install -d -o keyvault -g keyvault -m 0700 /var/lib/keyvault/audit
COPY --from=packages /venv /venv
WORKDIR /app
COPY manage.py ./
COPY keyvault keyvault
COPY rotation rotation
COPY templates templates
COPY deploy/worker_health.py deploy/worker_health.py
RUN python -m compileall -q keyvault rotation

USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "keyvault.wsgi:application", \
    "--worker-class", "keyvault.web_server.BufferingWorker", "--workers", "2", "--threads", "4", \
    "--preload", "--no-control-socket", "--worker-tmp-dir", "/dev/shm", \
    "--bind", "0.0.0.0:8000"]
