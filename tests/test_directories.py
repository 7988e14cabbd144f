"""Directories: groups and namespaces as they are made, removed, moved, copied and filled, and configs that move between them.

What is refused by name, and mkdir and rmdir one by one, are in test_tree.py; renames within a group in test_writing_names.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.fault_proxy import FaultProxy, Request
from harness.mounts import Mount, Mounts, Space
from harness.nacos_admin import NacosError
from harness.saving import fails_with, renameat2
from harness.servers import NacosServer
from harness.waiting import wait_until

CONFIG = "app.yaml"
OLD = b"a: old\n"
METADATA = {"type": "yaml", "desc": "described", "tags": frozenset({"shop", "eu"}), "app": "shop"}
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command that must succeed and complain of nothing; what it prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"})
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stdout}"
    return done.stdout


class Tree:
    """A mounted namespace, and what the server has of it."""

    def __init__(self, space: Space, mounted: Mount) -> None:
        self.space, self.mounted = space, mounted
        self.server, self.namespace = space.server, space.namespace
        self.path = mounted.path
        self.group = self.path / space.group
        self.file = self.group / CONFIG

    def stored(self, group: str | None = None) -> dict[str, bytes]:
        """The configs of a group by name."""
        group = group or self.space.group
        found = {}
        for entry in self.server.admin.list(self.namespace, group):
            # One may be removed in between; 3.1.0 then stumbles now and then (HTTP 500).
            with contextlib.suppress(NacosError):
                detail = self.server.admin.detail(self.namespace, group, entry.data_id)
                if detail:
                    found[entry.data_id] = detail.content
        return found

    def ops(self, group: str, name: str) -> str:
        """The server's history of a config, oldest first."""
        return "".join(row.op for row in reversed(self.server.admin.history(self.namespace, group, name)))

    def metadata(self, group: str, name: str) -> dict[str, object]:
        detail = self.server.admin.detail(self.namespace, group, name)
        return {key: getattr(detail, key) for key in METADATA}

    def kept(self) -> list[bytes]:
        unsaved = self.path / ".nacosfs" / "unsaved"
        return [(entry / "yours").read_bytes() for entry in unsaved.iterdir()]


@pytest.fixture
def tree(space: Space, mount: Mounts) -> Tree:
    space.publish(CONFIG, OLD, **METADATA)
    return Tree(space, mount(space.server, space.namespace))


def fill(tree: Tree, count: int) -> dict[str, bytes]:
    """Configs in the group of the test, in which one is already."""
    for number in range(count - 1):
        tree.space.publish(f"n{number}.yaml", f"n: {number}\n", wait=False, type="yaml")
    return tree.stored()


# ------------------------------------------------------- remove, copy and move


def test_rm_of_a_whole_group(tree: Tree) -> None:
    configs = fill(tree, 30)
    run("rm", "-r", tree.group, cwd=tree.path)
    assert not tree.group.exists()
    assert tree.stored() == {}
    for name in configs:
        assert tree.ops(tree.space.group, name) == "ID", name
    assert os.listdir(tree.path) == []


def test_rm_of_a_group_spares_what_came_meanwhile(tree: Tree) -> None:
    """rm -r removes the names that it saw; rmdir finds the new one."""
    assert os.listdir(tree.group) == [CONFIG]
    tree.file.unlink()
    tree.space.publish("theirs.yaml", b"theirs: 1\n")
    with fails_with(errno.ENOTEMPTY):
        tree.group.rmdir()
    assert tree.stored() == {"theirs.yaml": b"theirs: 1\n"}


def test_rmdir_tells_when_a_config_cannot_be_removed(tree: Tree) -> None:
    """It was changed after the unlink: neither the text nor its directory goes."""
    tree.file.unlink()
    tree.space.publish(CONFIG, b"theirs: 1\n")
    with fails_with(errno.EBUSY, errno.ENOTEMPTY):
        tree.group.rmdir()
    assert tree.stored() == {CONFIG: b"theirs: 1\n"}
    wait_until(tree.file.exists, what="the config to show again")


