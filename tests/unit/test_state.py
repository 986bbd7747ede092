"""The state store: names that one container owns, locks, and state files that are whole or an error."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain import lean_json
from pycontain.errors import Exists, NotFound, StoreError
from pycontain.runtime import processes, remove, state
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import Entry, State, Store

ID = "0123456789ab" + "c" * 52
OTHER = "0123ff" + "d" * 58


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(Settings(str(tmp_path / "state"), str(tmp_path / "data")))
    made.prepare()
    return made


def add(store: Store, container_id: str = ID, name: str = "kind_lion") -> Entry:
    entry, lock = store.add(container_id, name)
    lock.release()
    return entry


def a_state(**fields: object) -> State:
    given_fields: dict[str, object] = {"id": ID, "name": "kind_lion", "created_ns": 1, "boot_id": processes.boot_id()}
    return State(**{**given_fields, **fields})  # type: ignore[arg-type]


def test_directories_are_private(store: Store) -> None:
    for path in (store.settings.state, store.containers, store.names):
        assert os.stat(path).st_mode & 0o777 == 0o700


def test_state_comes_back_as_saved(store: Store) -> None:
    entry = add(store)
    saved = a_state(
        status=state.RUNNING,
        command=("/bin/echo", "ä", "\udcff", "a\tb\n"),
        labels={"a.b": "c"},
        cgroup={"v1": {"memory": "/x"}},
        notes=("one",),
        exit_code=3,
        oom_killed=True,
    )
    entry.save(saved)
    assert entry.load() == saved
    assert os.stat(f"{entry.directory}/state.json").st_mode & 0o777 == 0o600


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), max_size=4), st.integers())
def test_any_command_comes_back(tmp_path_factory: pytest.TempPathFactory, command: list[str], number: int) -> None:
    store = Store(Settings(str(tmp_path_factory.mktemp("s")), "/nowhere"))
    store.prepare()
    entry = add(store)
    entry.save(a_state(command=tuple(command), exit_code=number))
    assert (entry.load().command, entry.load().exit_code) == (tuple(command), number)


def test_container_without_state_does_not_exist(store: Store) -> None:
    with pytest.raises(NotFound):
        add(store).load()


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"version": 1', "[]", "null", '"text"', '{"version": 1, "id": }', "\0", '{"version": 1, "version": 1}'],
)
def test_damaged_file_is_named_and_the_cure_said(store: Store, text: str) -> None:
    entry = add(store)
    Path(entry.directory, "state.json").write_text(text)
    with pytest.raises(StoreError) as caught:
        entry.load()
    assert entry.directory in str(caught.value)
    assert "rm -f" in caught.value.hint


def test_file_that_is_no_text_is_damaged(store: Store) -> None:
    entry = add(store)
    Path(entry.directory, "state.json").write_bytes(b'{"version": 1, "name": "\xff"}')
    with pytest.raises(StoreError):
        entry.load()


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_foreign_version_is_refused(store: Store, version: object) -> None:
    entry = add(store)
    document = {**a_state().asdict(), "version": version}
    Path(entry.directory, "state.json").write_text(lean_json.dumps(document))
    with pytest.raises(StoreError, match="another version"):
        entry.load()


@pytest.mark.parametrize("change", [{"unknown": 1}, {"id": ...}])
def test_missing_or_unknown_field_is_an_error(store: Store, change: dict[str, object]) -> None:
    entry = add(store)
    document = {**a_state().asdict(), **change}
    document = {key: value for key, value in document.items() if value is not ...}
    Path(entry.directory, "state.json").write_text(lean_json.dumps(document))
    with pytest.raises(StoreError):
        entry.load()


@pytest.mark.parametrize(
    ("field", "value"),
    [("command", 7), ("command", "text"), ("pid", "x"), ("status", "dancing"), ("labels", []), ("exit_code", None)],
)
def test_field_of_another_type_is_an_error(store: Store, field: str, value: object) -> None:
    entry = add(store)
    Path(entry.directory, "state.json").write_text(lean_json.dumps({**a_state().asdict(), field: value}))
    with pytest.raises(StoreError):
        entry.load()


def test_failed_save_leaves_the_former_file(store: Store) -> None:
    entry = add(store)
    entry.save(a_state(exit_code=1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(StoreError, match="file too large"):
            entry.save(a_state(exit_code=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert entry.load().exit_code == 1


def test_a_directory_that_prune_takes_before_it_is_locked_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, pruned = Entry.lock, []

    def late(entry: Entry, **options: bool) -> state.Lock:
        if not pruned:
            pruned.append(entry.id)
            os.rmdir(entry.directory)
        return lock(entry, **options)

    monkeypatch.setattr(Entry, "lock", late)
    entry = add(store, ID, "lion")
    assert (pruned, store.owner_of("lion")) == ([ID], ID)
    assert os.path.isdir(entry.directory)


def test_name_has_one_owner(store: Store) -> None:
    add(store, ID, "lion")
    with pytest.raises(Exists, match="'lion' is in use by container 0123456789ab"):
        store.add(OTHER, "lion")
    assert store.ids() == [ID]
    assert store.owner_of("lion") == ID


def test_stale_name_is_taken_over(store: Store) -> None:
    os.symlink(OTHER, f"{store.names}/lion")
    add(store, ID, "lion")
    assert store.owner_of("lion") == ID


def test_own_name_can_be_claimed_again(store: Store) -> None:
    """A rename that was killed between the name and the state can be done again."""
    entry = add(store)
    store.claim_name("other", entry.id)
    store.claim_name("other", entry.id)
    assert store.owner_of("other") == entry.id


def test_name_of_somebody_else_is_not_released(store: Store) -> None:
    add(store, ID, "lion")
    store.release_name("lion", OTHER)
    assert store.owner_of("lion") == ID
    store.release_name("lion", ID)
    store.release_name("lion", ID)
    assert store.owner_of("lion") is None


def test_of_many_that_claim_one_name_one_gets_it(store: Store) -> None:
    won: list[str] = []
    ready = threading.Barrier(8)

    def claim(container_id: str) -> None:
        ready.wait()
        try:
            add(store, container_id, "lion")
            won.append(container_id)
        except Exists:
            pass

    threads = [threading.Thread(target=claim, args=(f"{number:064x}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.owner_of("lion") == won[0]
    assert store.ids() == won


@pytest.mark.parametrize("reference", ["lion", ID, ID[:12], "01234"])
def test_found_by_name_id_and_beginning(store: Store, reference: str) -> None:
    add(store, ID, "lion")
    add(store, OTHER, "bear")
    assert store.find(reference).id == ID


def test_name_goes_before_beginning_of_an_id(store: Store) -> None:
    add(store, ID, "lion")
    add(store, OTHER, "012345")
    assert store.find("012345").id == OTHER


@pytest.mark.parametrize("reference", ["", ".", "..", "a/b", "../names", "no", ID[:-1] + "f", "x" * 300, "\udcff", "ä"])
def test_not_found(store: Store, reference: str) -> None:
    add(store, ID, "lion")
    with pytest.raises(NotFound, match="no such container"):
        store.find(reference)


def test_ambiguous_beginning_is_not_found(store: Store) -> None:
    add(store, ID, "lion")
    add(store, OTHER, "bear")
    with pytest.raises(NotFound, match="beginning of 2 ids"):
        store.find("0123")


def test_stale_name_finds_nothing(store: Store) -> None:
    os.symlink(ID, f"{store.names}/lion")
    with pytest.raises(NotFound):
        store.find("lion")


HOLDER = """
import sys
from pycontain.runtime.settings import Settings
from pycontain.runtime.state import Store
lock = Store(Settings(sys.argv[1], "/nowhere")).find(sys.argv[2]).lock()
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_excludes_other_processes_and_dies_with_its_holder(store: Store) -> None:
    entry = add(store)
    command = [sys.executable, "-I", "-c", HOLDER, store.settings.state, ID]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError):
            entry.lock(wait=False)
        holder.kill()
        holder.wait()
        entry.lock(wait=False).release()


