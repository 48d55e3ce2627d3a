"""Work in a process of its own: whatever happens there is a value here."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwkit.errors import DeviceFault, DeviceLost, DeviceTimeout, ProtocolError
from hwkit.hashers.child import Child


@pytest.fixture
def child(fakes):
    """Return a function that gives a child with a function of the fakes; all are ended."""
    children = []

    def make(function):
        children.append(Child("fake:0", f"fake_device:{function}"))
        return children[-1]

    yield make
    for each in children:
        each.end()


def pid_of(child):
    return child._process._process.pid


def test_it_answers_in_turn(child):
    echo = child("echo")
    for request in ([], [1, "two", None, [3.5]], ["x" * 100_000]):
        assert echo.ask(*request) == request


def test_no_process_starts_before_it_is_asked(child):
    assert child("echo")._process is None


def test_many_threads_may_ask_at_once(child):
    echo, right = child("echo"), []
    threads = [
        threading.Thread(target=lambda n=n: right.append(echo.ask(n) == [n])) for n in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 50


@pytest.mark.parametrize(
    ("function", "request_", "kind", "says"),
    [
        ("crash", [], DeviceLost, r"fake:0: crashed \(SIGSEGV\)"),
        ("leave", [], DeviceLost, "fake:0: ended with exit code 7"),
        ("hang", [], DeviceTimeout, "fake:0: no answer for 3 s"),
        ("hang_for_good", [], DeviceTimeout, "fake:0: no answer for 3 s"),
        ("babble", ["\0\xff nonsense"], ProtocolError, "fake:0: answered with what is no answer"),
        ("babble", ["[1, 2, 3]"], ProtocolError, "no answer"),
        ("babble", ['[0, "verdict", 1]'], ProtocolError, "no answer"),
        ("babble", ['[1, "value", 1]'], ProtocolError, "no answer"),  # of another question
        ("babble", ["7"], ProtocolError, "no answer"),
    ],
)
def test_a_fault_is_a_value_from_then_on(child, function, request_, kind, says):
    faulty = child(function)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(kind, match=says):
            faulty.ask(*request_, silence_s=3)
    assert time.monotonic() - began < 20
    faulty._process._process.wait(10)


def test_all_who_wait_hear_of_it(child):
    crash, heard = child("crash"), []

    def ask():
        with pytest.raises(DeviceLost, match="SIGSEGV"):
            crash.ask()
        heard.append(True)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [True] * 5


def test_what_its_function_raises_does_not_end_it(child):
    fail = child("fail")
    for _ in range(2):
        with pytest.raises(DeviceFault, match=r"fake:0: RuntimeError: no such queue$"):
            fail.ask()


def test_a_function_that_is_not_there(fakes):
    absent = Child("fake:0", "no_such_module:answer")
    with pytest.raises(DeviceFault, match="ModuleNotFoundError"):
        absent.ask()
    absent.end()


def test_what_it_has_started_ends_with_it(child):
    """And does not hide how it ended: such a process holds its output open."""
    forks = child("fork")
    pid = forks.ask()
    with pytest.raises(DeviceLost, match=r"crashed \(SIGSEGV\)"):
        forks.ask(silence_s=30)
    until = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)


def test_what_a_driver_prints_is_no_answer(child):
    chat = child("chat")
    assert [chat.ask(), chat.ask()] == ["done", "done"]


def test_a_sign_of_life_moves_the_deadline(child):
    """Twice as long as the deadline, and never as silent."""
    assert child("work_long").ask(60, silence_s=3) == "done"


def test_a_slow_start_is_waited_for(fakes):
    slow = Child("fake:0", "fake_slow:echo")
    assert slow.ask(1, silence_s=60) == [1]
    slow.end()
    hasty = Child("fake:0", "fake_slow:echo")
    with pytest.raises(DeviceTimeout):
        hasty.ask(1, silence_s=0.2)


def test_ended_on_purpose(child):
    hang = child("hang")
    threading.Timer(0.5, hang.end, [DeviceTimeout("enough")]).start()
    with pytest.raises(DeviceTimeout, match="enough"):
        hang.ask(silence_s=60)


def test_a_child_that_is_forgotten_ends(fakes):
    forgotten = Child("fake:0", "fake_device:echo")
    forgotten.ask()
    assert forgotten._process
    process = forgotten._process._process
    del forgotten
    assert process.wait(10) == -signal.SIGKILL


def test_the_thread_that_asked_first_may_end(child):
    echo = child("echo")
    thread = threading.Thread(target=echo.ask, args=(1,))
    thread.start()
    thread.join()
    time.sleep(0.2)  # for the system to tell it, if it did
    assert echo.ask(2) == [2]


def test_ctrl_c_is_not_the_childs(child):
    echo = child("echo")
    echo.ask()
    os.kill(pid_of(echo), signal.SIGINT)
    assert echo.ask(2) == [2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what hangs with its parent")
@pytest.mark.parametrize("function", ["hang", "hang_for_good"])
def test_it_dies_with_its_parent(fakes, function):
    code = f"""
import threading
from hwkit.hashers.child import Child
child = Child("fake:0", "fake_device:{function}")
threading.Thread(target=child.ask, daemon=True).start()
while child._process is None or not child._process._waiting:
    pass
print(child._process._process.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        time.sleep(1.0)  # for the child to hang
        assert is_alive(pid)
        parent.kill()
        parent.wait()
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid):
    """A zombie that nobody has waited for is not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_the_working_folder_is_not_where_it_imports_from(fakes, tmp_path, monkeypatch):
    Path(tmp_path, "json.py").write_text("raise SystemExit(9)\n", encoding="ascii")
    monkeypatch.chdir(tmp_path)
    echo = Child("fake:0", "fake_device:echo")
    assert echo.ask(1) == [1]
    echo.end()
