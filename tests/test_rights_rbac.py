"""rights=rbac: each local user and group has what the Nacos user or role of its name may do; the kernel enforces it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import subprocess
import uuid

import pytest

from harness.accounts import allowed, grants_on, local_group, local_user, nacos_account
from harness.fake_server import FakeNacos, document, wrapped
from harness.mounts import MountFailed, is_mounted
from harness.nacos_admin import NacosError
from harness.waiting import wait_until

SOON = 10


@pytest.fixture(params=["1.4.1", "2.2.4", "3.1.0"])
def space(request, nacos_of, space_of):
    return fill(space_of(nacos_of(request.param)))


@pytest.fixture
def new_space(nacos_310, space_of):
    return fill(space_of(nacos_310))


def fill(space):
    space.publish("mine.yaml", "a: 1\n")
    space.publish("other.yaml", "b: 1\n")
    return space


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def acl(path):
    """What getfacl says, with names: {"user::": "rw-", "user:alice:": "r--", ...}."""
    text = subprocess.run(["getfacl", "-pE", path], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^((?:default:)?\w+:[^:\n]*:)(\S+)", text, re.M))


def read(path):
    path.read_bytes()


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(text)


def create(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(text)


@contextlib.contextmanager
def both(space, *grants, **names):
    """A local user and the Nacos user of the same name, with these grants."""
    with local_user(*[names.pop("local", None)]) as local, \
            nacos_account(space.server, *grants_on(space, *grants), name=local.name, **names) as account:
        yield local, account


def mount_rbac(mount, space, **options):
    return mount(space.server, space.namespace, options={"rights": "rbac", "refresh": 1, **options})


# ---------------------------------------------------------------- the table

KINDS = {
    "none": [],
    "one r": [("APP", "mine.yaml", "r")],
    "one w": [("APP", "mine.yaml", "w")],
    "one rw": [("APP", "mine.yaml", "rw")],
    "group r": [("APP", "*", "r")],
    "group rw": [("APP", "*", "rw")],
    "prefix rw": [("APP", "m*", "rw")],
    "namespace r": [("*", "*", "r")],
    "live marks": [("A.P", "[mn]*", "rw")],
}


def test_rbac_table(space, mount):
    """For each operation of each kind of account: what the mode says, what the kernel answers, and what the server
    answers to the account's own call."""
    with contextlib.ExitStack() as stack:
        people = {kind: stack.enter_context(both(space, *grants)) for kind, grants in KINDS.items()}
        path = mount_rbac(mount, space).path / "APP"
        shown = acl(path / "mine.yaml")
        wrong = {}
        for kind, (local, account) in people.items():
            calls, rows = account.calls, {}

            def on_server(name, *arguments, **options):
                return allowed(lambda: getattr(calls, name)(space.namespace, "APP", *arguments, **options))

            may_read, may_write = on_server("get", "mine.yaml"), on_server("publish", "mine.yaml", "c: 1\n", wait=False)
            expected = "r" * may_read + "-" * (not may_read) + "w" * may_write + "-" * (not may_write) + "-"
            assert shown.get(f"user:{local.name}:", "---") == expected, kind
            for name in ("mine.yaml", "other.yaml"):
                file = path / name
                space.publish(name, f"{name}: 1\n")
                wait_until(lambda: file.exists() and file.read_text() == f"{name}: 1\n", SOON)
                rows[f"read {name}"] = local.may(read, file), on_server("get", name)
                # The server's own answer to an empty text: that is found out before the text is looked at.
                may_write = writes(calls, space, name)
                rows[f"access {name}"] = local.may(check_access, file), may_write
                rows[f"write {name}"] = local.may(write, file, b"x: 1\n"), may_write
                space.publish(name, f"{name}: 2\n")
                wait_until(lambda: file.read_text() == f"{name}: 2\n", SOON)
                rows[f"delete {name}"] = local.may(os.unlink, file), may_write
                may_rename = on_server("get", name) and may_write and writes(calls, space, f"{name}-2")
                if not may_write:
                    rows[f"rename {name}"] = local.may(os.rename, file, path / f"{name}-2"), may_rename
            new = f"new-{local.name}.yaml"
            rows["create"] = local.may(create, path / new, b"x: 1\n"), writes(calls, space, new)
            rows["list"] = local.may(os.listdir, path), lists(calls, space)
            print(f"{space.server.generation}, {kind}: {expected} {rows}")
            wrong |= {(kind, operation): row for operation, row in rows.items() if row[0] != row[1]}
        assert wrong == {}


