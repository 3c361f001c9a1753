"""An engine behind a server: the same results, weights that are really there, and failures that cost nothing."""

import copy
import json
import os
import re
from dataclasses import replace

import pytest
import torch
from lightning import Callback

from specs_lab.core.errors import UserError
from specs_lab.models.prompts import Prompt
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Score
from specs_lab.rollout.engines.base import Question, Site
from specs_lab.rollout.engines.inprocess import InProcessEngine
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.options.vllm_colocated import VllmColocatedRollout
from specs_lab.rollout.sampling import Sampling
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions

SAMPLING = Sampling(max_new_tokens=8)


@pytest.fixture
def questions(toy_prompts, toy_problems) -> list[Question]:
    return [Question(prompt, tuple(p.images)) for prompt, p in zip(toy_prompts, toy_problems, strict=True)]


@pytest.fixture
def engine_of(toy_vlm, tmp_path):
    made = []

    def make(kind=VllmRollout, sampling=SAMPLING, vlm=None, **options):
        site = Site(folder=tmp_path / "site", logs=tmp_path, sampling=sampling)
        made.append(kind(**{"start_s": 60.0, "timeout_s": 60.0, **options}).open(vlm or toy_vlm, site))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def _keys(questions, name="a", each=2):
    return [[f"{name}/{i}/{k}" for k in range(each)] for i in range(len(questions))]


