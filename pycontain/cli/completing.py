"""What a shell is offered for a word: names of containers and volumes."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from pycontain.engine.volumes import list_volumes
from pycontain.errors import PycontainError
from pycontain.runtime.settings import Settings, load
from pycontain.runtime.state import Store


def _settings(context: click.Context) -> Settings | None:
    root = context.find_root().params.get("root")
    try:
        return load(dict(os.environ), root=root)
    except PycontainError:
        return None


def containers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of all containers, and ids where an id was begun that is no name."""
    settings = _settings(context)
    if settings is None:
        return []
    store = Store(settings)
    try:
        names = sorted(os.listdir(store.names))
        ids = store.ids() if incomplete else []
    except OSError:
        return []
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(one[:12]) for one in ids if one.startswith(incomplete)]


def volumes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of all volumes."""
    settings = _settings(context)
    if settings is None:
        return []
    return [CompletionItem(one.name) for one in list_volumes(settings) if one.name.startswith(incomplete)]
