import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from lehrnet.benchmarks.gpu_day import runner
from lehrnet.benchmarks.gpu_day.__main__ import main
from lehrnet.benchmarks.gpu_day.pack_results import LOGS
from lehrnet.benchmarks.gpu_day.runner import Day, run_day
from lehrnet.benchmarks.gpu_day.states import RESULTS, read_results, read_states
from lehrnet.benchmarks.gpu_day.steps import PACKAGE, STEPS, Settings, by_worth
from lehrnet.tests.benchmarks.gpu_day.conftest import scripts, step

pytestmark = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="process groups are looked at in /proc")


def states_of(day: Day) -> dict[str, str]:
    return {name: record["state"] for name, record in read_results(day.out / RESULTS)["steps"].items()}


def test_a_failure_stops_nothing_and_every_step_leaves_figures_and_log(day: Day) -> None:
    start = scripts(
        one="keep(1); print('said by one')",
        two="keep(2); raise SystemExit('two is broken')",
        three="print('absent: no such package', file=sys.stderr); sys.exit(5)",
        four="keep(4)",
    )
    run_day(day, [step(name) for name in ("one", "two", "three", "four")], start=start)
    assert states_of(day) == {"one": "done", "two": "failed", "three": "absent", "four": "done"}
    steps = read_results(day.out / RESULTS)["steps"]
    assert (steps["two"]["why"], steps["three"]["why"]) == ("exit code 1: two is broken", "no such package")
    assert [steps[name]["result"]["figure"] for name in ("one", "two", "four")] == [1, 2, 4]
    with zipfile.ZipFile(day.out / LOGS) as archive:
        assert archive.read("one.log") == b"said by one\n"


def test_a_step_s_whole_group_is_killed_at_its_limit_and_its_figures_stand(day: Day, alive) -> None:
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    start = scripts(
        slow=f"keep(7); child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "(scratch / 'pid').write_text(str(child.pid)); time.sleep(60)"
    )
    begun = time.monotonic()
    run_day(day, [step("slow", limit_s=2)], start=start)
    assert time.monotonic() - begun < 20
    assert states_of(day) == {"slow": "cut"}
    assert read_results(day.out / RESULTS)["steps"]["slow"]["result"]["figure"] == 7
    assert not alive(int((day.work / "slow" / "pid").read_text()))


def test_what_a_step_leaves_running_ends_with_it(day: Day, alive) -> None:
    child = "import time; time.sleep(60)"
    text = f"child = subprocess.Popen([sys.executable, '-c', {child!r}]); (scratch / 'pid').write_text(str(child.pid))"
    run_day(day, [step("quick")], start=scripts(quick=text))
    assert not alive(int((day.work / "quick" / "pid").read_text()))


def test_a_second_call_goes_on_and_tries_what_failed_once_more(day: Day) -> None:
    count = "(scratch / 'runs').open('a').write('x'); "
    start = scripts(good=f"{count} keep(1)", bad=f"{count} sys.exit(1)")
    steps = [step("good"), step("bad")]
    for _ in range(4):
        run_day(day, steps, start=start)
    runs = {name: len((day.work / name / "runs").read_text()) for name in ("good", "bad")}
    assert runs == {"good": 1, "bad": 2}
    run_day(day, [steps[0]], again=True, start=start)
    assert len((day.work / "good" / "runs").read_text()) == 2


def test_what_pauses_or_lacks_something_runs_in_every_call(day: Day) -> None:
    count = "(scratch / 'runs').open('a').write('x'); "
    start = scripts(
        paused=f"{count} print('paused: step 7'); sys.exit(6)", absent=f"{count} print('absent: cv2'); sys.exit(5)"
    )
    for _ in range(3):
        run_day(day, [step("paused"), step("absent")], start=start)
    assert [len((day.work / name / "runs").read_text()) for name in ("paused", "absent")] == [3, 3]
    steps = read_results(day.out / RESULTS)["steps"]
    assert [(steps[name]["state"], steps[name]["why"]) for name in ("paused", "absent")] == [
        ("paused", "step 7"), ("absent", "cv2")
    ]  # fmt: skip


def test_the_reason_of_a_failure_is_the_line_that_names_the_error(day: Day) -> None:
    words = "torch.AcceleratorError: CUDA error: an illegal memory access\\nFor debugging consider more"
    run_day(day, [step("bad")], start=scripts(bad=f"print('{words}'); sys.exit(1)"))
    why = read_results(day.out / RESULTS)["steps"]["bad"]["why"]
    assert why == "exit code 1: torch.AcceleratorError: CUDA error: an illegal memory access"