def test_lock_of_a_removed_container_is_not_found(store: Store) -> None:
    """Who waited for the lock of a container that is removed meanwhile must not work on nothing."""
    entry = add(store)
    held = entry.lock()
    found: list[BaseException] = []

    def wait() -> None:
        try:
            entry.lock().release()
        except NotFound as error:
            found.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    remove.remove_tree(entry.directory)
    held.release()
    waiting.join()
    assert len(found) == 1
    with pytest.raises(NotFound):
        entry.lock()


def test_removal_goes_on_against_those_who_want_the_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them makes the file of the lock anew where it is missing, even between the last two steps."""
    entry = add(store)
    rmdir = remove._rmdir
    wanting = [False, True, True]

    def beaten(directory: int, name: str) -> None:
        if wanting.pop():
            entry.lock().release()
        rmdir(directory, name)

    monkeypatch.setattr(remove, "_rmdir", beaten)
    remove.remove_tree(entry.directory)
    assert wanting == []
    assert not os.path.exists(entry.directory)


def test_released_lock_can_be_released_again(store: Store) -> None:
    lock = add(store).lock()
    lock.release()
    lock.release()


def test_forgetting_a_fork_s_copy_keeps_the_lock(store: Store) -> None:
    entry = add(store)
    with entry.lock() as lock:
        pid = os.fork()
        if pid == 0:
            lock.forget()
            os._exit(0)
        os.waitpid(pid, 0)
        with pytest.raises(BlockingIOError):
            entry.lock(wait=False)


@pytest.mark.parametrize("status", [state.RUNNING, state.CREATED, state.PAUSED])
def test_status_is_what_is_true_now(store: Store, status: str) -> None:
    entry = add(store)
    mine = processes.start_time(os.getpid())
    assert mine is not None
    alive = a_state(status=status, pid=os.getpid(), pid_start=mine)
    assert entry.status(alive) == status
    assert entry.status(alive.replace(pid_start=mine + 1)) == state.STOPPED  # the pid was reused
    assert entry.status(alive.replace(pid=0)) == state.STOPPED
    assert entry.status(alive.replace(boot_id="another")) == state.STOPPED
    assert entry.status(alive.replace(status=state.STOPPED)) == state.STOPPED


def test_store_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """In /tmp anybody may have made the directory first."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 12345)
    with pytest.raises(StoreError, match="belongs to user 12345"):
        Store(Settings(str(tmp_path / "state"), "/nowhere")).prepare()


def test_store_that_cannot_be_made_says_where_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        Store(Settings(str(tmp_path / "file" / "state"), "/nowhere")).prepare()
    assert "--root" in caught.value.hint
