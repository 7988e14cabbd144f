"""What people save files with, on a mount: each save is one row in the server's history, with exactly the right bytes,
the config's metadata kept, and no other name ever published.

Add a tool by adding a row to COMMANDS (shell commands, in the directory of the config; $work/app.yaml is the new text),
or to EDITORS (keys, in a real terminal).
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import time
import zipfile
from dataclasses import dataclass, field

import pytest

from harness.mounts import Mounts, Space
from harness.proxy import TcpProxy
from harness.terminal import Terminal
from harness.tools import CONFIG, METADATA, NEW, SAVED, SAVED_ONCE, START, UNTOUCHED, Bench, Left, Place, Result, need, saved
from harness.waiting import wait_until

LINE = "added: yes\n"
DIFF = """\
--- a/app.yaml
+++ b/app.yaml
@@ -1,3 +1,3 @@
 server:
-  port: 8080
+  port: 9090
   name: demo
"""
# What a config gets that is new under its name: the type by its extension, no more.


def prepare_work(place: Place) -> None:
    (place.work / CONFIG).write_bytes(SAVED)
    (place.work / CONFIG).chmod(0o640)
    (place.work / "change.diff").write_text(DIFF)
    with tarfile.open(place.work / "app.tar", "w") as archive:
        member = tarfile.TarInfo(CONFIG)
        member.size = len(SAVED)
        member.mode = 0o640
        archive.addfile(member, io.BytesIO(SAVED))
    with zipfile.ZipFile(place.work / "app.zip", "w") as archive:
        archive.write(place.work / CONFIG, CONFIG)


# ---------------------------------------------------------------- commands


@dataclass(frozen=True)
class Command:
    text: str
    needs: tuple[str, ...] = ()
    result: Result = field(default_factory=lambda: SAVED_ONCE)
    shell: str = "bash"


SUBSTITUTE = "s/8080/9090/"
PYTHON_READ = "import os, shutil, tempfile; new = open('app.yaml').read().replace('8080', '9090'); "

def java(statements: str) -> str:
    """A shell command that runs a Java program with the file and its new text."""
    return f"""cat > $work/Save.java <<'END'
