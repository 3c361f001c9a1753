"""The worker pool: whatever a handler does, the caller gets a reply in time and the next request is not affected."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from specs_lab.rewards.isolation.worker_process import Worker
from specs_lab.rewards.isolation.workers import PoolStatistics, Reply, WorkerPool, shared_pool

HERE = str(Path(__file__).parent)
LIMIT_S = 2.0
"""For what hangs; ample for everything else that is asked of the same pool."""
HANG_S = 120.0
"""No single thing in these tests takes this long unless it hangs."""

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def handlers_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", HERE)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool("worker_handlers:do", size=1, time_limit_s=LIMIT_S, memory_limit_mb=256) as pool:
        yield pool


@pytest.fixture
def patient() -> Iterator[WorkerPool]:
    """Two workers, and as much time as is wanted."""
    with WorkerPool("worker_handlers:do", size=2, time_limit_s=HANG_S) as pool:
        yield pool


@pytest.fixture
def run_script(tmp_path: Path) -> Run:
    """Runs a script in a process of its own; returns what it printed."""

    def run(text: str, *flags: str, quiet: bool = True) -> str:
        script = tmp_path / "script.py"
        script.write_text(dedent(text))
        done = subprocess.run(
            [sys.executable, *flags, str(script)], capture_output=True, text=True, timeout=HANG_S, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert not (quiet and done.stderr), done.stderr
        return done.stdout

    return run


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def exists(pid: int) -> bool:
    """Whether there is a process, be it one that has ended but was not waited for."""
    return Path(f"/proc/{pid}").exists()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def double(pool: WorkerPool, number: int = 21) -> int:
    """Checks that the pool works; returns the worker's process id."""
    reply = pool.ask({"do": "double", "number": number})
    assert reply.status == "done"
    assert reply.value is not None
    assert reply.value["number"] == 2 * number
    return reply.value["pid"]


# --- limits ---


@pytest.mark.parametrize("what", ["compute_for_ever", "sleep_for_ever"])
def test_a_worker_that_hangs_is_killed(pool: WorkerPool, tmp_path: Path, what: str):
    note = tmp_path / "pid"
    assert pool.ask({"do": what, "tell": str(note)}) == Reply("timed out", None)
    assert not exists(int(note.read_text()))
    double(pool)


def test_what_a_hanging_worker_started_is_killed_with_it(pool: WorkerPool, tmp_path: Path):
    note = tmp_path / "child"
    assert pool.ask({"do": "hang_with_a_child", "path": str(note)}).status == "timed out"
    until(lambda: not alive(int(note.read_text())))


def test_starting_does_not_count_against_the_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "slow_start.py").write_text("import time\ntime.sleep(2)\ndef handle(request):\n    return request\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool("slow_start:handle", size=1, time_limit_s=1.0) as pool:
        assert pool.ask({"number": 1}) == Reply("done", {"number": 1})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
@pytest.mark.parametrize("what", ["eat_memory", "eat_memory_and_hide_it"])
def test_memory_is_limited(pool: WorkerPool, what: str):
    before = double(pool)
    assert pool.ask({"do": what}) == Reply("out of memory", None)
    assert not exists(before)
    assert double(pool) != before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_a_worker_that_keeps_memory_is_replaced(pool: WorkerPool):
    before = double(pool)
    kept = pool.ask({"do": "keep_memory", "megabytes": 100})
    assert kept == Reply("done", {"pid": before})
    assert double(pool) != before
    assert pool.statistics.recycled == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_a_request_that_does_not_fit_into_the_memory_limit():
    with WorkerPool("worker_handlers:do", size=1, time_limit_s=HANG_S, memory_limit_mb=16) as pool:
        assert pool.ask({"do": "length", "text": "x" * 40_000_000}) == Reply("out of memory", None)
        double(pool)


# --- crashes ---


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "leave"},
        {"do": "leave_politely"},
        {"do": "die", "number": signal.SIGKILL},
        {"do": "die", "number": signal.SIGTERM},
        {"do": "read_nothing"},
    ],
    ids=lambda request: "-".join(map(str, request.values())),
)
def test_a_worker_that_dies_is_replaced(pool: WorkerPool, request_: dict, tmp_path: Path):
    before = double(pool)
    assert pool.ask(request_) == Reply("crashed", None)
    assert not exists(before)
    assert double(pool) != before
    assert not list(Path.cwd().glob("core*"))