def test_a_second_try_that_comes_less_far_takes_no_figure_away(day: Day) -> None:
    again = "(scratch / 'runs').exists()"
    text = f"keep(1) if not {again} else None; (scratch / 'runs').write_text(''); sys.exit(1)"
    for _ in range(2):
        run_day(day, [step("bad")], start=scripts(bad=text))
    record = read_results(day.out / RESULTS)["steps"]["bad"]
    assert (record["tries"], record["result"]["figure"]) == (2, 1)


def test_a_step_s_broken_json_is_its_own_fault_alone(day: Day) -> None:
    run_day(day, [step("odd"), step("next")], start=scripts(odd="out.write_text('{nan')", next="keep(1)"))
    steps = read_results(day.out / RESULTS)["steps"]
    assert "it is no JSON" in steps["odd"]["why"]
    assert steps["next"]["state"] == "done"


def test_a_call_on_a_fresh_machine_goes_on_from_what_came_back(day: Day, tmp_path: Path) -> None:
    start = scripts(first="keep(1)", second="keep(2)")
    run_day(day, [step("first")], start=start)
    (tmp_path / "carried").mkdir()
    day.out.rename(tmp_path / "carried" / runner.EARLIER)
    fresh = Day(tmp_path / "out2", tmp_path / "work2", 60, Settings(tmp_path / "carried"))
    said: list[str] = []
    run_day(fresh, [step("first"), step("second")], start=start, say=said.append)
    assert said[0] == "first      done in an earlier call"
    assert states_of(fresh) == {"first": "done", "second": "done"}
    assert read_results(fresh.out / RESULTS)["steps"]["first"]["result"]["figure"] == 1


def test_what_leaves_files_on_a_machine_runs_on_the_next_one_too(day: Day, tmp_path: Path) -> None:
    steps, start = [step("build", on_every_machine=True), step("other")], scripts(build="keep(1)", other="keep(2)")
    run_day(day, steps, start=start)
    (tmp_path / "carried").mkdir()
    day.out.rename(tmp_path / "carried" / runner.EARLIER)
    said: list[str] = []
    run_day(day, steps, start=start, say=said.append)
    assert [line.split()[1] for line in said] == ["done", "done"]
    fresh = Day(tmp_path / "out2", tmp_path / "work2", 60, Settings(tmp_path / "carried"))
    said.clear()
    run_day(fresh, steps, start=start, say=said.append)
    assert [line.split()[1] for line in said] == ["runs,", "done", "done"]
    assert said[-1].endswith("in an earlier call")


def test_a_rehearsal_s_states_do_not_count_on_the_day(day: Day) -> None:
    rehearsed = scripts(one='out.write_text(\'{"stand_in": true, "machine": {}}\')')
    run_day(Day(day.out, day.work, 60, Settings(rehearse=True)), [step("one")], start=rehearsed)
    run_day(day, [step("one")], start=scripts(one="keep(5)"))
    assert read_results(day.out / RESULTS)["steps"]["one"]["result"]["figure"] == 5


def test_the_clock_decides_what_still_fits(tmp_path: Path) -> None:
    short = Day(tmp_path / "out", tmp_path / "work", seconds=runner.PACKING_S + 5)
    told: list[str] = []
    start = scripts(small="keep(1)", rest="keep(2); (scratch / 'limit').write_text('')")
    run_day(short, [step("small"), step("rest", limit_s=0, takes_the_rest=True)], start=start, say=told.append)
    assert states_of(short) == {"small": "done", "rest": "done"}
    late = Day(tmp_path / "late", tmp_path / "work_late", seconds=runner.PACKING_S)
    run_day(late, [step("small")], start=start, say=told.append)
    assert told[-1] == "small      waits: 0 s are left, it takes 1"


