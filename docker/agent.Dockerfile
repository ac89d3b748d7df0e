# The node agent, for hosts that run everything in containers; a systemd unit and a wheel are the other way.
# docker build -f docker/agent.Dockerfile -t fallow/agent .
ARG BASE=docker.io/library/python:3.12.12-slim-bookworm

FROM ${BASE} AS build
RUN python3 -m venv /opt/venv
COPY nodes/agent /src
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check /src

FROM ${BASE}
# ssh carries leases to the relay; the rest is what the agent lends to containers, with its own loader and libraries.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    openssh-client dropbear-bin openssh-sftp-server rsync \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10002 fallow-agent \
 && useradd --uid 10002 --gid 10002 --no-create-home --home-dir /var/lib/fallow-agent --shell /usr/sbin/nologin \
    fallow-agent \
 && install -d -o 10002 -g 10002 -m 700 /var/lib/fallow-agent
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=utility
USER 10002:10002
CMD ["fallow-agent", "run"]
