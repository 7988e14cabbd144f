"""Accounts of a Nacos server and users of this machine, for tests of who may do what."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import subprocess
import traceback
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

from harness.mounts import Space
from harness.nacos_admin import NacosAdmin, NacosError
from harness.servers import NacosServer

PASSWORD = "pw-of-an-account"


@dataclass(frozen=True)
class Account:
    """A Nacos user with a role of its own. `login` is what mount(user=...) takes, `calls` the API with its rights."""

    server: NacosServer
    name: str
    role: str

    @property
    def login(self) -> tuple[str, str]:
        return self.name, PASSWORD

    @property
    def calls(self) -> NacosAdmin:
        return self.server.admin.as_user(self.name, PASSWORD)

    def grant(self, ns: str, group: str = "*", data_id: str = "*", action: str = "rw") -> None:
        self.server.admin.grant(self.role, ns, group, data_id, action)

    def revoke(self, ns: str, group: str = "*", data_id: str = "*", action: str = "rw") -> None:
        self.server.admin.revoke(self.role, ns, group, data_id, action)


@contextlib.contextmanager
def nacos_account(server: NacosServer, *grants: tuple[str, str, str, str], name: str | None = None,
                  role: str | None = None) -> Iterator[Account]:
    """A user with these grants (namespace, group, dataId, action); all of it is gone at the end."""
    admin = server.admin
    name = name or f"u{uuid.uuid4().hex[:10]}"
    account = Account(server, name, role or f"r{name}")
    admin.create_user(name, PASSWORD)
    granted = []
    try:
        admin.add_role(account.role, name)
        for grant in grants:
            account.grant(*grant)
            granted.append(grant)
        yield account
    finally:
        for grant in granted:
            with contextlib.suppress(NacosError):
                account.revoke(*grant)
        with contextlib.suppress(NacosError):
            admin.remove_role(account.role, name)
        admin.delete_user(name)


def allowed(call: Callable[[], Any]) -> bool:
    """Does the server do it? False if it says that this account may not."""
    try:
        call()
    except NacosError as error:
        if error.status == 403:
            return False
        raise
    return True


def grants_on(space: Space, *grants: tuple[str, str, str]) -> list[tuple[str, str, str, str]]:
    return [(space.namespace, *grant) for grant in grants]


# ---------------------------------------------------------------- users of this machine


@dataclass(frozen=True)
class LocalUser:
    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    def errno_of(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Calls the function in a child process with this user's rights; its errno, 0 if it succeeds."""
        child = os.fork()
        if not child:
            status = 255
            try:
                os.setgroups(self.groups)
                os.setgid(self.gid)
                os.setuid(self.uid)
                function(*arguments)
                status = 0
            except OSError as error:
                status = error.errno or 254
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert 0 <= status < 254, f"exit status {status}"
        return status

    def may(self, function: Callable[..., Any], *arguments: Any) -> bool:
        """False if it is refused; anything else than that must not happen."""
        error = self.errno_of(function, *arguments)
        assert error in (0, errno.EACCES), os.strerror(error)
        return not error

    def run(self, *command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*map(str, command)], user=self.uid, group=self.gid, extra_groups=self.groups,
                              capture_output=True, text=True, timeout=60, **options)


@contextlib.contextmanager
def local_group(name: str) -> Iterator[int]:
    subprocess.run(["groupadd", name], check=True, capture_output=True)
    try:
        yield grp.getgrnam(name).gr_gid
    finally:
        subprocess.run(["groupdel", name], check=True, capture_output=True)


@contextlib.contextmanager
def local_user(name: str | None = None, *groups: str) -> Iterator[LocalUser]:
    """A user of this machine; gone at the end."""
    name = name or f"nfs{uuid.uuid4().hex[:8]}"
    more = ["-G", ",".join(groups)] if groups else []
    subprocess.run(["useradd", "-M", "-N", "-g", "nogroup", *more, name], check=True, capture_output=True)
    try:
        entry = pwd.getpwnam(name)
        yield LocalUser(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)
