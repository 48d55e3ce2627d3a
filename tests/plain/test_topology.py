"""What Linux tells of its processors, from trees made by hand; and what is made of it."""

import os

import pytest

from hwkit.errors import PlanError
from hwkit.hashers import topology
from hwkit.hashers.topology import cpulist, parse, quota, read

SYSTEM = "sys/devices/system/cpu"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root


def machine(root, *cores, online=None, package=0):
    """Write the tree of a machine whose cores are lists of processors."""
    files = {}
    for siblings in cores:
        for number in parse(siblings):
            here = f"{SYSTEM}/cpu{number}/topology"
            files[f"{here}/core_cpus_list"] = files[f"{here}/thread_siblings_list"] = siblings
            files[f"{here}/physical_package_id"] = package
    files[f"{SYSTEM}/online"] = online or cpulist(n for core in cores for n in parse(core))
    return write(root, files)


def figures(root, name, by_list):
    return write(
        root,
        {f"{SYSTEM}/cpu{n}/{name}": value for some, value in by_list.items() for n in parse(some)},
    )


def hybrid(root):
    """The 12th generation of a desktop: eight cores with two threads, four with one."""
    machine(root, *(f"{n}-{n + 1}" for n in range(0, 16, 2)), "16", "17", "18", "19")
    return write(root, {"sys/devices/cpu_core/cpus": "0-15", "sys/devices/cpu_atom/cpus": "16-19"})


# --- machines --------------------------------------------------------------------------------


def test_a_desktop_with_smt(tmp_path):
    here = read(machine(tmp_path, "0,4", "1,5", "2,6", "3,7"))
    assert (here.cores, here.packages, here.types) == (4, 1, {})
    assert str(here) == "4 cores with 2 threads each"
    assert here.to_json() == {
        "cores": 4,
        "packages": 1,
        "core_groups": [{"type": None, "threads": 2, "cores": 4}],
    }
    assert here.spread() == (0, 1, 2, 3, 4, 5, 6, 7)
    assert here.among([1, 5]).cores == 1


def test_a_hybrid_of_intel(tmp_path):
    here = read(hybrid(tmp_path))
    assert str(here) == "12 cores (8 performance with 2 threads each, 4 efficiency)"
    assert here.types == {"performance": tuple(range(16)), "efficiency": (16, 17, 18, 19)}
    assert here.spread() == (*range(0, 16, 2), 16, 17, 18, 19, *range(1, 16, 2))
    some = here.among([1, 2, 3, 17])
    assert (some.cores, some.types) == (3, {"performance": (1, 2, 3), "efficiency": (17,)})
    assert str(here.among([17])) == "1 core (1 efficiency)"


def test_arm_with_big_and_little_cores(tmp_path):
    """The little ones are numbered first; the big ones are listed first all the same."""
    machine(tmp_path, *map(str, range(8)))
    here = read(figures(tmp_path, "cpu_capacity", {"0-3": 446, "4-7": 1024}))
    assert str(here) == "8 cores (4 performance, 4 efficiency)"
    assert here.types == {"performance": (4, 5, 6, 7), "efficiency": (0, 1, 2, 3)}
    assert here.spread() == (4, 5, 6, 7, 0, 1, 2, 3)


def test_three_types_are_named_by_their_figure(tmp_path):
    machine(tmp_path, *map(str, range(8)))
    here = read(figures(tmp_path, "cpu_capacity", {"0-3": 250, "4-6": 620, "7": 1024}))
    assert list(here.types) == ["capacity 1024", "capacity 620", "capacity 250"]


@pytest.mark.parametrize(
    ("name", "by_list"),
    [
        ("cpu_capacity", {"0-3": 1024}),
        ("cpu_capacity", {"0-2": 446}),  # of one nothing is told
        ("cpu_capacity", {"0-2": 1024, "3": "much"}),
        (
            "cpufreq/cpuinfo_max_freq",
            {"0": 5_800_000, "1": 5_500_000, "2": 5_000_000, "3": 4500000},
        ),
    ],
)
def test_figures_that_do_not_differ_clearly_tell_no_types(tmp_path, name, by_list):
    """Favoured cores differ by a little from one to the next."""
    assert read(figures(machine(tmp_path, "0", "1", "2", "3"), name, by_list)).types == {}


def test_clocks_that_differ_clearly_tell_types_where_nothing_else_does(tmp_path):
    machine(tmp_path, "0-1", "2-3")
    figures(tmp_path, "cpu_capacity", {"0-3": 1024})
    here = read(figures(tmp_path, "cpufreq/cpuinfo_max_freq", {"0-1": 5000000, "2-3": 3300000}))
    assert here.types == {"performance": (0, 1), "efficiency": (2, 3)}


def test_a_container_with_a_processor_offline(tmp_path):
    """The offline one's folder has no topology, and its sibling is alone."""
    machine(tmp_path, "0-1", "2", online="0-2")
    write(tmp_path, {f"{SYSTEM}/cpu3/online": 0, f"{SYSTEM}/offline": 3})
    here = read(tmp_path)
    assert str(here) == "2 cores (1 with 2 threads, 1 with 1 thread)"
    assert [processor.number for processor in here.processors] == [0, 1, 2]
    assert here.among([2, 3]).cores is None  # of 3 nothing is told


def test_two_packages(tmp_path):
    machine(tmp_path, "0", "1")
    machine(tmp_path, "2", "3", online="0-3", package=1)
    assert str(read(tmp_path)) == "4 cores in 2 packages"


