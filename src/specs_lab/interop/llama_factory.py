"""LLaMA-Factory's ShareGPT data as training pairs.

A row is a conversation, ``conversations`` of ``{from: human|gpt, value}`` or ``messages`` of ``{role, content}``, with
``images``, a list of paths; preference data have ``chosen`` and ``rejected`` messages beside a conversation that ends
with the user. Other names are read from a ``dataset_info.json``, as LLaMA-Factory does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.data.files import FIXES as PAIR_FIXES
from specs_lab.data.files import after_system, as_list, check_markers, check_sides, valid_text
from specs_lab.data.records import PairRecord
from specs_lab.problems.rows import BrokenRow, decoded

FIXES = {
    **PAIR_FIXES,
    "no_prompt": "begin the conversation with a message of the user",
    "no_chosen": "end the conversation with a message of the assistant, or add chosen and rejected",
    "no_rejected": "give chosen and rejected, or neither",
    "role_order": "write one message of the user, after one of the system or none, and one of the assistant",
    "multi_turn": "make of it a row for each answer that is to be learnt, with what came before in its prompt",
    "tools": "leave out rows in which tools are called: they are not trained on here",
    "other_media": "leave out rows with videos or sound: there is no place for them",
    "bad_message": "write messages as mappings with a role and a text, under the names that --dataset-info tells",
    "unreadable_image": "give paths relative to the data file's folder, or to the folder that --images names",
}
"""What is wrong with rows, by the name that it is counted under, and what to do about it."""
_MEDIA = ("videos", "audios", "video", "audio")
_TOOLS = ("function_call", "observation", "tool", "function")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names of columns and tags; the defaults are LLaMA-Factory's.

    Attributes:
        messages: Column of the conversation.
        chosen: Column of the message to learn, in preference data.
        rejected: Column of the one to turn away from.
        images: Column of the pictures.
        system: Column of a system message, if it is none of the conversation.
        role: Key of a message's role.
        content: Key of its text.
        roles: What the roles are called: user, assistant and system, by what they are here.
        tools: What the roles are called in which tools speak or are called.
    """

    messages: str = "conversations"
    chosen: str = "chosen"
    rejected: str = "rejected"
    images: str = "images"
    system: str = "system"
    role: str = "from"
    content: str = "value"
    roles: tuple[tuple[str, str], ...] = (("human", "user"), ("gpt", "assistant"), ("system", "system"))
    tools: tuple[str, ...] = _TOOLS


OPENAI = Layout(
    messages="messages",
    role="role",
    content="content",
    roles=tuple((name, name) for name in ("user", "assistant", "system")),
)


