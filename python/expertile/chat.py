"""A conversation with a model: messages in, the reply out, as the OpenAI API writes them."""

from __future__ import annotations

import base64
import io
import json
import os
import queue
import threading
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from expertile import _core
from expertile.errors import InvalidArgument

OnDelta = Callable[[str, str], Optional[bool]]
Message = Dict[str, Any]


def _data_url(picture: Any) -> Any:
    """A PIL image as the library reads it; what is a path or URL stays as it is."""
    if isinstance(picture, os.PathLike):
        return os.fsdecode(picture)
    if not hasattr(picture, "save"):
        return picture
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def with_urls(message: Message) -> Message:
    if not isinstance(message, Mapping):
        raise InvalidArgument(f"messages: {type(message).__name__}, expected dicts with role and content")
    content = message.get("content")
    if not isinstance(content, (list, tuple)):
        return message
    parts = [
        {**part, "image": _data_url(part["image"])} if isinstance(part, dict) and "image" in part else part
        for part in content
    ]
    return {**message, "content": parts}


class Chat:
    """One conversation at a time over a program; what a new prompt begins with as the last one did is not computed again."""

    def __init__(self, program: _core.Program) -> None:
        self._core = _core.ChatSession.open(program)

    def reply(
        self,
        messages: Sequence[Message],
        tools: Optional[Sequence[Dict[str, Any]]] = None,
        on_delta: Optional[OnDelta] = None,
        **request: Any,
    ) -> Message:
        """The next message: role, content, reasoning_content, tool_calls; finish_reason and usage beside them.

        `request` holds what else docs/chat.md lists: temperature, max_tokens, chat_template_kwargs, ...
        on_delta(reasoning, content) is told what each token added; False ends the reply.
        """
        asked = {"messages": [with_urls(message) for message in messages], **request}
        if tools is not None:
            asked["tools"] = list(tools)
        reply: Message = json.loads(self._core.answer(json.dumps(asked), on_delta))
        return reply

    def stream(self, messages: Sequence[Message], **request: Any) -> Iterator[Tuple[str, str]]:
        """(reasoning, content) as each token adds to them. Leaving the loop stops the reply."""
        deltas: "queue.SimpleQueue[Optional[Tuple[str, str]]]" = queue.SimpleQueue()
        raised: List[BaseException] = []
        stopped = threading.Event()

        def on_delta(reasoning: str, content: str) -> bool:
            deltas.put((reasoning, content))
            return not stopped.is_set()

        def answer() -> None:
            try:
                self.reply(messages, on_delta=on_delta, **request)
            except BaseException as error:  # it is raised in the thread that reads
                raised.append(error)
            deltas.put(None)

        thread = threading.Thread(target=answer, name="expertile-chat", daemon=True)
        thread.start()
        try:
            while (delta := deltas.get()) is not None:
                yield delta
        finally:
            stopped.set()
            self._core.cancel()
            thread.join()
        if raised:
            raise raised[0]
