"""The monitor with a shell for a container: start, output, input, the end, and what may go wrong with them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.waiting import until
from runtime.monitor_rig import Rig

from pycontain.engine import protocol
from pycontain.errors import ExecError, from_fields
from pycontain.kernel import _sys
from pycontain.runtime.state import RUNNING, STOPPED, State

Make = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    rigs: list[Rig] = []

    def build(command: str, **options: Any) -> Rig:
        directory = tmp_path / str(len(rigs))
        directory.mkdir()
        rigs.append(Rig(directory, command, **options))
        return rigs[-1]

    yield build
    for rig in rigs:
        rig.close()


def text_of(rig: Rig, stream: str = "stdout") -> str:
    records = [json.loads(line) for line in rig.log().splitlines()]
    return "".join(record["log"] for record in records if record["stream"] == stream)


def test_output_reaches_log_and_client_and_the_exit_is_written(make: Make) -> None:
    rig = make("echo out; echo err >&2; exit 7")
    client = rig.connect()
    assert client.attach() == ""
    client.start()
    assert client.end() == protocol.Exit(7)
    assert (client.output, client.errors) == (b"out\n", b"err\n")
    state = rig.wait()
    assert (state.status, state.exit_code, state.signal, state.error) == (STOPPED, 7, 0, "")
    assert state.started_ns <= state.finished_ns
    assert state.started_ns > 0
    assert (text_of(rig), text_of(rig, "stderr")) == ("out\n", "err\n")


def test_log_lines_are_dockers(make: Make) -> None:
    rig = make("printf 'a\\nb'")
    client = rig.connect()
    client.start()
    rig.wait()
    first, second = (json.loads(line) for line in rig.log().splitlines())
    assert list(first) == ["log", "stream", "time"]
    assert (first["log"], second["log"]) == ("a\n", "b")
    assert first["time"].endswith("Z")


def test_a_program_that_cannot_be_executed(make: Make) -> None:
    rig = make("missing", paths=("/bin/missing",))
    client = rig.connect()
    client.attach()
    client.send(protocol.START)
    error = from_fields(protocol.fields_of(client.until(protocol.ERROR)))
    assert isinstance(error, ExecError)
    assert error.exit_code == 127
    assert "missing: executable file not found" in str(error)
    state = rig.wait()
    assert (state.status, state.exit_code, state.error) == (STOPPED, 127, str(error))


def test_killed_by_a_signal(make: Make) -> None:
    rig = make("kill -TERM $$; sleep 10")
    client = rig.connect()
    client.send(protocol.WAIT)
    client.start()
    assert client.end() == protocol.Exit(143, 15)
    assert rig.wait().signal == 15


def test_a_second_start_is_refused(make: Make) -> None:
    rig = make("read x", stdin=True, stdin_once=True)
    client, other = rig.connect(), rig.connect()
    client.attach("i")
    client.start()
    other.send(protocol.START)
    assert b"has been started already" in other.until(protocol.ERROR)
    client.send(protocol.INPUT_END)
    assert client.end().exit_code == 1


def test_input_and_its_end(make: Make) -> None:
    rig = make("cat", stdin=True, stdin_once=True)
    client = rig.connect()
    assert client.attach("ioe") == "i"
    client.start()
    client.send(protocol.INPUT, b"\x00\xff binary")
    client.until_output(b"\x00\xff binary")
    client.send(protocol.INPUT_END)
    assert client.end().exit_code == 0


def test_input_ends_with_its_client(make: Make) -> None:
    rig = make("cat; echo done", stdin=True, stdin_once=True)
    client, watcher = rig.connect(), rig.connect()
    client.attach("i")
    watcher.attach()
    watcher.start()
    client.send(protocol.INPUT, b"still open\n")
    watcher.until_output(b"still open\n")
    client.close()
    rig.connections.remove(client)
    assert watcher.end().exit_code == 0
    assert watcher.output.endswith(b"done\n")


def test_input_that_nobody_reads_stays_bounded_and_is_not_lost(make: Make) -> None:
    rig = make("sleep 0.5; wc -c", stdin=True, stdin_once=True)
    client = rig.connect()
    client.attach("ioe")
    client.start()
    total = 64 * 32000
    for _ in range(64):
        client.send(protocol.INPUT, b"x" * 32000)
    client.send(protocol.INPUT_END)
    assert client.end().exit_code == 0
    assert int(client.output) == total


def test_a_terminal_has_size_echo_and_one_stream(make: Make) -> None:
    rig = make("stty size; read line; echo got $line; stty size; echo err >&2; tty >/dev/null && echo tty", tty=True)
    client = rig.connect()
    assert client.attach("ioe") == "ti"
    client.send(protocol.RESIZE, b"31\x00101")
    client.start()
    client.until_output(b"31 101")
    client.send(protocol.RESIZE, b"41\x00121")
    client.send(protocol.INPUT, b"hello\r")
    assert client.end().exit_code == 0
    assert b"hello\r\ngot hello\r\n41 121\r\nerr\r\ntty\r\n" in client.output
    assert client.errors == b""


def test_a_terminal_survives_that_its_program_closes_it(make: Make) -> None:
    rig = make("exec 3<&- <&- >&- 2>&-; sleep 0.2; exec >/dev/tty; echo back", tty=True)
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end().exit_code == 0
    assert client.output == b"back\r\n"


def test_the_last_output_of_a_terminal_is_not_lost(make: Make) -> None:
    rig = make("i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done", tty=True)
    client = rig.connect()
    client.attach()
    client.start()
    client.end()
    assert client.output.endswith(b"line 399\r\n")
    assert client.output.count(b"\n") == 400


def test_a_program_that_closes_its_output_early(make: Make) -> None:
    rig = make("exec >&- 2>&-; sleep 0.3; exit 4")
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end().exit_code == 4


def test_a_process_that_holds_the_output_after_the_end(make: Make) -> None:
    rig = make("sleep 6 & echo $!; exit 3")
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end(5).exit_code == 3
    os.kill(int(client.output), 9)
    assert rig.wait().exit_code == 3


def test_a_long_line_is_written_in_flagged_pieces(make: Make) -> None:
    rig = make("head -c 40000 /dev/zero | tr '\\0' x; echo; echo short")
    client = rig.connect()
    client.start()
    rig.wait()
    records = [json.loads(line) for line in rig.log().splitlines()]
    assert [len(record["log"]) for record in records] == [16384, 16384, 7233, 6]
    assert [record.get("partial", False) for record in records] == [True, True, False, False]


def test_waiting_clients_get_the_end_and_counters(make: Make) -> None:
    rig = make("sleep 0.2; exit 5")
    client, waiter = rig.connect(), rig.connect()
    waiter.send(protocol.WAIT)
    client.start()
    waiter.send(protocol.QUERY)
    assert protocol.fields_of(waiter.until(protocol.COUNTERS)) == ["0", "0", "0", ""]
    assert waiter.end().exit_code == 5
    rig.wait()
    assert not (rig.directory / "control.sock").exists()


def test_all_output_arrives_at_a_client_that_reads(make: Make) -> None:
    rig = make("head -c 30000000 /dev/zero", log_driver="none")
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end(20).exit_code == 0
    assert len(client.output) == 30_000_000
    assert not rig.log_path.exists()


def test_output_waits_for_a_slow_client_that_is_alive(make: Make) -> None:
    rig = make("head -c 3000000 /dev/zero; echo done >&2", log_driver="none", patience_s=0.4)
    client, watcher = rig.connect(), rig.connect()
    client.attach("o")
    watcher.attach("e")
    watcher.start()
    for _ in range(10):
        time.sleep(0.1)
        client.send(protocol.ALIVE)
    assert watcher.errors == b""
    assert client.end().exit_code == 0
    assert len(client.output) == 3_000_000


def test_a_client_that_never_reads_is_disconnected(make: Make) -> None:
    rig = make("head -c 3000000 /dev/zero; exit 6", patience_s=0.4)
    client, watcher = rig.connect(), rig.connect()
    client.attach()
    watcher.send(protocol.WAIT)
    watcher.start()
    assert watcher.end().exit_code == 6
    assert rig.wait().log["disconnected_clients"] == 1


def test_a_client_that_dies_is_forgotten(make: Make) -> None:
    rig = make("sleep 0.2; head -c 3000000 /dev/zero; exit 6")
    client, watcher = rig.connect(), rig.connect()
    client.attach()
    watcher.send(protocol.WAIT)
    watcher.start()
    client.close()
    rig.connections.remove(client)
    assert watcher.end().exit_code == 6
    assert rig.wait().log == {}


def test_a_full_disk_is_counted_and_blocks_nothing(make: Make) -> None:
    rig = make("seq 100000; exit 2", log_path="/dev/full")
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end().exit_code == 2
    assert client.output.endswith(b"100000\n")
    log = rig.wait().log
    assert log["dropped_lines"] == 100000
    assert "no space left" in log["error"].lower()


def test_a_hanging_disk_is_counted_and_blocks_nothing_for_ever(make: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hangs")  # opened for reading too: takes 64 KiB, then a write waits for ever
    rig = make("seq 500000; exit 2", log_path=str(tmp_path / "hangs"), patience_s=0.5)
    client = rig.connect()
    client.attach()
    client.start()
    assert client.end(20).exit_code == 2
    assert client.output.endswith(b"500000\n")
    log = rig.wait().log
    assert log["dropped_lines"] > 1000
    assert "hangs" in log["error"]


def test_that_the_program_runs_is_written_when_there_is_room_again(make: Make) -> None:
    """Until it is, everybody takes the container for one that was never started, and stop does nothing."""
    rig = make("exec sleep 20")
    until(lambda: rig.entry.load().pid)
    path = rig.directory / "state.json"
    text = path.read_text()
    path.write_text("no room for more")
    client = rig.connect()
    client.send(protocol.START)
    client.until(protocol.STARTED)
    client.close()
    rig.connections.remove(client)
    time.sleep(0.2)
    path.write_text(text)
    until(lambda: rig.entry.load().status == RUNNING, 5)


def test_time_limit(make: Make) -> None:
    rig = make("exec sleep 10", timeout_s=0.3)
    client = rig.connect()
    client.start()
    state = rig.wait()
    assert (state.exit_code, state.signal) == (137, 9)
    assert "--timeout" in state.error


def test_a_terminated_monitor_stops_its_container(make: Make) -> None:
    rig = make("trap 'exit 9' USR1; while :; do sleep 0.05; done", stop_signal=10)
    client = rig.connect()
    client.start()
    time.sleep(0.2)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(rig.pid, number)
    assert rig.wait().exit_code == 9


def test_a_terminated_monitor_kills_what_does_not_stop(make: Make) -> None:
    rig = make("trap '' TERM; while :; do sleep 0.05; done", stop_timeout_s=0.3)
    client = rig.connect()
    client.start()
    time.sleep(0.2)
    os.kill(rig.pid, signal.SIGTERM)
    assert rig.wait().signal == 9


def test_signals_by_clients(make: Make) -> None:
    rig = make("trap 'echo caught' USR1; echo ready; while :; do sleep 0.05; done")
    client = rig.connect()
    client.attach()
    client.start()
    client.until_output(b"ready")
    client.send(protocol.SIGNAL, b"10")
    client.until_output(b"caught")
    client.send(protocol.SIGNAL, b"9")
    assert client.end() == protocol.Exit(137, 9)


def test_the_end_waits_for_the_lock(make: Make) -> None:
    rig = make("exit 8")
    client = rig.connect()
    with rig.entry.lock():
        client.send(protocol.WAIT)
        client.send(protocol.START)
        with pytest.raises(AssertionError):
            client.end(0.5)
    assert client.end().exit_code == 8
    assert rig.wait().exit_code == 8


def test_nothing_is_recreated_when_the_container_is_removed(make: Make) -> None:
    rig = make("sleep 0.3")
    client = rig.connect()
    client.attach()
    client.start()
    for name in ("journal", "lock", "state.json"):
        (rig.directory / name).unlink()
    assert client.end().exit_code == 0
    os.waitpid(rig.pid, 0)
    rig.pid = 0
    assert not (rig.directory / "state.json").exists()
    rig.entry.save(State(id="c", name="", created_ns=0, boot_id=""))


def test_orphans_are_reaped(make: Make) -> None:
    rig = make("(sleep 0.05 &); (sleep 0.05 &); sleep 0.5")
    client = rig.connect()
    client.start()
    time.sleep(0.3)
    children = Path(f"/proc/{rig.pid}/task/{rig.pid}/children").read_text().split()
    assert len(children) == 1
    rig.wait()


def test_a_stranger_is_not_served(make: Make) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    rig = make("sleep 1")
    rig.directory.chmod(0o755)
    (rig.directory / "control.sock").chmod(0o777)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(rig.directory)
            os.setresuid(65534, 65534, 65534)
            fd = _sys.unix_connect("control.sock", protocol.SEQPACKET)
            os.write(writer, b"connected,")
            try:
                _sys.sendmsg(fd, protocol.START)
                answer = _sys.recvmsg(fd, 100)[0]
            except OSError:
                answer = b""
            os.write(writer, answer or b"refused")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"connected,refused"
    os.close(reader)


def test_memory_of_ten_monitors(make: Make) -> None:
    rigs = [make("echo hello; exec sleep 5") for _ in range(10)]
    for rig in rigs:
        client = rig.connect()
        client.attach()
        client.start()
        client.until_output(b"hello")
    dirty = [private_dirty_kib(rig.pid) for rig in rigs]
    assert sum(dirty) / 10 <= 3 * 1024, f"KiB each: {dirty}"


def private_dirty_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise AssertionError("smaps_rollup has no Private_Dirty")
