"""identity=caller: each local user's requests go with his own Nacos login; what one may read is never served to another."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import subprocess

import pytest

from harness.accounts import PASSWORD, allowed, grants_on, local_group, local_user, nacos_account
from harness.mounts import MountFailed, make_space
from harness.nacos_admin import NacosError
from harness.waiting import wait_until

SOON = 15


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


class Identities:
    """A directory of logins."""

    def __init__(self, path):
        self.path = path
        path.mkdir(mode=0o700)

    def write(self, name, username, password=PASSWORD, mode=0o600):
        self.write_text(name, f"username={username}\npassword={password}\n", mode)

    def write_text(self, name, text, mode=0o600):
        file = self.path / f".{name}"
        file.write_text(text)
        file.chmod(mode)
        file.rename(self.path / name)

    def remove(self, name):
        (self.path / name).unlink()


@pytest.fixture
def identities(mount):
    return Identities(mount.new_directory() / "identities")


def mount_callers(mount, space, logins, kind="caller", **options):
    return mount(space.server, space.namespace,
                 options={"identity": kind, "identities": logins.path, "allow_other": True, "refresh": 1, **options})


@contextlib.contextmanager
def person(space, identities, *grants):
    """A local user with the login of a Nacos user of another name, who has these grants."""
    with local_user() as local, nacos_account(space.server, *grants_on(space, *grants)) as account:
        identities.write(local.name, account.name)
        yield local, account


def read(path):
    path.read_bytes()


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(text)


def create(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(text)


def check_access(path):
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "access")


def lists(calls, space):
    if calls.generation != "1.4.1":
        return allowed(lambda: calls.list(space.namespace, "APP"))
    return allowed(lambda: calls._call("GET", "/v1/cs/configs", {
        "search": "blur", "dataId": "*", "group": "APP", "tenant": space.namespace, "pageNo": 1, "pageSize": 1}))


def writes(calls, space, name):
    """The server's own answer to an empty text, which it refuses only after it has looked at the right."""
    try:
        calls._publish(space.namespace, "APP", name, b"", {}, {})
    except NacosError as error:
        assert error.status in (400, 403, 500)
        return error.status != 403
    raise AssertionError("an empty text was taken")


def acl(path):
    text = subprocess.run(["getfacl", "-pE", path], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"^((?:default:)?\w+:[^:\n]*:)(\S+)", text, re.M))


def stored(space, name):
    """What is in the database: reads may be a second behind."""
    detail = space.detail(name)
    return detail and detail.content


# ---------------------------------------------------------------- the table

KINDS = {
    "none": [],
    "one r": [("APP", "mine.yaml", "r")],
    "one rw": [("APP", "mine.yaml", "rw")],
    "group r": [("APP", "*", "r")],
    "group rw": [("APP", "*", "rw")],
    "namespace r": [("*", "*", "r")],
}


def test_table(space, identities, mount):
    """For each operation of each kind of account: what the kernel answers to the local user, and what the server answers
    to his account's own call."""
    admin = space.server.admin
    with contextlib.ExitStack() as stack:
        people = {kind: stack.enter_context(person(space, identities, *grants)) for kind, grants in KINDS.items()}
        stranger = stack.enter_context(local_user())
        path = mount_callers(mount, space, identities).path / "APP"
        wrong = {}
        for kind, (local, account) in people.items():
            calls, rows = account.calls, {}

            def on_server(name, *arguments, **options):
                return allowed(lambda: getattr(calls, name)(space.namespace, "APP", *arguments, **options))

            rows["list"] = local.may(os.listdir, path), lists(calls, space)
            rows["stat"] = local.may(os.stat, path / "mine.yaml"), True
            for name in ("mine.yaml", "other.yaml"):
                file = path / name
                space.publish(name, f"{name}: 1\n")
                wait_until(lambda: file.exists() and file.read_text() == f"{name}: 1\n", SOON)
                may_write = writes(calls, space, name)
                may_read = on_server("get", name)
                rows[f"read {name}"] = local.may(read, file), may_read
                rows[f"access {name}"] = local.may(check_access, file), may_write
                rows[f"write {name}"] = local.may(write, file, b"x: 1\n"), may_write
                space.publish(name, f"{name}: 2\n")
                wait_until(lambda: file.read_text() == f"{name}: 2\n", SOON)
                may_rename = may_read and may_write and writes(calls, space, f"{name}-2")
                rows[f"rename {name}"] = local.may(os.rename, file, path / f"{name}-2"), may_rename
                if may_rename:
                    wait_until(lambda: stored(space, name) is None and stored(space, f"{name}-2"), SOON)
                    admin.delete(space.namespace, "APP", f"{name}-2")
                    space.publish(name, f"{name}: 3\n")
                    wait_until(lambda: file.exists() and file.read_text() == f"{name}: 3\n", SOON)
                rows[f"delete {name}"] = local.may(os.unlink, file), may_write and may_read
                if rows[f"delete {name}"][0]:
                    wait_until(lambda: stored(space, name) is None, SOON)
                    space.publish(name, f"{name}: 4\n")
                    wait_until(lambda: file.exists() and file.read_text() == f"{name}: 4\n", SOON)
            rows["create new.yaml"] = local.may(create, path / "new.yaml", b"x: 1\n"), writes(calls, space, "new.yaml")
            admin.delete(space.namespace, "APP", "new.yaml")
            wait_until(lambda: not (path / "new.yaml").exists(), SOON)
            print(f"{space.server.generation}, {kind}: {rows}")
            wrong |= {(kind, operation): row for operation, row in rows.items() if row[0] != row[1]}
        assert wrong == {}
        assert stranger.errno_of(os.stat, path / "mine.yaml") == errno.EACCES


