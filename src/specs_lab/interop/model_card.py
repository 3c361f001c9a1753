"""The card of an exported model: what it was made from, on which data, what it cost, what it scored, how to load it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from specs_lab.interop.lineage import PAIRS, StageFacts, base_models, data_sets, without_paths

_UNITS = {"tokens": "{:,.0f}", "generated_tokens": "{:,.0f}", "flops": "{:.3g}", "seconds": "{:,.1f}"}
_LOADING = """```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(FOLDER)
processor = AutoProcessor.from_pretrained(FOLDER)  # some families' processors need torchvision; without it:
# AutoTokenizer.from_pretrained(FOLDER) and AutoImageProcessor.from_pretrained(FOLDER)
```

```bash
vllm serve FOLDER --max-model-len {length}
```

```python
from trl import SFTConfig, SFTTrainer  # or DPOTrainer; specs_lab's pairs.parquet loads in both as it is

SFTTrainer(model=FOLDER, args=SFTConfig(max_length=None), train_dataset=pairs).train()
```"""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says.

    Attributes:
        title: What the model is called.
        stages: Its lineage, the stage that made it last.
        results: Tables of what it scored, as Markdown; empty if nobody measured it.
        config: The model's configuration.
        parameters: How many it has.
        dtype: How its weights are stored.
        base: What the embedded base model is called, or None for any other.
        license: The licence that the base model's own card names, or None.
    """

    title: str
    stages: Sequence[StageFacts]
    results: str
    config: Mapping[str, Any]
    parameters: int
    dtype: str
    base: str | None
    license: str | None


def model_card(facts: CardFacts) -> str:
    """The text of ``README.md``."""
    blocks = [
        f"---\n{_front_matter(facts)}\n---",
        f"# {facts.title}",
        _about(facts),
        "## Lineage",
        "Each stage after those that it reads. `options` is a hash of all settings, which `lineage.json` has in full; "
        "`key` also covers the code, the inputs and the seed: the same key is the same result.",
        _lineage(facts.stages),
        _versions(facts.stages),
        "## Data",
        _data(facts.stages),
        "## Results",
        facts.results or "Not measured in what was exported. Export from the job or the sweep to have its tables here.",
        "## What it cost",
        _budgets(facts.stages),
        "## Loading",
        _LOADING.format(length=facts.config.get("text_config", facts.config).get("max_position_embeddings", 32768)),
        "Plain safetensors and JSON: no code of this folder is run, and `specs_lab` need not be installed. "
        "`generation_config.json` holds the sampling that it was measured under.",
        "## Licence",
        _licence_note(facts),
    ]
    return without_paths("\n\n".join(block for block in blocks if block)) + "\n"


def _front_matter(facts: CardFacts) -> str:
    bases = base_models(facts.stages) or ([facts.base] if facts.base else [])
    kinds = list(dict.fromkeys(stage.kind for stage in facts.stages if stage.kind != "base"))
    data = ModelCardData(
        base_model=bases[0] if len(bases) == 1 else bases or None,
        datasets=data_sets(facts.stages) or None,
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["specs_lab", "vision-language", *kinds],
        language="en",
        license=facts.license or "other",
        license_name=None if facts.license else "of-the-base-model",
    )
    return data.to_yaml().rstrip()


def _about(facts: CardFacts) -> str:
    architecture = ", ".join(facts.config.get("architectures") or [str(facts.config.get("model_type"))])
    bases = base_models(facts.stages) or ([facts.base] if facts.base else ["a checkpoint folder"])
    return (
        f"A vision-language model ({architecture}, {facts.parameters:,} parameters, stored in {facts.dtype}), trained "
        f"by specs_lab from {', '.join(bases)}. Adapters, if there were any, are merged into the weights."
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _lineage(stages: Sequence[StageFacts]) -> str:
    names = {stage.key: stage.name for stage in stages}
    rows = []
    for stage in stages:
        reads = ", ".join(f"{name}: {names[key]}" for name, key in stage.inputs.items()) or "-"
        seed = "-" if stage.seed is None else stage.seed
        rows.append([stage.name, stage.kind, reads, f"`{stage.key}`", f"`{stage.digest}`", seed, stage.made_at])
    return _table(["stage", "kind", "reads", "key", "options", "seed", "made at"], rows)


def _versions(stages: Sequence[StageFacts]) -> str:
    said: dict[str, list[str]] = {}
    for stage in stages:
        text = ", ".join(f"{name} {version}" for name, version in stage.versions.items())
        said.setdefault(text, []).append(stage.name)
    if len(said) == 1:
        return f"Versions: {next(iter(said))}."
    return "\n".join(f"- {', '.join(names)}: {text or 'not recorded'}" for text, names in said.items())


def _data(stages: Sequence[StageFacts]) -> str:
    """Files that hold data, by their hashes; and the sources that problems were drawn from."""
    rows = []
    for stage in stages:
        for name, digest in stage.files.items():
            if name.endswith(PAIRS) or name == "tasks.json":
                pairs = _count(stage.folder) if name.endswith(PAIRS) else "-"
                rows.append([stage.name, f"`{name}`", pairs, f"`{digest}`"])
    sources = {}
    for stage in stages:
        if isinstance(problems := stage.options.get("problems"), Mapping):
            text = json.dumps(problems, sort_keys=True)
            sources.setdefault(text, (problems.get("class", "problems"), [], problems))[1].append(stage.name)
    lines = [f"- problems of {', '.join(names)}: {kind}{_of_hub(options)}" for kind, names, options in sources.values()]
    table = _table(["stage", "file", "pairs", "SHA-256"], rows) if rows else "No file of pairs or tasks was trained on."
    return "\n\n".join([table, "\n".join(lines)] if lines else [table])


def _of_hub(options: Mapping[str, Any]) -> str:
    parts = [f"{name} {options[name]}" for name in ("repo", "revision", "config", "split") if options.get(name)]
    return f" ({', '.join(parts)})" if parts else ""


def _count(folder: Path) -> str:
    path = folder / "card.json"
    return str(json.loads(path.read_text(encoding="utf-8")).get("pairs", "")) if path.is_file() else ""


def _budgets(stages: Sequence[StageFacts]) -> str:
    rows = []
    for stage in stages:
        if spent := _spent(stage.folder / "rows.csv"):
            rows.append([stage.name, *(form.format(float(spent[name])) for name, form in _UNITS.items())])
    if not rows:
        return "No stage recorded a budget."
    heads = ["stage", "tokens", "generated tokens", "FLOPs (estimate)", "seconds"]
    return f"{_table(heads, rows)}\n\nTraining, sampling and reference passes; evaluation is not counted."


def _spent(path: Path) -> Mapping[str, str]:
    """The last row of a stage's metrics, whose budget columns are running totals."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return max(rows, key=lambda row: float(row["flops"] or 0), default={})


def _licence_note(facts: CardFacts) -> str:
    if facts.license:
        return f"The base model's card says `{facts.license}`, and what is derived from it keeps to that."
    return "The base model's licence applies; it was not stated in the checkpoint that this model was trained from."