def test_mv_of_a_group(tree: Tree) -> None:
    """A group has no name of its own on the server: mv copies its configs and removes the old ones."""
    configs = fill(tree, 6)
    with fails_with(errno.EXDEV):
        os.rename(tree.group, tree.path / "MOVED")
    run("mv", tree.group, tree.path / "MOVED", cwd=tree.path)
    assert tree.stored("MOVED") == configs
    assert tree.stored() == {}
    assert os.listdir(tree.path) == ["MOVED"]
    for name in configs:
        assert (tree.ops(tree.space.group, name), tree.ops("MOVED", name)) == ("ID", "I")


def test_group_that_is_empty_still_is_moved(tree: Tree) -> None:
    (tree.path / "EMPTY").mkdir()
    run("mv", "EMPTY", "OTHER", cwd=tree.path)
    assert sorted(os.listdir(tree.path)) == sorted(["OTHER", tree.space.group])
    (tree.path / "OTHER").rmdir()


COPIES = {
    "cp -r": "cp -r $from $to",
    "cp -a": "cp -a $from $to",
    "rsync -a": "rsync -a $from/ $to/",
    "rsync -r": "rsync -r $from/ $to/",
    "tar": "mkdir $to && tar -C $from -cf - . | tar -C $to -xf -",
    "tar of the directory": "tar -cf - $from | tar --transform s,^$from,$to, -xf -",
    "one by one": "mkdir $to && for name in $(ls $from); do cat $from/$name > $to/$name; done",
}


@pytest.mark.parametrize("name", COPIES)
def test_copy_of_a_group(tree: Tree, name: str) -> None:
    """Into a fresh group: each config is published once."""
    configs = fill(tree, 6)
    script = f"set -e; from={tree.space.group}; to=FRESH; {COPIES[name]}"
    run("bash", "-c", script, cwd=tree.path)
    assert tree.stored("FRESH") == tree.stored() == configs
    assert {data_id: (tree.path / "FRESH" / data_id).read_bytes() for data_id in os.listdir(tree.path / "FRESH")} == configs
    for data_id in configs:
        assert (tree.ops(tree.space.group, data_id), tree.ops("FRESH", data_id)) == ("I", "I")


def test_backup_and_restore_of_a_group(tree: Tree, tmp_path: Path) -> None:
    """tar over the same group later: what is as in the archive is not published again."""
    configs = fill(tree, 6)
    run("tar", "-C", tree.path, "-cf", tmp_path / "backup.tar", tree.space.group, cwd=tmp_path)
    with tarfile.open(tmp_path / "backup.tar") as archive:
        assert {Path(member.name).name: archive.extractfile(member).read()
                for member in archive if member.isfile()} == configs
    (tree.group / "n1.yaml").write_bytes(b"changed: 1\n")
    (tree.group / "n2.yaml").unlink()
    wait_until(lambda: "n2.yaml" not in tree.stored(), what="the removal")
    run("tar", "-C", tree.path, "-xf", tmp_path / "backup.tar", cwd=tmp_path)
    assert tree.stored() == configs
    assert tree.ops(tree.space.group, "n0.yaml") == "I"
    assert tree.ops(tree.space.group, "n1.yaml") == "IUU"
    assert tree.ops(tree.space.group, "n2.yaml") == "IDI"


# ------------------------------------------------------------ moves of a config


def move_by_rename(old: Path, new: Path) -> None:
    os.rename(old, new)


def move_by_mv(old: Path, new: Path) -> None:
    run("mv", old, new, cwd=Path("/"))


@pytest.mark.parametrize("move", [move_by_rename, move_by_mv], ids=["rename", "mv"])
@pytest.mark.parametrize("onto", ["new", "another config"])
def test_move_between_groups(tree: Tree, move: Callable[[Path, Path], None], onto: str) -> None:
    """The config keeps its text and what is stored with it, in the place of what was there."""
    target = tree.path / "OTHER" / "moved.yaml"
    target.parent.mkdir()
    if onto == "another config":
        tree.server.admin.publish(tree.namespace, "OTHER", "moved.yaml", b"other: 1\n", desc="other", app="other")
        assert target.read_bytes() == b"other: 1\n"
    inode = tree.file.stat().st_ino
    move(tree.file, target)
    assert not tree.file.exists()
    assert tree.stored() == {} and tree.stored("OTHER") == {"moved.yaml": OLD}
    assert tree.metadata("OTHER", "moved.yaml") == METADATA
    assert (tree.ops(tree.space.group, CONFIG), tree.ops("OTHER", "moved.yaml")) == (
        "ID", "I" if onto == "new" else "IU")
    assert target.read_bytes() == OLD
    assert target.stat().st_ino == inode


