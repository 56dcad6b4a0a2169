"""A run's config gives the command that makes it again: composed anew, nothing but what was left out differs."""

import pytest

from petbench.adapters.registry import spec_of
from petbench.compose.command import in_shell, overrides_of
from petbench.compose.expand import expand
from petbench.config.spec import parse

COMMANDS = (
    "adapter=krona task=rte model=tiny_bert",
    "adapter=krona task=mrpc model=tiny_t5 adapter.factor_shape=[8,4] optim.lr=3e-4 protocol=compacter",
    "adapter=peft/lora task=stsb adapter.layers=last:2 data.dir='/some where/glue' trainer.bucket=false",
    "adapter=hadamard task=sst2 data=toy data.toy_train=64 trainer.max_steps=3 budget.percent=0.1",
    "adapter=krona task=superglue/cb model=tiny_bert",
    "adapter=krona data.file=tickets.csv data.text=[title,body] data.label=queue model=tiny_bert",
    "adapter=lora task=cola adapter.targets=[query] trainer.precision=fp32 vary=[split,order]",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_makes_the_same_config(command: str) -> None:
    (member,) = expand(
        [text.replace("~", " ") for text in command.replace("some where", "some~where").split()]
    )
    config = parse(member.values, spec_of).canonical()
    adapter = command.split()[0].partition("=")[2]
    found = overrides_of(config, adapter, config["model"]["label"])
    assert len(found) <= len(command.split()) + 1  # a model that the command left to the default is named
    (again,) = expand(found)
    assert parse(again.values, spec_of).canonical() == config


def test_what_a_new_run_shall_not_have_is_left_out_and_labels_of_no_preset_fall_back() -> None:
    (member,) = expand(
        ["adapter=krona", "task=rte", "data.max_train_examples=100", "seed=3", "results_dir=x"]
    )
    found = overrides_of(member.values, "my krona", "nowhere", ["data.max_train_examples"])
    assert found == ["adapter=krona", "task=rte"]


def test_the_shell_reads_it_as_it_stands() -> None:
    assert in_shell(["adapter=krona", "data.dir='a b'"]) == "adapter=krona 'data.dir='\"'\"'a b'\"'\"''"
