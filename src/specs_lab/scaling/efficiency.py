"""How much of a device's peak is reached: fitted where there are measurements, else three assumptions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What a prediction takes for granted beside data sheets.

    Attributes:
        mfu: Share of the peak that matrix products of wide layers reach.
        narrow: Width of layers (their hidden size) at which half of that is reached; 0: width does not matter.
        mbu: Share of the memory's bandwidth that is reached.
        elementwise: How often what a pass keeps of a token goes through memory for operations that are no matrix
            products. 0 where ``mfu`` is of whole steps, as published ones are.
        launch_s: Seconds that a pass through one layer takes at least, however little there is to compute.
        step_s: Seconds of an optimizer step beside all this.
        row_s: Seconds for a response: turning it into text, scoring it.
        picture_s: Seconds of preprocessing for a picture and its prompt, where prompts are encoded within steps.
        patch_s: The same for each patch of it.
        network: Share of the links' bandwidth that collectives reach.
        overlap: Share of FSDP's communication that computing hides. What DDP sends at a step's end is never hidden.
        latency_s: Seconds for one hop of a collective.
        response_tokens: Mean length of a response, up to the longest allowed.
        spread: Standard deviation of responses' lengths over their mean; 0: all are of one length.
        tries: Prompts that are tried for each pair that is kept.
    """

    mfu: float
    mbu: float
    narrow: float = 0.0
    elementwise: float = 0.0
    launch_s: float = 0.0
    step_s: float = 0.0
    row_s: float = 0.0
    picture_s: float = 0.0
    patch_s: float = 0.0
    network: float = 0.7
    overlap: float = 0.0
    latency_s: float = 1e-5
    response_tokens: float = 500.0
    spread: float = 1.0
    tries: float = 2.0


ASSUMED: dict[str, Efficiency] = {
    "slow": Efficiency(
        mfu=0.25,
        mbu=0.35,
        launch_s=1.5e-3,
        step_s=0.5,
        row_s=2e-3,
        picture_s=5e-3,
        patch_s=1e-5,
        network=0.5,
        overlap=0.0,
        latency_s=2e-5,
        response_tokens=1000,
        spread=1.0,
        tries=4,
    ),
    "central": Efficiency(
        mfu=0.38,
        mbu=0.55,
        launch_s=1e-3,
        step_s=0.2,
        row_s=1e-3,
        picture_s=2e-3,
        patch_s=5e-6,
        network=0.7,
        overlap=0.5,
        latency_s=1e-5,
        response_tokens=500,
        spread=0.7,
        tries=2,
    ),
    "fast": Efficiency(
        mfu=0.50,
        mbu=0.75,
        launch_s=5e-4,
        step_s=0.05,
        row_s=2e-4,
        picture_s=1e-3,
        patch_s=2e-6,
        network=0.85,
        overlap=0.9,
        latency_s=5e-6,
        response_tokens=250,
        spread=0.5,
        tries=1.2,
    ),
}
"""For GPUs. None of it was measured by this project; :data:`SOURCES` says what each rests on."""

SOURCES: dict[str, str] = {
    "mfu": "published MFU of whole training steps: 38 to 43 % on up to 16 384 H100 (Llama 3, arXiv 2407.21783), 46 % "
    "on TPUs (PaLM, arXiv 2204.02311), 44 to 52 % on A100 (Megatron-LM, arXiv 2104.04473); untuned code reaches less",
    "mbu": "60 to 85 % by tuned engines in large batches (open-source-ai.tech, glossary, model bandwidth utilization), "
    "less for small ones",
    "launch_s": "a guess: eager decoding at 14 to 42 ms a token for 28 layers; an engine that captures steps as graphs "
    "is taken to need a fiftieth",
    "network": "NCCL's tests at large messages: 230 to 250 of 300 GB/s within 8 A100, all of 450 within 8 H100 "
    "(docs.alayanew.com, nccl-tests in practice); real steps send smaller ones",
    "overlap": "a guess: from none to nearly all",
    "response_tokens": "a guess: the paper gives the longest response only (10 240); this is the largest uncertainty",
    "tries": "a guess: prompts for each pair that is kept",
    "spread": "a guess; 1 is an exponential distribution",
    "step_s, row_s, picture_s, patch_s, latency_s": "guesses of the size of this package's own measurements on a CPU",
}
"""What each of :data:`ASSUMED` rests on."""
ENGINE_LAUNCH = 0.02
"""Share of ``launch_s`` that is left where an engine captures a step as a graph (vLLM)."""