def test_a_death_among_many_affects_no_other_request(patient: WorkerPool):
    requests = [{"do": "leave"} if n % 5 == 2 else {"do": "double", "number": n} for n in range(20)]
    for n, reply in enumerate(patient.ask_many(requests)):
        assert reply.status == ("crashed" if n % 5 == 2 else "done")
        assert n % 5 == 2 or (reply.value or {})["number"] == 2 * n


def test_a_worker_that_died_while_idle_costs_no_request(pool: WorkerPool):
    before = double(pool)
    os.kill(before, signal.SIGKILL)
    until(lambda: not alive(before))
    assert double(pool) != before
    assert not exists(before)
    assert pool.statistics == PoolStatistics(2, 0, 0, 0, started=2, recycled=0)


def test_workers_that_never_live_to_be_asked_are_an_error(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "stirs", lambda self: True)
        with pytest.raises(RuntimeError, match="die before they are asked"):
            pool.ask({"do": "double", "number": 1})
    double(pool)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"do": "fail", "message": "no such thing"}, "KeyError: 'no such thing'"),
        ({"do": "fail_unreadably"}, "Unreadable: (without a readable message)"),
        ({"do": "recurse"}, "RecursionError: maximum recursion depth exceeded"),
        ({"do": "give_an_object"}, "TypeError: Object of type object is not JSON serializable"),
        ({"do": "give", "value": [1]}, "TypeError: the handler returned list, not dict"),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else "",
)
def test_an_exception_is_told_and_its_worker_kept(pool: WorkerPool, request_: dict, error: str):
    before = double(pool)
    assert pool.ask(request_) == Reply("crashed", {"error": error})
    assert double(pool) == before


def test_a_long_message_of_an_exception_is_cut(pool: WorkerPool):
    reply = pool.ask({"do": "fail", "message": "x" * 100_000})
    assert len((reply.value or {})["error"]) == 500


# --- the protocol ---


def test_what_a_handler_prints_or_reads_disturbs_nothing(pool: WorkerPool):
    assert [pool.ask({"do": "chat"}) for _ in range(3)] == 3 * [Reply("done", {"read": ""})]
    double(pool)


def test_what_the_interpreter_prints_before_the_worker_runs_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "sitecustomize.py").write_text("import sys\nprint('hello')\nprint('hello', file=sys.stderr)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{HERE}")
    with WorkerPool("worker_handlers:do", size=1) as pool:
        double(pool)


def test_a_request_of_5_mb_arrives(pool: WorkerPool):
    assert pool.ask({"do": "length", "text": "x" * 5_000_000}) == Reply("done", {"length": 5_000_000})


def test_a_big_request_to_a_worker_that_does_not_read_times_out(pool: WorkerPool):
    before = double(pool)
    os.kill(before, signal.SIGSTOP)
    assert pool.ask({"do": "length", "text": "x" * 5_000_000}) == Reply("timed out", None)
    assert not exists(before)
    double(pool)


def test_a_reply_that_is_too_long_is_not_read(pool: WorkerPool):
    assert pool.ask({"do": "give_text", "size": 1_000_000}) == Reply("done", {"text": "x" * 1_000_000})
    before = double(pool)
    assert pool.ask({"do": "give_text", "size": 50_000_000}) == Reply("crashed", None)
    assert not exists(before)
    double(pool)


def test_any_text_arrives_as_it_is(pool: WorkerPool):
    value = {"text": "é\n\r\u2028\ud800\x00 \U0001f600", "number": 1.5, "list": [None, True]}
    assert pool.ask({"do": "give", "value": value}) == Reply("done", value)


def test_a_request_that_is_no_json_is_the_callers_error(pool: WorkerPool):
    with pytest.raises(TypeError, match="not JSON serializable"):
        pool.ask({"do": object()})
    assert pool.statistics.started == 0