def _changed(vlm, by=0.5):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in vlm.parameters():
            parameter += by * parameter.abs().mean() * torch.randn_like(parameter)
    vlm.features.clear()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_server_gives_what_this_process_gives_under_the_same_keys(
    fake, engine_of, toy_vlm, questions, temperature
) -> None:
    sampling = replace(SAMPLING, temperature=temperature)
    served = engine_of(sampling=sampling, url=fake().url)
    metrics = served.sync(toy_vlm, 0, questions)
    assert metrics["rollout/parity"] < 1e-4
    mine = InProcessEngine(toy_vlm, 64).generate(questions, _keys(questions), sampling)
    for group, other in zip(mine, served.generate(questions, _keys(questions), sampling), strict=True):
        assert [one.token_ids for one in group] == [one.token_ids for one in other]
        assert [one.truncated for one in group] == [one.truncated for one in other]
        for one, two in zip(group, other, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


def test_weights_follow_the_trainers_and_old_folders_go(fake, engine_of, toy_vlm, questions, tmp_path) -> None:
    server = fake()
    engine = engine_of(url=server.url)
    engine.sync(toy_vlm, 0, questions)
    _changed(toy_vlm)
    assert engine.sync(toy_vlm, 1, questions)["rollout/parity"] < 1e-4
    assert engine.version == 1
    assert len(list((tmp_path / "site" / "weights").iterdir())) == 1


def test_a_sync_that_did_nothing_is_found_with_its_figure(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    engine = engine_of(url=server.url)
    engine.sync(toy_vlm, 0, questions)
    _changed(toy_vlm)
    server.deaf = True
    with pytest.raises(
        UserError, match=r"weights of step 1 .* differ .* by up to (\S+) \(token \d+ of probe \d"
    ) as error:
        engine.sync(toy_vlm, 1, questions)
    found = re.search(r"by up to (\S+)", str(error.value))
    assert found is not None
    assert float(found[1]) > 0.05


def test_weights_are_handed_over_every_so_many_steps(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    engine = engine_of(url=server.url, sync_every=2)
    synced = [bool(engine.sync(toy_vlm, step, questions)) for step in range(5)]
    assert synced == [True, False, True, False, True]
    assert engine.version == 4
    assert server.told.count("/collective_rpc") == 3


def test_another_prompt_than_the_trainers_stops_with_both(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    server.shift = 1
    with pytest.raises(UserError, match=r"reads another prompt than the trainer, from token 0 on: \[.*the trainer \["):
        engine_of(url=server.url).sync(toy_vlm, 0, questions)


def test_a_server_that_is_started_again_gets_its_weights_again_and_nothing_is_asked_twice(
    fake, engine_of, toy_vlm, questions
) -> None:
    """A foreign server dies in the middle of a batch; another one, without our weights, takes its place."""
    first = fake()
    engine = engine_of(url=first.url, max_concurrent=2, probes=2)
    engine.sync(toy_vlm, 0, questions)
    mine = InProcessEngine(toy_vlm, 64).generate(questions, _keys(questions), SAMPLING)
    _changed(toy_vlm)  # the trainer has gone on since: the server is to have the weights of before
    first.dies_after = len(first.asked) + 3
    second = []

    def replaced(seconds: float) -> bool:
        if not second:
            first.close()
            second.append(fake(port=first.port))
        return False

    engine._closed.wait = replaced  # in the place of waiting for it
    made = engine.generate(questions, _keys(questions), SAMPLING)
    assert [[one.token_ids for one in group] for group in made] == [[one.token_ids for one in g] for g in mine]
    answered = [key for server in (first, second[0]) for key in server.asked if key.startswith("a/")]
    assert sorted(answered) == sorted(key for line in _keys(questions) for key in line)
    assert second[0].told.count("/collective_rpc") == 1
    assert [key for key in second[0].asked if key.startswith("probe")] == ["probe/0", "probe/1"]


def test_a_server_with_the_weights_of_somebody_else_is_given_ours(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    engine = engine_of(url=server.url)
    engine.sync(toy_vlm, 0, questions)
    server.version = "another run/0"
    engine.generate(questions, _keys(questions), SAMPLING)
    assert server.told.count("/collective_rpc") == 2


def test_our_own_server_that_is_killed_is_started_again(fake_python, engine_of, toy_vlm, questions, tmp_path) -> None:
    """A real process that kills itself in the middle of a batch."""
    engine = engine_of(python=str(fake_python), max_concurrent=1, parity_tolerance=1e9, probes=1)
    engine.sync(toy_vlm, 0, questions)
    made = engine.generate(questions, _keys(questions), SAMPLING)
    assert [len(group) for group in made] == [2] * len(questions)
    starts = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 2
    assert starts[0][:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert "raw_logprobs" in starts[0]
    answered = [k for k in (tmp_path / "answered.txt").read_text().split() if k.startswith("a/")]
    assert sorted(answered) == sorted(key for line in _keys(questions) for key in line)
    process = engine._server._own._process
    engine.close()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_server_that_cannot_sleep_says_so_itself(fake_python, engine_of, toy_vlm, questions) -> None:
    engine = engine_of(VllmColocatedRollout, python=str(fake_python))
    with pytest.raises(UserError, match="Sleep mode is not supported on current platform"):
        engine.sync(toy_vlm, 0, questions)


def test_a_server_that_fails_for_good_ends_the_run(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    engine = engine_of(url=server.url, restarts=2, start_s=0.01)
    engine.sync(toy_vlm, 0, questions)
    server.dead.set()
    with pytest.raises(UserError, match="0 of 10 responses are there, and the server fails again and again"):
        engine.generate(questions, _keys(questions), SAMPLING)


def test_a_server_on_the_trainers_gpu_sleeps_while_it_learns(fake, engine_of, toy_vlm, questions) -> None:
    server = fake()
    engine = engine_of(VllmColocatedRollout, url=server.url)
    engine.sync(toy_vlm, 0, questions)
    engine.generate(questions, _keys(questions), SAMPLING)
    engine.rest()
    assert server.sleeping
    _changed(toy_vlm)
    server.told.clear()
    assert engine.sync(toy_vlm, 1, questions)["rollout/parity"] < 1e-4
    assert not server.sleeping
    places = [
        server.told.index(path) for path in ("/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache")
    ]
    assert places == sorted(places)


def test_a_server_that_refuses_to_sleep_is_an_error_of_its_own_words(fake, engine_of, toy_vlm, questions) -> None:
    engine = engine_of(VllmColocatedRollout, url=fake(sleeps=False).url)
    engine.sync(toy_vlm, 0, questions)
    with pytest.raises(UserError, match="Sleep mode is not supported on current platform"):
        engine.rest()


# --- whole runs ---


@pytest.fixture
def run(toy_weights, toy_problems, tmp_path, known):
    """Trains three steps by an engine; returns the rows of metrics, the weights and the module."""
    from specs_lab.models.vlm import VLM

    tasks = [Task(p.id, "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]

    def train(rollout=None, steps=3, callbacks=(), resume=None, **options):
        vlm = VLM(copy.deepcopy(toy_weights[0]), toy_weights[1])
        asked = [t.text for t in tasks], [t.images for t in tasks], [t.problem.id for t in tasks]
        known.update({_short(prompt, vlm.image_id): prompt for prompt in vlm.encode_prompts(*asked)})
        site = Site(folder=tmp_path / "site", logs=tmp_path, sampling=SAMPLING)
        engine = InProcessEngine(vlm, 64) if rollout is None else rollout.open(vlm, site)
        rows = []
        module = GRPOModule(
            vlm,
            GRPOOptions(steps=steps, group_size=4, prompts_per_step=5, max_new_tokens=8, lr=1e-3, **options),
            lambda responses, tasks, _: [Score(False, False, float(len(r.text) % 3), None) for r in responses],
            micro_batch_tokens=1 << 20,
            sample_batch_size=64,
            stream="test",
            engine=engine,
            next_tasks=lambda step: tasks if step < steps else [],
        )
        step = module.train_step
        module.train_step = lambda batch: rows.append(step(batch)) or rows[-1]
        with engine:
            fit(
                module,
                Items(5 * steps, lambda i: tasks[i % 5]),
                ConsecutiveBatches(5, steps),
                trainer=TrainerOptions(),
                callbacks=callbacks,
                resume=resume,
            )
        module.ahead.close()
        return rows, torch.cat([p.detach().flatten() for p in vlm.parameters() if p.requires_grad]), module

    return train


def _short(prompt: Prompt, image: int) -> tuple[int, ...]:
    ids = prompt.token_ids.tolist()
    return tuple(t for i, t in enumerate(ids) if not (t == image and i and ids[i - 1] == t))


def test_a_run_by_a_server_is_the_run_in_this_process(fake, run) -> None:
    rows, weights, mine = run()
    others, other, served = run(VllmRollout(url=fake().url, importance_cap=2.0))
    assert (weights - other).abs().max() < 1e-4
    for row, another in zip(rows, others, strict=True):
        assert row == pytest.approx({name: another[name] for name in row}, abs=2e-3)
        assert another["rollout/parity"] < 1e-4
        assert another["rollout/mismatch_kl"] < 1e-6
        assert another["importance/clipped"] == 0
        assert another["importance/weight"] == pytest.approx(1, abs=1e-4)
        assert another["rollout/staleness"] == 0
    assert served.budget.generated_tokens == mine.budget.generated_tokens


def test_a_batch_ahead_is_one_step_stale_and_counted_once(fake, run) -> None:
    server = fake()
    rows, _, module = run(VllmRollout(url=server.url, ahead=1))
    assert [row["rollout/staleness"] for row in rows] == [0, 1, 1]
    assert rows[1]["rollout/mismatch_kl"] > 1e-6 > rows[0]["rollout/mismatch_kl"]
    asked = [key for key in server.asked if not key.startswith("probe")]
    assert len(asked) == len(set(asked)) == 3 * 5 * 4
    assert module.ahead.state() is None


def test_a_batch_ahead_survives_a_checkpoint(fake, engine_of, toy_vlm, questions) -> None:
    from specs_lab.rollout.engines.ahead import Ahead

    engine = engine_of(url=fake().url)
    engine.sync(toy_vlm, 4, questions)
    ahead = Ahead(engine)
    ahead.ask(5, questions, _keys(questions), SAMPLING)
    state = json.loads(json.dumps(ahead.state()))
    made = ahead.take(5)
    resumed = Ahead(engine)
    resumed.load(state)
    assert made == resumed.take(5)
    assert made is not None
    assert made[1] == 4
    assert resumed.take(6) is None
    ahead.close()


class _Stop(Callback):
    """Saves after the second step, and ends there."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            trainer.save_checkpoint(self.path)
            raise SystemExit(143)


def test_a_run_ahead_that_was_stopped_ends_as_one_that_was_not_and_asks_nothing_twice(fake, run, tmp_path) -> None:
    _, whole, _ = run(VllmRollout(url=fake().url, ahead=1))
    first, second = fake(), fake()
    with pytest.raises(SystemExit):
        run(VllmRollout(url=first.url, ahead=1), callbacks=[_Stop(tmp_path / "a.ckpt")])
    rows, resumed, module = run(VllmRollout(url=second.url, ahead=1), resume=tmp_path / "a.ckpt")
    assert torch.equal(whole, resumed)
    assert [row["rollout/staleness"] for row in rows] == [1]
    asked = [[key for key in server.asked if not key.startswith("probe")] for server in (first, second)]
    assert (len(set(asked[0])), asked[1]) == (3 * 5 * 4, [])
    assert module.budget.generated_tokens > 0
