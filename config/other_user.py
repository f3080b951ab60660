"""How root, or a user without a name, runs a program that refuses them (PostgreSQL does).

Best is a user namespace of one uid: inside, the program has another number,
and its files stay ours. Where these are forbidden, as in most containers, root
gives the program another uid and one capability, to reach its files wherever
they lie; those then belong to that uid.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from functools import cache

from config.trouble import Trouble

CLONE_NEWUSER = 0x10000000  # linux/sched.h
PR_SET_KEEPCAPS = 8  # linux/prctl.h
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_VERSION_3 = 0x20080522  # linux/capability.h
CAP_DAC_OVERRIDE = 1
ANY_UID = 1000  # on a system that knows nobody but root
REFUSED = 97  # a child's exit code when the kernel allows neither way

libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def needed() -> bool:
    """Whether this user is root, or has no name in the user database."""
    return os.geteuid() == 0 or os.geteuid() not in {user.pw_uid for user in pwd.getpwall()}


def change() -> Callable[[], bool] | None:
    """What the child calls between fork and exec; False when the kernel refuses. None: nothing to do."""
    if libc is None or not needed():
        return None
    if os.geteuid() == 0 and not namespaces_work():
        return _become(_other_uid())
    return _enter_namespace()


def owner() -> int:
    """Who must own the program's files, as seen from here."""
    return _other_uid() if os.geteuid() == 0 and not namespaces_work() else os.geteuid()


@cache
def namespaces_work() -> bool:
    """Whether a child of ours may enter a user namespace."""
    enter = _enter_namespace()
    tried = subprocess.run(
        ["/bin/true"],
        check=False,
        preexec_fn=lambda: None if enter() else os._exit(REFUSED),
    )
    return tried.returncode == 0


def refused(name: str) -> Trouble:
    """The error where the kernel allows neither way."""
    return Trouble(
        f"{name} refuses to run as root or as a user without a name, and this system forbids the user "
        "namespace that would help. Run as an ordinary user, or allow user namespaces (sysctl "
        "user.max_user_namespaces, or the container's seccomp profile), or set DATABASE_URL to your own."
    )


def _other_uid() -> int:
    others = {user.pw_name: user.pw_uid for user in pwd.getpwall() if user.pw_uid != 0}
    return others.get("nobody") or next(iter(others.values()), ANY_UID)


def _enter_namespace() -> Callable[[], bool]:
    unshare = libc.unshare if libc else None  # looked up here: little is safe after a fork
    inside = _other_uid()
    maps = (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {os.geteuid()} 1"),
        ("gid_map", f"{inside} {os.getegid()} 1"),
    )

    def enter() -> bool:
        if unshare is None or unshare(CLONE_NEWUSER):
            return False
        try:
            for name, text in maps:
                with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - the least code after a fork
                    file.write(text)
        except OSError:
            return False
        return True

    return enter


def _become(uid: int) -> Callable[[], bool]:
    capset, prctl = (libc.capset, libc.prctl) if libc else (None, None)
    only = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(only, only, only)  # effective, permitted, inheritable; the upper halves 0

    def become() -> bool:
        if capset is None or prctl is None:
            return False
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
            os.setresuid(uid, uid, uid)
        except OSError:
            return False
        return not (
            capset(header, sets) or prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
        )

    return become