@pytest.mark.parametrize("move", [move_by_rename, move_by_mv], ids=["rename", "mv"])
def test_move_between_namespaces(nacos: NacosServer, space_of: Callable[[NacosServer], Space], mount: Mounts,
                                 move: Callable[[Path, Path], None]) -> None:
    old, new = space_of(nacos), space_of(nacos)
    old.publish(CONFIG, OLD, **METADATA)
    new.publish("other.yaml", OLD)
    options = {"namespaces": f"{old.namespace}:{new.namespace}"} if nacos.generation == "2.2.4" else {}
    path = mount(nacos, options=options).path
    move(path / old.namespace / old.group / CONFIG, path / new.namespace / new.group / CONFIG)
    assert old.names() == [] and new.names() == [CONFIG, "other.yaml"]
    detail = new.detail(CONFIG)
    assert detail.content == OLD
    assert {name: getattr(detail, name) for name in METADATA} == METADATA
    assert [row.op for row in old.history(CONFIG)] == ["D", "I"]


def deleting(request: Request) -> bool:
    return request.method == "DELETE"


@pytest.fixture
def proxied(space: Space, mount: Mounts) -> Iterator[tuple[Tree, FaultProxy]]:
    space.publish(CONFIG, OLD, **METADATA)
    with FaultProxy(space.server.port) as proxy:
        mounted = mount(space.server, space.namespace, port=proxy.port, options={"timeout": 6})
        (mounted.path / "OTHER").mkdir()
        yield Tree(space, mounted), proxy


@pytest.mark.parametrize("onto", ["new", "another config"])
@pytest.mark.parametrize("fault", ["500", "503", "403 for good", "reset before"])
def test_move_whose_delete_fails_is_undone(proxied: tuple[Tree, FaultProxy], fault: str, onto: str) -> None:
    tree, proxy = proxied
    before = {}
    if onto == "another config":
        tree.server.admin.publish(tree.namespace, "OTHER", CONFIG, b"other: 1\n", **METADATA)
        before = {CONFIG: b"other: 1\n"}
        assert (tree.path / "OTHER" / CONFIG).read_bytes() == b"other: 1\n"
    proxy.spoil(fault, lambda request: deleting(request) and tree.space.group in request.path, times=100)
    with pytest.raises(OSError):
        os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    proxy.heal()
    assert tree.stored() == {CONFIG: OLD}
    assert tree.stored("OTHER") == before
    assert tree.metadata(tree.space.group, CONFIG) == METADATA
    if before:
        assert tree.metadata("OTHER", CONFIG) == METADATA
    assert tree.file.read_bytes() == OLD
    os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    assert tree.stored() == {} and tree.stored("OTHER") == {CONFIG: OLD}


@pytest.mark.parametrize("fault", ["answer lost", "answer torn", "answer garbage"])
def test_move_whose_delete_was_done_is_done(proxied: tuple[Tree, FaultProxy], fault: str) -> None:
    tree, proxy = proxied
    proxy.spoil(fault, deleting)
    os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    assert tree.stored() == {} and tree.stored("OTHER") == {CONFIG: OLD}
    assert tree.ops(tree.space.group, CONFIG) == "ID"


def test_move_whose_delete_stays_unknown_loses_nothing(proxied: tuple[Tree, FaultProxy]) -> None:
    """The delete is done, its answer lost, and the old name can't be asked for then: the text must be somewhere."""
    tree, proxy = proxied
    proxy.spoil("answer lost", deleting)
    proxy.spoil("500", lambda request: (request.method == "GET" and tree.space.group in request.path
                                        and proxy.count(deleting) > 0), times=1000)
    with contextlib.suppress(OSError):
        os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    proxy.heal()
    left = [*tree.stored().values(), *tree.stored("OTHER").values()]
    assert OLD in left or OLD in tree.kept()


