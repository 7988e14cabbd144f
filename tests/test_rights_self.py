"""rights=self: the modes are what the mount's account may do; the kernel and the server agree with them."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.accounts import LocalUser, allowed, grants_on, local_group, local_user, nacos_account
from harness.fake_server import FakeNacos
from harness.proxy import TcpProxy
from harness.waiting import wait_until

REFRESH = 1
SOON = 10


@pytest.fixture(params=["1.4.1", "2.2.4", "3.1.0"])
def space(request, nacos_of, space_of):
    made = space_of(nacos_of(request.param))
    made.publish("mine.yaml", "a: 1\n")
    made.publish("other.yaml", "b: 1\n")
    return made


@pytest.fixture
def new_space(nacos_310, space_of):
    made = space_of(nacos_310)
    made.publish("mine.yaml", "a: 1\n")
    return made


@pytest.fixture(scope="module")
def owner():
    """Who owns what is mounted: not root, so that the kernel looks at the modes."""
    with local_user() as user:
        yield user


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def mount_group(mount, space, account, owner, **options):
    return mount(space.server, space.namespace, space.group, user=account.login if account else ("nacos", "nacos"),
                 options={"uid": owner.uid, "gid": owner.gid, "refresh": REFRESH, **options}).path


def stored(space, name):
    """What the database has; what the node serves may be a second older."""
    detail = space.detail(name)
    return detail.content if detail else None


def status(path):
    return json.loads((path / ".nacosfs/status").read_text())


# ---------------------------------------------------------------- the table

KINDS = {
    "none": [],
    "one r": [("APP", "mine.yaml", "r")],
    "one w": [("APP", "mine.yaml", "w")],
    "one rw": [("APP", "mine.yaml", "rw")],
    "group r": [("APP", "*", "r")],
    "group w": [("APP", "*", "w")],
    "group rw": [("APP", "*", "rw")],
    "prefix rw": [("APP", "m*", "rw")],
    "r on all, w on one": [("*", "*", "r"), ("APP", "mine.yaml", "w")],
    "namespace rw": [("*", "*", "rw")],
    "admin": None,
}


def read(path):
    path.read_bytes()


def reads(path, text):
    try:
        return path.read_text() == text
    except FileNotFoundError:
        return False


def is_gone(path):
    """Or is a name that nothing is known of."""
    try:
        return mode_of(path) == 0
    except (FileNotFoundError, PermissionError):
        return True


def list_group(calls, space):
    """On 1.4 the right to list a group is only looked for where a dataId is named too."""
    if space.server.generation == "1.4.1":
        calls._call("GET", "/v1/cs/configs", {"search": "blur", "dataId": "*", "group": space.group,
                                              "tenant": space.namespace, "pageNo": 1, "pageSize": 10})
    else:
        calls.list(space.namespace, space.group)


def write(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(text)


def create(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(text)


@pytest.mark.parametrize("kind", KINDS)
def test_rights_table(space, mount, owner, kind):
    """For each operation: what the mode says, what the kernel answers, what the server answers to the same call."""
    admin, grants = space.server.admin, KINDS[kind]
    with nacos_account(space.server, *grants_on(space, *(grants or []))) as account:
        calls = account.calls if grants is not None else admin
        path = mount_group(mount, space, account if grants is not None else None, owner)
        rows = {}

        def compare(operation, kernel, server):
            rows[operation] = (kernel, server)

        def server_call(name):
            return getattr(calls, name), space.namespace, space.group

        def on_server(name, *arguments, **options):
            function, *place = server_call(name)
            return allowed(lambda: function(*place, *arguments, **options))

        compare("list", owner.may(os.listdir, path), allowed(lambda: list_group(calls, space)))
        def put(name, text):
            """By an admin; then the mount must have seen it, as far as it may."""
            space.publish(name, text)
            if on_server("get", name):
                wait_until(lambda: reads(path / name, text), SOON)

        for name in ("mine.yaml", "other.yaml") if grants and grants[-1][1] != "*" else ("mine.yaml",):
            file = path / name
            may_read, may_write = on_server("get", name), on_server("publish", name, f"{name}: 2\n", wait=False)
            known = owner.may(os.stat, file)
            assert known == (may_read or may_write)
            if known:
                assert mode_of(file) == may_read * 0o440 + may_write * 0o200
            put(name, f"{name}: 3\n")
            compare(f"read {name}", owner.may(read, file), may_read)
            compare(f"write {name}", owner.may(write, file, b"x: 3\n"), may_write)
            assert stored(space, name) == (b"x: 3\n" if may_write else f"{name}: 3\n".encode())
            may_rename = may_read and may_write and on_server("publish", f"{name}-2", "x: 1\n", wait=False)
            admin.delete(space.namespace, space.group, f"{name}-2")
            put(name, f"{name}: 4\n")
            compare(f"rename {name}", owner.may(os.rename, file, path / f"{name}-2"), may_rename)
            admin.delete(space.namespace, space.group, f"{name}-2")
            put(name, f"{name}: 5\n")
            compare(f"delete {name}", owner.may(os.unlink, file), on_server("delete", name, wait=False))
            wait_until(lambda: status(path)["removals_pending"] == 0, SOON, "the removal")
        rights = {right for _, _, right in grants} if grants is not None else {"rw"}
        if not (rights == {"w"}):  # who may not read is not told that a name is free
            for name in ("mine.yaml", "new.yaml") if grants and grants[-1][1] != "*" else ("new.yaml",):
                admin.delete(space.namespace, space.group, name)
                wait_until(lambda: is_gone(path / name), SOON)
                compare(f"create {name}", owner.may(create, path / name, b"x: 6\n"),
                        on_server("publish", name, "x: 6\n", wait=False))
        print(f"\n{space.server.generation}, {kind}: {rows}")
        assert {operation: row for operation, row in rows.items() if row[0] != row[1]} == {}


def test_modes_of_directories(space, mount, owner):
    admin = space.server.admin
    admin.publish(space.namespace, "LIST", "a.yaml", "a: 1\n")
    admin.publish(space.namespace, "SEARCH", "a.yaml", "a: 1\n")
    with nacos_account(space.server, *grants_on(space, ("LIST", "*", "r"), ("APP", "*", "rw"), ("SEARCH", "a.yaml", "r"),
                                               ("NEW", "*", "rw"))) as account:
        path = mount(space.server, space.namespace, user=account.login,
                     options={"uid": owner.uid, "umask": "0007", "refresh": REFRESH}).path
        assert mode_of(path / "LIST") == 0o550
        assert mode_of(path / "APP") == 0o770
        assert mode_of(path / "SEARCH") == 0o110
        wait_until(lambda: mode_of(path) == 0o330, 3, "the mode of the root")  # not to be listed; but there are groups that this account may fill
        assert owner.may(os.mkdir, path / "NEW")
        assert owner.may(create, path / "NEW" / "first.yaml", b"a: 1\n")
        # Whether there is such a group this account is not told.
        assert owner.errno_of(os.mkdir, path / "OTHERS") in (errno.EACCES, errno.EEXIST)
        assert owner.may(read, path / "SEARCH" / "a.yaml")
        assert not owner.may(create, path / "LIST" / "b.yaml", b"a: 1\n")
    assert admin.detail(space.namespace, "NEW", "first.yaml").content == b"a: 1\n"


def test_top_directory(nacos_of, space_of, mount):
    """Namespaces are made by admins only."""
    for generation, mode in (("1.4.1", 0o750), ("3.1.0", 0o750)):
        space = space_of(nacos_of(generation))
        assert mode_of(mount(space.server).path) == mode
        with nacos_account(space.server, *grants_on(space, ("*", "*", "rw"))) as account:
            path = mount(space.server, user=account.login).path
            assert mode_of(path) == 0o550
            assert mode_of(path / space.namespace) == mode


# ---------------------------------------------------------------- what it costs


def test_finding_out_leaves_no_trace(space, mount, owner):
    before = {name: len(space.history(name)) for name in ("mine.yaml", "other.yaml")}
    for kind in ("none", "one w", "one rw", "group r", "group w", "admin"):
        grants = KINDS[kind]
        with nacos_account(space.server, *grants_on(space, *(grants or []))) as account:
            path = mount_group(mount, space, account if grants is not None else None, owner)
            for name in (*before, "absent.yaml"):
                owner.errno_of(os.stat, path / name)
                owner.errno_of(os.access, path / name, os.W_OK)
            owner.errno_of(os.listdir, path)
    assert {name: len(space.history(name)) for name in before} == before
    assert space.history("absent.yaml") == []
    assert sorted(space.names()) == ["mine.yaml", "other.yaml"]


def look_at_everything(path, groups):
    def look_at(group):
        for name in os.listdir(path / group):
            os.stat(path / group / name)

    with ThreadPoolExecutor(len(groups)) as pool:
        list(pool.map(look_at, groups))


def questions_of(mount, space, groups, grants):
    """All requests for rights of a pass over everything. One that takes so long that answers grow stale meanwhile is
    made again."""
    for _ in range(4):
        with nacos_account(space.server, *grants_on(space, *grants)) as account:
            mounted = mount(space.server, space.namespace, user=account.login, options={"refresh": 3600})
            started = time.monotonic()
            look_at_everything(mounted.path, groups)
            if time.monotonic() - started < 20:
                return status(mounted.path)["rights_questions"]
    raise AssertionError("the machine is too slow to count")


def test_questions_for_a_thousand_configs(nacos_224, space_of, mount):
    """A wide account costs a handful of requests, however many configs there are; a narrow one a request a group, or,
    where no group says yes, one a name."""
    space, admin = space_of(nacos_224), nacos_224.admin
    groups = [f"G{number}" for number in range(10)]
    keys = [(group, f"c{number}.yaml") for group in groups for number in range(100)]
    admin.login()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: admin.publish(space.namespace, *key, "a: 1\n", wait=False), keys))
    wait_until(lambda: len(admin.list(space.namespace)) == 1000, 30)
    kinds = {
        "namespace rw": [("*", "*", "rw")],
        "group rw": [(group, "*", "rw") for group in groups],
        "namespace r, one w": [("*", "*", "r"), ("G1", "c1.yaml", "w")],
    }
    found = {kind: questions_of(mount, space, groups, grants) for kind, grants in kinds.items()}
    print(found)
    # Reading answers for itself: the right to write is what has to be asked for. A group whose namespace can't be listed is
    # looked up by counting its configs, which answers too.
    assert found == {
        "namespace rw": 1,
        "group rw": 1 + 10,
        "namespace r, one w": 1 + 10 + 1000,
    }


def test_read_only_mounts_and_servers_without_login_ask_next_to_nothing(new_space, mount):
    path = mount(new_space.server, new_space.namespace, new_space.group, ro=True).path
    assert mode_of(path / "mine.yaml") == 0o440 and mode_of(path) == 0o550
    assert status(path)["rights_questions"] == 1
    with FakeNacos("3.1.0") as server:
        server.configs["public", "APP", "a.txt"] = b"one"
        path = mount.mount(f"nacos://127.0.0.1:{server.port}/public/APP", {}).path
        assert mode_of(path / "a.txt") == 0o640
        assert status(path)["rights_questions"] == 2
        assert server.configs == {("public", "APP", "a.txt"): b"one"}


# ---------------------------------------------------------------- changes of grants


def test_grants_and_revocations_act(space, mount, owner):
    with nacos_account(space.server, *grants_on(space, ("APP", "mine.yaml", "r"))) as account:
        path = mount_group(mount, space, account, owner)
        assert owner.may(read, path / "mine.yaml") and not owner.may(write, path / "mine.yaml", b"a: 2\n")
        account.grant(space.namespace, "APP", "mine.yaml", "w")
        wait_until(lambda: mode_of(path / "mine.yaml") == 0o640, SOON, "the grant to act")
        assert owner.may(write, path / "mine.yaml", b"a: 2\n")
        account.revoke(space.namespace, "APP", "mine.yaml", "w")
        account.revoke(space.namespace, "APP", "mine.yaml", "r")
        wait_until(lambda: mode_of(path / "mine.yaml") == 0, SOON, "the revocations to act")
        assert not owner.may(read, path / "mine.yaml") and not owner.may(write, path / "mine.yaml", b"a: 3\n")
    assert stored(space, "mine.yaml") == b"a: 2\n"


def test_the_server_has_the_last_word(new_space, mount, owner):
    """Whatever the mode said a moment ago: refused, and then the mode says so too."""
    space = new_space
    with nacos_account(space.server, *grants_on(space, ("*", "*", "rw"))) as account:
        path = mount_group(mount, space, account, owner, refresh=4)
        assert mode_of(path / "mine.yaml") == 0o640
        account.revoke(space.namespace)
        wait_until(lambda: owner.errno_of(read, path / "mine.yaml") == errno.EACCES, SOON)
        wait_until(lambda: mode_of(path / "mine.yaml") == 0, 3, "the mode to be corrected")


def test_revocation_while_a_file_is_open_keeps_the_text(space, mount, owner):
    with nacos_account(space.server, *grants_on(space, ("*", "*", "rw"))) as account:
        path = mount_group(mount, space, account, owner, refresh=3600)
        file = os.open(path / "mine.yaml", os.O_WRONLY | os.O_TRUNC)
        os.write(file, b"precious: 1\n")
        account.revoke(space.namespace)
        with pytest.raises(PermissionError):
            os.close(file)
        kept = [kept.read_bytes() for kept in (path / ".nacosfs/unsaved").glob("*/yours")]
        assert kept == [b"precious: 1\n"]
        assert stored(space, "mine.yaml") == b"a: 1\n"
        wait_until(lambda: mode_of(path / "mine.yaml") & 0o222 == 0, 3, "the mode to be corrected")


def test_what_may_not_be_read_any_more_is_not_served_from_the_cache(new_space, mount, owner):
    """Also when no server can be asked; what may be read goes on then."""
    space = new_space
    with TcpProxy(space.server.port) as proxy, \
            nacos_account(space.server, *grants_on(space, ("APP", "*", "r"))) as account:
        path = mount(space.server, space.namespace, space.group, user=account.login, port=proxy.port,
                     options={"refresh": REFRESH, "timeout": 2, "uid": owner.uid}).path
        assert owner.may(read, path / "mine.yaml")
        proxy.refuse()
        assert owner.may(read, path / "mine.yaml")
        proxy.resume()
        account.revoke(space.namespace, "APP", "*", "r")
        wait_until(lambda: mode_of(path / "mine.yaml") == 0, SOON + 10, "the revocation to act")
        proxy.refuse()
        for _ in range(3):
            assert owner.errno_of(read, path / "mine.yaml") == errno.EACCES
            with pytest.raises(PermissionError):
                read(path / "mine.yaml")  # root, whom no mode keeps out


# ---------------------------------------------------------------- who may write but not read


def test_write_only_accounts_can_save_and_nothing_else(space, mount, owner):
    with nacos_account(space.server, *grants_on(space, ("APP", "*", "w"))) as account:
        path = mount_group(mount, space, account, owner)
        before = len(space.history("mine.yaml"))
        assert mode_of(path / "mine.yaml") == 0o200
        done = owner.run("sh", "-c", "echo a: 2 > mine.yaml && cp /etc/hostname new.txt", cwd=path)
        assert done.returncode == 0, done.stderr
        assert stored(space, "mine.yaml") == b"a: 2\n" and len(space.history("mine.yaml")) == before + 1
        assert len(space.history("new.txt")) == 1
        # Half a text would go over what can't be seen.
        assert owner.run("sh", "-c", "echo a: 3 >> mine.yaml", cwd=path).returncode != 0
        assert owner.errno_of(os.truncate, path / "mine.yaml", 2) == errno.EACCES
        with pytest.raises(PermissionError):
            os.open(path / "mine.yaml", os.O_RDWR)
        assert stored(space, "mine.yaml") == b"a: 2\n"
        assert owner.run("sh", "-c", "echo a: 4 > .temp && mv .temp mine.yaml", cwd=path).returncode == 0
        assert stored(space, "mine.yaml") == b"a: 4\n"


def test_write_only_saves_through_one_descriptor(new_space, mount, owner):
    with nacos_account(new_space.server, *grants_on(new_space, ("APP", "*", "w"))) as account:
        path = mount_group(mount, new_space, account, owner)

        def save_twice():
            with open(os.open(path / "mine.yaml", os.O_WRONLY | os.O_TRUNC), "wb", buffering=0) as file:
                file.write(b"a: 2\n")
                os.fsync(file.fileno())
                file.write(b"b: 2\n")

        assert owner.may(save_twice)
        assert stored(new_space, "mine.yaml") == b"a: 2\nb: 2\n"


# ---------------------------------------------------------------- modes


def test_modes_go_through_umask_and_owner(new_space, mount, owner):
    with local_group("nfstestgroup") as gid, local_user(None, "nfstestgroup") as service:
        path = mount(new_space.server, new_space.namespace, new_space.group, gid=gid).path
        assert mode_of(path / "mine.yaml") == 0o640 and mode_of(path) == 0o750
        assert service.may(read, path / "mine.yaml") and not service.may(write, path / "mine.yaml", b"a: 2\n")
        assert not owner.may(os.stat, path / "mine.yaml")
        shared = mount(new_space.server, new_space.namespace, new_space.group, gid=gid, umask="0007").path
        assert mode_of(shared / "mine.yaml") == 0o660
        assert service.may(write, shared / "mine.yaml", b"a: 2\n")
        done = service.run("sh", "-c", "test -w mine.yaml && sed -i s/2/3/ mine.yaml", cwd=shared)
        assert done.returncode == 0, done.stderr
    assert stored(new_space, "mine.yaml") == b"a: 3\n"


def test_chmod_only_narrows(new_space, mount, owner):
    space = new_space
    with nacos_account(space.server, *grants_on(space, ("*", "*", "r"))) as account:
        path = mount_group(mount, space, account, owner)
        file = path / "mine.yaml"
        file.chmod(0o666)
        assert mode_of(file) == 0o440
        file.chmod(0o440)  # what it is: a grant that comes later shows all the same
        account.grant(space.namespace, "*", "*", "w")
        wait_until(lambda: mode_of(file) == 0o640, SOON, "the grant to act")
        file.chmod(0o600)
        assert mode_of(file) == 0o600
        assert owner.may(write, file, b"a: 2\n")
        assert mode_of(file) == 0o600
        file.chmod(0o777)
        assert mode_of(file) == 0o640
        path.chmod(0o700)
        assert mode_of(path) == 0o700
        for change in ((1, -1), (-1, 1)):
            with pytest.raises(PermissionError):
                os.chown(file, *change)
        os.chown(file, owner.uid, owner.gid)


def test_rights_off_shows_everything(new_space, mount, owner):
    with nacos_account(new_space.server, *grants_on(new_space, ("APP", "mine.yaml", "r"))) as account:
        path = mount_group(mount, new_space, account, owner, rights="off")
        assert mode_of(path / "mine.yaml") == 0o640 and mode_of(path) == 0o750
        assert owner.may(read, path / "mine.yaml") and not owner.may(write, path / "mine.yaml", b"a: 2\n")
        assert not owner.may(os.listdir, path)


def test_editors_of_one_config(new_space, mount, owner):
    """Whoever may write one config only can use an editor that makes files beside it."""
    with nacos_account(new_space.server, *grants_on(new_space, ("APP", "mine.yaml", "rw"))) as account:
        path = mount_group(mount, new_space, account, owner)
        done = owner.run("sed", "-i", "s/1/2/", path / "mine.yaml")
        assert done.returncode == 0, done.stderr
        assert stored(new_space, "mine.yaml") == b"a: 2\n"
        done = owner.run("vim", "-u", "NONE", "-es", "-c", "%s/2/3/", "-c", "wq", path / "mine.yaml")
        assert stored(new_space, "mine.yaml") == b"a: 3\n", done.stderr
        assert subprocess.run(["runuser", "-u", owner.name, "--", "test", "-w", path / "mine.yaml"]).returncode == 0
        assert owner.errno_of(create, path / "another.yaml", b"a: 1\n") == errno.EACCES
        assert new_space.names() == ["mine.yaml"]
