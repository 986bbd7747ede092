"""Classes and monitoring groups, on a directory that looks like resctrl."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pycontain.errors import HostError, SpecError
from pycontain.oci import rdt, rdtstats
from pycontain.runtime.journal import RDT, Journal
from pycontain.spec.linux import IntelRdt

SCHEMATA = "    L3:0=00ff;1=0fff\n    MB:0= 100;1=  50\n"


class Resctrl:
    """A fake: directories have the files that the kernel would make in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.journal = Journal(str(root.parent))
        self.mkdir(str(root))

    def mkdir(self, directory: str) -> None:
        path = Path(directory)
        path.mkdir()
        (path / "tasks").touch()
        if path.parent.name != "mon_groups":
            (path / "schemata").write_text(SCHEMATA)
            (path / "mon_groups").mkdir()

    def prepare(self, wanted: IntelRdt) -> tuple[str, ...]:
        return rdt.prepare(wanted, "c", str(self.root), self.journal, self.mkdir)

    def made(self) -> list[str]:
        return [words[0] for kind, *words in self.journal.load() if kind == RDT]

    def remove(self) -> None:
        rdt.remove(self.made(), shutil.rmtree)


@pytest.fixture
def resctrl(tmp_path: Path) -> Resctrl:
    return Resctrl(tmp_path / "resctrl")


def test_without_a_name_the_class_is_the_containers(resctrl: Resctrl) -> None:
    wanted = IntelRdt(l3_cache_schema="L3:0=f", mem_bw_schema="MB:0=50", schemata=("L2:0=3", "L2CODE:1=1"))
    (directory,) = resctrl.prepare(wanted)
    assert directory == str(resctrl.root / "c")
    assert (resctrl.root / "c" / "schemata").read_text().startswith("L3:0=f\nMB:0=50\nL2:0=3\nL2CODE:1=1\n")
    rdt.enter((directory,), 4242)
    assert (resctrl.root / "c" / "tasks").read_text() == "4242"
    (resctrl.root / "c" / "tasks").write_text("")
    resctrl.remove()
    assert not (resctrl.root / "c").exists()
    resctrl.remove()


def test_nothing_is_written_where_nothing_is_asked_for(resctrl: Resctrl) -> None:
    assert resctrl.prepare(IntelRdt()) == (str(resctrl.root / "c"),)
    assert (resctrl.root / "c" / "schemata").read_text() == SCHEMATA
    assert resctrl.prepare(IntelRdt(clos_id="/")) == (str(resctrl.root),)


def test_a_named_class_is_made_once_and_compared_later(resctrl: Resctrl) -> None:
    resctrl.prepare(IntelRdt(clos_id="guest", l3_cache_schema="L3:0=f"))
    assert resctrl.made() == [str(resctrl.root / "guest")]
    (resctrl.root / "guest" / "schemata").write_text(SCHEMATA)
    resctrl.prepare(IntelRdt(clos_id="guest", l3_cache_schema="L3:0=FF;1=fff", mem_bw_schema="MB:0=100"))
    for wrong in (IntelRdt("guest", "L3:0=f"), IntelRdt("guest", None, "MB:1=60"), IntelRdt("guest", "L3:2=f")):
        with pytest.raises(SpecError, match="guest has"):
            resctrl.prepare(wrong)
    assert resctrl.made() == [str(resctrl.root / "guest")]


def test_a_named_class_has_to_be_there_where_nothing_tells_what_it_is(resctrl: Resctrl) -> None:
    with pytest.raises(SpecError, match="no class guest"):
        resctrl.prepare(IntelRdt(clos_id="guest"))
    resctrl.mkdir(str(resctrl.root / "guest"))
    assert resctrl.prepare(IntelRdt(clos_id="guest")) == (str(resctrl.root / "guest"),)
    resctrl.remove()
    assert (resctrl.root / "guest").exists()


def test_a_class_that_others_are_in_stays(resctrl: Resctrl) -> None:
    resctrl.prepare(IntelRdt(clos_id="guest", l3_cache_schema="L3:0=f"))
    (resctrl.root / "guest" / "tasks").write_text("77\n")
    resctrl.remove()
    assert (resctrl.root / "guest").exists()


def test_monitoring(resctrl: Resctrl) -> None:
    found = resctrl.prepare(IntelRdt(clos_id="/", enable_monitoring=True))
    assert found == (str(resctrl.root), str(resctrl.root / "mon_groups" / "c"))
    rdt.enter(found, 7)
    assert [Path(path, "tasks").read_text() for path in found] == ["7", "7"]
    made = resctrl.made()
    with pytest.raises(HostError, match=r"mon_groups/c: file exists"):
        resctrl.prepare(IntelRdt(clos_id="/", enable_monitoring=True))
    assert resctrl.made() == made