def test_move_that_cannot_publish_changes_nothing(proxied: tuple[Tree, FaultProxy]) -> None:
    tree, proxy = proxied
    proxy.spoil("500", lambda request: request.method == "POST" and b"content=a" in request.body, times=100)
    with pytest.raises(OSError):
        os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    proxy.heal()
    assert tree.stored() == {CONFIG: OLD} and tree.stored("OTHER") == {}
    assert tree.file.read_bytes() == OLD
    assert not (tree.path / "OTHER" / CONFIG).exists()
    assert proxy.count(deleting) == 0


def test_move_of_what_somebody_changes_meanwhile(tree: Tree) -> None:
    """Their change was not seen here: it is not removed, and not moved as the old text either."""
    assert tree.file.read_bytes() == OLD
    tree.space.publish(CONFIG, b"theirs: 1\n")
    (tree.path / "OTHER").mkdir()
    with contextlib.suppress(OSError):  # if it was seen, it is moved
        os.rename(tree.file, tree.path / "OTHER" / CONFIG)
    both = {**tree.stored("OTHER"), **tree.stored()}
    assert both == {CONFIG: b"theirs: 1\n"}


# -------------------------------------------------------------- refused renames


def test_rename_flags(tree: Tree) -> None:
    (tree.path / "OTHER").mkdir()
    other = tree.path / "OTHER" / CONFIG
    for flags in (EXCHANGE, WHITEOUT, EXCHANGE | NOREPLACE, 64):
        with fails_with(errno.EINVAL, errno.ENOENT):  # EXCHANGE wants a target
            renameat2(tree.file, other, flags)
    renameat2(tree.file, other, NOREPLACE)
    tree.space.publish("third.yaml", b"third: 1\n")
    with fails_with(errno.EEXIST):
        renameat2(other, tree.group / "third.yaml", NOREPLACE)
    with fails_with(errno.EINVAL):
        renameat2(other, tree.group / "third.yaml", EXCHANGE)
    assert tree.stored() == {"third.yaml": b"third: 1\n"} and tree.stored("OTHER") == {CONFIG: OLD}


def test_rename_that_must_not_replace_what_was_not_seen_yet(tree: Tree) -> None:
    """The name was looked up when there was none; the kernel believes that for a moment."""
    assert not (tree.group / "new.yaml").exists()
    tree.space.publish("new.yaml", b"theirs: 1\n")
    with fails_with(errno.EEXIST, errno.EBUSY):
        renameat2(tree.file, tree.group / "new.yaml", NOREPLACE)
    assert tree.stored() == {CONFIG: OLD, "new.yaml": b"theirs: 1\n"}


@pytest.mark.parametrize("kind", ["config", "temp file"])
def test_rename_that_must_not_replace_another_hosts_config(tree: Tree, kind: str) -> None:
    source = tree.file
    if kind == "temp file":
        source = tree.group / "x.tmp"
        source.write_bytes(b"mine: 1\n")
    tree.space.publish("theirs.yaml", b"theirs: 1\n")
    with fails_with(errno.EEXIST):
        renameat2(source, tree.group / "theirs.yaml", NOREPLACE)
    assert tree.stored()["theirs.yaml"] == b"theirs: 1\n"
    assert source.exists()


LONG = "n" * 255

