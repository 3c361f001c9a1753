#!/usr/bin/env python3
"""SLURM in miniature, for tests: ``sbatch`` runs a script at once on this machine, the others know of its jobs.

Called by the name of the command it stands for. ``$FAKE_SLURM`` is a folder with a file for each job: its state.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])
NAME, ARGUMENTS = Path(sys.argv[0]).name, sys.argv[1:]


def option(script: str, name: str) -> str | None:
    found = re.search(rf"^#SBATCH --{name}=(.*)$", script, flags=re.MULTILINE)
    return found[1].strip("'\"") if found else None


def sbatch() -> None:
    """Prints the job's number, and leaves a process of its own that runs the tasks of the array one by one."""
    number = 1000 + len(list(HOME.glob("*.sh")))
    script = Path(ARGUMENTS[0]).read_text()
    (HOME / f"{number}.sh").write_text(script)
    array = option(script, "array")
    jobs = [f"{number}_{one}" for one in range(int(re.split(r"[-%]", array)[1]) + 1)] if array else [str(number)]
    for job in jobs:
        (HOME / job).write_text("PENDING")
    with open(HOME / f"{number}.out", "ab") as out:
        holder = [sys.executable, __file__, str(number), *jobs]
        environment = {**os.environ, "FAKE_SLURM_HOLDS": "1"}
        subprocess.Popen(holder, stdout=out, stderr=out, start_new_session=True, env=environment)
    print(f"Submitted batch job {number}")


def hold() -> None:
    """Runs the tasks of an array; one that asks for it is run again."""
    number, *jobs = ARGUMENTS
    script = (HOME / f"{number}.sh").read_text()
    for job in jobs:
        while True:
            environment = {
                **{name: value for name, value in os.environ.items() if name != "FAKE_SLURM_HOLDS"},
                "SLURM_JOB_ID": job.replace("_", ""),
                "SLURM_NTASKS": option(script, "ntasks-per-node") or "1",
                "SLURM_JOB_NUM_NODES": option(script, "nodes") or "1",
                "SLURM_NODEID": "0",
                "SLURM_JOB_NODELIST": "localhost",
            }
            if "_" in job:
                environment |= dict(zip(("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"), job.split("_"), strict=True))
            (HOME / job).write_text("RUNNING")
            code = subprocess.run(["bash", str(HOME / f"{number}.sh")], env=environment, check=False).returncode
            if (HOME / f"{job}.again").exists():
                (HOME / f"{job}.again").unlink()
                continue
            break
        if (HOME / job).read_text() != "CANCELLED":
            (HOME / job).write_text("FAILED" if code else "COMPLETED")


def job_of_environment() -> str:
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def srun() -> None:
    """Runs the command once for each task, and notes the processes."""
    flags = {"--output", "--error"}
    command = list(ARGUMENTS)
    while command and command[0].startswith("--"):
        flag = command.pop(0)
        if flag in flags:
            command.pop(0)
    tasks = []
    for rank in range(int(os.environ["SLURM_NTASKS"])):
        environment = {**os.environ, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        tasks.append(subprocess.Popen(command, env=environment))
    (HOME / f"{job_of_environment()}.pids").write_text(" ".join(str(task.pid) for task in tasks))
    sys.exit(max(abs(task.wait()) for task in tasks))


def sacct() -> None:
    """The states of the jobs that are asked for."""
    print("JobID|State|NodeList")
    asked = {ARGUMENTS[place + 1] for place, flag in enumerate(ARGUMENTS) if flag == "-j"}
    for path in sorted(HOME.glob("[0-9]*")):
        if "." not in path.name and path.name.split("_")[0] in asked:
            print(f"{path.name}|{path.read_text()}|localhost")


def scancel() -> None:
    """Ends a job, or sends a signal to its tasks."""
    job = ARGUMENTS[0]
    number = signal.Signals[f"SIG{ARGUMENTS[2].removeprefix('SIG')}"] if "--signal" in ARGUMENTS else signal.SIGTERM
    if "--signal" not in ARGUMENTS:
        (HOME / job).write_text("CANCELLED")
    pids = HOME / f"{job}.pids"
    for pid in pids.read_text().split() if pids.exists() else []:
        reach = [int(pid), *children_of(int(pid))]  # SLURM signals all processes of a job's step
        for one in reach:
            try:
                os.kill(one, number)
            except ProcessLookupError:
                continue


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in found.stdout.split()]


def scontrol() -> None:
    """Only ``requeue``."""
    (HOME / f"{job_of_environment()}.again").write_text("")


if __name__ == "__main__":
    if "FAKE_SLURM_HOLDS" in os.environ:
        hold()
    else:
        {"sbatch": sbatch, "srun": srun, "sacct": sacct, "scancel": scancel, "scontrol": scontrol}[NAME]()
