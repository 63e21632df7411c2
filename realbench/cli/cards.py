"""realbench methods, metrics: the cards."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from realbench import registry, weights
from realbench.cli.guard import guarded
from realbench.errors import Exit, RealbenchError

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this card in full.")]


@guarded
def methods(name: Name = None) -> Exit:
    """List the methods, or show one card: what it does, settings, presets, weights, licence."""
    if name is None:
        return _list("methods")
    method = registry.load("methods", name)
    card = method.card
    _head(card)
    flags = {"oracle (reads the ground truth; never ranked)": card.oracle, "adapts to each scene (--fits)": card.fits}
    flags |= {"depends on the seed (--seeds)": card.stochastic, "runs on torch (--device)": card.torch}
    _lines("kind", [text for text, true in flags.items() if true])
    _lines("needs", card.needs)
    _lines("presets", [f"{key}: {_settings(values)}" for key, values in card.presets.items()])
    _lines("settings", _fields(method.Settings))
    _lines("published", [f"{item.metric} {item.value:g} ({item.source})" for item in card.published])
    return Exit.DONE


@guarded
def metrics(name: Name = None) -> Exit:
    """List the metrics, or show one card: formula, region, signature, configuration."""
    if name is None:
        return _list("metrics")
    from realbench.composite import Feather

    metric = registry.load("metrics", name)
    card = metric.card
    _head(card)
    _lines("better", [card.direction])
    _lines("region", [f"{card.region}, on the {'raw fill' if card.image == 'raw' else 'composite'}"])
    _lines("reads", [*card.reads, "mask"])
    _lines("config", _fields(metric.Config))
    _lines("signature", [metric().signature(Feather())])
    return Exit.DONE


def _list(kind: registry.Kind) -> Exit:
    names = registry.names(kind)
    width = max(map(len, names), default=0)
    for name in names:
        try:
            summary = registry.load(kind, name).card.summary
        except RealbenchError as error:  # one broken plug-in must not hide the others
            summary = f"({error})"
        typer.echo(f"{name:<{width}}  {summary}")
    return Exit.DONE


def _head(card: Any) -> None:
    typer.echo(f"{card.id}: {card.title}\n{card.summary}")
    _lines("paper", [card.paper])
    _lines("licence", [card.licence])
    _lines("weights", [f"{item.name}: {weights.described(item)}" for item in card.weights])


def _lines(title: str, texts: Any) -> None:
    for index, text in enumerate(filter(None, texts)):
        typer.echo(f"{title if index == 0 else '':<10} {text}")


def _fields(settings: type) -> list[str]:
    """One line a setting: name, default, help."""
    return [
        f"{field.name} = {'(required)' if field.default is MISSING else repr(field.default)}  {field.metadata.get('help', '')}".rstrip()
        for field in fields(settings)
    ]


def _settings(values: Any) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items()) or "defaults"