# What is asked for, in a tree with the config G/app.yaml, the groups OTHER (empty) and FULL (with a.yaml), and G/.d (a scratch directory).
REFUSED = {
    "group over a group with configs": (lambda g: os.rename(g, g.parent / "FULL"), {errno.ENOTEMPTY, errno.EXDEV}),
    "group over an empty group": (lambda g: os.rename(g, g.parent / "OTHER"), {errno.EXDEV}),
    "group over a config": (lambda g: os.rename(g.parent / "OTHER", g / CONFIG), {errno.ENOTDIR}),
    "config over a group": (lambda g: os.rename(g / CONFIG, g.parent / "OTHER"), {errno.EISDIR}),
    "config over its own group": (lambda g: os.rename(g / CONFIG, g), {errno.ENOTEMPTY, errno.EISDIR}),
    "group into itself": (lambda g: os.rename(g, g / "x"), {errno.EINVAL}),
    "group into a group": (lambda g: os.rename(g, g.parent / "FULL" / "x"), {errno.EXDEV, errno.EPERM}),
    "config to the level of groups": (lambda g: os.rename(g / CONFIG, g.parent / CONFIG), {errno.EPERM}),
    "config to another file system": (lambda g: os.rename(g / CONFIG, "/var/tmp/x"), {errno.EXDEV}),
    "scratch directory to a group": (lambda g: os.rename(g / ".d", g.parent / "NEW"), {errno.EPERM}),
    "rmdir of a group with configs": (lambda g: os.rmdir(g), {errno.ENOTEMPTY}),
    "rmdir of a config": (lambda g: os.rmdir(g / CONFIG), {errno.ENOTDIR}),
    "unlink of a group": (lambda g: os.unlink(g), {errno.EISDIR}),
    "rename to a name too long": (lambda g: os.rename(g / CONFIG, g / (LONG + "n")), {errno.ENAMETOOLONG}),
    "mkdir of a name too long": (lambda g: os.mkdir(g.parent / (LONG + "n")), {errno.ENAMETOOLONG}),
    "mkdir of a group beyond the server's limit": (lambda g: os.mkdir(g.parent / LONG), {errno.EINVAL}),
    "rename to an impossible name": (lambda g: os.rename(g / CONFIG, g / "a b.yaml"), {errno.EINVAL}),
    "rename to an impossible name elsewhere": (lambda g: os.rename(g / CONFIG, g.parent / "OTHER" / "a=b"), {errno.EINVAL}),
    "rename of an impossible name": (lambda g: os.rename(g / "a b.yaml", g / "b.yaml"), {errno.ENOENT}),
    "rename into a group that is not there": (lambda g: os.rename(g / CONFIG, g.parent / "NONE" / CONFIG), {errno.ENOENT}),
    "create in a group that is not there": (lambda g: os.mknod(g.parent / "NONE" / CONFIG), {errno.ENOENT}),
    "create below a config": (lambda g: os.mknod(g / CONFIG / "x"), {errno.ENOTDIR}),
    "rename of the control directory": (lambda g: os.rename(g.parent / ".nacosfs", g.parent / "X"),
                                        {errno.EPERM, errno.EXDEV, errno.EACCES}),
    "rmdir of the control directory": (lambda g: os.rmdir(g.parent / ".nacosfs"), {errno.EPERM}),
}


@pytest.fixture(scope="module")
def refusing(nacos: NacosServer) -> Iterator[Tree]:
    """One tree for all that is refused, as it changes nothing."""
    space = Space(nacos, f"test-{uuid.uuid4().hex[:12]}", "G")
    nacos.admin.create_namespace(space.namespace)
    space.publish(CONFIG, OLD)
    nacos.admin.publish(space.namespace, "FULL", "a.yaml", b"a: 1\n")
    mounts = Mounts()
    tree = Tree(space, mounts(nacos, space.namespace))
    (tree.path / "OTHER").mkdir()
    (tree.group / ".d").mkdir()
    yield tree
    mounts.close()
    nacos.admin.delete_all(space.namespace)
    nacos.admin.delete_namespace(space.namespace)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(refusing: Tree, name: str) -> None:
    action, codes = REFUSED[name]
    with fails_with(*codes):
        action(refusing.group)
    assert sorted(os.listdir(refusing.path)) == ["FULL", "G", "OTHER"]
    assert sorted(os.listdir(refusing.group)) == [".d", CONFIG]
    assert refusing.stored() == {CONFIG: OLD} and refusing.stored("FULL") == {"a.yaml": b"a: 1\n"}
    assert refusing.ops("G", CONFIG) == "I"