def test_an_alarm_that_a_handler_left_does_not_reach_the_next_request(pool: WorkerPool):
    pool.ask({"do": "leave_an_alarm"})
    assert pool.ask({"do": "timers"}) == Reply("done", {"left": 0.0})


def test_workers_see_no_gpu_and_nothing_that_makes_them_slow(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONTRACEMALLOC", "5")
    reply = pool.ask({"do": "surroundings"})
    variables = {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONTRACEMALLOC": None,
    }
    assert reply == Reply("done", {"variables": variables, "torch": False})


# --- start-up ---


@pytest.mark.parametrize(
    ("handler", "module", "reason"),
    [
        ("missing_module:handle", "", "No module named 'missing_module'"),
        ("broken:handle", "", "has no attribute 'handle'"),
        ("broken:handle", "import missing_dependency", "No module named 'missing_dependency'"),
        ("broken:handle", "raise SystemExit('not on this machine')", "not on this machine"),
        ("broken:handle", "import os; os._exit(7)", "it ended with exit code 7"),
        ("broken:handle", "import os; os.abort()", "it was ended by signal 6"),
    ],
)
def test_a_worker_that_cannot_start_is_an_error_which_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: str, module: str, reason: str
):
    (tmp_path / "broken.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool(handler, size=2) as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=f"did not start(.|\n)*{reason}"):
                pool.ask_many([{}, {}, {}])
        assert pool.statistics.asked == 0


def test_what_the_interpreter_complains_about_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(2, b'the disk is gone')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool("json:loads", size=1) as pool, pytest.raises(RuntimeError, match=r"exit code 3\nthe disk is gone"):
        pool.ask({})


@pytest.mark.parametrize("executable", ["/no/such/python", "", None])
def test_a_missing_python_is_an_error(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch, executable: str | None):
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(RuntimeError, match="started"):
        pool.ask({"do": "double", "number": 1})
    monkeypatch.undo()
    monkeypatch.setenv("PYTHONPATH", HERE)
    double(pool)


def test_a_start_that_takes_too_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerPool("stuck:handle", size=1, start_limit_s=1) as pool:
        with pytest.raises(RuntimeError, match="not ready after 1 s"):
            pool.ask({})
        assert pool.statistics.started == 1


@pytest.mark.parametrize("handler", ["handle", ":handle", "module:", ""])
def test_a_handler_is_a_module_and_a_function(handler: str):
    with pytest.raises(ValueError, match="no handler"):
        WorkerPool(handler)


@pytest.mark.parametrize(
    "arguments", [{"size": 0}, {"time_limit_s": 0}, {"memory_limit_mb": -1}, {"time_limit_s": float("inf")}]
)
def test_limits_must_be_positive(arguments: dict):
    with pytest.raises(ValueError, match="positive"):
        WorkerPool("module:function", **arguments)


# --- sharing ---


def test_many_replies_are_in_order_and_from_several_workers(patient: WorkerPool, tmp_path: Path):
    meet = {"do": "await_file", "path": str(tmp_path / "met")}  # is only done if another worker makes the file
    replies = patient.ask_many([meet, {"do": "make_file", "path": meet["path"]}])
    assert len({(reply.value or {})["pid"] for reply in replies}) == 2
    replies = patient.ask_many([{"do": "double", "number": n} for n in range(100)])
    assert [(reply.value or {})["number"] for reply in replies] == list(range(0, 200, 2))
    assert patient.statistics.started == 2


def test_no_requests_need_no_worker(pool: WorkerPool):
    assert pool.ask_many([]) == []
    assert pool.statistics == PoolStatistics(0, 0, 0, 0, 0, 0)


def test_one_request_at_a_time_needs_one_worker(patient: WorkerPool):
    assert len({double(patient, n) for n in range(5)}) == 1
    assert patient.statistics.started == 1


def test_threads_get_the_same_as_one_and_share_the_workers(patient: WorkerPool):
    def work(thread: int) -> list[tuple[int, int]]:
        values = [patient.ask({"do": "double", "number": 1000 * thread + n}).value or {} for n in range(20)]
        batch = patient.ask_many([{"do": "double", "number": 1000 * thread + n} for n in range(20, 40)])
        return [(value["number"], value["pid"]) for value in values + [reply.value or {} for reply in batch]]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(work, range(8)))
    for thread, result in enumerate(results):
        assert [number for number, _ in result] == [2 * (1000 * thread + n) for n in range(40)]
    assert len({pid for result in results for _, pid in result}) <= 2
    assert patient.statistics == PoolStatistics(320, 0, 0, 0, started=2, recycled=0)


