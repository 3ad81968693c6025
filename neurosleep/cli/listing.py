"""The command `neurosleep list`."""

import click


@click.command(name="list", short_help="List the experiments that ship.")
def list_experiments() -> None:
    """List the experiments that `neurosleep run` knows: those of the papers, and ours, with what each takes.

    Times are of one seed, all conditions, on one core of a laptop.
    """
    from neurosleep.experiments import library

    found = {name: library.described(name) for name in library.names()}
    papers = {name: values for name, values in found.items() if values.get("source")}
    groups = {
        "Papers": papers,
        "Questions of ours": {name: values for name, values in found.items() if name not in papers},
    }
    width = max(map(len, found))
    for title, group in groups.items():
        click.echo(f"{title}\n")
        for name, values in group.items():
            click.echo(f"  {name:{width}}  {values['question']}")
            told = " · ".join(filter(None, (values.get("source"), values.get("cost"))))
            click.echo(f"  {'':{width}}  {told}\n")
