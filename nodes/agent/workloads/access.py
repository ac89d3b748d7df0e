"""A lease's way in: host key, the buyer's key, and the two scripts that start the sshd and each session."""

from __future__ import annotations

from pathlib import Path

from nodes.agent.workloads.bundle import MOUNTED_AT
from nodes.agent.workloads.openssh import Ed25519Key, write_secret
from nodes.agent.workloads.runtime import Access

LEASE_MOUNTED_AT = "/.fallow/lease"
SSH_PORT = 22

# Process 1: dropbear beside the buyer's command; a stop reaches everything inside and waits until it is gone, the
# engine's grace ends the wait. `export -p` keeps the image's environment for sessions, which an sshd would clear.
_START = f"""\
unset TERM PWD OLDPWD SHLVL
PATH="${{PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}}:{MOUNTED_AT}/bin"
export PATH
export -p > /.fallow/env
stop() {{
    trap '' TERM
    kill -TERM -1 2>/dev/null
    while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 1; done
    exit 143
}}
trap stop TERM
{MOUNTED_AT}/bin/dropbear -F -E -s -m -K 30 -p {SSH_PORT} -P /.fallow/pid -r {LEASE_MOUNTED_AT}/host-key &
main=$!
if [ $# -gt 0 ]; then "$@" & main=$!; fi
wait $main
exit $?
"""

# A forced command of the buyer's key: dropbear knows no SetEnv, and its sftp path is a path of the host.
_SESSION = f"""\
#!/bin/sh
. /.fallow/env
case "$SSH_ORIGINAL_COMMAND" in
    "") exec "${{SHELL:-/bin/sh}}" ;;
    */sftp-server) exec {MOUNTED_AT}/bin/sftp-server ;;
    *) exec "${{SHELL:-/bin/sh}}" -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""


def prepare_access(folder: Path, buyers_key: str, bundle: Path | None, host_key: Ed25519Key) -> Access:
    """Write everything that the container mounts; repeated calls make the same files anew."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    write_secret(folder / "host-key", host_key.dropbear_private())
    (folder / "start").write_text(_START)
    session = folder / "session"
    session.write_text(_SESSION)
    session.chmod(0o755)
    keys = folder / "authorized_keys"
    keys.write_text(f'command="{LEASE_MOUNTED_AT}/session" {one_line(buyers_key)}\n')
    keys.chmod(0o600)
    return Access(folder=folder, bundle=bundle, authorized_keys=keys, host_key=host_key.public_line)


def one_line(public_key: str) -> str:
    """The buyer's key as `type base64`; whatever else was sent with it (options, comments, more lines) is left out."""
    kind, blob, *_ = [*public_key.split(), "", ""]
    if not kind.startswith(("ssh-", "ecdsa-", "sk-")):
        raise ValueError("not a public key of SSH")
    return f"{kind} {blob}"