def check_access(path):
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "access")


def lists(calls, space):
    if calls.generation != "1.4.1":
        return allowed(lambda: calls.list(space.namespace, "APP"))
    return allowed(lambda: calls._call("GET", "/v1/cs/configs", {
        "search": "blur", "dataId": "*", "group": "APP", "tenant": space.namespace, "pageNo": 1, "pageSize": 1}))


def writes(calls, space, name):
    try:
        calls._publish(space.namespace, "APP", name, b"", {}, {})
    except NacosError as error:
        assert error.status in (400, 403, 500)
        return error.status != 403
    raise AssertionError("an empty text was taken")


# ---------------------------------------------------------------- what is shown


def test_acl_of_users_and_groups(space, mount):
    with local_group("nfsrbacgroup") as gid, local_user(None, "nfsrbacgroup") as member, \
            both(space, ("APP", "mine.yaml", "rw")) as (alice, _), both(space, ("*", "*", "r")) as (bob, _), \
            nacos_account(space.server, *grants_on(space, ("APP", "*", "rw")), role="nfsrbacgroup"), local_user() as stranger:
        path = mount_rbac(mount, space).path
        mine, other = path / "APP/mine.yaml", path / "APP/other.yaml"
        assert acl(mine) == {"user::": "rw-", f"user:{alice.name}:": "rw-", f"user:{bob.name}:": "r--", "group::": "---",
                             "group:nfsrbacgroup:": "rw-", "mask::": "rw-", "other::": "---"}
        assert mode_of(mine) == 0o660
        assert acl(other) == {"user::": "rw-", f"user:{bob.name}:": "r--", "group::": "---", "group:nfsrbacgroup:": "rw-",
                              "mask::": "rw-", "other::": "---"}
        assert acl(path / "APP")[f"user:{alice.name}:"] == "-wx"
        assert acl(path / "APP")[f"user:{bob.name}:"] == "r-x"
        assert acl(path / "APP")["group:nfsrbacgroup:"] == "rwx"
        defaults = acl(path / "APP")
        assert defaults["default:group:nfsrbacgroup:"] == "rw-" and f"default:user:{alice.name}:" not in defaults
        assert "+" in subprocess.run(["ls", "-l", mine], capture_output=True, text=True).stdout.split()[0]
        assert subprocess.run(["runuser", "-u", member.name, "--", "test", "-w", other]).returncode == 0
        assert subprocess.run(["runuser", "-u", alice.name, "--", "test", "-w", other]).returncode == 1
        assert member.may(write, other, b"b: 2\n") and not stranger.may(os.stat, mine)
        assert not bob.may(write, mine, b"a: 9\n")
        done = member.run("sed", "-i", "s/1/2/", mine)
        assert done.returncode == 0, done.stderr
    wait_until(lambda: space.get("mine.yaml") == b"a: 2\n", SOON)
    assert gid


def test_one_user_edits_with_vi(new_space, mount):
    with both(new_space, ("APP", "mine.yaml", "rw")) as (alice, _), both(new_space, ("APP", "other.yaml", "rw")) as (bob, _):
        path = mount_rbac(mount, new_space).path / "APP"
        command = f"vim -u NONE -es -c %s/1/2/ -c wq {path}/mine.yaml"
        subprocess.run(["runuser", "-u", alice.name, "--", "sh", "-c", command], timeout=30)
        assert new_space.detail("mine.yaml").content == b"a: 2\n"
        # Each may create and remove in the directory, but only what is his.
        for attempt in ((os.unlink, path / "mine.yaml"), (os.rename, path / "mine.yaml", path / "mine.yaml~"),
                        (os.rename, path / "mine.yaml", path / "other.yaml"), (os.rename, path / "other.yaml", path / "mine.yaml"),
                        (create, path / "new.yaml", b"x: 1\n"), (os.truncate, path / "mine.yaml", 0)):
            assert bob.errno_of(*attempt) == errno.EACCES, attempt
        assert sorted(os.listdir(path)) == ["mine.yaml", "other.yaml"]
        # A file in memory is its maker's.
        assert alice.may(create, path / ".secret", b"a: 3\n")
        os.chmod(path / ".secret", 0o600)
        assert bob.errno_of(os.rename, path / ".secret", path / "other.yaml") == errno.EACCES


