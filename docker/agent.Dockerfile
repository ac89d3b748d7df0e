# The node agent, for hosts that run everything in containers; a systemd unit and a wheel are the other way.
# docker build -f docker/agent.Dockerfile -t fallow/agent .    README.md says with which rights it runs.
ARG BASE=docker.io/library/python:3.12.12-slim-bookworm

FROM ${BASE} AS build
RUN python3 -m venv /opt/venv
COPY nodes/agent /src
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check /src

FROM ${BASE}
# ssh carries leases to the relay, nft keeps them away from the owner's network; the rest is what the agent lends to
# containers, with its own loader and libraries.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    openssh-client dropbear-bin openssh-sftp-server rsync nftables \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -m 700 /var/lib/fallow-agent
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=utility
# Root, with the two capabilities that README.md names: the sshd of a lease takes only keys that belong to its own user,
# and who holds the engine's socket is root on the host in any case.
USER 0:0
# The agent writes its status with every report; `status` fails while it has a problem.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["sh", "-c", "find \"${FALLOW_STATE_DIR:-/var/lib/fallow-agent}/status.json\" -mmin -2 | grep -q . && fallow-agent status >/dev/null"]
CMD ["fallow-agent", "run"]
