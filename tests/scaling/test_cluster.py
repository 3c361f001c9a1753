"""What devices send each other, what each holds, what is left idle."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from specs_lab.core.errors import UserError
from specs_lab.preflight.loads import Decoding, Pass
from specs_lab.preflight.memory import estimate
from specs_lab.scaling.cluster import (
    Cluster,
    exchange_seconds,
    exposed,
    gather_seconds,
    memory,
    share,
    step_bytes,
    straggling,
    tensor_parallel,
)
from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import HARDWARE, Hardware, hardware
from specs_lab.scaling.loads import StageLoad

MACHINE = Hardware(
    name="x", flops=1e12, memory=1e9, bandwidth=1e11, link=1e10, network=1e9, per_node=4, source="made up"
)
EXACT = Efficiency(mfu=1, mbu=1, network=1, latency_s=0, overlap=0)


def _cluster(gpus: int, strategy: str = "fsdp2", engine: str = "inprocess") -> Cluster:
    return Cluster(hardware=MACHINE, gpus=gpus, strategy=strategy, engine=engine)


def test_a_device_by_itself_sends_nothing(rl_load: Callable[..., StageLoad]):
    load = rl_load()
    assert gather_seconds(_cluster(1), 1e9, EXACT) == 0
    assert sum(step_bytes(load.shape, load.setup, _cluster(1)).values()) == 0


def test_within_a_machine_three_quarters_of_the_whole_come_over_the_link():
    assert gather_seconds(_cluster(4), 1e9, EXACT) == pytest.approx(0.75e9 / 1e10)


def test_across_machines_all_ports_of_a_machine_share_what_it_lacks():
    assert gather_seconds(_cluster(16), 1e9, EXACT) == pytest.approx(0.75e9 / (4 * 1e9))


def test_latency_counts_for_each_hop_and_message():
    slow = replace(EXACT, latency_s=1e-3)
    assert _cluster(16).hops == 3 + 3
    assert gather_seconds(_cluster(16), 0, slow, messages=10) == pytest.approx(10 * 6 * 1e-3)


def test_ddp_reduces_gradients_once_and_fsdp_sends_for_each_micro_batch(rl_load: Callable[..., StageLoad]):
    load = rl_load()
    learning = 4 * load.shape.text_parameters
    ddp = step_bytes(load.shape, load.setup, _cluster(8, "ddp"), passes=3)
    assert ddp == {"gathered": 0, "scattered": 0, "reduced": learning}
    fsdp = step_bytes(load.shape, load.setup, _cluster(8), passes=3)
    assert fsdp == {"gathered": 3 * 2 * 2 * load.shape.text_parameters, "scattered": 3 * learning, "reduced": 0}


def test_an_all_reduce_takes_two_gathers(rl_load: Callable[..., StageLoad]):
    load, cluster = rl_load(), _cluster(8, "ddp")
    gather = gather_seconds(cluster, 4 * load.shape.text_parameters, EXACT)
    assert exchange_seconds(load.shape, load.setup, cluster, EXACT) == pytest.approx(2 * gather)


def test_computing_hides_what_fsdp_sends_and_nothing_of_what_ddp_sends():
    half = replace(EXACT, overlap=0.5)
    assert exposed(_cluster(8), 4.0, 10.0, half) == 2.0
    assert exposed(_cluster(8), 4.0, 1.0, half) == 3.5  # no more than there is to hide behind
    assert exposed(_cluster(8, "ddp"), 4.0, 10.0, half) == 4.0


@pytest.mark.parametrize(
    ("items", "gpus", "most", "used"), [(32, 512, 1, 1 / 16), (128, 8, 16, 1), (10, 4, 3, 10 / 12)]
)
def test_fewer_prompts_than_devices_leave_devices_idle(items: int, gpus: int, most: int, used: float):
    assert share(items, _cluster(gpus)) == (most, pytest.approx(used))


def test_the_slowest_device_is_slower_the_more_there_are_and_the_fewer_rows_each_has():
    spread = replace(EXACT, spread=0.5)
    assert straggling(8, _cluster(1), spread) == 0
    assert (
        straggling(8, _cluster(64), spread) > straggling(8, _cluster(8), spread) > straggling(80, _cluster(8), spread)
    )


def test_fsdp_divides_what_is_held_and_ddp_does_not(rl_load: Callable[..., StageLoad]):
    load = rl_load()
    training = Pass(prompts=1, prompt_tokens=1408, branches=8, completion_tokens=500)
    alone = estimate(load.shape, load.setup, training)
    assert memory(load.shape, load.setup, _cluster(8, "ddp"), training) == alone
    sharded = memory(load.shape, load.setup, _cluster(8), training)
    for name in ("weights", "optimizer states"):
        assert sharded.held[name] == alone.held[name] // 8
    assert sharded.training["gradients"] == alone.training["gradients"] // 8
    assert sharded.training["activations"] == alone.training["activations"]
    assert sharded.training["gathered layers"] > 0


def test_memory_falls_with_devices_to_what_each_needs_for_itself(rl_load: Callable[..., StageLoad]):
    load = rl_load()
    training = Pass(prompts=1, prompt_tokens=1408, branches=8, completion_tokens=500)
    peaks = [memory(load.shape, load.setup, _cluster(n), training).peak for n in (2, 8, 64, 512, 4096)]
    assert peaks == sorted(peaks, reverse=True)
    alone = estimate(load.shape, load.setup, training)
    assert peaks[-1] > alone.training["activations"]


def test_sampling_in_process_under_fsdp_takes_a_gathered_copy_or_some_layers(rl_load: Callable[..., StageLoad]):
    load = rl_load()
    sampling = Decoding(rows=8, prompts=1, prompt_tokens=1408, new_tokens=500)
    whole, parts = (
        memory(load.shape, load.setup, _cluster(8), None, sampling, whole=on).sampling["gathered weights"]
        for on in (True, False)
    )
    assert whole == 2 * load.shape.parameters
    assert parts < whole / 3


@pytest.mark.parametrize(("size", "devices"), [("7B", 1), ("32B", 2), ("72B", 4)])
def test_an_engine_takes_as_many_devices_as_weights_need(rl_load: Callable[..., StageLoad], size: str, devices: int):
    load = rl_load(size)
    cluster = Cluster(hardware=HARDWARE["h100"], gpus=8, strategy="fsdp2", engine="vllm")
    assert tensor_parallel(load.shape, cluster, load.setup, 0.5) == devices
    assert tensor_parallel(load.shape, cluster, load.setup, 0.01) == 0


def test_unknown_hardware_is_told_with_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'h100'"):
        hardware("h1000")


def test_data_sheets_are_in_plausible_units():
    for one in HARDWARE.values():
        assert 1e14 < one.flops < 1e16
        assert 1e12 < one.bandwidth < 1e13
        assert one.network < one.link < one.bandwidth
        assert "data sheet" in one.source