def test_threads_are_not_disturbed_by_each_others_hangs_and_deaths(tmp_path: Path):
    def work(n: int) -> str:
        kinds = ({"do": "double", "number": n}, {"do": "leave"}, {"do": "compute_for_ever"})
        return pool.ask(kinds[n % 3 if n < 9 else 0]).status

    with WorkerPool("worker_handlers:do", size=2, time_limit_s=LIMIT_S) as pool, ThreadPoolExecutor(6) as threads:
        statuses = list(threads.map(work, range(30)))
    assert statuses == ["done", "crashed", "timed out"] * 3 + ["done"] * 21
    assert pool.statistics.started <= 2 + 6


def test_a_long_batch_lets_others_in_between(tmp_path: Path):
    go, seen = str(tmp_path / "go"), str(tmp_path / "seen")
    with WorkerPool("worker_handlers:do", size=1, time_limit_s=HANG_S) as pool, ThreadPoolExecutor(2) as threads:
        # The second request of the batch is only done once the other thread's request is.
        batch = threads.submit(pool.ask_many, [{"do": "await_file", "path": go}, {"do": "await_file", "path": seen}])
        until(lambda: pool.statistics.started)
        other = threads.submit(pool.ask, {"do": "make_file", "path": seen})
        until(lambda: pool._line)
        Path(go).touch()
        assert other.result(HANG_S).status == "done"
        assert [reply.status for reply in batch.result(HANG_S)] == ["done", "done"]


def test_workers_are_replaced_after_so_many_requests():
    with WorkerPool("worker_handlers:do", size=1, time_limit_s=HANG_S, recycle_after=3) as pool:
        pids = [double(pool, n) for n in range(7)]
        assert pids == [pids[0]] * 3 + [pids[3]] * 3 + [pids[6]]
        assert len(set(pids)) == 3
        assert not exists(pids[0])
        assert pool.statistics == PoolStatistics(7, 0, 0, 0, started=3, recycled=2)


def test_statistics_count_every_kind_of_reply(pool: WorkerPool):
    requests = [{"do": what} for what in ("leave", "compute_for_ever", "eat_memory", "recurse")]
    pool.ask_many([*requests, {"do": "double", "number": 1}])
    assert pool.statistics == PoolStatistics(asked=5, timed_out=1, out_of_memory=1, crashed=2, started=4, recycled=0)


# --- ends ---


def test_a_closed_pool_has_no_workers_and_takes_no_requests():
    pool = WorkerPool("worker_handlers:do", size=1)
    pid = double(pool)
    pool.close()
    pool.close()
    assert not exists(pid)
    with pytest.raises(RuntimeError, match="closed"):
        pool.ask({"do": "double", "number": 1})


def test_closing_ends_the_waiting_of_others(tmp_path: Path):
    pool = WorkerPool("worker_handlers:do", size=1, time_limit_s=HANG_S)
    note = tmp_path / "pid"
    with ThreadPoolExecutor(2) as threads:
        served = threads.submit(pool.ask, {"do": "compute_for_ever", "tell": str(note)})
        until(note.exists)
        queued = threads.submit(pool.ask, {"do": "double", "number": 1})
        until(lambda: pool._line)
        pool.close()
        for waiting in (served, queued):
            with pytest.raises(RuntimeError, match="closed"):
                waiting.result(HANG_S)
    assert not exists(int(note.read_text()))


def test_workers_leave_interrupts_to_the_parent(pool: WorkerPool):
    before = double(pool)
    os.kill(before, signal.SIGINT)
    assert double(pool) == before
    assert os.getsid(before) != os.getsid(0)


