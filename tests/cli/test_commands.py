"""Every command through the real program: its help, what it prints, and that a shell can complete it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from harness.cli import Cli, describe
from harness.probe import requires

from pycontain.cli.commands import COMMANDS
from pycontain.cli.group import group
from pycontain.cli.verbs import find
from pycontain.engine import listing


@pytest.mark.parametrize("name", COMMANDS)
def test_help(pycontain: Cli, name: str) -> None:
    text = pycontain.ok(name, "--help")
    assert text.startswith(f"Usage: pycontain {name}")
    assert "--help" in text
    assert COMMANDS[name].help[:20].lower() in text.lower() or name == "completion"


def test_help_lists_every_command_once(pycontain: Cli) -> None:
    text = pycontain.ok("--help")
    assert text == pycontain.ok()
    for name in COMMANDS:
        assert text.count(f"\n  {name} ") == 1


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if one.table])
def test_tables_and_click_know_the_same_options(name: str) -> None:
    command = group().commands_of()[name]
    assert {option for one in find(name).options for option in one.names} == {
        option for one in command.params if one.param_type_name == "option" for option in one.opts
    }


def complete(cli: Cli, shell: str, *words: str) -> list[str]:
    """Return what a shell is offered for the last word."""
    env = {"_PYCONTAIN_COMPLETE": f"{shell}_complete", "COMP_WORDS": " ".join(("pycontain", *words))}
    env["COMP_CWORD"] = str(len(words)) if shell != "fish" else words[-1]
    argv = cli.argv()[:1]
    done = subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), describe(done)
    return done.stdout.splitlines()


def test_completion(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "web-server", busybox, "sleep", "100")
    root = f"--root={pycontain.root}"
    assert complete(pycontain, "bash", "ru") == ["plain,run"]
    assert complete(pycontain, "bash", "run", "--memory-s") == ["plain,--memory-swap"]
    assert complete(pycontain, "bash", "run", "--network", "h") == ["plain,host"]
    assert complete(pycontain, "bash", root, "exec", "web") == ["plain,web-server"]
    assert complete(pycontain, "bash", root, "stop", "-t", "1", "web") == ["plain,web-server"]
    assert complete(pycontain, "bash", "volume", "in") == ["plain,inspect"]
    assert complete(pycontain, "bash", "run", "@h") == ["plain,@host", "plain,@host:public"]
    assert "plain\trun" in "\t".join(complete(pycontain, "fish", "ru")).replace(",", "\t")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(pycontain: Cli, shell: str) -> None:
    script = pycontain.ok("completion", shell)
    assert "_PYCONTAIN_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_a_life(pycontain: Cli, busybox: Path) -> None:
    container = pycontain.ok("create", "--name", "one", "--label", "a=b", busybox, "sleep", "100").strip()
    assert len(container) == 64
    assert pycontain.ok("start", "one") == "one\n"
    assert pycontain.ok("ps", "-q").strip() == container[:12]
    assert pycontain.ok("ps", "--format", "{{.Names}} {{.State}}") == "one running\n"
    assert json.loads(pycontain.ok("ps", "--format", "json"))["Names"] == "one"
    assert pycontain.ok("exec", "one", "echo", "inside") == "inside\n"
    assert pycontain.ok("pause", container[:6]) == f"{container[:6]}\n"
    assert "(Paused)" in pycontain.ok("ps")
    assert pycontain.ok("unpause", "one") == "one\n"
    assert "sleep 100" in pycontain.ok("top", "one")
    assert "one" in pycontain.ok("stats", "--no-stream")
    pycontain.ok("rename", "one", "two")
    assert pycontain.json("inspect", "two")[0]["Name"].strip("/") == "two"
    assert pycontain.ok("stop", "-t", "0", "two") == "two\n"
    assert pycontain.ok("wait", "two") == "137\n"
    assert "Exited (137)" in pycontain.ok("ps", "-a")
    assert pycontain.ok("start", "two") == "two\n"
    assert pycontain.ok("restart", "-t", "0", "two") == "two\n"
    assert "Up" in pycontain.ok("ps")
    assert pycontain.ok("kill", "two") == "two\n"
    assert pycontain.ok("rm", "two") == "two\n"
    assert pycontain.ok("ps", "-a", "-q") == ""


def test_one_failure_does_not_stop_the_others(pycontain: Cli, busybox: Path) -> None:
    for name in ("one", "two"):
        pycontain.ok("run", "-d", "--name", name, busybox, "sleep", "100")
    done = pycontain.run("rm", "-f", "one", "--", "two")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    done = pycontain.run("stop", "nobody", "nowhere")
    assert done.returncode == 125
    assert [line.count("no such container") for line in done.stderr.splitlines()] == [1, 0, 1, 0]
    done = pycontain.run("rm", "-f", "nobody")
    assert (done.returncode, done.stdout) == (0, "")


def test_logs(pycontain: Cli, busybox: Path) -> None:
    pycontain.run("run", "--name", "one", busybox, "sh", "-c", "echo out; echo err >&2; echo last")
    done = pycontain.run("logs", "one")
    assert (done.stdout, done.stderr) == ("out\nlast\n", "err\n")
    pycontain.run("run", "--name", "two", busybox, "sh", "-c", "echo first; echo last")
    assert pycontain.ok("logs", "--tail", "1", "two") == "last\n"
    assert pycontain.ok("logs", "-t", "-n", "1", "two").endswith("Z last\n")


def test_update(pycontain: Cli, busybox: Path) -> None:
    pycontain.ok("run", "-d", "--name", "one", "-m", "64m", busybox, "sleep", "100")
    assert pycontain.ok("update", "-m", "32m", "--pids-limit", "10", "one") == "one\n"
    assert pycontain.json("inspect", "one")[0]["HostConfig"]["Memory"] == 32 << 20
    for words, named in ((["one"], "no limit"), (["-m", "x", "one"], "'x'"), (["-m", "1g", "nobody"], "'nobody'")):
        assert named in pycontain.fails("update", *words)


def test_volumes(pycontain: Cli, busybox: Path) -> None:
    assert pycontain.ok("volume", "create", "--label", "a=b", "db") == "db\n"
    pycontain.ok("run", "--name", "one", "-v", "db:/data", "-v", "/anon", busybox, "sh", "-c", "echo x > /data/file")
    assert pycontain.ok("run", "--rm", "-v", "db:/data:ro", busybox, "cat", "/data/file") == "x\n"
    assert pycontain.ok("volume", "ls", "--filter", "label=a", "-q") == "db\n"
    assert len(pycontain.ok("volume", "ls", "--format", "json").splitlines()) == 2
    assert pycontain.json("volume", "inspect", "db")[0]["Labels"] == {"a": "b"}
    assert "used by" in pycontain.fails("volume", "rm", "db")
    pycontain.ok("rm", "-v", "one")
    assert pycontain.ok("volume", "ls", "-q") == "db\n"
    assert pycontain.ok("volume", "rm", "db") == "db\n"
    assert pycontain.ok("volume", "prune", "-f") == ""


def test_questions_need_a_terminal_or_force(pycontain: Cli) -> None:
    for words in (["prune"], ["volume", "prune"]):
        message = pycontain.fails(*words)
        assert message.splitlines()[0].endswith(
            f"pycontain: {' '.join(words)}: standard input is no terminal to ask on"
        )
        assert "hint: say yes beforehand: --force" in message
    assert "reclaimed" in pycontain.ok("prune", "-f")


def test_doctor_and_info(pycontain: Cli, busybox: Path) -> None:
    found = pycontain.run("doctor", "--format", "json", busybox)
    assert found.returncode in (0, 1)
    findings = json.loads(found.stdout)
    assert {"kernel", "user namespaces", "cgroups", "overlay", "seccomp"} <= {one["name"] for one in findings}
    assert all(one["text"] for one in findings)
    assert found.returncode == int(any(one["status"] == "fail" for one in findings))
    assert pycontain.json("info", "--format", "json")["containers"]["total"] == 0
    assert pycontain.ok("version").startswith("pycontain ")
    assert pycontain.json("version", "--format", "json")["python"]
    assert pycontain.ok("--version") == pycontain.ok("version")


def test_exit_codes_pass_through(pycontain: Cli, busybox: Path) -> None:
    for words, code in ((["true"], 0), (["sh", "-c", "exit 42"], 42), (["nope"], 127), (["/etc"], 126)):
        assert pycontain.run("run", "--rm", busybox, *words).returncode == code
        assert pycontain.run("run", "--rm", "-d", busybox, *words).returncode in (0, code)
    pycontain.ok("run", "-d", "--name", "one", busybox, "sleep", "100")
    for words, code in (
        (["sh", "-c", "exit 42"], 42),
        (["nope"], 127),
        (["/etc"], 126),
        (["sh", "-c", "kill -9 $$"], 137),
    ):
        assert pycontain.run("exec", "one", *words).returncode == code


def test_two_starts_at_once_do_not_mix_their_output(pycontain: Cli, busybox: Path) -> None:
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(pycontain.ok("run", "--rm", busybox, "echo", str(n))))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["0\n", "1\n", "2\n", "3\n"]


@pytest.mark.parametrize("words", [["explain"], ["run", "--explain"], ["create", "--explain"]], ids=" ".join)
def test_explain_as_json(pycontain: Cli, busybox: Path, words: list[str]) -> None:
    """One document: the steps of the text with their arguments, limits, namespaces and the mapping of users."""
    options = ["--name", "planned", "--pids-limit", "9", "-v", "/tmp:/host:ro", "--uts", "host"]
    out = pycontain.ok(*words, "--format", "json", *options, str(busybox), "echo", "ä\udcff")
    found = json.loads(out)
    text = pycontain.ok(*words, *options, str(busybox), "echo", "ä\udcff")
    assert [step["what"].split("/containers/")[0] for step in found["steps"]]
    assert len(found["steps"]) == sum(line.startswith(" ") for line in text.splitlines())
    keys = {"stage", "op", "what", "spec_path", "arguments", "needs", "possible"}
    assert all(step.keys() == keys for step in found["steps"])
    lacking = [need for step in found["steps"] for need in step["needs"] if need["lack"]]
    assert [need for need in lacking if need["kind"] != "cgroup controller"] == []
    assert found["name"] == "planned"
    assert found["limits"]["pids"] == {"limit": 9}
    assert "uts" in found["namespaces"]["host"]
    assert "pid" in found["namespaces"]["new"]
    assert found["user_mapping"]["uid_map"][0]["container_id"] == 0
    (bind,) = [step for step in found["steps"] if step["arguments"].get("source") == "/tmp"]
    assert bind["op"] == "OpenTree"
    assert bind["spec_path"].startswith("mounts[")
    assert found["steps"][-1]["arguments"]["argv"] == ["echo", "ä\udcff"]
    assert pycontain.containers() == []


def test_the_form_of_a_plan_needs_a_plan(pycontain: Cli, busybox: Path) -> None:
    assert "--format: is the form of --explain" in pycontain.fails("run", "--format", "json", busybox, "true")
    assert "'xml'" in pycontain.fails("explain", "--format", "xml", busybox, "true")


def test_prune_with_filters(pycontain: Cli, busybox: Path) -> None:
    for name, *labels in (("blue", "team=blue"), ("red", "team=red"), ("kept", "team=red", "keep"), ("plain",)):
        words = [word for label in labels for word in ("--label", label)]
        pycontain.ok("run", "--name", name, *words, busybox, "true")

    def left() -> set[str]:
        return set(pycontain.ok("ps", "-a", "--format", "{{.Names}}").split())

    pycontain.ok("prune", "-f", "--filter", "until=10m")
    assert left() == {"blue", "red", "kept", "plain"}
    pycontain.ok("prune", "-f", "--filter", "label=team=blue")
    assert left() == {"red", "kept", "plain"}
    pycontain.ok("prune", "-f", "--filter", "label=team", "--filter", "label!=keep", "--filter", "until=0s")
    assert left() == {"kept", "plain"}
    pycontain.ok("prune", "-f", "--filter", "until=2200-01-01T00:00:00Z")
    assert left() == set()


def test_prune_with_filters_leaves_leftovers(pycontain: Cli) -> None:
    """What a killed command has left behind has neither labels nor a time."""
    left = pycontain.root / "data" / "logs" / ("0" * 64)
    left.mkdir(parents=True)
    pycontain.ok("prune", "-f", "--filter", "label=x")
    assert left.is_dir()
    assert str(left) in pycontain.ok("prune", "-f")


def test_volume_prune_with_filters(pycontain: Cli) -> None:
    for name, label in (("one", "a=1"), ("two", "a=2"), ("three", "b")):
        pycontain.ok("volume", "create", "--label", label, name)
    assert pycontain.ok("volume", "prune", "-f", "--filter", "label=a=1").split() == []  # they have names
    assert pycontain.ok("volume", "prune", "-af", "--filter", "label=a=1").split() == ["one"]
    assert pycontain.ok("volume", "prune", "-af", "--filter", "label!=a").split() == ["three"]
    assert pycontain.ok("volume", "ls", "-q").split() == ["two"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["prune", "-f", "--filter", "color=red"], "'color=red'"),
        (["prune", "-f", "--filter", "label="], "'label='"),
        (["prune", "-f", "--filter", "until=soon"], "'soon'"),
        (["prune", "-f", "--filter", "until=1h", "--filter", "until=2h"], "until is given twice"),
        (["volume", "prune", "-f", "--filter", "until=1h"], "'until=1h'"),
    ],
)
def test_wrong_filters_of_prune(pycontain: Cli, words: list[str], named: str) -> None:
    assert named in pycontain.fails(*words)


def test_every_failure_has_the_command_before_it(pycontain: Cli) -> None:
    for words in (["rm", "a1", "b1"], ["stop", "a1", "b1"], ["volume", "rm", "a1", "b1"], ["inspect", "a1", "b1"]):
        lines = pycontain.fails(*words).splitlines()
        command = " ".join(words[:-2])
        complaints = [line for line in lines if line.startswith("pycontain")]
        assert [line.startswith(f"pycontain: {command}: no such ") for line in complaints] == [True, True], lines
        assert ["'a1'" in complaints[0], "'b1'" in complaints[1]] == [True, True]


def test_ports_are_refused_with_the_reason(pycontain: Cli, busybox: Path) -> None:
    for words in (["-p", "80:80"], ["-p80:80"], ["--publish", "80"], ["--publish=80"], ["-P"], ["--expose", "80"]):
        message = pycontain.fails("run", "--rm", *words, busybox, "true")
        assert "no such option yet" in message
        assert "hint: ports are published on bridge networks, which come later; --network host" in message


def test_the_help_of_ps_lists_every_filter(pycontain: Cli) -> None:
    text = " ".join(pycontain.ok("ps", "--help").split())
    page = (Path(__file__).parents[2] / "man" / "source" / "pycontain-ps.1.md").read_text()
    for key in listing._TESTS:
        assert key in text, key
        assert f"`{key}=" in page, key


def test_doctor_tells_each_cure_once(pycontain: Cli) -> None:
    lines = pycontain.run("doctor").stdout.splitlines()
    cures = [line for line in lines if line.startswith("      mend: ") and "mend: as for" not in line]
    assert len(cures) == len(set(cures))


@requires("cap:SYS_ADMIN")
def test_doctor_on_an_overlay(pycontain: Cli, busybox: Path, tmp_path: Path) -> None:
    """Layers are kept in memory there: a gap, not the end of everything, and a run agrees."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    nested = Cli(tmp_path / "merged" / "root")
    mount = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f'mount -t overlay -o {mount} overlay {tmp_path}/merged && exec "$@"'

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = ["unshare", "-m", "sh", "-c", script, "sh", *nested.argv(*words)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    done = run("doctor", "--format", "json")
    (found,) = [one for one in json.loads(done.stdout) if one["name"] == "overlay"]
    assert found["status"] == "gap", describe(done)
    assert "changes are kept in memory" in found["text"]
    assert "--root" in found["fix"]
    done = run("run", "--rm", str(busybox), "sh", "-c", "echo x > /file && cat /file")
    assert (done.returncode, done.stdout) == (0, "x\n"), describe(done)
    assert "changes are kept in memory" in done.stderr
