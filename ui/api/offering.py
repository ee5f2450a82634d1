"""Functions as endpoints: their types and docs for whoever asks, their ValueErrors as sentences, their answers as JSON for MCP."""

from __future__ import annotations

import functools
import inspect
import json
import typing
from collections.abc import Callable
from typing import Any

import gradio as gr

from training.sentences import sentences

MCP_PATH = "/gradio_api/mcp"


def offer(fn: Callable) -> None:
    """The function as an endpoint and, with --mcp, as a tool of its name.  Called inside the gr.Blocks.

    queue=False: an MCP call then reaches it directly, without a second request that would need the login again.
    """
    gr.api(_answering(fn), api_name=fn.__name__, queue=False, concurrency_limit=None)


def _answering(fn: Callable) -> Callable:
    """The function as Gradio calls it: with the request, by which MCP is told from HTTP."""
    hints = typing.get_type_hints(fn)
    signature = inspect.signature(fn)

    @functools.wraps(fn)
    def answer(*values: Any) -> Any:
        *given, request = values
        try:
            made = fn(*given)
        except (ValueError, OSError) as error:
            text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.strerror and error.filename else str(error)
            raise (ValueError(sentences(text)) if _by_mcp(request) else gr.Error(sentences(text), print_exception=False)) from None
        return json.dumps(made, ensure_ascii=False) if _by_mcp(request) and not _is_file(made) else made

    asked = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=inspect.Parameter.empty if not asked else None)
    answer.__signature__ = signature.replace(parameters=[*asked, request], return_annotation=hints["return"])
    answer.__annotations__ = {**hints, "request": gr.Request}
    return answer


def _by_mcp(request: gr.Request) -> bool:
    """Gradio's own MCP server would show a mapping as Python writes it and not as JSON, and a gr.Error with quotes around it."""
    return MCP_PATH in request.url.path


def _is_file(made: Any) -> bool:
    return isinstance(made, dict) and made.get("meta") == {"_type": "gradio.FileData"}