def test_an_interrupt_leaves_the_pool_usable(run_script: Run):
    run_script("""
        import os, pathlib, signal, threading, time
        from specs_lab.rewards.isolation.workers import WorkerPool

        note = pathlib.Path("pid")

        def interrupt():
            while not note.exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore interrupts
        with WorkerPool("worker_handlers:do", size=1, time_limit_s=600) as pool:
            threading.Thread(target=interrupt).start()
            try:
                pool.ask_many([{"do": "double", "number": 1}, {"do": "compute_for_ever", "tell": "pid"}])
            except KeyboardInterrupt:
                pass
            else:
                raise SystemExit("not interrupted")
            assert not pathlib.Path("/proc", note.read_text()).exists()
            assert pool.ask({"do": "double", "number": 4}).value["number"] == 8
    """)


def test_interrupts_at_any_moment_lose_no_worker_and_mix_up_no_replies(run_script: Run):
    run_script("""
        import random, signal, threading
        from specs_lab.rewards.isolation.workers import WorkerPool

        pool = WorkerPool("worker_handlers:do", size=2, time_limit_s=60, recycle_after=50)
        over, armed, interrupted, wrong = threading.Event(), False, 0, []

        def ask(start, count):
            replies = pool.ask_many([{"do": "double", "number": start + n} for n in range(count)])
            if [reply.value["number"] for reply in replies] != [2 * (start + n) for n in range(count)]:
                wrong.append(replies)

        def ask_on():
            while not over.is_set():
                ask(1000, 1)

        def interrupt(*_):
            if armed:
                raise KeyboardInterrupt

        threads = [threading.Thread(target=ask_on) for _ in range(2)]
        for thread in threads:
            thread.start()
        signal.signal(signal.SIGALRM, interrupt)
        random.seed(0)
        for start in range(300):
            try:
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 0.02))
                    ask(start, 20)
                finally:
                    armed = False
            except KeyboardInterrupt:
                armed = False
                interrupted += 1
        over.set()
        for thread in threads:
            thread.join()
        assert interrupted
        assert not wrong, wrong
        assert len(pool._workers) == len(pool._idle) <= 2 and not pool._line
    """)


def test_the_end_of_a_program_is_clean(run_script: Run):
    """No main guard, no close; a worker that is idle, and one that is busy for a daemon thread."""
    pids = run_script(
        """
        import pathlib, threading, time
        from specs_lab.rewards.isolation.workers import WorkerPool

        pool = WorkerPool("worker_handlers:do", size=2, time_limit_s=600)
        request = {"do": "compute_for_ever", "tell": "pid"}
        threading.Thread(target=lambda: pool.ask(request), daemon=True).start()
        while not pathlib.Path("pid").exists():
            time.sleep(0.01)
        print(pool.ask({"do": "double", "number": 4}).value["pid"], pathlib.Path("pid").read_text())
        """,
        "-Xdev",
        "-Wall",
    )
    for pid in map(int, pids.split()):
        until(lambda pid=pid: not alive(pid))