def assert_by(users, account, local):
    """1.4.1 notes the login by itself, without what it is told."""
    assert {account.name, f"{account.name} ({local.name})"} & set(users), users


def test_history_names_the_person(space, identities, mount):
    with person(space, identities, ("APP", "*", "rw")) as (alice, of_alice), \
            person(space, identities, ("APP", "*", "rw")) as (bob, of_bob):
        path = mount_callers(mount, space, identities).path / "APP"
        assert alice.may(write, path / "mine.yaml", b"a: 2\n")
        assert bob.may(create, path / "new.yaml", b"a: 3\n")
        assert alice.run("sh", "-c", f"echo 'b: 4' > {path}/draft~ && mv {path}/draft~ {path}/other.yaml").returncode == 0
        assert stored(space, "new.yaml") == b"a: 3\n" and stored(space, "other.yaml") == b"b: 4\n"
        assert bob.may(os.unlink, path / "mine.yaml")
        wait_until(lambda: stored(space, "mine.yaml") is None, SOON)

        def by(name):
            return [row.user for row in space.history(name)]

        assert_by(by("other.yaml"), of_alice, alice)
        assert_by(by("new.yaml"), of_bob, bob)
        assert_by(by("mine.yaml"), of_alice, alice)
        if space.server.generation == "1.4.1":
            assert by("mine.yaml")[0] == of_bob.name  # the removal, which was done in the background


def test_saves_in_turn(space, identities, mount):
    """Each starts from what the other has just saved, though the server's read path is behind."""
    with person(space, identities, ("APP", "*", "rw")) as (alice, _), person(space, identities, ("APP", "*", "rw")) as (bob, _):
        path = mount_callers(mount, space, identities).path / "APP" / "mine.yaml"
        for number in range(6):
            user = (alice, bob)[number % 2]
            done = user.run("sh", "-c", f"echo 'n: {number}' >> {path}")
            assert done.returncode == 0, done.stderr
        assert stored(space, "mine.yaml") == b"a: 1\n" + b"".join(b"n: %d\n" % number for number in range(6))


def test_removals_are_done_by_who_removed(new_space, identities, mount):
    """The mount's own account may only read here."""
    with nacos_account(new_space.server, *grants_on(new_space, ("*", "*", "r"))) as reader, \
            person(new_space, identities, ("APP", "*", "rw")) as (alice, _):
        path = mount_callers(mount, new_space, identities, username=reader.name,
                             password_file=mount.password_file(PASSWORD)).path / "APP"
        assert alice.may(os.unlink, path / "mine.yaml")
        wait_until(lambda: stored(new_space, "mine.yaml") is None, SOON)
        assert alice.may(create, path / "app.yamlX3fQ9a", b"a: 5\n")
        assert alice.may(write, path / "other.yaml", b"a: 6\n")
        assert stored(new_space, "other.yaml") == b"a: 6\n"


# ---------------------------------------------------------------- leaks


def test_caches_do_not_leak(space, identities, mount):
    """What one user has just read stays his, warm or cold, also when the server is away."""
    with person(space, identities, ("APP", "mine.yaml", "rw")) as (alice, _), \
            person(space, identities, ("APP", "other.yaml", "r")) as (bob, _):
        path = mount_callers(mount, space, identities).path / "APP"
        mine, other = path / "mine.yaml", path / "other.yaml"
        for _ in range(3):
            assert alice.may(read, mine) and not bob.may(read, mine)
            assert bob.may(read, other) and not alice.may(read, other)
        read(mine), read(other)
        assert not bob.may(read, mine) and not alice.may(read, other)
        assert not bob.may(os.getxattr, mine, "user.nacos.md5")
        # Through the system call itself too, which fools no cache of modes: a file that was opened before is one's own.
        assert alice.may(write, mine, b"secret: 1\n")
        assert not bob.may(read, mine)
        # A draft is not shown before it is stored.
        script = f"exec 3> {path}/.x; echo; exec 4<> {path}/mine.yaml; echo draft >&4; cat {path}/mine.yaml"
        assert alice.run("sh", "-c", script).returncode == 0


