#!/bin/sh
# Sees to the programs that the suite drives. As root on Debian it installs what is missing, elsewhere it says so;
# the tests that need one then skip and name it.
missing=
for pair in chromium:chromium podman:podman runc:runc busybox:busybox-static dropbear:dropbear-bin ssh:openssh-client \
    sshd:openssh-server rsync:rsync iptables:iptables slirp4netns:slirp4netns \
    nft:nftables ip:iproute2 capsh:libcap2-bin conmon:conmon dockerd:docker.io debootstrap:debootstrap hledger:hledger; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || test -x "/usr/sbin/${pair%%:*}" || missing="$missing ${pair##*:}"
done
test -e /usr/lib/podman/netavark || missing="$missing netavark"
test -e /usr/lib/openssh/sftp-server || missing="$missing openssh-sftp-server"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "== machine: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && apt-get install -y -q --no-install-recommends $missing; } >/tmp/fallow-machine.log 2>&1 \
        || { tail -n 3 /tmp/fallow-machine.log; echo "== machine: not everything could be installed; those tests skip"; }
else
    echo "== machine: the tests that need these skip:$missing"
fi
exit 0