@pytest.mark.parametrize("what", ["idle", "sleep_for_ever", "compute_for_ever"])
def test_a_worker_ends_when_its_parent_was_killed(tmp_path: Path, what: str):
    note = tmp_path / "pid"
    script = dedent(f"""
        import pathlib, subprocess, sys
        from specs_lab.rewards.isolation.workers import WorkerPool

        pool = WorkerPool("worker_handlers:do", size=1, time_limit_s=2)
        pid = pool.ask({{"do": "double", "number": 1}}).value["pid"]
        # Another process keeps the worker's pipe open: the worker cannot tell by its end.
        pipe = next(iter(pool._workers))._requests.fileno()
        holder = subprocess.Popen(["sleep", "600"], pass_fds=[pipe], stdout=subprocess.DEVNULL)
        print(holder.pid, flush=True)
        if {what!r} == "idle":
            pathlib.Path({str(note)!r}).write_text(str(pid))
            sys.stdin.read()
        pool.ask({{"do": {what!r}, "tell": {str(note)!r}}})
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout
        holder = int(parent.stdout.readline())
        try:
            until(note.exists)
            parent.kill()
            until(lambda: not alive(int(note.read_text() or 0)))
        finally:
            os.kill(holder, signal.SIGKILL)


# --- processes ---


def test_a_forked_process_has_workers_of_its_own(run_script: Run):
    printed = run_script("""
        import os
        from specs_lab.rewards.isolation.workers import WorkerPool

        with WorkerPool("worker_handlers:do", size=1, time_limit_s=60) as pool:
            first = pool.ask({"do": "double", "number": 1}).value["pid"]
            child = os.fork()
            if child == 0:
                own = pool.ask({"do": "double", "number": 2}).value
                assert own["number"] == 4 and own["pid"] != first
                assert pool.statistics.asked == 1
                pool.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            assert pool.ask({"do": "double", "number": 1}).value["pid"] == first
            assert pool.statistics.started == 1
            print("fine")
    """)
    assert printed == "fine\n"


def test_forks_at_any_moment_find_no_lock_taken(run_script: Run):
    """Threads ask, start workers and lose them while the process forks."""
    printed = run_script(
        """
        import os, threading
        from specs_lab.rewards.isolation.workers import WorkerPool

        pool = WorkerPool("worker_handlers:do", size=2, time_limit_s=60, recycle_after=2)
        over = threading.Event()

        def ask():
            while not over.is_set():
                assert pool.ask({"do": "double", "number": 1}).value["number"] == 2

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        codes = []
        for _ in range(15):
            child = os.fork()
            if child == 0:
                os._exit(0 if pool.ask({"do": "double", "number": 2}).value["number"] == 4 else 1)
            codes.append(os.waitpid(child, 0)[1])
        over.set()
        for thread in threads:
            thread.join()
        assert set(codes) == {0}
        print(pool.statistics.crashed, pool.statistics.timed_out)
        """,
        "-Wignore::DeprecationWarning",
    )
    assert printed == "0 0\n"


def test_a_daemonic_process_can_have_workers(run_script: Run):
    printed = run_script("""
        import multiprocessing
        import worker_handlers

        def ask(queue):
            queue.put(worker_handlers.pool().ask({"do": "double", "number": 4}).value["number"])

        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                context = multiprocessing.get_context(method)
                queue = context.SimpleQueue()
                process = context.Process(target=ask, args=(queue,), daemon=True)
                process.start()
                print(queue.get())
                process.join()
    """)
    assert printed == "8\n8\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_workers_of_a_data_loader_can_have_workers(run_script: Run, method: str):
    printed = run_script(
        f"""
        import os
        import worker_handlers

        if __name__ == "__main__":
            from torch.utils.data import DataLoader

            mine = worker_handlers.Doubled()[1]  # the pool is there before the fork
            loader = DataLoader(
                worker_handlers.Doubled(), batch_size=None, num_workers=2, multiprocessing_context={method!r}
            )
            items = list(loader)
            assert [item["number"] for item in items] == list(range(0, 16, 2)), items
            graders = {{(item["process"], item["pid"]) for item in [mine, *items]}}
            assert len(graders) == len(set(pid for _, pid in graders)) == 3, graders
            assert worker_handlers.Doubled()[1]["pid"] == mine["pid"]
            print("fine")
        """,
        quiet=False,
    )
    assert printed == "fine\n"


def test_there_is_one_shared_pool_and_it_grades_mathematics():
    pool = shared_pool()
    assert shared_pool() is pool
    assert pool.ask({"task": "equal", "given": "2", "gold": "2"}).status == "done"


def test_importing_what_a_worker_runs_is_quick():
    code = "import sys, specs_lab.rewards.isolation.worker_main; print({'torch', 'numpy', 'hydra'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded == "set()\n"


def test_a_thread_without_the_main_thread_can_ask(pool: WorkerPool):
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(pool.ask({"do": "compute_for_ever"})))
    thread.start()
    thread.join(HANG_S)
    assert replies == [Reply("timed out", None)]
