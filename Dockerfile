# docker build -t myoresponse .
# docker run --read-only --cap-drop=ALL --tmpfs /tmp -p 127.0.0.1:8000:8000 -v myoresponse:/data myoresponse
#
# Only /data (the database, its secrets and the dead letters) and /tmp are written: the root may be read-only.
# compose.yaml runs the image with PostgreSQL and a proxy for TLS.

# Pin the digest of the base that you build on: --build-arg BASE=docker.io/library/debian:bookworm-slim@sha256:...
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS base
# postgresql-client has the pg_dump and pg_restore of `backup` and `restore`; they must not be older than the server.
# Pango and a font print the report as PDF.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates fonts-dejavu-core libpango-1.0-0 libpangoft2-1.0-0 \
    postgresql-client python3 \
 && rm -rf /var/lib/apt/lists/*

# The lock holds the extras too: the driver of PostgreSQL, the writers of Parquet and of SAS files, charts and PDF.
FROM base AS packages
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
COPY requirements.lock .
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/venv/bin/pip uninstall --yes setuptools pip

FROM base
RUN groupadd --gid 10001 myoresponse \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin myoresponse \
 && install -d -m 0700 -o myoresponse -g myoresponse /data
COPY --from=packages /opt/venv /opt/venv
COPY alembic /srv/myoresponse/alembic
COPY docs /srv/myoresponse/docs
COPY README.md SECURITY.md CHANGELOG.md /srv/myoresponse/
COPY app /srv/myoresponse/app
# Answers name the commit that the image was built from: --build-arg COMMIT=$(git rev-parse HEAD) of a clean checkout.
ARG COMMIT=
RUN if [ -n "$COMMIT" ]; then printf '%s\n' "$COMMIT" > /srv/myoresponse/app/COMMIT; fi
# Nothing writes bytecode later: without it, each start would compile every module. (pip has compiled the packages.)
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /srv/myoresponse/app

# In a container the service must listen beyond loopback, so that every request needs a key: the first start prints one.
# The names by which a proxy addresses the service go into MYORESPONSE_ALLOWED_HOSTS.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/srv/myoresponse \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/tmp/cache \
    MYORESPONSE_HOST=0.0.0.0 \
    MYORESPONSE_PORT=8000 \
    MYORESPONSE_LOG=json \
    MYORESPONSE_DATABASE_URL=sqlite:////data/myoresponse.db \
    MYORESPONSE_DEAD_LETTERS=/data/dead-letters
# Derivations work in chunks of columns. glibc would give each chunk's memory back to the system and fault it in again,
# which makes large cohorts take about twice as long; these thresholds (64 MiB and 512 MiB) let it keep the memory.
ENV MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=536870912

USER 10001:10001
VOLUME /data
# Files without a directory in their setting, such as the secret file with PostgreSQL, are made here.
WORKDIR /data
EXPOSE 8000
# Without proxies, which urllib would otherwise take from the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['MYORESPONSE_PORT'] + '/livez', timeout=4)"]
# exec: the service is process 1, so that a stop signal reaches it and requests in flight are finished.
CMD ["sh", "-c", "python -m app migrate && exec python -m app serve"]