def test_namespace_is_not_renamed(nacos_310: NacosServer, space_of: Callable[[NacosServer], Space], mount: Mounts) -> None:
    space = space_of(nacos_310)
    space.publish(CONFIG, OLD)
    path = mount(nacos_310).path
    other = f"test-{uuid.uuid4().hex[:12]}"
    with fails_with(errno.EXDEV):
        os.rename(path / space.namespace, path / other)
    assert other not in os.listdir(path)
    assert space.names() == [CONFIG]


def test_mv_of_a_namespace(nacos_310: NacosServer, space_of: Callable[[NacosServer], Space], mount: Mounts) -> None:
    space = space_of(nacos_310)
    for number in range(4):
        space.publish(f"n{number}.yaml", OLD)
    path = mount(nacos_310).path
    target = Space(nacos_310, f"test-{uuid.uuid4().hex[:12]}", space.group)
    try:
        run("mv", path / space.namespace, path / target.namespace, cwd=path)
        assert target.names() == [f"n{number}.yaml" for number in range(4)]
        assert space.names() == []
        assert space.namespace not in os.listdir(path)
    finally:
        nacos_310.admin.delete_all(target.namespace)
        nacos_310.admin.delete_namespace(target.namespace)


# ------------------------------------------------------------------------ git


def git(tree: Tree, *arguments: str) -> str:
    settings = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "init.defaultBranch=main",
                "-c", "advice.detachedHead=false", "-c", "safe.directory=*")
    return run("git", *settings, *arguments, cwd=tree.group)


def test_git_work_tree(tree: Tree) -> None:
    """The repository is in memory; each change of a file is one row."""
    fill(tree, 4)

    def ops() -> list[str]:
        return [tree.ops(tree.space.group, name) for name in (CONFIG, "n0.yaml", "n1.yaml", "n2.yaml")]

    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    assert git(tree, "status", "--porcelain") == ""
    assert ops() == ["I"] * 4
    tree.file.write_bytes(b"a: new\n")
    assert git(tree, "status", "--porcelain") == f" M {CONFIG}\n"
    git(tree, "commit", "-q", "-a", "-m", "second")
    git(tree, "checkout", "-q", "HEAD~")
    assert tree.file.read_bytes() == OLD
    git(tree, "checkout", "-q", "main")
    assert tree.stored()[CONFIG] == b"a: new\n"
    assert ops() == ["IUUU", "I", "I", "I"]
    assert git(tree, "status", "--porcelain") == ""
    (tree.group / "n0.yaml").write_bytes(b"stash: 1\n")
    git(tree, "stash", "-q")
    assert tree.stored()["n0.yaml"] == b"n: 0\n"
    git(tree, "stash", "pop", "-q")
    assert tree.stored()["n0.yaml"] == b"stash: 1\n"
    assert ops() == ["IUUU", "IUUU", "I", "I"]
    git(tree, "rm", "-q", "n1.yaml")
    git(tree, "mv", "n2.yaml", "n3.yaml")
    git(tree, "commit", "-q", "-a", "-m", "third")
    wait_until(lambda: ops()[2] == "ID", what="the removal")
    assert ops() == ["IUUU", "IUUU", "ID", "ID"]
    assert tree.ops(tree.space.group, "n3.yaml") == "I"
    assert git(tree, "fsck", "--no-progress", "--no-dangling") == ""
    assert tree.metadata(tree.space.group, CONFIG) == METADATA
    tree.mounted.unmount()
    assert sorted(tree.stored()) == [CONFIG, "n0.yaml", "n3.yaml"]


def test_git_clone_into_a_group(tree: Tree, tmp_path: Path) -> None:
    """A repository elsewhere, its work tree on the mount."""
    environment = {**os.environ, "GIT_DIR": str(tmp_path / "repo"), "GIT_WORK_TREE": str(tree.group)}

    def git_outside(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=n@e", "-c", "safe.directory=*", *arguments],
                       cwd=tree.group, env=environment, check=True, capture_output=True)

    git_outside("init", "-q")
    git_outside("add", ".")
    git_outside("commit", "-q", "-m", "first")
    tree.file.unlink()
    wait_until(lambda: tree.stored() == {}, what="the removal")
    git_outside("checkout", "--", ".")
    assert tree.stored() == {CONFIG: OLD}
    assert tree.ops(tree.space.group, CONFIG) == "IDI"