def test_acls_are_not_set_and_chmod_narrows(new_space, mount):
    with both(new_space, ("APP", "mine.yaml", "rw")) as (alice, _), local_user() as stranger:
        path = mount_rbac(mount, new_space).path / "APP/mine.yaml"
        before = acl(path)
        done = subprocess.run(["setfacl", "-m", f"u:{stranger.name}:rw", path], capture_output=True, text=True)
        assert done.returncode and "Operation not permitted" in done.stderr
        assert b"granted in Nacos" in os.getxattr(path, "user.nacos.error")
        assert acl(path) == before
        copied = subprocess.run(["cp", "-p", "/etc/hostname", path], capture_output=True, text=True)
        assert copied.returncode == 0, copied.stderr
        path.chmod(0o660)
        os.setxattr(path, "system.posix_acl_access", os.getxattr(path, "system.posix_acl_access"))
        path.chmod(0o640)
        assert acl(path)["mask::"] == "r--" and mode_of(path) == 0o640
        assert alice.may(read, path) and not alice.may(write, path, b"a: 5\n")
        path.chmod(0o666)
        assert mode_of(path) == 0o660 and alice.may(write, path, b"a: 6\n")


def test_owner_group_and_umask(new_space, mount):
    with both(new_space, ("APP", "mine.yaml", "r")) as (alice, _), local_user() as stranger:
        path = mount_rbac(mount, new_space, uid=alice.uid).path / "APP/mine.yaml"
        assert mode_of(path) == 0o400
        assert alice.may(read, path) and not alice.may(write, path, b"a: 3\n")
        foreign = mount_rbac(mount, new_space, uid=stranger.uid).path / "APP/mine.yaml"
        assert acl(foreign)["user::"] == "---" and not stranger.may(read, foreign)


# ---------------------------------------------------------------- maps


def test_maps(new_space, mount):
    with local_user() as alice, local_user() as bob, local_group("nfsmapgroup"), local_user(None, "nfsmapgroup") as member, \
            nacos_account(new_space.server, *grants_on(new_space, ("*", "*", "r"))) as mapped, \
            nacos_account(new_space.server, *grants_on(new_space, ("*", "*", "rw")), name=bob.name), \
            nacos_account(new_space.server, *grants_on(new_space, ("APP", "mine.yaml", "rw"))) as role:
        users, roles = mount.directory / "users", mount.directory / "roles"
        users.write_text(f"# who is who\n{mapped.name} = {alice.name}\nno line at all\nsomebody = nobody-of-that-name\n"
                         f"{bob.name} = {bob.name}\nanother = {bob.name}\n= x\ny =\n")
        roles.write_text(f"{role.role} = nfsmapgroup\n")
        mounted = mount_rbac(mount, new_space, usermap=users, rolemap=roles)
        shown = acl(mounted.path / "APP/mine.yaml")
        assert shown[f"user:{alice.name}:"] == "r--"
        assert f"user:{bob.name}:" not in shown  # he stands there twice: who is meant is not clear
        assert shown["group:nfsmapgroup:"] == "rw-" and member.may(write, mounted.path / "APP/mine.yaml", b"a: 2\n")
        log = mounted.log_text()
        assert log.count("left out") == 3 and log.count("stands there twice") == 1 and "nobody-of-that-name" in log
    with pytest.raises(MountFailed) as failure:
        mount_rbac(mount, new_space, usermap="/no/such/file")
    assert "/no/such/file" in failure.value.log


# ---------------------------------------------------------------- changes


def test_changes_of_grants_act(space, mount):
    with both(space, ("APP", "mine.yaml", "r")) as (alice, account):
        path = mount_rbac(mount, space).path / "APP/mine.yaml"
        assert alice.may(read, path) and not alice.may(write, path, b"a: 2\n")
        account.grant(space.namespace, "APP", "mine.yaml", "w")
        wait_until(lambda: alice.may(write, path, b"a: 2\n"), SOON, "the grant to act")
        account.revoke(space.namespace, "APP", "mine.yaml", "w")
        account.revoke(space.namespace, "APP", "mine.yaml", "r")
        wait_until(lambda: not alice.may(read, path), SOON, "the revocation to act")
        assert not alice.may(write, path, b"a: 3\n")