def test_nothing_leaks_while_the_server_is_away(own_nacos, identities, mount):
    server = own_nacos("3.1.0")
    space = fill(make_space(server))
    with person(space, identities, ("APP", "mine.yaml", "rw")) as (alice, _), \
            person(space, identities, ("APP", "other.yaml", "r")) as (bob, _):
        mine = mount_callers(mount, space, identities, timeout=3).path / "APP" / "mine.yaml"
        assert alice.may(read, mine) and not bob.may(read, mine)
        server.stop()
        assert alice.errno_of(read, mine) == 0
        assert bob.errno_of(read, mine) == errno.EACCES
        server.restart()
        wait_until(lambda: bob.errno_of(read, mine.parent / "other.yaml") == 0, 60)
        assert bob.errno_of(read, mine) == errno.EACCES


def test_acls_show_everybody(new_space, identities, mount):
    with person(new_space, identities, ("APP", "mine.yaml", "rw")) as (alice, _), \
            person(new_space, identities, ("APP", "*", "r")) as (bob, _):
        path = mount_callers(mount, new_space, identities).path / "APP"
        assert acl(path / "mine.yaml") == {"user::": "rw-", f"user:{alice.name}:": "rw-", f"user:{bob.name}:": "r--",
                                          "group::": "r--", "mask::": "rw-", "other::": "---"}
        assert acl(path / "other.yaml")[f"user:{alice.name}:"] == "---"
        assert acl(path)[f"user:{alice.name}:"] == "-wx" and acl(path)[f"user:{bob.name}:"] == "r-x"


def test_group_and_others(new_space, identities, mount):
    """The mount's gid has what its account may do, also to remove; a login of one's own comes first."""
    with local_group("nfsidgroup") as gid, local_user(None, "nfsidgroup") as member, local_user() as stranger, \
            local_user(None, "nfsidgroup") as both, nacos_account(new_space.server) as powerless:
        identities.write(both.name, powerless.name)
        path = mount_callers(mount, new_space, identities, gid=gid, umask="007").path / "APP"
        assert member.may(read, path / "mine.yaml") and member.may(write, path / "mine.yaml", b"a: 2\n")
        assert stored(new_space, "mine.yaml") == b"a: 2\n"
        assert not both.may(read, path / "mine.yaml") and not both.may(os.listdir, path)
        assert not stranger.may(os.stat, path / "mine.yaml")
        assert both.errno_of(os.unlink, path / "mine.yaml") == errno.EACCES
        assert member.may(os.unlink, path / "other.yaml")
        wait_until(lambda: stored(new_space, "other.yaml") is None, SOON)

        others = mount_callers(mount, new_space, identities, kind="caller_or_mount", umask="022").path / "APP"
        assert stranger.may(read, others / "mine.yaml") and not stranger.may(write, others / "mine.yaml", b"a: 3\n")
        assert stranger.errno_of(os.unlink, others / "mine.yaml") == errno.EACCES
        assert not both.may(read, others / "mine.yaml")


# ---------------------------------------------------------------- changes


def test_revocation(new_space, identities, mount):
    with person(new_space, identities, ("APP", "mine.yaml", "rw")) as (alice, account):
        mounted = mount_callers(mount, new_space, identities)
        mine = mounted.path / "APP" / "mine.yaml"
        assert alice.may(read, mine) and alice.may(check_access, mine)
        account.revoke(new_space.namespace, "APP", "mine.yaml", "rw")
        wait_until(lambda: alice.errno_of(read, mine) == errno.EACCES, 40)
        assert acl(mine)[f"user:{alice.name}:"] == "---"
        account.grant(new_space.namespace, "APP", "mine.yaml", "rw")
        wait_until(lambda: alice.errno_of(write, mine, b"a: 7\n") == 0, 40)


