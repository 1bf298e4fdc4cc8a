# docker build -t myoresponse .
# docker run -p 127.0.0.1:8000:8000 -v myoresponse:/data myoresponse
# The first start prints an API key, once: docker logs.

# The lock holds the extras too: the driver of PostgreSQL and the writer of Parquet.
FROM python:3.11-slim AS packages
COPY requirements.lock .
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11-slim
RUN groupadd --gid 10001 myoresponse \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin myoresponse \
 && install -d -m 0700 -o myoresponse -g myoresponse /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /srv/myoresponse
COPY alembic alembic
COPY app app

# In a container the service must listen beyond loopback, and therefore asks everybody for a key or a token. The names by
# which a proxy addresses the service go into MYORESPONSE_ALLOWED_HOSTS.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/matplotlib \
    MYORESPONSE_HOST=0.0.0.0 \
    MYORESPONSE_PORT=8000 \
    MYORESPONSE_DATABASE_URL=sqlite:////data/myoresponse.db \
    MYORESPONSE_DEAD_LETTERS=/data/dead-letters
# Derivations work in chunks of columns. glibc would give each chunk's memory back to the system and fault it in again,
# which makes large cohorts take about twice as long; these thresholds (64 MiB and 512 MiB) let it keep the memory.
ENV MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=536870912

USER 10001:10001
VOLUME /data
EXPOSE 8000
# Without proxies, which urllib would otherwise take from the environment.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['MYORESPONSE_PORT'] + '/livez', timeout=4)"]
# exec: the service is process 1, so that a stop signal reaches it and requests in flight are finished.
CMD ["sh", "-c", "python -m app migrate && exec python -m app serve"]
