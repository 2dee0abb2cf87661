"""``aigateway crd``: the CustomResourceDefinition of this version of the operator, made from its models."""

from __future__ import annotations

import json

import click

from aigateway.api.crd import custom_resource_definition
from aigateway.cli.options import output_option
from aigateway.cli.output import as_yaml


@click.command()
@output_option("yaml", "json")
def crd(output: str) -> None:
    """Print the CustomResourceDefinition of policies.

    To install it: aigateway crd | kubectl apply --server-side -f -
    """
    definition = custom_resource_definition()
    click.echo(json.dumps(definition, indent=2) + "\n" if output == "json" else as_yaml([definition]), nl=False)
