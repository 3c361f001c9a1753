"""No line of the package unpickles, evaluates text, starts a shell, or switches a check off."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import specs_lab

SOURCES = sorted(Path(specs_lab.__file__).parent.rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("os", "system"),
    ("os", "popen"),
    ("tempfile", "mktemp"),
    ("subprocess", "getoutput"),
    ("subprocess", "getstatusoutput"),
    ("yaml", "load"),
    ("yaml", "load_all"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("hashlib", "md5"),
    ("hashlib", "sha1"),
    ("ssl", "_create_unverified_context"),
    ("pd", "read_pickle"),
    ("pandas", "read_pickle"),
}
FORBIDDEN_SETTINGS = {
    "shell": True,
    "trust_remote_code": True,
    "allow_pickle": True,
    "verify": False,
    "weights_only": False,
    "check_hostname": False,
    "use_safetensors": False,
    "safe_serialization": False,
}
UNPACKING = {"extractall", "extract"}


def name_of(function: ast.expr) -> tuple[str, str]:
    """(what it is called on, its name)."""
    if isinstance(function, ast.Attribute):
        owner = function.value
        return (owner.id if isinstance(owner, ast.Name) else "?"), function.attr
    return "", function.id if isinstance(function, ast.Name) else "?"


def modules_of(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) and not node.level else set()


def findings(text: str) -> Iterator[str]:
    """What is forbidden in a source, and in which line."""
    for node in ast.walk(ast.parse(text)):
        line = getattr(node, "lineno", 0)
        for module in modules_of(node) & MODULES:
            yield f"{line}: imports {module}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module, alias.name) in ATTRIBUTES:
                    yield f"{line}: imports {node.module}.{alias.name}"
        # A mapping of settings counts as well: {"trust_remote_code": True} is handed on by **.
        pairs: list[tuple[str | None, ast.expr]] = []
        if isinstance(node, ast.Call):
            pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
            yield from calls(node, line, dict(pairs))
        elif isinstance(node, ast.Dict):
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
        for key, value in pairs:
            forbidden = key in FORBIDDEN_SETTINGS and isinstance(value, ast.Constant)
            if forbidden and value.value is FORBIDDEN_SETTINGS[key]:
                yield f"{line}: {key}={value.value}"


def calls(node: ast.Call, line: int, given: dict[str | None, ast.expr]) -> Iterator[str]:
    owner, name = name_of(node.func)
    if not owner and name in NAMES:
        yield f"{line}: {name}()"
    if (owner, name) in ATTRIBUTES and "usedforsecurity" not in given:
        yield f"{line}: {owner}.{name}()"
    if (owner, name) == ("torch", "load") and "weights_only" not in given:
        yield f"{line}: torch.load() without weights_only"
    if name in UNPACKING and "filter" not in given:
        yield f"{line}: {name}() without a filter"


def test_there_is_nothing_of_the_sort():
    found = [f"{path.name}:{one}" for path in SOURCES for one in findings(path.read_text(encoding="utf-8"))]
    assert len(SOURCES) > 200
    # `extract` is also the name of the function that finds an answer in a response.
    assert [one for one in found if "extract() without" not in one or "archives" in one] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import joblib.numpy_pickle",
        "from dill import loads",
        "from shelve import open as o",
        "import marshal",
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "subprocess.run(x, shell=True)",
        "os.system(x)",
        "from os import system",
        "yaml.load(x)",
        "yaml.load(x, Loader=yaml.Loader)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "load(x, trust_remote_code=True)",
        "settings = {'trust_remote_code': True}",
        "np.load(x, allow_pickle=True)",
        "archive.extractall(folder)",
        "archive.extract(one, folder)",
        "tempfile.mktemp()",
        "requests.get(x, verify=False)",
        "hashlib.md5(x)",
        "hashlib.sha1(x)",
        "pd.read_pickle(x)",
        "load(x, use_safetensors=False)",
        "model.save_pretrained(x, safe_serialization=False)",
        "ssl._create_unverified_context()",
    ],
)
def test_each_of_them_would_be_found(line: str):
    assert list(findings(line))


@pytest.mark.parametrize(
    "line",
    [
        "re.compile(x)",
        "model.eval()",
        "torch.load(x, weights_only=True)",
        "yaml.safe_load(x)",
        "hashlib.sha256(x)",
        "hashlib.md5(x, usedforsecurity=False)",
        "archive.extractall(folder, filter='data')",
        "load(x, trust_remote_code=False)",
        "subprocess.run(x)",
    ],
)
def test_what_is_harmless_is_not(line: str):
    assert not list(findings(line))
