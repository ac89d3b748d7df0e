# Every process of the server is this image with another command: see compose.yml.
# docker build -f docker/server.Dockerfile -t fallow/server .
# Any Debian with Python 3.11 or newer serves as BASE; pin it by digest where builds have to be repeatable.
ARG BASE=docker.io/library/python:3.12.12-slim-bookworm

FROM ${BASE} AS build
WORKDIR /srv/fallow
RUN python3 -m venv /opt/venv && python3 -m venv /opt/node
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY . .
# Node comes from a wheel into an environment of its own that stays behind in this stage.
RUN sh marketplace/storefront/assets/build.sh /opt/node/bin \
 && rm -rf marketplace/storefront/assets/node_modules \
 && DATABASE_URL=postgresql://none@127.0.0.1/none SECRET_KEY=build COMMAND_KEY=build PASSPORT_KEY=build BANK_DETAILS_KEY=build \
    /opt/venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
 && /opt/venv/bin/python -m compileall -q .

FROM ${BASE}
# The keys' folder exists here so that a new volume takes its owner over.
RUN groupadd --gid 10001 fallow \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin fallow \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/fallow
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/fallow /srv/fallow
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RELAY_HOST_KEY_FILE=/var/lib/fallow/relay_host_key
WORKDIR /srv/fallow
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8", \
     "--no-control-socket", "--worker-tmp-dir", "/dev/shm", "marketplace.wsgi:application"]
