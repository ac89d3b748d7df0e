"""Turns into another program that gets a signal when its parent dies: leash.py PARENT SIGNAL UID GID PROGRAM ARGS…

It runs as a script of its own between the parent and the program, because only a process can set its own
death signal, and changing the user afterwards would clear it. `-` as UID keeps the user.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, uid, gid, *program = sys.argv[1:]
    if uid != "-":
        _become(int(uid), int(gid))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the signal was armed
        sys.exit(1)
    os.execvp(program[0], program)  # noqa: S606


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    os.umask(0o077)


if __name__ == "__main__":
    main()