def test_a_removed_user_has_nothing_though_his_role_stays(new_space, mount):
    admin = new_space.server.admin
    with both(new_space, ("*", "*", "rw")) as (alice, account):
        path = mount_rbac(mount, new_space).path / "APP/mine.yaml"
        assert alice.may(read, path)
        admin.delete_user(account.name)
        try:
            wait_until(lambda: not alice.may(read, path), SOON, "the removal to act")
        finally:
            admin.create_user(account.name, "x")


def test_patterns_that_are_none(new_space, mount):
    """Servers stumble over them, so that who has one may do nothing; nobody gets more than that here."""
    admin = new_space.server.admin
    with both(new_space, ("*", "*", "rw")) as (alice, account), both(new_space, ("*", "*", "rw")) as (bob, _):
        bad = {"role": account.role, "resource": f"{new_space.namespace}:[:*", "action": "w"}
        admin._call("POST", admin.permission_path, form=bad)
        try:
            mounted = mount_rbac(mount, new_space)
            path = mounted.path / "APP/mine.yaml"
            assert acl(path)[f"user:{alice.name}:"] == "r--" and acl(path)[f"user:{bob.name}:"] == "rw-"
            assert mounted.log_text().count(account.role) == 1
        finally:
            admin._call("DELETE", admin.permission_path, bad)


def test_an_account_that_is_no_admin_is_refused(space, mount):
    with nacos_account(space.server, *grants_on(space, ("*", "*", "rw"))) as account:
        with pytest.raises(MountFailed) as failure:
            mount(space.server, space.namespace, user=account.login, options={"rights": "rbac"})
        assert "admin account" in failure.value.log and len(failure.value.log.splitlines()) == 1


# ---------------------------------------------------------------- a pretended server


