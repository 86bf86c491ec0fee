"""The processes of one run: who is first, what all of them must agree on.

Owns the contact with accelerate's process group outside training. A run of one process starts no group.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from finetune.errors import RecipeError, UnavailableError
from finetune.machine import process_rank, processes_asked_for, refuse_half_a_launch, refuse_silent_single_process

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Say whether this process writes."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """Return the first process's value on all of them."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        holder = [value]
        broadcast_object_list(holder)
        return holder[0]

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def join_processes() -> Processes:
    """Return this process's place, after joining the group its launcher announced.

    Raises:
        RecipeError: fewer processes came up than the launcher was asked for, or they could not find one another.
    """
    refuse_silent_single_process()
    refuse_half_a_launch()
    asked = processes_asked_for()
    if asked == 1:
        return Processes(0, 1)
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available())
    if state.num_processes != asked:
        raise RecipeError(
            [
                f"{asked} processes were asked for, {state.num_processes} came up; use finetune run RECIPE --processes {asked}"
            ]
        )
    return Processes(process_rank(), asked)


def refuse_uncuttable(model: "PreTrainedModel") -> None:
    """Stop where weights other than the embeddings belong to two modules, which torch can't cut over processes.

    Raises:
        UnavailableError: they do.
    """
    owners: dict[int, str] = {id(model.get_input_embeddings().weight): ""}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = owners.setdefault(id(parameter), name)
        if other not in ("", name):
            raise UnavailableError(
                f"{type(model).__name__}: its weights can't be cut over processes (fsdp), since {other} is {name} too; "
                "use recipes/accelerate/ddp.yaml"
            )


def gather_weights(cut: "nn.Module", whole: "nn.Module") -> None:
    """Fill `whole` with the weights of `cut`, whose pieces are on several processes; all of them have to call this."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole.load_state_dict(get_model_state_dict(cut, options=StateDictOptions(full_state_dict=True)))