def test_what_others_have_made_is_not_removed(resctrl: Resctrl) -> None:
    """Also where they were faster by the moment between looking and making."""
    group = resctrl.root / "mon_groups" / "c"
    resctrl.mkdir(str(group))
    with pytest.raises(HostError, match="file exists"):
        resctrl.prepare(IntelRdt(clos_id="/", enable_monitoring=True))

    def mkdir(directory: str) -> None:
        resctrl.mkdir(directory)
        resctrl.mkdir(directory)

    with pytest.raises(HostError, match="file exists"):
        rdt.prepare(IntelRdt(l3_cache_schema="L3:0=f"), "other", str(resctrl.root), resctrl.journal, mkdir)
    resctrl.remove()
    assert group.exists()
    assert (resctrl.root / "other").exists()


def test_where_it_is_mounted(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 0:2 / /proc rw - proc proc rw\n30 1 0:9 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n"
    )
    assert rdt.mounted(str(table)) == "/sys/fs/resctrl"
    table.write_text("30 1 0:9 / /my\\040resctrl rw - resctrl resctrl rw\n")
    assert rdt.mounted(str(table)) == "/my resctrl"
    table.write_text("22 1 0:2 / /resctrl rw - proc resctrl rw\n")
    with pytest.raises(HostError, match="no resctrl"):
        rdt.mounted(str(table))


def test_the_schema_of_a_class_is_changed_and_put_back(resctrl: Resctrl) -> None:
    directories = resctrl.prepare(IntelRdt(clos_id="gold", l3_cache_schema="L3:0=f", enable_monitoring=True))
    file = resctrl.root / "gold" / "schemata"
    file.write_text(SCHEMATA)
    restore = rdt.change(directories, ("L3:0=1", "MB:0=20"), str(resctrl.root))
    assert file.read_text().startswith("L3:0=1\nMB:0=20\n")
    file.write_text("")
    restore()
    assert file.read_text() == "L3:0=00ff;1=0fff\nMB:0= 100;1=  50\n"


def test_what_has_no_class_of_its_own_is_not_changed(resctrl: Resctrl) -> None:
    with pytest.raises(HostError, match="made without it"):
        rdt.change((), ("L3:0=1",), str(resctrl.root))
    with pytest.raises(HostError, match="root class"):
        rdt.change((str(resctrl.root),), ("L3:0=1",), str(resctrl.root))
    assert (resctrl.root / "schemata").read_text() == SCHEMATA


def test_statistics(resctrl: Resctrl) -> None:
    """The form of runc's events."""
    directories = resctrl.prepare(IntelRdt(clos_id="gold", l3_cache_schema="L3:0=f", enable_monitoring=True))
    (resctrl.root / "gold" / "schemata").write_text("    L3:0=000f;1=0fff\n    MB:0=  20;1=  50\n")
    for place, text in {
        "L3/cbm_mask": "fff",
        "L3/min_cbm_bits": "2",
        "L3/num_closids": "16",
        "MB/num_closids": "8",
    }.items():
        file = resctrl.root / "info" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    for cache, numbers in {"mon_L3_00": ("7", "3", "9"), "mon_L3_01": ("1", "0", "Unavailable")}.items():
        data = Path(directories[1]) / "mon_data" / cache
        data.mkdir(parents=True)
        for name, text in zip(("mbm_total_bytes", "mbm_local_bytes", "llc_occupancy"), numbers, strict=True):
            (data / name).write_text(f"{text}\n")
    assert rdtstats.describe(directories, str(resctrl.root)) == {
        "l3_cache_info": {"cbm_mask": "fff", "min_cbm_bits": 2, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=00ff;1=0fff",
        "l3_cache_schema": "L3:0=000f;1=0fff",
        "mem_bw_info": {"num_closids": 8},
        "mem_bw_schema_root": "MB:0= 100;1=  50",
        "mem_bw_schema": "MB:0=  20;1=  50",
        "schemata": ["L3:0=000f;1=0fff", "MB:0=  20;1=  50"],
        "mbm_stats": [
            {"mbm_total_bytes": 7, "mbm_local_bytes": 3},
            {"mbm_total_bytes": 1, "mbm_local_bytes": 0},
        ],
        "cmt_stats": [{"llc_occupancy": 9}],
    }
    assert rdtstats.describe((), str(resctrl.root)) == {}