def test_kill_9_in_the_middle_loses_the_running_step_alone(tmp_path: Path, alive) -> None:
    """The killed runner's step dies with it; the next call goes on with that step."""
    program = (
        "from pathlib import Path\n"
        "from lehrnet.benchmarks.gpu_day.runner import Day, run_day\n"
        "from lehrnet.tests.benchmarks.gpu_day.conftest import scripts, step\n"
        f"day = Day(Path({str(tmp_path / 'out')!r}), Path({str(tmp_path / 'work')!r}), 60)\n"
        "hang = \"keep(2); (scratch / 'pid').write_text(str(os.getpid())); time.sleep(60)\"\n"
        "run_day(day, [step('first'), step('hang')], start=scripts(first='keep(1)', hang=hang))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    pid = tmp_path / "work" / "hang" / "pid"
    end = time.monotonic() + 60
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.wait()
    day = Day(tmp_path / "out", tmp_path / "work", 60)
    assert read_results(day.out / RESULTS)["steps"]["first"]["state"] == "done"
    step_s = int(pid.read_text())
    while alive(step_s) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(step_s)
    assert read_states(day.work / RESULTS).of("hang").state == "cut"
    run_day(day, [step("first"), step("hang")], start=scripts(first="sys.exit(1)", hang="keep(3)"))
    assert states_of(day) == {"first": "done", "hang": "done"}


def test_sigterm_kills_the_running_step_and_packs_nothing_half(tmp_path: Path, alive) -> None:
    program = (
        "from pathlib import Path\n"
        "from lehrnet.benchmarks.gpu_day.runner import Day, run_day\n"
        "from lehrnet.tests.benchmarks.gpu_day.conftest import scripts, step\n"
        f"day = Day(Path({str(tmp_path / 'out')!r}), Path({str(tmp_path / 'work')!r}), 60)\n"
        "hang = \"(scratch / 'pid').write_text(str(os.getpid())); time.sleep(60)\"\n"
        "run_day(day, [step('hang')], start=scripts(hang=hang))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    pid, end = tmp_path / "work" / "hang" / "pid", time.monotonic() + 60
    while not (pid.is_file() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert not alive(int(pid.read_text()))


def test_two_calls_at_once_are_refused(day: Day) -> None:
    start = scripts(outer="keep(1)")
    with runner.locked(day.work), pytest.raises(FileExistsError, match="is in use by process"):
        run_day(day, [step("outer")], start=start)


def test_a_package_that_is_missing_is_named_when_it_is_used(tmp_path: Path) -> None:
    folder = runner._named_absent(tmp_path, "cv2")
    code = (
        "import cv2\nassert cv2.STANDS_FOR_NOTHING\n"
        "import lehrnet.runtime.pytorch.forms, lehrnet.runtime.cuda.launch, lehrnet.benchmarks.gpu_day.work.place\n"
        "try:\n    cv2.imread\nexcept ImportError as error:\n    print(error)"
    )
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "cv2 is not installed here\n"


def test_steps_run_by_worth_and_training_takes_the_rest() -> None:
    assert [each.name for each in by_worth()][:2] == ["build", "tests"]
    assert by_worth()[-1].takes_the_rest
    assert [each.name for each in by_worth(("train", "tests"))] == ["tests", "train"]
    with pytest.raises(ValueError, match="there is no step 'nothing'; the steps are build, tests"):
        by_worth(("nothing",))
    for each in STEPS:
        assert (Path(runner.__file__).parent / "work" / f"{each.module}.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "there is no step 'nothing'"),
        (["--minutes", "0"], "expected a time above 0"),
        (["--train-minutes", "0"], "--train-minutes is 0.0, expected a time above 0"),
        (["--carry", "/no/such/folder"], "is no folder"),
        ([], "nvidia-smi finds no GPU here; --rehearse runs every step on stand-ins"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments: list[str], words: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(f"{PACKAGE}.__main__._has_gpu", lambda: False)
    assert main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_results_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text(json.dumps({"format": "lehrnet-result-1"}))
    with pytest.raises(ValueError, match="is not of a GPU's day"):
        read_states(tmp_path / RESULTS)


def test_a_wheel_that_does_not_install_costs_the_day_nothing(day: Day, tmp_path: Path) -> None:
    (tmp_path / "carried" / runner.WHEELS).mkdir(parents=True)
    (tmp_path / "carried" / runner.WHEELS / "broken-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    carrying = Day(day.out, day.work, 60, Settings(tmp_path / "carried"))
    run_day(carrying, [step("one")], start=scripts(one="keep(1)"))
    assert states_of(carrying) == {"one": "done"}
    assert "broken" in (day.work / "wheels.log").read_text()
    assert not (day.work / "site").exists()
