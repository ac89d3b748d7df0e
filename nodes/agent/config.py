"""The agent's settings: FALLOW_* from the environment, checked at start so that a typo stops it with a clear line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

RUNTIMES = ("auto", "docker", "podman", "process", "none")


class ConfigError(ValueError):
    """A setting is missing or wrong; the text says which and how to put it right."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set on a host."""

    state_dir: Path = Path("/var/lib/fallow-agent")
    config_dir: Path = Path("/etc/fallow-agent")
    server_url: str | None = None  # None: what enrolment stored
    runtime: str = "auto"
    engine_socket: Path | None = None  # None: looked for in the usual places
    ca_file: Path | None = None
    proxy_url: str | None = None
    simulator: Path | None = None
    ignored_owners: frozenset[str] = frozenset()  # users whose processes do not make a card busy
    local_images: frozenset[str] = frozenset()  # names that leases may use as they lie here, unknown to any registry
    spool_bytes: int = 16 * 1024 * 1024
    watch_seconds: float = 1.0  # how often the cards are looked at between reports
    hook_seconds: float = 30.0

    @property
    def hooks_dir(self) -> Path:
        """Folders `lease-start.d` and `lease-end.d` with the owner's executables."""
        return self.config_dir / "hooks"


def load_config(env: Mapping[str, str] = os.environ) -> Config:
    """The settings of this process; raises ConfigError."""
    default = Config()
    return Config(
        state_dir=_path(env, "FALLOW_STATE_DIR") or default.state_dir,
        config_dir=_path(env, "FALLOW_CONFIG_DIR") or default.config_dir,
        server_url=_url(env, "FALLOW_SERVER"),
        runtime=_runtime(env),
        engine_socket=_path(env, "FALLOW_ENGINE_SOCKET"),
        ca_file=_file(env, "FALLOW_CA_FILE"),
        proxy_url=_proxy(env),
        simulator=_file(env, "FALLOW_SIMULATOR"),
        ignored_owners=frozenset(_words(env, "FALLOW_IGNORED_OWNERS")),
        local_images=frozenset(_words(env, "FALLOW_LOCAL_IMAGES")),
        spool_bytes=int(_number(env, "FALLOW_SPOOL_MIB", 16, low=1, high=4096) * 1024 * 1024),
        watch_seconds=_number(env, "FALLOW_WATCH_SECONDS", default.watch_seconds, low=0.2, high=5),
        hook_seconds=_number(env, "FALLOW_HOOK_SECONDS", default.hook_seconds, low=1, high=600),
    )


def _path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name)
    if not value:
        return None
    if not os.path.isabs(value):
        raise ConfigError(f"{name}={value} must be an absolute path")
    return Path(value)


def _file(env: Mapping[str, str], name: str) -> Path | None:
    path = _path(env, name)
    if path is not None and not path.is_file():
        raise ConfigError(f"{name}={path} is not a file")
    return path


def _url(env: Mapping[str, str], name: str) -> str | None:
    value = env.get(name)
    return checked_url(value, name) if value else None


def checked_url(value: str, name: str = "server") -> str:
    """The address of a server without a trailing slash; plain HTTP only to this host itself."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{name}={value} must be an https:// address")
    local = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
    if parts.scheme == "http" and not local:
        raise ConfigError(f"{name}={value} would send the bearer in clear text: use https://")
    return value.rstrip("/")


def _runtime(env: Mapping[str, str]) -> str:
    value = env.get("FALLOW_RUNTIME", "auto")
    if value not in RUNTIMES:
        raise ConfigError(f"FALLOW_RUNTIME={value} must be one of {', '.join(RUNTIMES)}")
    return value


def _proxy(env: Mapping[str, str]) -> str | None:
    value = env.get("HTTPS_PROXY") or env.get("https_proxy")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        well = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an IPv6 address
        well = False
    if not well:
        place = value.rpartition("@")[2]  # a journal is no place for its password
        raise ConfigError(f"HTTPS_PROXY=…{place} must be an http:// address of a proxy that knows CONNECT")
    return value


def _words(env: Mapping[str, str], name: str) -> list[str]:
    return env.get(name, "").replace(",", " ").split()


def _number(env: Mapping[str, str], name: str, default: float, *, low: float, high: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"{name}={text} is not a number") from None
    if not low <= value <= high:
        raise ConfigError(f"{name}={text} must be between {low:g} and {high:g}")
    return value
