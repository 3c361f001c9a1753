"""Tables with the real schemas of benchmarks, written by the real library; and rows of them to break."""

import io
from pathlib import Path

import pytest
from PIL import Image as Pictures


def picture(colour: str = "red", size: tuple[int, int] = (40, 24)) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    Pictures.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def cell(colour: str = "red") -> dict:
    """A cell of an Image column, undecoded."""
    return {"bytes": picture(colour), "path": None}


def mathvista_row(number: int, **changes) -> dict:
    """A free-form question with an integer answer, unless changed."""
    return {
        "pid": str(number),
        "question": "How many bars are there?",
        "image": f"images/{number}.jpg",
        "decoded_image": cell(),
        "choices": None,
        "unit": None,
        "precision": None,
        "answer": "3",
        "question_type": "free_form",
        "answer_type": "integer",
        "metadata": {
            "category": "general-vqa",
            "context": "bar chart",
            "grade": "daily life",
            "img_height": 24,
            "img_width": 40,
            "language": "english",
            "skills": ["statistical reasoning"],
            "source": "PlotQA",
            "split": "testmini",
            "task": "figure question answering",
        },
        "query": "Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, "
        "2, 3, at the end.\nQuestion: How many bars are there?",
        **changes,
    }


def mathverse_row(number: int, **changes) -> dict:
    """A question with options in the version with most text, unless changed."""
    question = "As shown in the figure, find angle A.\nChoices:\nA:40\u00b0\nB:50\u00b0\nC:60\u00b0\nD:70\u00b0"
    return {
        "sample_index": str(number),
        "problem_index": str(number),
        "problem_version": "Text Dominant",
        "question": question,
        "image": cell("blue"),
        "answer": "B",
        "question_type": "multi-choice",
        "metadata": {
            "split": "testmini",
            "source": "geo170k",
            "subject": "Plane Geometry",
            "subfield": "Angle",
        },
        "query_wo": f"Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.\n"
        f"Question: {question}",
        "query_cot": "Please first conduct reasoning, and then answer the question and provide the correct option "
        f"letter, e.g., A, B, C, D, at the end.\nQuestion: {question}",
        "question_for_eval": question,
        **changes,
    }


def mathvision_row(number: int, **changes) -> dict:
    """A question with options, unless changed."""
    return {
        "id": str(number),
        "question": "Which of the squares is largest?\n<image1>",
        "options": ["1", "2", "\\frac{1}{2}", "4", "5"],
        "image": f"images/{number}.jpg",
        "decoded_image": cell("green"),
        "answer": "C",
        "solution": None,
        "level": 2,
        "subject": "counting",
        **changes,
    }


def we_math_row(group: str, key: str, **changes) -> dict:
    """A question of a group; the right option is B."""
    return {
        "ID": group,
        "split": "testmini",
        "knowledge concept": "Understanding of Triangles",
        "question": f"What is the area ({key})?",
        "option": "A. 1 cm; B. 2 cm; C. 3 cm; D. No correct answer",
        "answer": "B",
        "image_path": cell("yellow"),
        "key": key,
        **changes,
    }


ROWS = {
    "mathvista": [
        mathvista_row(1),
        mathvista_row(
            2,
            question="Which bar is tallest?",
            choices=["red", "light red", "blue"],
            answer="light red",
            question_type="multi_choice",
            answer_type="text",
            query="",
        ),
        mathvista_row(3, answer="1.25", precision=2.0, answer_type="float", unit="cm", query=""),
        mathvista_row(4, answer="[1, 2]", answer_type="list", query=""),
    ],
    "mathverse": [
        mathverse_row(1),
        mathverse_row(2, problem_index="1", problem_version="Vision Only", question="", query_cot="Look and answer."),
        mathverse_row(
            3,
            question="Find the length of AB.",
            question_for_eval="Find the length of AB.",
            answer="2\\sqrt{3}",
            question_type="free-form",
            query_cot="",
        ),
    ],
    "mathvision": [
        mathvision_row(1),
        mathvision_row(2, options=["A", "B", "C", "D", "E"], level=4, subject="topology"),
        mathvision_row(3, options=[], answer="\\frac{3}{4}", question="<image1> How much of <image2>?"),
    ],
    "we_math": [
        *(we_math_row("1", f"2steps_{step}") for step in ("1", "2", "multi")),
        *(we_math_row("1", f"3steps_{step}") for step in ("1", "2", "3", "multi")),
    ],
}
"""Sound rows by benchmark."""
MAKERS = {"mathvista": mathvista_row, "mathverse": mathverse_row, "mathvision": mathvision_row}


def features(name: str):
    """The columns as the dataset on the hub declares them."""
    from datasets import Features, Image, List, Value

    text, whole = Value("string"), Value("int64")
    columns = {
        "mathvista": {
            "pid": text,
            "question": text,
            "image": text,
            "decoded_image": Image(),
            "choices": List(text),
            "unit": text,
            "precision": Value("float64"),
            "answer": text,
            "question_type": text,
            "answer_type": text,
            "metadata": {
                "category": text,
                "context": text,
                "grade": text,
                "img_height": whole,
                "img_width": whole,
                "language": text,
                "skills": List(text),
                "source": text,
                "split": text,
                "task": text,
            },
            "query": text,
        },
        "mathverse": {
            "sample_index": text,
            "problem_index": text,
            "problem_version": text,
            "question": text,
            "image": Image(),
            "answer": text,
            "question_type": text,
            "metadata": {"split": text, "source": text, "subject": text, "subfield": text},
            "query_wo": text,
            "query_cot": text,
            "question_for_eval": text,
        },
        "mathvision": {
            "id": text,
            "question": text,
            "options": List(text),
            "image": text,
            "decoded_image": Image(),
            "answer": text,
            "solution": text,
            "level": whole,
            "subject": text,
        },
        "we_math": {
            "ID": text,
            "split": text,
            "knowledge concept": text,
            "question": text,
            "option": text,
            "answer": text,
            "image_path": Image(),
            "key": text,
        },
    }
    return Features(columns[name])


@pytest.fixture
def write_benchmark(tmp_path_factory):
    """Writes rows of a benchmark as a repository of the hub is laid out; returns the folder."""

    def write(name: str, rows: list[dict] | None = None) -> Path:
        from datasets import Dataset

        folder = tmp_path_factory.mktemp(name)
        (folder / "data").mkdir()
        table = Dataset.from_list(ROWS[name] if rows is None else rows, features=features(name))
        table.to_parquet(folder / "data" / "testmini-00000-of-00001.parquet")
        return folder

    return write


@pytest.fixture
def make_suite(write_benchmark):
    """A suite on such a table."""
    from specs_lab.evaluation.suites.benchmark import BenchmarkSuite

    def make(name: str, rows: list[dict] | None = None, **options):
        settings = {"split": "testmini", "max_new_tokens": 8, "n": 2, **options}
        return BenchmarkSuite(benchmark=name, path=str(write_benchmark(name, rows)), **settings)

    return make


@pytest.fixture(scope="session")
def benchmark_rows():
    """Makers of rows by benchmark, and sound rows."""
    return {"rows": ROWS, **MAKERS, "we_math": we_math_row, "picture": picture}