class FakeRbac(FakeNacos):
    """With users, roles and permissions; refuses to list them once it is told to."""

    def __init__(self) -> None:
        super().__init__("3.1.0")
        self.configs["public", "APP", "a.txt"] = b"one"
        self.users: list[str] = []
        self.roles: list[tuple[str, str]] = []
        self.permissions: list[tuple[str, str, str]] = []
        self.refuse = False

    def answer(self, request):
        rows = {
            "/v3/auth/user/list": lambda: [{"username": user, "password": "$2a$10$a-hash-that-must-not-be-kept"} for user in self.users],
            "/v3/auth/role/list": lambda: [{"role": role, "username": user} for role, user in self.roles],
            "/v3/auth/permission/list": lambda: [{"role": role, "resource": resource, "action": action}
                                                 for role, resource, action in self.permissions],
        }.get(request.api_path)
        if not rows:
            return super().answer(request)
        if self.refuse:
            return document({"status": 403, "message": "Code: 403, Message: authorization failed!."}, 403)
        number, size = int(request.parameters["pageNo"]), int(request.parameters["pageSize"])
        everything = rows()
        return wrapped({"totalCount": len(everything), "pageNumber": number, "pagesAvailable": -(-len(everything) // size),
                        "pageItems": everything[(number - 1) * size:number * size]})


def mount_fake(mount, server, **options):
    return mount.mount(f"nacos://127.0.0.1:{server.port}/public/APP", {"rights": "rbac", "refresh": 1, **options})


def test_thousands_of_users_and_odd_names(mount):
    with FakeRbac() as server, local_user() as alice:
        odd = ["", "a b", "../../etc", "ünïcode", "x" * 300, "root", "new\nline", "%s%n", "nobody:x"]
        server.users = [*odd, *(f"user-{number}" for number in range(5000)), alice.name]
        server.roles = [(f"role-{number}", f"user-{number}") for number in range(5000)]
        server.roles += [("reader", alice.name), ("reader", "root"), *(("reader", name) for name in odd)]
        server.permissions = [(f"role-{number}", f"public:APP:config/{number}", "rw") for number in range(5000)]
        server.permissions += [("reader", "public:*:*", "r"), ("reader", "([", "w"), ("reader", "*" * 500, "w")]
        mounted = mount_fake(mount, server)
        assert acl(mounted.path / "a.txt") == {"user::": "rw-", f"user:{alice.name}:": "r--", "group::": "---", "mask::": "r--",
                                               "other::": "---"}
        assert alice.may(read, mounted.path / "a.txt")
        assert "$2a$" not in mounted.log_text()
        assert find_in_memory(mounted.pid, b"role-4999")  # which is there to be found
        assert not find_in_memory(mounted.pid, b"a-hash-that-must-not-be-kept")


def find_in_memory(pid, text):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(number, 16) for number in place.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 28:
                continue
            memory.seek(start)
            with contextlib.suppress(OSError):
                if text in memory.read(end - start):
                    return True
    return False


def test_more_entries_than_the_kernel_takes(mount):
    """The rest gets nothing, and those that fit go on."""
    with FakeRbac() as server, contextlib.ExitStack() as stack:
        names = [f"nfsmany{number}" for number in range(520)]
        passwd = stack.enter_context(many_local_users(names))
        server.users, server.roles = names, [("reader", name) for name in names]
        server.permissions = [("reader", "public:*:*", "r")]
        mounted = mount_fake(mount, server)
        shown = acl(mounted.path / "a.txt")
        assert sum(name.startswith("user:nfsmany") for name in shown) == 500
        assert mounted.log_text().count("the rest gets none") == 1
        assert passwd


@contextlib.contextmanager
def many_local_users(names):
    """In /etc/passwd itself: useradd would take minutes."""
    before = open("/etc/passwd").read()
    with open("/etc/passwd", "a") as passwd:
        passwd.writelines(f"{name}:x:{70000 + number}:65534::/:/bin/false\n" for number, name in enumerate(names))
    try:
        yield before
    finally:
        after = open("/etc/passwd").read().splitlines(True)
        kept = "".join(line for line in after if not line.startswith("nfsmany"))
        with open("/etc/passwd.nfs", "w") as passwd:
            passwd.write(kept)
        os.chmod("/etc/passwd.nfs", 0o644)
        os.rename("/etc/passwd.nfs", "/etc/passwd")


def test_an_admin_right_that_is_lost_while_mounted(mount):
    """Nobody has anything from then on, with one line in the log, and all is back when the right is."""
    with FakeRbac() as server, local_user() as alice:
        server.users, server.roles = [alice.name], [("reader", alice.name)]
        server.permissions = [("reader", "public:*:*", "r")]
        mounted = mount_fake(mount, server)
        path = mounted.path / "a.txt"
        assert alice.may(read, path)
        server.refuse = True
        wait_until(lambda: not alice.may(read, path), SOON, "the loss to act")
        wait_until(lambda: len(server.asked("/v3/auth/user/list")) > 5, SOON)
        assert mounted.log_text().count("nobody gets any rights") == 1
        server.refuse = False
        wait_until(lambda: alice.may(read, path), SOON, "the right to be back")


def test_a_server_in_trouble_changes_nothing(mount):
    with FakeRbac() as server, local_user() as alice:
        server.users, server.roles = [alice.name], [("reader", alice.name)]
        server.permissions = [("reader", "public:*:*", "r")]
        mounted = mount_fake(mount, server)
        assert alice.may(read, mounted.path / "a.txt")
        with server.fault("/v3/auth/role/list", document({"code": 30000}, 500)):
            asked = len(server.asked("/v3/auth/role/list"))
            wait_until(lambda: len(server.asked("/v3/auth/role/list")) > asked + 2, SOON)
            assert alice.may(read, mounted.path / "a.txt")
        assert is_mounted(mounted.path)


def test_entries_of_accounts_that_share_a_name_prefix(new_space, mount):
    """A grant is matched whole: nobody gets what is another's."""
    name = f"nfs{uuid.uuid4().hex[:6]}"
    with both(new_space, ("APP", "mine.yaml", "r"), local=name) as (alice, _), \
            both(new_space, ("APP", "mine.yaml.bak", "rw"), local=f"{name}x") as (other, _):
        shown = acl(mount_rbac(mount, new_space).path / "APP/mine.yaml")
        assert shown[f"user:{alice.name}:"] == "r--" and f"user:{other.name}:" not in shown