def test_files_that_come_change_and_go(new_space, identities, mount):
    with local_user() as alice, nacos_account(new_space.server, *grants_on(new_space, ("APP", "mine.yaml", "r"))) as first, \
            nacos_account(new_space.server, *grants_on(new_space, ("APP", "other.yaml", "r"))) as second:
        mounted = mount_callers(mount, new_space, identities)
        mine, other = mounted.path / "APP" / "mine.yaml", mounted.path / "APP" / "other.yaml"
        assert alice.errno_of(read, mine) == errno.EACCES
        identities.write(alice.name, first.name)
        wait_until(lambda: alice.may(read, mine), SOON)
        assert not alice.may(read, other)
        identities.write(alice.name, second.name)
        wait_until(lambda: alice.may(read, other), SOON)
        assert not alice.may(read, mine)
        held = subprocess.Popen(["sh", "-c", "exec 3< \"$1\"; echo; read line; cat <&3", "sh", other], user=alice.uid,
                                group=alice.gid, extra_groups=[], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        held.stdout.readline()
        identities.remove(alice.name)
        wait_until(lambda: not alice.may(read, other), SOON)
        assert held.communicate("go\n", timeout=10)[0] == "b: 1\n"
        assert mounted.status()["logins_of_users"] == 0
        assert mounted.log_text().count("has no login any more") == 1
        identities.write(alice.name, second.name)
        wait_until(lambda: alice.may(read, other), SOON)


def test_bad_files(new_space, identities, mount):
    with contextlib.ExitStack() as stack:
        account = stack.enter_context(nacos_account(new_space.server, *grants_on(new_space, ("*", "*", "rw"))))
        users = [stack.enter_context(local_user()) for _ in range(7)]
        open_mode, foreign, no_password, wrong, twice, same, fine = users
        identities.write(open_mode.name, account.name, mode=0o640)
        identities.write(foreign.name, account.name)
        os.chown(identities.path / foreign.name, foreign.uid, -1)
        identities.write_text(no_password.name, f"username={account.name}\n")
        identities.write(wrong.name, account.name, "no-such-password")
        identities.write_text(twice.name, f"username={account.name}\nusername=nacos\npassword={PASSWORD}\n")
        identities.write(same.name, account.name)
        identities.write(fine.name, account.name)
        identities.write("nobody-of-that-name", account.name)
        identities.write_text("backup~", "nonsense")
        mounted = mount_callers(mount, new_space, identities)
        mine = mounted.path / "APP" / "mine.yaml"
        for user in (same, fine):
            assert user.may(read, mine) and user.may(write, mine, f"{user.name}: 1\n".encode())
        for user in users[:5]:
            assert user.errno_of(read, mine) == errno.EACCES
        wait_until(lambda: mounted.log_text().count("has no access, his login can't be used") >= 5, SOON)
        log = mounted.log_text()
        for user in users[:5]:
            assert len(re.findall(f"{user.name} has no access", log)) == 1
        assert log.count("nobody-of-that-name") == 1 and "backup~" not in log and PASSWORD not in log
        assert mounted.status()["logins_of_users"] == 2
        # Put right, it is used at once.
        (identities.path / open_mode.name).chmod(0o600)
        wait_until(lambda: open_mode.may(read, mine), SOON)


def test_directory_that_others_can_write_to_is_refused(new_space, identities, mount):
    identities.path.chmod(0o777)
    with pytest.raises(MountFailed, match="nobody else may write to it") as failure:
        mount_callers(mount, new_space, identities)
    assert len(failure.value.log.strip().splitlines()) == 1
    identities.path.chmod(0o700)
    for options, reason in (({"kernel_cache": True}, "page cache"), ({"transport": "grpc"}, "HTTP"), ({"rights": "off"}, "rights=self"),
                            ({"identities": "/nowhere/at/all"}, "No such file")):
        with pytest.raises(MountFailed, match=reason):
            mount_callers(mount, new_space, identities, **options)


def test_a_token_that_expires_is_renewed(own_nacos, identities, mount):
    """The server forgets all tokens when it starts anew; the user's login is in his file."""
    server = own_nacos("2.2.4")
    space = fill(make_space(server))
    with person(space, identities, ("APP", "mine.yaml", "rw")) as (alice, _):
        mine = mount_callers(mount, space, identities).path / "APP" / "mine.yaml"
        assert alice.may(read, mine)
        server.stop()
        server.restart()
        wait_until(lambda: alice.errno_of(write, mine, b"a: 9\n") == 0, 60)
        assert stored(space, "mine.yaml") == b"a: 9\n"


def test_editors_private_files_are_their_makers(new_space, identities, mount):
    with person(new_space, identities, ("APP", "*", "rw")) as (alice, _), \
            person(new_space, identities, ("APP", "*", "rw")) as (bob, _):
        path = mount_callers(mount, new_space, identities).path / "APP"
        assert alice.run("sh", "-c", f"umask 077; echo secret > {path}/.mine.yaml.swp").returncode == 0
        assert stat.S_IMODE(os.stat(path / ".mine.yaml.swp").st_mode) == 0o600
        assert bob.errno_of(read, path / ".mine.yaml.swp") == errno.EACCES
        assert bob.errno_of(os.rename, path / ".mine.yaml.swp", path / "other.yaml") == errno.EACCES
        assert alice.may(os.unlink, path / ".mine.yaml.swp")
        done = alice.run("vim", "-u", "NONE", "-es", "-c", "%s/1/2/", "-c", "wq", path / "mine.yaml",
                         env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]})
        assert new_space.detail("mine.yaml").content == b"a: 2\n", done
