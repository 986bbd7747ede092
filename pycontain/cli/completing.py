"""What a shell is offered for a word: names of containers and volumes."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from pycontain.engine.summary import container_words
from pycontain.engine.volumes import list_volumes
from pycontain.errors import PycontainError
from pycontain.runtime.settings import Settings, load


def _settings(context: click.Context) -> Settings | None:
    try:
        return load(dict(os.environ), root=context.find_root().params.get("root"))
    except PycontainError:
        return None


def containers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of all containers, and ids where one was begun that is no name."""
    settings = _settings(context)
    return [] if settings is None else [CompletionItem(word) for word in container_words(settings, incomplete)]


def volumes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of all volumes."""
    settings = _settings(context)
    if settings is None:
        return []
    return [CompletionItem(one.name) for one in list_volumes(settings) if one.name.startswith(incomplete)]
