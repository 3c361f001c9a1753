"""What stages cost: more of anything costs more, and what devices cannot share does not shrink."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from specs_lab.preflight.loads import Adapter, Setup
from specs_lab.scaling.cluster import Cluster
from specs_lab.scaling.efficiency import ASSUMED, Efficiency
from specs_lab.scaling.hardware import HARDWARE
from specs_lab.scaling.loads import StageLoad
from specs_lab.scaling.planning import as_data, plan_on, reach, scenarios_of
from specs_lab.scaling.prediction import StageCost, predict, step_of
from specs_lab.scaling.roofline import Seconds, seconds_of
from specs_lab.scaling.work import Work

H100 = HARDWARE["h100"]
Load = Callable[..., StageLoad]


def _cost(load: StageLoad, gpus: int = 8, strategy: str = "fsdp2", engine: str = "vllm") -> StageCost:
    return predict(load, Cluster(hardware=H100, gpus=gpus, strategy=strategy, engine=engine))


def test_products_wait_for_computing_or_for_weights_whichever_is_longer():
    half = Efficiency(mfu=0.5, mbu=0.5)
    bound = seconds_of(Work(flops=H100.flops, width=1, weights=H100.bandwidth / 10), H100, half)
    assert bound == Seconds(compute=2.0)
    starved = seconds_of(Work(flops=H100.flops / 10, width=1, weights=H100.bandwidth), H100, half)
    assert starved == Seconds(memory=2.0)


def test_launches_take_their_time_however_fast_the_device_is():
    assert seconds_of(Work(launches=100), H100, Efficiency(mfu=1, mbu=1, launch_s=1e-3)).overhead == pytest.approx(0.1)


def test_narrow_layers_reach_less_of_the_peak():
    work, narrow = Work(flops=H100.flops, width=64), Efficiency(mfu=1, mbu=1, narrow=64)
    assert seconds_of(work, H100, narrow).compute == pytest.approx(2.0)


def test_scenarios_are_in_order_for_every_stage(rl_load: Load, evaluation_load: StageLoad):
    for load in (rl_load(), evaluation_load):
        cost = _cost(load)
        assert cost.seconds("fast") < cost.seconds("central") < cost.seconds("slow")


@pytest.mark.parametrize(
    "change", [{"steps": 1600}, {"batch": 256}, {"branches": 16}, {"updates": 2}, {"references": 1.0}]
)
def test_more_to_do_takes_longer_and_more_operations(rl_load: Load, change: dict):
    less, more = _cost(rl_load()), _cost(rl_load(**change))
    assert more.flops > less.flops
    assert more.seconds("central") > less.seconds("central")


def test_larger_models_take_longer(rl_load: Load):
    hours = [_cost(rl_load(size), 512).seconds("central") for size in ("3B", "7B", "32B", "72B")]
    assert hours == sorted(hours)


def test_operations_do_not_depend_on_the_number_of_devices(rl_load: Load):
    assert len({_cost(rl_load(), gpus).flops for gpus in (8, 64, 512)}) == 1


def test_beyond_a_prompt_a_device_more_of_them_are_idle_and_cost_more(rl_load: Load):
    costs = [_cost(rl_load(), gpus) for gpus in (64, 128, 256, 512)]
    assert [cost.busy for cost in costs] == [1, 1, 0.5, 0.25]
    assert costs[3].gpu_hours("central") > 1.9 * costs[2].gpu_hours("central") > 3.5 * costs[1].gpu_hours("central")


def test_more_devices_never_take_much_longer_up_to_the_batch(rl_load: Load):
    seconds = [_cost(rl_load(), gpus).seconds("central") for gpus in (8, 16, 32, 64, 128)]
    assert seconds == sorted(seconds, reverse=True)


def test_what_one_process_samples_takes_as_long_on_many_devices(evaluation_load: StageLoad):
    few, many = (_cost(evaluation_load, gpus) for gpus in (8, 64))
    assert few.seconds("central") == many.seconds("central")
    assert many.busy == 1 / 64
    assert many.gpu_hours("central") == 8 * few.gpu_hours("central")


def test_too_large_a_model_does_not_fit_and_sharding_makes_it_fit(rl_load: Load):
    assert not _cost(rl_load("72B"), 8).found.fits
    assert _cost(rl_load("72B"), 512).found.fits
    assert not _cost(rl_load(), 8, "ddp").found.fits
    assert _cost(rl_load(), 8).found.fits


def test_batches_are_made_smaller_before_anything_is_too_large(rl_load: Load):
    found = _cost(rl_load(), 8, engine="inprocess").found
    assert found.fits
    assert found.load.sample_batch_size < rl_load().sample_batch_size


def test_an_adapter_holds_and_sends_less(rl_load: Load):
    lora = rl_load(setup=Setup(device="cuda", half=True, checkpointing=True, adapter=Adapter(rank=16)))
    full, small = _cost(rl_load(), 8), _cost(lora, 8)
    assert small.found.memory.peak < full.found.memory.peak
    assert small.sent["scattered"] < full.sent["scattered"] / 50


def test_an_engine_decodes_faster_than_python(rl_load: Load):
    python, engine = (_cost(rl_load(), engine=name).parts["central"]["rollout"].total for name in ("inprocess", "vllm"))
    assert engine < python / 3


def test_longer_responses_take_longer(rl_load: Load):
    def seconds(tokens: float) -> float:
        plan = plan_on([rl_load()], H100, 8, engine="vllm", efficiencies=scenarios_of(tokens))
        return plan.hours("central")

    assert seconds(250) < seconds(500) < seconds(2000)
    assert scenarios_of(1000)["slow"].response_tokens == 2 * ASSUMED["slow"].response_tokens


def test_features_that_are_kept_spare_the_tower(rl_load: Load):
    load = rl_load()
    kept = replace(load, setup=replace(load.setup, feature_cache=1 << 40))
    assert step_of(load, 16, ASSUMED["central"]).towers == 2  # sampling, training
    assert step_of(kept, 16, ASSUMED["central"]).towers == 1


def test_the_simplest_strategy_that_fits_is_taken(rl_load: Load):
    assert plan_on([rl_load("3B")], H100, 8, engine="vllm").cluster.strategy == "ddp"
    assert plan_on([rl_load("7B")], H100, 8, engine="vllm").cluster.strategy == "fsdp2"
    assert plan_on([rl_load("3B")], H100, 1, engine="vllm").cluster.strategy == "single"


def test_time_with_work_is_weighted_by_stages(rl_load: Load, evaluation_load: StageLoad):
    alone = plan_on([rl_load()], H100, 8, strategy="fsdp2", engine="vllm")
    both = plan_on([rl_load(), evaluation_load], H100, 8, strategy="fsdp2", engine="vllm")
    assert alone.busy("central") == pytest.approx(1)
    assert 1 / 8 < both.busy("central") < 1


def test_a_plan_that_does_not_fit_has_no_hours(rl_load: Load):
    data = as_data(plan_on([rl_load("72B")], H100, 8, engine="vllm"))
    assert data["hours"] is data["gpu_hours"] is data["stages"][0]["seconds"] is None
    assert data["stages"][0]["memory_bytes"] > H100.memory


def test_reach_names_the_batch_and_the_fewest_that_fit(rl_load: Load):
    found = reach(rl_load(), H100, engine="vllm", efficiency=ASSUMED["central"])
    assert found.batch == 128
    assert 1 < found.fewest <= found.worth < 512
    slow = replace(ASSUMED["central"], network=0.01, overlap=0.0)
    assert 0 < reach(rl_load(), H100, engine="vllm", efficiency=slow).communication <= 16