def read_layout(path: Path, data: Path, name: str | None = None) -> Layout:
    """What a ``dataset_info.json`` says of a file.

    Args:
        path: The ``dataset_info.json``.
        data: The data file; its entry is the one that names it.
        name: The entry, if the file's name does not tell.

    Raises:
        UserError: If it cannot be read, has no such entry, or the entry is of another format.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        named = {key: value for key, value in entries.items() if isinstance(value, Mapping)}
    except (OSError, ValueError, AttributeError) as error:
        what = f"is no readable dataset_info.json ({error})"
        raise UserError([Fault("--dataset-info", f"{path} {what}", "give LLaMA-Factory's file")]) from error
    fitting = [key for key, value in named.items() if Path(str(value.get("file_name", ""))).name == data.name]
    chosen = name if name is not None else fitting[0] if len(fitting) == 1 else None
    if chosen not in named:
        what = f"has no entry '{name}'" if name is not None else f"{len(fitting)} of its entries name {data.name}"
        raise UserError([Fault("--dataset-info", f"{path}: {what}", f"use --name; {suggest(name or '', named)}")])
    return _layout(named[chosen], f"{path}: {chosen}")


def _layout(entry: Mapping[str, Any], where: str) -> Layout:
    if entry.get("formatting", "alpaca") != "sharegpt":
        what = f"its formatting is '{entry.get('formatting', 'alpaca')}'"
        raise UserError(
            [Fault(where, what, "convert it to sharegpt, or write prompt and chosen columns for data=file")]
        )
    columns, tags = entry.get("columns", {}), entry.get("tags", {})
    named = {key: columns[key] for key in ("messages", "chosen", "rejected", "images", "system") if columns.get(key)}
    default = dict((there, here) for here, there in Layout().roles)
    roles = tuple((tags.get(f"{role}_tag", default[role]), role) for role in ("user", "assistant", "system"))
    tools = tuple({*_TOOLS, *(tags[key] for key in ("observation_tag", "function_tag") if key in tags)})
    return Layout(
        **named,
        role=tags.get("role_tag", "from"),
        content=tags.get("content_tag", "value"),
        roles=roles,
        tools=tools,
    )


def to_pair(row: Mapping[str, Any], number: int, folder: Path, ids: set[str], layout: Layout | None) -> PairRecord:
    """Makes a pair of a row.

    Args:
        row: The row.
        number: Names it if it has no ``id``.
        folder: Where paths of pictures start.
        ids: Ids of earlier rows; this one's is added.
        layout: Names of columns and tags; None: the usual ones, as the row has them.

    Raises:
        BrokenRow: If it cannot be used.
    """
    layout = layout or (OPENAI if "messages" in row and "conversations" not in row else Layout())
    for name in _MEDIA:
        if as_list(row.get(name)):
            raise BrokenRow("other_media", f"has {name}")
    turns = _turns(row.get(layout.messages), layout.messages, layout)
    system = _system(row, turns, layout)
    sides = [as_list(row.get(name)) for name in (layout.chosen, layout.rejected)]
    if any(sides):
        chosen, rejected = _preference(turns, sides, layout)
    else:
        chosen, rejected = _answer(turns), None
    if not turns or not turns[0][1].replace(IMAGE_MARKER, "").strip():
        raise BrokenRow("no_prompt", "has no text of the user")
    check_sides(chosen, rejected, needs_rejected=any(sides))
    prompt = after_system(system, turns[0][1])
    if any(IMAGE_MARKER in text for text in (system, chosen, rejected or "")):
        raise BrokenRow("image_markers", f"has {IMAGE_MARKER} outside the user's text")
    images = as_list(row.get(layout.images)) or as_list(row.get("image"))
    check_markers(prompt, len(images))
    identity = _identity(row, number, ids)
    unknown = {"chosen_format": None, "chosen_correct": None, "source": "llama_factory"}
    pictures = decoded(images, folder)
    return PairRecord(id=identity, prompt=prompt, chosen=chosen, rejected=rejected, images=pictures, **unknown)


def _turns(value: Any, shown: str, layout: Layout) -> list[tuple[str, str]]:
    """(role, text) of each message, by the roles' names here."""
    if isinstance(value, Mapping):
        value = [value]
    if value is None:
        return []
    if not isinstance(value, list):
        raise BrokenRow("bad_message", f"'{shown}' is no list of messages")
    roles, turns = dict(layout.roles), []
    for message in value:
        if not isinstance(message, Mapping) or not isinstance(message.get(layout.content), str):
            raise BrokenRow("bad_message", f"'{shown}' holds something without a text under '{layout.content}'")
        said = message.get(layout.role)
        if said in layout.tools:
            raise BrokenRow("tools", f"'{shown}' has a message of the role '{said}'")
        if said not in roles:
            known = ", ".join(roles)
            raise BrokenRow("bad_message", f"'{shown}' has a message of the role {said!r} (known: {known})")
        turns.append((roles[said], valid_text(message[layout.content], shown)))
    return turns


def _system(row: Mapping[str, Any], turns: list[tuple[str, str]], layout: Layout) -> str:
    """What the system says, by a message, which is taken off the conversation, or by a column."""
    column = row.get(layout.system)
    if column is not None and not isinstance(column, str):
        raise BrokenRow("bad_value", f"its '{layout.system}' is no text")
    said = turns.pop(0)[1] if turns and turns[0][0] == "system" else valid_text(column or "", layout.system)
    return said


def _answer(turns: Sequence[tuple[str, str]]) -> str:
    roles = [role for role, _ in turns]
    if roles == ["user"]:
        raise BrokenRow("no_chosen", "ends with the user, and has no 'chosen'")
    if len(roles) > 2 and roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
        raise BrokenRow("multi_turn", f"has {len(roles)} messages: only one answer to one question is a pair")
    if roles and roles != ["user", "assistant"]:
        raise BrokenRow("role_order", f"has the roles {roles}")
    return turns[1][1] if turns else ""


def _preference(turns: Sequence[tuple[str, str]], sides: Sequence[Any], layout: Layout) -> tuple[str, str | None]:
    roles = [role for role, _ in turns]
    if len(roles) > 1 and roles[-1] == "user":
        raise BrokenRow("multi_turn", f"has {len(roles)} messages before its sides")
    if roles not in ([], ["user"]):
        raise BrokenRow("role_order", f"has the roles {roles} before its sides")
    texts = []
    for name, side in zip((layout.chosen, layout.rejected), sides, strict=True):
        if side and all(isinstance(one, str) for one in side):
            texts.append(valid_text("".join(side), name))
            continue
        said = _turns(side, name, layout)
        if [role for role, _ in said] not in ([], ["assistant"]):
            raise BrokenRow("role_order", f"'{name}' is not one message of the assistant")
        texts.append(said[0][1] if said else "")
    return texts[0], texts[1]


def _identity(row: Mapping[str, Any], number: int, ids: set[str]) -> str:
    given = row.get("id")
    if not isinstance(given, str | int | None):
        raise BrokenRow("bad_value", "its 'id' is no text")
    name = valid_text(str(given), "id") if given not in (None, "") else f"row/{number}"
    if name in ids:
        raise BrokenRow("repeated_id", f"an earlier row has the id '{name}' too")
    ids.add(name)
    return name
