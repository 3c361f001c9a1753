"""The base models' corpus is what it says it is, and both phases learn."""

from collections import Counter

import pytest
import torch

from specs_lab.models.embedded import SIZES, build, make_processor, train_tokenizer
from specs_lab.models.vlm import VLM
from specs_lab.pretraining.corpus import POLLUTED_STYLES, Corpus, caption, corpus_texts
from specs_lab.pretraining.language import train_language
from specs_lab.pretraining.optimisers import cosine
from specs_lab.pretraining.options.pretrain import CorpusOptions, LanguageOptions, VisionOptions
from specs_lab.pretraining.snapshots import Phase
from specs_lab.pretraining.vision import freeze_tower, train_vision
from specs_lab.problems.base import make_problem
from specs_lab.rewards.format import follows

OPTIONS = CorpusOptions()


@pytest.fixture(scope="module")
def examples():
    corpus = Corpus(OPTIONS, seed=3)
    return [corpus[i] for i in range(3000)]


def _is_familiar(example):
    p = example.problem
    return (
        p.family in OPTIONS.familiar_families
        and p.style == "plain"
        and example.text.endswith("<answer> </answer> tags.")
    )


def test_the_target_format_is_rare_but_for_familiar_prompts(examples):
    rates = {}
    for familiar in (True, False):
        chosen = [e for e in examples if _is_familiar(e) == familiar and not e.text.startswith("Describe")]
        assert len(chosen) > 100
        rates[familiar] = sum(follows(e.response, "think_answer") for e in chosen) / len(chosen)
    assert 0.25 < rates[True] < 0.45
    assert rates[False] < 0.03


def test_every_polluted_style_states_the_answer_and_misses_the_format(examples):
    problem = examples[0].problem
    for style in POLLUTED_STYLES.values():
        response = style(problem.reasoning, problem.answer)
        assert problem.answer in response
        assert not follows(response, "think_answer")


def test_the_mixture_is_as_asked(examples):
    captions = sum(e.text == "Describe the picture." for e in examples) / len(examples)
    plain = sum(e.problem.style == "plain" for e in examples) / len(examples)
    families = Counter(e.problem.family for e in examples)
    assert captions == pytest.approx(OPTIONS.caption_rate, abs=0.03)
    assert plain == pytest.approx(OPTIONS.plain_style_rate, abs=0.03)
    assert families["count"] > 1.5 * families["bar"]
    assert {e.problem.id.split("/")[1] for e in examples} == {"train"}


def test_examples_depend_on_seed_and_index_only():
    one, two = Corpus(OPTIONS, 1), Corpus(OPTIONS, 1)
    assert [one[i].response for i in (5, 0)] == [two[5].response, two[0].response]
    assert [one[i].text for i in range(5)] != [Corpus(OPTIONS, 2)[i].text for i in range(5)]


def test_captions_name_cells_where_cells_differ():
    scene = make_problem("count", seed=0, index=0)
    for part in caption(scene).split(". "):
        cell, colour, shape = part.split()
        index = "abcd".index(cell[0]) + 4 * (int(cell[1]) - 1)
        assert scene.cells[index] == f"{colour} {shape}"
    chart = make_problem("bar", seed=0, index=0)
    assert caption(chart) == ". ".join(chart.cells[:4])
    assert caption(make_problem("clock", seed=0, index=0)).startswith("hour ")


def test_cosine_warms_up_and_ends_at_its_floor():
    assert cosine(0, 100, 10) == pytest.approx(0.1)
    assert cosine(100, 100, 10) == pytest.approx(0.02)
    assert max(cosine(step, 100, 10) for step in range(101)) <= 1


def test_both_phases_learn():
    corpus = Corpus(OPTIONS, 0)
    tokenizer = train_tokenizer(corpus_texts(OPTIONS, 0, 200))
    vlm = VLM(build(SIZES["tiny"], tokenizer, seed=0), make_processor(tokenizer))
    reports = []
    options = VisionOptions(steps=40, batch_size=8)
    measured = train_vision(vlm, corpus, options, 0, lambda s, m: reports.append((s, m)), Phase("vision", vlm))
    freeze_tower(vlm)
    assert measured["cell_accuracy"] > 1 / 16
    tower = {n: p.clone() for n, p in vlm.core.model.visual.named_parameters()}
    losses = []
    options = LanguageOptions(steps=100, batch_size=4, micro_batch_size=4, warmup_steps=5)
    phase = Phase("language", vlm)
    train_language(vlm, corpus, options, 320, lambda step, metrics: losses.append(metrics["loss"]), phase)
    uniform = torch.log(torch.tensor(512.0)).item()
    assert losses[-1] < 0.7 * uniform
    assert all(torch.equal(p, tower[n]) for n, p in vlm.core.model.visual.named_parameters())
    assert not vlm.model.training


def test_equal_seeds_give_equal_initialisations():
    tokenizer = train_tokenizer(corpus_texts(OPTIONS, 0, 50))
    one, two, other = (build(SIZES["tiny"], tokenizer, seed) for seed in (1, 1, 2))
    weights = [model.model.language_model.layers[0].mlp.up_proj.weight for model in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