def test_an_older_kernel_calls_the_siblings_otherwise(tmp_path):
    machine(tmp_path, "0-1")
    for number in (0, 1):
        (tmp_path / SYSTEM / f"cpu{number}/topology/core_cpus_list").unlink()
    assert read(tmp_path).cores == 1


def test_a_file_that_cannot_be_read_tells_nothing(tmp_path):
    machine(tmp_path, "0", "1")
    for name in ("core_cpus_list", "thread_siblings_list", "physical_package_id"):
        path = tmp_path / SYSTEM / "cpu1/topology" / name
        path.unlink()
        path.mkdir()  # not even root reads that
    here = read(tmp_path)
    assert (here.cores, here.packages, here.groups, str(here)) == (
        None,
        None,
        None,
        "cores not told",
    )
    assert here.among([0]).cores == 1


def test_where_nothing_is_told_nothing_is_known(tmp_path):
    here = read(tmp_path)
    assert here.to_json() == {"cores": None, "packages": None, "core_groups": None}
    assert (here.types, here.spread(), str(here)) == ({}, (), "cores not told")
    assert here.among([0, 1]).cores is None
    assert quota(tmp_path) is None


@pytest.mark.parametrize(
    "text",
    ["", "abc", "0-99999999999", "0-8192", "3-1", "-1", "0,0", "0-", "0x1", "٣", "\0", "0;1"],
)
def test_senseless_files_tell_nothing(tmp_path, text):
    machine(tmp_path, "0-1")
    for name in (f"{SYSTEM}/cpu0/topology/core_cpus_list", "sys/devices/cpu_core/cpus"):
        write(tmp_path, {name: text})
    write(tmp_path, {f"{SYSTEM}/cpu1/topology/physical_package_id": text})
    here = read(tmp_path)
    assert (here.cores, here.packages, here.types) == (1, None, {})  # by the older name
    assert read(write(tmp_path / "other", {f"{SYSTEM}/online": text})).processors == ()


def test_this_machine_is_read_without_a_fault():
    here = topology.read().among(topology.usable())
    assert here.cores is None or 1 <= here.cores <= len(here.processors)
    assert sorted(here.spread()) == sorted(processor.number for processor in here.processors)


# --- lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0", (0,)), ("0,2-5", (0, 2, 3, 4, 5)), ("3,1", (3, 1)), ("8190-8191", (8190, 8191))],
)
def test_lists(text, numbers):
    assert parse(text) == numbers
    assert parse(cpulist(numbers)) == tuple(sorted(numbers))


def test_a_list_as_long_as_can_be():
    assert len(parse("0-8191")) == topology.MOST
    every_other = ",".join(map(str, range(0, topology.MOST, 2)))
    assert cpulist(parse(every_other)) == every_other
    assert len(every_other) < topology.LONGEST
    with pytest.raises(PlanError, match="twice"):
        parse(",".join(["0-8191"] * 1000))


# --- quotas ----------------------------------------------------------------------------------

CGROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({f"{CGROUP}/cpu.max": "150000 100000"}, 1.5),
        ({f"{CGROUP}/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/a/b", f"{CGROUP}/a/b/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                f"{CGROUP}/a/b/cpu.max": "max 100000",
                f"{CGROUP}/a/cpu.max": "200000 100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:cpu,cpuacct:/docker/0123",
                f"{CGROUP}/cpu/cpu.cfs_quota_us": 250000,  # a container's own, at its root
                f"{CGROUP}/cpu/cpu.cfs_period_us": 100000,
            },
            2.5,
        ),
        (
            {f"{CGROUP}/cpu/cpu.cfs_quota_us": -1, f"{CGROUP}/cpu/cpu.cfs_period_us": 100000},
            None,
        ),
        ({f"{CGROUP}/cpu/cpu.cfs_quota_us": 1}, None),
        ({f"{CGROUP}/cpu.max": "100000 0"}, None),
        ({f"{CGROUP}/cpu.max": "9" * 400 + " 1"}, None),
        ({f"{CGROUP}/cpu.max": "much"}, None),
        ({"proc/self/cgroup": "\0:::\n::\nx\n0::/../..\n0::" + "/a" * 9999}, None),
        ({"proc/self/cgroup": "ü"}, None),
    ],
)
def test_quota(tmp_path, files, limit):
    assert quota(write(tmp_path, files)) == limit


# --- affinity --------------------------------------------------------------------------------


def test_processors_that_are_not_usable_are_named(monkeypatch):
    monkeypatch.setattr(topology, "usable", lambda: (0, 1, 2, 5))
    assert topology.affinity("5,0-1") == (5, 0, 1)
    with pytest.raises(PlanError, match="processor 3 is not usable here; usable: 0-2,5"):
        topology.affinity("0-3")
    monkeypatch.setattr(topology, "usable", lambda: None)
    with pytest.raises(PlanError, match="does not pin"):
        topology.affinity("0")


def test_a_system_without_affinity(monkeypatch):
    for name in ("sched_setaffinity", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    assert topology.usable() is None
    with pytest.raises(PlanError):
        topology.affinity("0")


@pytest.mark.skipif(topology.usable() is None, reason="this system has no affinity")
def test_a_call_on_a_processor_leaves_the_caller_where_it_was():
    before = topology.usable()
    assert before
    assert topology.on(before[-1], topology.usable) == before[-1:]
    assert topology.usable() == before
    with pytest.raises(OSError, match="Invalid argument"):
        topology.on(topology.MOST - 1, topology.usable)
