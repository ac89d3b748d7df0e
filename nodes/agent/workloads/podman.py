"""podman: its own endpoint makes network and container, because its Docker endpoint silently drops GPU requests."""

from __future__ import annotations

from typing import Any

from nodes.agent.workloads.access import LEASE_MOUNTED_AT
from nodes.agent.workloads.cards import cdi_name
from nodes.agent.workloads.docker import (
    CAPABILITIES,
    MIB,
    DockerRuntime,
    container_name,
    environment,
    labels,
    mounts,
    network_name,
)
from nodes.agent.workloads.firewall import bridge_name
from nodes.agent.workloads.images import full_name
from nodes.agent.workloads.runtime import LEASE_LABEL, ContainerPlan

API = "/v4.0.0/libpod"
CPU_PERIOD_US = 100_000


class PodmanRuntime(DockerRuntime):
    """Leases on podman; cards come in through CDI."""

    name = "podman"

    def _storage_folder(self) -> str:
        return str(self.engine.get(f"{API}/info")["store"]["graphRoot"])

    def _create_network(self, plan: ContainerPlan) -> None:
        wanted = {
            "name": network_name(plan.lease),
            "driver": "bridge",
            "network_interface": bridge_name(plan.lease),
            "dns_enabled": False,
            "ipv6_enabled": False,
            "labels": {LEASE_LABEL: plan.lease},
        }
        self.engine.call("POST", f"{API}/networks/create", wanted)

    def _create_container(self, plan: ContainerPlan) -> str:
        wanted = {
            "name": container_name(plan),
            "image": full_name(plan.image),
            "user": "0:0",
            "entrypoint": ["/bin/sh", f"{LEASE_MOUNTED_AT}/start"],
            "command": list(plan.command),
            "env": environment(plan, void=True),
            "labels": labels(plan),
            "stop_signal": 15,
            "systemd": "false",
            "restart_policy": "no",
            "image_volume_mode": "ignore",  # a volume would be outside of the disk limit
            "log_configuration": {"driver": "k8s-file", "size": 10 * MIB},
            "netns": {"nsmode": "bridge"},
            "Networks": {network_name(plan.lease): {}},
            "dns_server": list(plan.dns),
            "cap_drop": ["ALL"],
            "cap_add": [f"CAP_{each}" for each in CAPABILITIES],
            "no_new_privileges": True,
            "shm_size": plan.shm_mib * MIB,
            "resource_limits": _limits(plan),
            "mounts": [_mount(source, target) for source, target in mounts(plan)],
            "devices": [] if plan.simulated else [{"path": cdi_name(uuid)} for uuid in plan.gpus],
        }
        return str(self.engine.call("POST", f"{API}/containers/create", wanted)["Id"])


def _limits(plan: ContainerPlan) -> dict[str, Any]:
    return {
        "pids": {"limit": plan.pids},
        "memory": {"limit": plan.memory_mib * MIB, "swap": plan.memory_mib * MIB},
        "cpu": {"quota": plan.cpu_millis * CPU_PERIOD_US // 1000, "period": CPU_PERIOD_US},
    }


def _mount(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "destination": target, "options": ["ro", "rprivate", "rbind"]}