import java.nio.file.*;
public class Save {{
    public static void main(String[] arguments) throws Exception {{
        Path file = Path.of("app.yaml");
        String text = Files.readString(file).replace("8080", "9090");
        {statements}
    }}
}}
END
java $work/Save.java"""


INI = b"[server]\nport = 8080\nname = demo\n"

# Of tools that know a format: an .ini file.
INI_COMMANDS = {
    "crudini": Command("crudini --set app.ini server port 9090", ("crudini",)),
    "crudini --inplace": Command("crudini --inplace --set app.ini server port 9090", ("crudini",)),
    "augtool": Command("augtool -s --noautoload --transform \"Puppet.lns incl $PWD/app.ini\" "
                       "set /files$PWD/app.ini/server/port 9090 > $work/log || cat $work/log >&2", ("augtool",)),
    "augtool -b": Command("augtool -b -s --noautoload --transform \"Puppet.lns incl $PWD/app.ini\" "
                          "set /files$PWD/app.ini/server/port 9090 > $work/log || cat $work/log >&2", ("augtool",)),
}

COMMANDS = {
    # edit in place
    "sed -i": Command(f"sed -i {SUBSTITUTE} app.yaml"),
    "sed -i.bak": Command(f"sed -i.bak {SUBSTITUTE} app.yaml"),
    "sed -i without effect": Command("sed -i s/absent/x/ app.yaml", result=UNTOUCHED),
    "busybox sed -i": Command(f"busybox sed -i {SUBSTITUTE} app.yaml", ("busybox",)),
    "perl -i": Command(f"perl -i -pe {SUBSTITUTE} app.yaml", ("perl",)),
    "perl -i.bak": Command(f"perl -i.bak -pe {SUBSTITUTE} app.yaml", ("perl",)),
    "ed": Command(f"printf ',{SUBSTITUTE}\\nw\\nq\\n' | ed -s app.yaml", ("ed",)),
    "vim -es": Command(f"vim -es -c '%{SUBSTITUTE}' -c wq app.yaml", ("vim",)),
    "awk and mv": Command("awk '{ sub(8080, 9090) } 1' app.yaml > app.yaml.tmp && mv app.yaml.tmp app.yaml"),
    "awk and mv from elsewhere": Command("awk '{ sub(8080, 9090) } 1' app.yaml > $work/x && mv $work/x app.yaml"),
    "patch": Command("patch -s app.yaml $work/change.diff", ("patch",)),
    "patch -b": Command("patch -s -b app.yaml $work/change.diff", ("patch",)),
    "git apply": Command("git apply $work/change.diff", ("git",)),
    # copy over
    "cp": Command("cp $work/app.yaml app.yaml"),
    "cp -p": Command("cp -p $work/app.yaml app.yaml"),
    "cp -b": Command("cp -b $work/app.yaml app.yaml"),
    "cp --remove-destination": Command("cp --remove-destination $work/app.yaml app.yaml"),
    "cp of the same": Command("cp app.yaml $work/same && cp $work/same app.yaml", result=UNTOUCHED),
    "mv from another filesystem": Command("mv $work/app.yaml app.yaml"),
    "install": Command("install $work/app.yaml app.yaml"),
    "install -m": Command("install -m 640 $work/app.yaml app.yaml"),
    "rsync": Command("rsync -I $work/app.yaml app.yaml", ("rsync",)),
    "rsync --inplace": Command("rsync -I --inplace $work/app.yaml app.yaml", ("rsync",)),
    "rsync -a": Command("rsync -a -I $work/app.yaml app.yaml", ("rsync",)),
    "rsync --delay-updates": Command("rsync -I --delay-updates $work/app.yaml .", ("rsync",)),
    "tar x": Command("tar xf $work/app.tar", ("tar",)),
    "tar x --overwrite": Command("tar xf $work/app.tar --overwrite", ("tar",)),
    "busybox tar x": Command("busybox tar xf $work/app.tar", ("busybox",)),
    "unzip -o": Command("unzip -oq $work/app.zip", ("unzip",)),
    # write
    "cat >": Command("cat $work/app.yaml > app.yaml"),
    "cat >, dash": Command("cat $work/app.yaml > app.yaml", shell="dash"),
    "echo >": Command("echo 'port: 1' > app.yaml", result=saved(b"port: 1\n")),
    "echo >, dash": Command("echo 'port: 1' > app.yaml", shell="dash", result=saved(b"port: 1\n")),
    "echo >>": Command("echo 'added: yes' >> app.yaml", result=saved(START + LINE.encode())),
    "echo >>, dash": Command("echo 'added: yes' >> app.yaml", shell="dash", result=saved(START + LINE.encode())),
    "{ } >": Command("{ head -n 1 $work/app.yaml; echo '  port: 9090'; tail -n 1 $work/app.yaml; } > app.yaml"),
    "( ) >": Command("( head -n 1 $work/app.yaml; echo '  port: 9090'; tail -n 1 $work/app.yaml ) > app.yaml"),
    "exec 3>": Command("exec 3> app.yaml; echo a: 1 >&3; echo b: 2 >&3; /bin/echo c: 3 >&3; exec 3>&-",
                       result=saved(b"a: 1\nb: 2\nc: 3\n")),
    "here document": Command("cat > app.yaml <<EOF\na: 1\nb: 2\nEOF", result=saved(b"a: 1\nb: 2\n")),
    "tee": Command("tee app.yaml < $work/app.yaml > /dev/null"),
    "tee -a": Command("echo 'added: yes' | tee -a app.yaml > /dev/null", result=saved(START + LINE.encode())),
    "dd": Command("dd if=$work/app.yaml of=app.yaml status=none"),
    "dd bs=1": Command("dd if=$work/app.yaml of=app.yaml bs=1 status=none"),
    "dd conv=fsync": Command("dd if=$work/app.yaml of=app.yaml conv=fsync status=none"),
    "dd conv=notrunc": Command("printf 9090 | dd of=app.yaml bs=1 seek=16 conv=notrunc status=none"),
    "truncate -s": Command("truncate -s 21 app.yaml", result=saved(START[:21])),
    # programs
    "python open w": Command(f"python3 -c \"{PYTHON_READ} open('app.yaml', 'w').write(new)\""),
    "python open r+": Command("python3 -c \"f = open('app.yaml', 'r+b'); f.seek(16); f.write(b'9090'); f.close()\""),
    "python os.replace": Command(
        f"python3 -c \"{PYTHON_READ} open('app.yaml.tmp', 'w').write(new); os.replace('app.yaml.tmp', 'app.yaml')\""),
    "python tempfile": Command(
        f"python3 -c \"{PYTHON_READ} f = tempfile.NamedTemporaryFile('w', dir='.', delete=False); f.write(new); "
        "f.flush(); os.fsync(f.fileno()); f.close(); shutil.copymode('app.yaml', f.name); "
        "os.replace(f.name, 'app.yaml')\""),
    # names
    "java Files.write": Command(java("Files.writeString(file, text);"), ("javac",)),
    "java atomic move": Command(java("""Path temp = Path.of("app.yaml.tmp");
        Files.writeString(temp, text); Files.move(temp, file, StandardCopyOption.ATOMIC_MOVE);"""), ("javac",)),
    "ansible lineinfile": Command("ansible -i localhost, -c local -e ansible_python_interpreter=/usr/bin/python3 localhost "
                                  "-m lineinfile -a \"path=$PWD/app.yaml regexp='8080' line='  port: 9090'\" > $work/log "
                                  "|| cat $work/log >&2", ("ansible",)),
    "ansible copy": Command("ansible -i localhost, -c local -e ansible_python_interpreter=/usr/bin/python3 localhost "
                            "-m copy -a \"src=$work/app.yaml dest=$PWD/app.yaml\" > $work/log || cat $work/log >&2",
                            ("ansible",)),
    "mv to a new name": Command("mv app.yaml moved.yaml",
                                result={CONFIG: Left(None, "D"), "moved.yaml": Left(START, "I")}),
    "cp to a new name": Command("cp app.yaml copy.yaml",
                                result={CONFIG: Left(START, ""), "copy.yaml": Left(START, "I", NEW)}),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command(bench: Bench, name: str) -> None:
    command = COMMANDS[name]
    need(*command.needs, command.shell)
    place = bench.place(name)
    prepare_work(place)
    place.run(command.text, command.shell)
    place.check(command.result)


def test_mv_over_another_config(bench: Bench) -> None:
    place = bench.place("mv over")
    place.add("other.yaml", b"other: 1\n")
    place.run("mv app.yaml other.yaml")
    place.check({CONFIG: Left(None, "D"), "other.yaml": Left(START, "U")})


# ------------------------------------------------------- commands that fail

# These would save a text that no server can store (latin1). They must say so, and the config stays as it was.
BAD = SAVED + "name: café\n".encode("latin1")
TOLD = {
    "sed -i": "sed -i 's/demo/caf\\xe9/' app.yaml",
    "sed -i.bak": "sed -i.bak 's/demo/caf\\xe9/' app.yaml",
    "perl -i": "perl -i -pe 's/demo/caf\\xe9/' app.yaml",
    "cp": "cp $work/bad app.yaml",
    "cp -p": "cp -p $work/bad app.yaml",
    "cp -b": "cp -b $work/bad app.yaml",
    "cp --remove-destination": "cp --remove-destination $work/bad app.yaml",
    "mv": "mv $work/bad app.yaml",
    "install": "install $work/bad app.yaml",
    "rsync": "rsync -I $work/bad app.yaml",
    "rsync --inplace": "rsync -I --inplace $work/bad app.yaml",
    "tee": "tee app.yaml < $work/bad",
    "cat": "cat $work/bad > app.yaml",
    "dd": "dd if=$work/bad of=app.yaml status=none",
    "dd conv=fsync": "dd if=$work/bad of=app.yaml conv=fsync status=none",
    "tar x": "tar xf $work/bad.tar",
    "ed": "printf '1r %s/bad\\nw\\nq\\n' $work | ed -s app.yaml",
    "python": "python3 -c \"import shutil; shutil.copyfile('$work/bad', 'app.yaml')\"",
    "awk and mv": "awk 1 $work/bad > app.yaml.tmp && mv app.yaml.tmp app.yaml",
}
# These never look at what close or rename says; still the config must stay as it was.
SILENT = {
    "echo": "printf 'caf\\xe9\\n' > app.yaml",
    "busybox sed -i": "busybox sed -i \"s/demo/caf$(printf '\\351')/\" app.yaml",
    "busybox tar x": "busybox tar xf $work/bad.tar",
}


@pytest.mark.parametrize("name", [*TOLD, *SILENT])
def test_command_that_cannot_save(bench: Bench, name: str) -> None:
    command = TOLD.get(name) or SILENT[name]
    need(*(word for word in command.split()[:1]))
    place = bench.place(f"bad {name}")
    (place.work / "bad").write_bytes(BAD)
    with tarfile.open(place.work / "bad.tar", "w") as archive:
        archive.add(place.work / "bad", CONFIG)
    status, message = place.try_run(command)
    if name in TOLD:
        assert status != 0
        assert "nvalid or incomplete multibyte" in message, message
    wait_until(lambda: place.file.exists() and place.file.read_bytes() == START, what="the server's text to show again")
    place.check(UNTOUCHED)



# ------------------------------------------------------------------ editors


@dataclass(frozen=True)
class Editor:
    command: tuple[str, ...]
    steps: tuple[str, ...]
    result: Result = field(default_factory=lambda: SAVED_ONCE)


# No editor may say any of this.
WARNING = re.compile(r"\b[EW]\d+:|WARNING|[Ee]rror|changed since|modified (by|outside)|read-?only|Swap file|denied")
VI_EDIT = (f":%{SUBSTITUTE}<Enter>", "?port: 9090")
VI_EDIT_AGAIN = (":%s/demo/shop/<Enter>", "?name: shop")
SAVED_AGAIN = SAVED.replace(b"demo", b"shop")


def vi(program: str, *steps: str, options: str = "", arguments: tuple[str, ...] = (),
       result: Result = SAVED_ONCE) -> Editor:
    """Opens the config, makes the first edit, and goes on with steps."""
    settings = (f":set {options}<Enter>",) if options else ()
    return Editor((program, *arguments, CONFIG), ("?port: 8080", *settings, *VI_EDIT, *steps), result)


WRITE = (":w<Enter>", "?written", ":q<Enter>")
TWICE = (":w<Enter>", "?written", *VI_EDIT_AGAIN, ":w<Enter>", "?written", ":q<Enter>")


def vi_editors(program: str) -> dict[str, Editor]:
    return {
        f"{program} :w": vi(program, *WRITE),
        f"{program} :wq": vi(program, ":wq<Enter>"),
        f"{program} :x": vi(program, ":x<Enter>"),
        f"{program} ZZ": vi(program, "ZZ"),
        f"{program} -n": vi(program, *WRITE, arguments=("-n",)),
        f"{program} nobackup nowritebackup": vi(program, *WRITE, options="nobackup nowritebackup"),
        f"{program} backup": vi(program, *WRITE, options="backup"),
        f"{program} backupcopy=yes": vi(program, *WRITE, options="backupcopy=yes"),
        f"{program} backupcopy=no": vi(program, *WRITE, options="backupcopy=no"),
        f"{program} -n nobackup nowritebackup": vi(program, *WRITE, arguments=("-n",),
                                                   options="nobackup nowritebackup"),
        f"{program} nofsync": vi(program, *WRITE, options="nofsync"),
        f"{program} :w twice": vi(program, *TWICE, result=saved(SAVED_AGAIN, "UU")),
        f"{program} :w twice, backupcopy=yes": vi(program, *TWICE, options="backupcopy=yes",
                                                  result=saved(SAVED_AGAIN, "UU")),
        f"{program} :w twice, nowritebackup": vi(program, *TWICE, options="nobackup nowritebackup",
                                                 result=saved(SAVED_AGAIN, "UU")),
        f"{program} unchanged": Editor((program, CONFIG), ("?port: 8080", ":w<Enter>", "?written", ":wq<Enter>"),
                                       UNTOUCHED),
        f"{program} :q!": vi(program, ":q!<Enter>", result=UNTOUCHED),
        f"{program} :saveas": vi(
            program, ":saveas other.yaml<Enter>", "?written", *VI_EDIT_AGAIN, ":wq<Enter>",
            result={CONFIG: Left(START, ""), "other.yaml": Left(SAVED_AGAIN, "IU", NEW)}),
        f"{program} :w another name": vi(
            program, ":w other.yaml<Enter>", "?written", ":q!<Enter>",
            result={CONFIG: Left(START, ""), "other.yaml": Left(SAVED, "I", NEW)}),
        f"{program} new file": Editor((program, "fresh.yaml"), ("?fresh.yaml", "ia: 1<Escape>", ":wq<Enter>"),
                                      {CONFIG: Left(START, ""), "fresh.yaml": Left(b"a: 1\n", "I", NEW)}),
    }


NANO_EDIT = ("?port: 8080", "<Down><C-k>  port: 9090<Enter>")
EMACS_SAVE = ("?port: 8080", "<M-%>", "?Query replace", "8080<Enter>", "?with", "9090<Enter>", "?Query replacing", "!",
              "?Replaced 1", "<C-x>", "<C-s>", "?Wrote", "<C-x>", "<C-c>")
MICRO_EDIT = ("<C-e>", "?>", "replaceall 8080 9090<Enter>", "?Replaced 1")
JOE_EDIT = ("<C-k>", "f", "?Find", "8080<Enter>", "r<Enter>", "?Replace with", "9090<Enter>", "?Replace", "y")

EDITORS = {
    **vi_editors("vim"),
    **vi_editors("vim.tiny"),
    "vim undofile": vi("vim", *WRITE, options="undofile"),
    "nano": Editor(("nano", CONFIG), (*NANO_EDIT, "<C-o>", "?to Write", "<Enter>", "?Wrote 3 lines", "<C-x>")),
    "nano -B": Editor(("nano", "-B", CONFIG), (*NANO_EDIT, "<C-o>", "?to Write", "<Enter>", "?Wrote 3 lines", "<C-x>")),
    "nano, exit and yes": Editor(("nano", CONFIG),
                                 (*NANO_EDIT, "<C-x>", "?Save modified", "y", "?to Write", "<Enter>")),
    "busybox vi": Editor(("busybox", "vi", CONFIG), ("?port: 8080", *VI_EDIT, ":wq<Enter>")),
    "neovim": Editor(("nvim", CONFIG), ("?port: 8080", *VI_EDIT, ":wq<Enter>")),
    "emacs": Editor(("emacs", "-nw", "-Q", CONFIG), EMACS_SAVE),
    "emacs, not a first backup": Editor(("emacs", "-nw", "-Q", "--eval", "(setq make-backup-files nil)", CONFIG), EMACS_SAVE),
    "micro": Editor(("micro", CONFIG), ("?port: 8080", *MICRO_EDIT, "<C-s>", "?Saved", "<C-q>")),
    "joe": Editor(("joe", "-asis", CONFIG), ("?port: 8080", *JOE_EDIT, "<C-k>", "x")),
}


@pytest.mark.parametrize("name", INI_COMMANDS)
def test_command_on_an_ini_file(bench: Bench, name: str) -> None:
    command = INI_COMMANDS[name]
    need(*command.needs)
    place = bench.place(name)
    place.add("app.ini", INI)
    place.run(command.text, command.shell)
    result = {CONFIG: Left(START, ""), "app.ini": Left(INI.replace(b"8080", b"9090"), "U")}
    place.check(result)


@pytest.mark.parametrize("name", EDITORS)
def test_editor(bench: Bench, name: str) -> None:
    editor = EDITORS[name]
    need(editor.command[0])
    place = bench.place(name)
    with Terminal(editor.command, place.path) as terminal:
        terminal.play(*editor.steps)
        assert terminal.wait_exit() == 0
        complaints = [screen for screen in terminal.screens if WARNING.search(screen)]
    assert not complaints, "\n".join(complaints)
    place.check(editor.result)


# How each editor says that a save failed.
FAILED = {
    "vim": r"E\d+:.*(Fsync failed|Close failed|Can't open file|Write error)",
    "vim.tiny": r"E\d+:.*(Fsync failed|Close failed|Can't open file|Write error)",
    "nano": r"Error writing .*: ",
}


@pytest.mark.parametrize("program", FAILED)
def test_editor_is_told_and_keeps_the_text(space: Space, mount: Mounts, program: str) -> None:
    """The server goes away while the text is edited, and comes back: the second attempt saves it."""
    need(program)
    space.publish(CONFIG, START, **METADATA)
    with TcpProxy(space.server.port) as proxy:
        options = {**mount.default_options(space.server), "timeout": 4}
        mounted = mount.mount(f"nacos://127.0.0.1:{proxy.port}/{space.namespace}/{space.group}", options)
        with Terminal([program, CONFIG], mounted.path) as terminal:
            edit, write = ((NANO_EDIT, ("<C-o>", "?to Write", "<Enter>")) if program == "nano" else
                           (("?port: 8080", *VI_EDIT), (":w<Enter>",)))
            terminal.play(*edit)
            proxy.refuse()
            terminal.play(*write)
            terminal.wait_for(FAILED[program])
            proxy.resume()
            assert space.detail(CONFIG).content == START
            if program != "nano":
                terminal.play("<Enter>")  # vim may want to see that the message was read
            wait_until(lambda: (mounted.path / CONFIG).read_bytes() == START, what="the mount to come back")
            terminal.play(*write, r"?(Wrote 3 lines|3L, 34B written)")
            assert terminal.play("<C-x>" if program == "nano" else ":q<Enter>").wait_exit() == 0
        assert (mounted.path / CONFIG).read_bytes() == SAVED
        mounted.unmount()
    assert [row.op for row in space.history(CONFIG)] == ["U", "I"]
    assert space.detail(CONFIG).content == SAVED
    assert space.names() == [CONFIG]


def test_vim_saves_again_later_without_a_question(space: Space, mount: Mounts) -> None:
    """Nothing that vim looks at has moved by itself, even where listings are compared all the time."""
    need("vim")
    space.publish(CONFIG, START, **METADATA)
    mounted = mount(space.server, space.namespace, space.group, options={"refresh": 1})
    with Terminal(["vim", CONFIG], mounted.path) as terminal:
        terminal.play("?port: 8080", *VI_EDIT, ":w<Enter>", "?written")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert [(entry.name, entry.stat().st_size) for entry in os.scandir(mounted.path) if entry.name == CONFIG]
            time.sleep(0.05)
        terminal.play(":checktime<Enter>", *VI_EDIT_AGAIN, ":w<Enter>", "?written", ":q<Enter>")
        assert terminal.wait_exit() == 0
        assert not [screen for screen in terminal.screens if WARNING.search(screen)]
    assert [row.op for row in space.history(CONFIG)] == ["U", "U", "I"]


def test_vim_asks_when_somebody_else_has_changed_the_config(space: Space, mount: Mounts) -> None:
    need("vim")
    space.publish(CONFIG, START)
    mounted = mount(space.server, space.namespace, space.group)
    with Terminal(["vim", CONFIG], mounted.path) as terminal:
        terminal.play("?port: 8080", *VI_EDIT)
        space.publish(CONFIG, "theirs: 1\n")
        wait_until(lambda: (mounted.path / CONFIG).read_bytes() == b"theirs: 1\n", what="the remote change")
        terminal.play(":w<Enter>", "?changed since reading it", "n<Enter>", ":q!<Enter>")
        assert terminal.wait_exit() == 0
    assert space.get(CONFIG) == b"theirs: 1\n"
    assert len(space.history(CONFIG)) == 2
